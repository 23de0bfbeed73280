"""Simulated readers go through the store like people: washout, repeats, all questions, no image twice."""

from pathlib import Path

import pytest

from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.study.create import create_study
from datadouble.study.protocol import Protocol, read_protocol, with_counts
from datadouble.study.simulate import SimulatedReader, panel, simulate_answers
from datadouble.study.store import Store


def test_every_part_is_answered_after_its_washout(study_path: Path) -> None:
    readers = panel(juniors=1, seniors=1)
    # Each: 12 images, 4 repeats and 2 practice cases, then 12 lesions.
    assert simulate_answers(study_path, readers) == 2 * (18 + 12)
    with Store.open(study_path) as store:
        assert all(store.progress(one.id).state == "finished" for one in store.readers())
        table = store.answers_table()
    first = table[table["part"] == "one"]["answered_at"].max()
    assert set(table["group"]) == {"junior", "senior"}
    assert (table["seconds"] > 0).all()
    one = table[table["reader"] == table["reader"].min()]
    ends, begins = (
        one[one["part"] == "one"]["answered_at"].max(),
        one[one["part"] == "two"]["shown_at"].min() if "shown_at" in one else "",
    )
    assert ends[:10] == "2030-01-07" and begins[:10] >= "2030-01-21"
    assert first
    assert simulate_answers(study_path, readers) == 0  # nothing is left to judge


def test_equal_seeds_give_equal_answers_to_equal_pictures(
    tmp_path: Path, cohorts: tuple[Cohort, Cohort], plain: Protocol
) -> None:
    tables = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        create_study(plain, *cohorts, tmp_path / name, seed=4)
        simulate_answers(tmp_path / name, [SimulatedReader("r", dprime=0.5)], seed=seed)
        with Store.open(tmp_path / name) as store:
            truth = store.study.truth()
            tables.append(
                {
                    (row.part, truth[row.image].source_image_id, bool(row.repeat_of)): (
                        row.value,
                        row.seconds,
                    )
                    for row in store.answers_table().itertuples()
                }
            )
    assert tables[0] == tables[1]
    assert tables[0] != tables[2]


def test_a_reader_may_stop_and_go_on(study_path: Path) -> None:
    assert simulate_answers(study_path, [SimulatedReader("r", answers=7)]) == 7
    assert simulate_answers(study_path, [SimulatedReader("r")]) == 30 - 7


def test_all_that_the_demo_asks_is_answered(tmp_path: Path, cohorts: tuple[Cohort, Cohort]) -> None:
    protocol = with_counts(read_protocol("demo"), real=6, synthetic=6, practice=2)
    create_study(protocol, *cohorts, tmp_path / "study")
    simulate_answers(tmp_path / "study", [SimulatedReader("r")])
    with Store.open(tmp_path / "study") as store:
        table = store.answers_table()
    assert table["confidence"].between(0, 100).all() and table["mark_x"].between(0, 1).all()


@pytest.mark.parametrize("fault", [{"lapse": 1.2}, {"own_noise": -0.1}, {"ratio": 0.0}, {"seconds": 0.0}])
def test_what_cannot_be_is_refused(fault: dict[str, float]) -> None:
    with pytest.raises(DataDoubleError):
        SimulatedReader("r", **fault)  # type: ignore[arg-type]
