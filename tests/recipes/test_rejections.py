"""Doubles with filters: the first so many kept numbers, however the drawing was cut off, and what the report says."""

import copy
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datadouble.cohort import Cohort, CohortWriter
from datadouble.errors import DataDoubleError
from datadouble.recipes import doubles
from datadouble.recipes.doubles import Drawing, Drawn, GeneratorFacts, write_double
from datadouble.recipes.rejections import Kind, filter_report
from datadouble.training.processes import Processes

FILTERS = ({"name": "odd", "cut": 0.5}, {"name": "third", "cut": 1.0})


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class Numbers:
    """Draws pictures that show their class, number and the size of their batch; drops odd numbers and every third."""

    def __init__(self, *, filters: tuple = FILTERS, everything: bool = False) -> None:
        self.facts = GeneratorFacts("c", "ct", ("a", "b"), (0.5, 0.5), 4, {"recipe": "x"}, filters=filters)
        self.everything, self.drawn = everything, []

    def draw(self, label: int, numbers: range, seed: int) -> Drawn:
        self.drawn.append((label, numbers))
        n = np.array(numbers)
        images = np.stack([np.full((4, 4), 100 * label + i, np.uint8) for i in numbers])
        images[:, 0, 0] = len(numbers)
        odd = (n % 2 == 1) | self.everything
        return Drawn(images, rejected={"odd": odd, "third": n % 3 == 0} if self.facts.filters else None)


def write(path: Path, count: int, generator: Numbers | None = None) -> Cohort:
    return write_double(generator or Numbers(), Drawing(per_class=count), path, say=lambda _: None)


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_as_many_are_kept_as_are_wanted_under_their_own_numbers(tmp_path: Path) -> None:
    double = write(tmp_path / "d", 5)
    # By hand: neither odd nor divisible by three.
    kept = [2, 4, 8, 10, 14]
    assert list(double.table["image_id"]) == [f"{c}-{n:06d}" for c in "ab" for n in kept]
    assert [int(double.image(i)[1, 1]) for i in range(10)] == [*kept, *(100 + n for n in kept)]
    assert {int(double.image(i)[0, 0]) for i in range(10)} == {4}  # always whole batches
    assert double.info.generator is not None and double.info.generator["filters"] == list(FILTERS)


def test_the_report_counts_what_was_dropped_up_to_the_last_kept_number(tmp_path: Path) -> None:
    write(tmp_path / "d", 5)
    report = json.loads((tmp_path / "d" / "filters.json").read_text())
    # Of 0 to 14: odd 1 3 5 7 9 11 13; by three 0 3 6 9 12; both 3 9.
    assert (report["drawn"], report["kept"], report["dropped"]) == (30, 10, 20)
    assert [one["dropped"] for one in report["filters"]] == [14, 10]
    assert [one["dropped_alone"] for one in report["filters"]] == [10, 6]
    assert report["filters"][0]["share"]["value"] == pytest.approx(14 / 30)
    assert report["dropped_share"]["low"] < 20 / 30 < report["dropped_share"]["high"]
    assert report["by_class"]["b"] == {
        "drawn": 15,
        "kept": 5,
        "dropped": 10,
        "by_filter": {"odd": 7, "third": 5},
    }
    assert report["rejected"]["a"]["3"] == ["odd", "third"] and len(report["rejected"]["a"]) == 10
    assert not (tmp_path / "d" / "rejections.jsonl").exists()


@pytest.mark.parametrize("at", range(0, 10, 3))
def test_killed_at_any_picture_it_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    write(tmp_path / "whole", 5)
    add, calls = CohortWriter.add, []

    def dies(self: CohortWriter, *args: Any, **more: Any) -> None:
        calls.append(1)
        if len(calls) == at + 1:
            raise Killed
        add(self, *args, **more)

    monkeypatch.setattr(CohortWriter, "add", dies)
    with pytest.raises(Killed):
        write(tmp_path / "cut", 5)
    journal = tmp_path / "cut" / "rejections.jsonl"
    if at == 3:  # a line cut off in the middle
        journal.write_text(journal.read_text() + '{"kind": "a", "num')
    again = Numbers()
    write(tmp_path / "cut", 5, again)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert len(again.drawn) <= 8 - at // 2 + 1  # what was settled is not drawn again


