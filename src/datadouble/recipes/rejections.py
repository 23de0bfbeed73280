"""Which numbers of a double were drawn, which were kept, and which a filter dropped.

Numbers are settled in their order, so that the double is the first so many kept ones of each kind: however often the
drawing was cut off, and with however many processes.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datadouble import files
from datadouble.errors import DataDoubleError
from datadouble.stats import proportion_estimate

REPORT = "filters.json"
JOURNAL = "rejections.jsonl"
MOST_DRAWN = 10  # times what is wanted; who needs more drops over 90%
_LEAST_DRAWN = 100  # of a kind, before its share of dropped pictures is judged
_HOPELESS = (500, 0.95)  # drawn so many and dropped more than this share: the end is not waited for

Rejected = dict[int, tuple[str, ...]]
"""Number -> the filters that dropped it."""


class Stretch(NamedTuple):
    """Numbers of one kind that are drawn together."""

    kind: int
    numbers: range


@dataclass
class Kind:
    """How far one kind is.

    Attributes
    ----------
    wanted
        How many are to be kept.
    kept, rejected
        Numbers that are settled; of an earlier drawing they may have gaps.
    settled
        All numbers below are kept or rejected.
    counted
        How many of these are kept.
    """

    index: int
    name: str
    wanted: int
    batch: int
    filtered: bool
    kept: set[int] = field(default_factory=set)
    rejected: Rejected = field(default_factory=dict)
    settled: int = 0
    counted: int = 0

    def __post_init__(self) -> None:
        if self.filtered:  # a larger double stays as large, and its report is of all of it
            self.wanted = max(self.wanted, len(self.kept))
        self._go_on()

    @property
    def done(self) -> bool:
        """Whether as many are kept as are wanted."""
        return self.counted >= self.wanted

    def _go_on(self) -> None:
        while not self.done and (self.settled in self.kept or self.settled in self.rejected):
            self.counted += self.settled in self.kept
            self.settled += 1

    def missing(self) -> Iterator[Stretch]:
        """Yield the stretches that are needed whatever the filters say.

        With filters they are whole batches: the last bits of a picture depend on how many are drawn beside it, and
        how many will be needed is not known.
        """
        if self.done:
            return
        end = self.settled + self.wanted - self.counted
        for start in range(self.settled // self.batch * self.batch, end, self.batch):
            numbers = range(start, start + self.batch if self.filtered else min(start + self.batch, end))
            if any(n not in self.kept and n not in self.rejected for n in numbers):
                yield Stretch(self.index, numbers)

    def settle(self, numbers: range, rejected: dict[str, np.ndarray]) -> tuple[list[int], Rejected]:
        """Take up what was drawn; return the numbers to write, and those that are dropped, as far as they are new."""
        new_kept: list[int] = []
        new_rejected: Rejected = {}
        for place, n in enumerate(numbers):
            if self.done:
                break
            if n not in self.kept and n not in self.rejected:
                by = tuple(name for name, drops in rejected.items() if drops[place])
                if by:
                    self.rejected[n] = new_rejected[n] = by
                else:
                    self.kept.add(n)
                    new_kept.append(n)
            self._go_on()
        return new_kept, new_rejected

    def check(self) -> None:
        """Refuse to go on where the filters drop nearly everything.

        Raises
        ------
        DataDoubleError
            Which says which filter does it.
        """
        drawn, dropped = self.settled, self.settled - self.counted
        least, share = _HOPELESS
        hopeless = drawn >= least and dropped > share * drawn
        if self.done or not (hopeless or drawn >= max(MOST_DRAWN * self.wanted, _LEAST_DRAWN)):
            return
        counts = _by_filter(self.rejected.values())
        worst = sorted(counts, key=lambda name: -counts[name])
        listed = ", ".join(f"{name} {counts[name] / drawn:.0%}" for name in worst)
        raise DataDoubleError(
            f"the filters drop {dropped} of {drawn} pictures of '{self.name}', most by '{worst[0]}'",
            where="generate",
            found=listed,
            remedy=f"train longer, look at the run's samples, or loosen the filter '{worst[0]}' and fit again",
        )


def _by_filter(rejected: Iterable[Sequence[str]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for names in rejected:
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    return counts


class RejectionJournal:
    """The dropped numbers of a double on disk: a line each while it is drawn, all in `filters.json` when it is done."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / JOURNAL

    def read(self) -> dict[str, Rejected]:
        """Return what was dropped so far, by kind; a last line cut off by a kill is dropped, from the file too."""
        found: dict[str, Rejected] = {}
        if (self._folder / REPORT).is_file():
            kept = json.loads((self._folder / REPORT).read_text())["rejected"]
            found = {kind: {int(n): tuple(by) for n, by in one.items()} for kind, one in kept.items()}
        if self._path.is_file():
            lines = self._path.read_text(encoding="utf-8").split("\n")
            if lines[-1]:
                files.write_text(self._path, "".join(line + "\n" for line in lines[:-1]))
            for line in lines[:-1]:
                row = json.loads(line)
                found.setdefault(row["kind"], {})[row["number"]] = tuple(row["by"])
        return found

    def add(self, kind: str, rejected: Rejected) -> None:
        """Note dropped numbers."""
        if rejected:
            rows = [{"kind": kind, "number": n, "by": list(by)} for n, by in rejected.items()]
            with open(self._path, "a", encoding="utf-8") as file:
                file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    def finish(self, filters: Sequence[dict[str, Any]], kinds: Sequence[Kind]) -> None:
        """Write `filters.json` in place of the journal."""
        files.write_json(self._folder / REPORT, filter_report(filters, kinds))
        self._path.unlink(missing_ok=True)


def filter_report(filters: Sequence[dict[str, Any]], kinds: Sequence[Kind]) -> dict[str, Any]:
    """Return what the filters dropped, as JSON.

    Parameters
    ----------
    filters
        `GeneratorFacts.filters`.

    Returns
    -------
    dict
        ``drawn``, ``kept`` and ``dropped`` (counts; a number is drawn up to the last that was needed),
        ``dropped_share`` with its interval; ``filters``, each with its facts, how many it ``dropped``, how many of
        these it ``dropped_alone``, and its ``share``; ``by_class``; ``rejected`` {class: {number: filters}}.
    """
    below = {kind.name: {n: by for n, by in kind.rejected.items() if n < kind.settled} for kind in kinds}
    everything = [by for rejected in below.values() for by in rejected.values()]
    drawn, kept = sum(kind.settled for kind in kinds), sum(kind.counted for kind in kinds)
    counts, alone = _by_filter(everything), _by_filter(by for by in everything if len(by) == 1)
    return {
        "schema_version": 1,
        "drawn": drawn,
        "kept": kept,
        "dropped": drawn - kept,
        "dropped_share": _share(drawn - kept, drawn),
        "filters": [
            {
                **one,
                "dropped": counts.get(one["name"], 0),
                "dropped_alone": alone.get(one["name"], 0),
                "share": _share(counts.get(one["name"], 0), drawn),
            }
            for one in filters
        ],
        "by_class": {
            kind.name: {
                "drawn": kind.settled,
                "kept": kind.counted,
                "dropped": kind.settled - kind.counted,
                "by_filter": _by_filter(below[kind.name].values()),
            }
            for kind in kinds
        },
        "rejected": {name: {str(n): list(by) for n, by in sorted(of.items())} for name, of in below.items()},
    }


def _share(count: int, of: int) -> dict[str, float] | None:
    return dict(proportion_estimate(count, of)._asdict()) if of else None