def test_killed_between_the_report_and_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "whole", 3)

    def dies(self: CohortWriter) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(CohortWriter, "finish", dies)
        with pytest.raises(Killed):
            write(tmp_path / "cut", 3)
    again = Numbers()
    write(tmp_path / "cut", 3, again)
    assert not again.drawn and contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_double_grows_as_if_drawn_at_once_and_does_not_shrink(tmp_path: Path) -> None:
    write(tmp_path / "whole", 7)
    write(tmp_path / "grown", 2)
    write(tmp_path / "grown", 7)
    assert contents(tmp_path / "grown") == contents(tmp_path / "whole")
    again = Numbers()
    write(tmp_path / "grown", 3, again)
    assert not again.drawn and contents(tmp_path / "grown") == contents(tmp_path / "whole")


def test_nothing_changes_without_filters(tmp_path: Path) -> None:
    plain = Numbers(filters=())
    double = write(tmp_path / "d", 6, plain)
    assert plain.drawn == [(c, r) for c in (0, 1) for r in (range(0, 4), range(4, 6))]
    assert list(double.table["image_id"]) == [f"{c}-{n:06d}" for c in "ab" for n in range(6)]
    assert double.info.generator == {"recipe": "x", "seed": 0, "batch": 4}
    assert not (tmp_path / "d" / "filters.json").exists()


def test_filters_are_part_of_what_made_a_double(tmp_path: Path) -> None:
    write(tmp_path / "d", 2)
    with pytest.raises(DataDoubleError, match="another cohort"):
        write(tmp_path / "d", 2, Numbers(filters=()))


def test_it_stops_where_nearly_all_is_dropped_and_says_why(tmp_path: Path) -> None:
    generator = Numbers(everything=True)
    with pytest.raises(
        DataDoubleError, match=r"100 of 100 pictures of 'a', most by 'odd'.*odd 100%, third 34%"
    ):
        write(tmp_path / "d", 5, generator)
    assert len(generator.drawn) == 25  # a hundred, in batches of four
    again = Numbers(everything=True)
    with pytest.raises(DataDoubleError, match="most by 'odd'"):
        write(tmp_path / "d", 5, again)
    assert len(again.drawn) == 1  # what was dropped is known


def test_it_does_not_wait_for_the_tenfold_where_there_is_no_hope() -> None:
    kind = Kind(0, "a", 10_000, 50, True)
    with pytest.raises(DataDoubleError, match="500 of 500"):
        for start in range(0, 100_000, 50):
            kind.settle(range(start, start + 50), {"x": np.ones(50, bool)})
            kind.check()


def test_nine_tenths_may_be_dropped() -> None:
    kind = Kind(0, "a", 30, 10, True)
    drops = {"x": np.arange(10) != 4}
    for start in range(0, 300, 10):
        assert next(kind.missing()).numbers == range(start, start + 10)
        kind.settle(range(start, start + 10), drops)
        kind.check()
    assert kind.done and kind.settled == 295 and not list(kind.missing())
    assert filter_report(({"name": "x"},), [kind])["dropped_share"]["value"] == pytest.approx(265 / 295)


def test_processes_share_the_work_and_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes as threads that wait for one another wherever processes would."""
    write(tmp_path / "one", 7)
    count, barrier, lists = 3, threading.Barrier(3), {}
    here = threading.local()

    class Rank(Processes):
        def gather(self, values: list) -> list:
            lists[self.rank] = values
            barrier.wait()
            found = [value for rank in range(count) for value in lists[rank]]
            barrier.wait()
            return found

        def broadcast(self, value: Any) -> Any:
            if self.is_main:
                lists["sent"] = value
            barrier.wait()
            found = copy.deepcopy(lists["sent"])
            barrier.wait()
            return found

        def wait(self) -> None:
            barrier.wait()

    monkeypatch.setattr(doubles, "start_processes", lambda: here.rank)
    generators = [Numbers() for _ in range(count)]

    def work(rank: int) -> None:
        here.rank = Rank(rank, count)
        write(tmp_path / "three", 7, generators[rank])

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert contents(tmp_path / "three") == contents(tmp_path / "one")
    drawn = [stretch for generator in generators for stretch in generator.drawn]
    assert len(drawn) == len(set(drawn)) and min(len(generator.drawn) for generator in generators) > 1
