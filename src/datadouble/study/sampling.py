"""Which images a study shows: equal shares of the classes, one image a patient where possible, the same every time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from datadouble.cohort import Cohort
from datadouble.cohort.split import EXCLUDED, units_of
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for, seed_for
from datadouble.study.protocol import Part, Protocol

UNSEEN = ("test", "holdout")
"""Splits of a real cohort that no generator saw."""


@dataclass
class Pool:
    """The images of one cohort that a study may still draw.

    Attributes
    ----------
    rows_of
        Row numbers by class; those in `spare` come only where the others do not suffice.
    unit_of
        The patient (with look-alikes) of each row.
    """

    cohort: Cohort
    rows_of: dict[str, list[int]]
    unit_of: dict[int, str]
    spare: frozenset[int] = frozenset()
    used_rows: set[int] = field(default_factory=set)
    times: dict[str, int] = field(default_factory=dict)

    def free(self, label: str) -> list[int]:
        """Return the rows of a class that no part has drawn yet."""
        return [row for row in self.rows_of.get(label, []) if row not in self.used_rows]

    def draw(self, label: str, count: int, seed: int, *keys: str) -> list[int]:
        """Draw `count` rows of a class: patients seen least first, spare rows last, else at random."""
        chance = generator_for(seed, *keys, label)
        free = sorted(self.free(label), key=lambda row: str(self.cohort.table["image_id"].iloc[row]))
        shuffled = [free[i] for i in chance.permutation(len(free))]
        chosen: list[int] = []

        def rank(row: int) -> tuple[bool, int]:
            return row in self.spare, self.times.get(self.unit_of[row], 0)

        while len(chosen) < count:
            left = [row for row in shuffled if row not in self.used_rows]
            best = min(map(rank, left))
            for row in left:  # a patient just drawn from has another rank, and waits for the next round
                if len(chosen) < count and rank(row) == best:
                    chosen.append(row)
                    self.used_rows.add(row)
                    self.times[self.unit_of[row]] = best[1] + 1
        return chosen


def make_pool(cohort: Cohort, *, splits: Sequence[str] = (), usable: Iterable[int] | None = None) -> Pool:
    """Return the images of a cohort that may be drawn.

    Parameters
    ----------
    splits
        Those allowed. Empty: for a real cohort test and holdout, with train as spare; for a double all. A cohort that
        was never split gives all its images.
    usable
        Row numbers to keep, for example those with a lesion; None: all.
    """
    table = cohort.table
    allowed = np.ones(len(table), dtype=bool)
    spare: frozenset[int] = frozenset()
    if cohort.info.origin == "real" and cohort.has_splits:
        wanted = splits or (*UNSEEN, "train")
        allowed = table["split"].isin(list(wanted)).to_numpy()
        if not splits:
            spare = frozenset(np.flatnonzero((table["split"] == "train").to_numpy()).tolist())
    allowed = allowed & (table["split"] != EXCLUDED).to_numpy()
    keep = set(np.flatnonzero(allowed).tolist()) & (set(range(len(table))) if usable is None else set(usable))
    unit_of = {row: str(number) for number, rows in enumerate(units_of(table)) for row in rows}
    rows_of: dict[str, list[int]] = {}
    for row in sorted(keep):
        rows_of.setdefault(str(table["label"].iloc[row]), []).append(row)
    return Pool(cohort, rows_of, unit_of, spare & keep)


def classes_for(protocol: Protocol, part: Part, pools: Mapping[str, Pool]) -> list[list[str]]:
    """Return the classes that a part draws from, in groups that get equal shares.

    Raises
    ------
    DataDoubleError
        When no class is in both cohorts and in the protocol, or a group (an answer) has none.
    """
    wanted = [name for name in ("real", "synthetic") if getattr(part, name) > 0]
    common = [
        name
        for name in pools[wanted[0]].cohort.info.classes
        if all(pools[origin].rows_of.get(name) for origin in wanted)
    ]
    classes = [name for name in common if not part.classes or name in part.classes]
    about_label = [question for question in protocol.questions_of(part) if question.truth == "label"]
    for question in about_label:
        classes = [name for name in classes if question.right_value("", name)]
    groups = [[name] for name in classes]
    if part.balance == "answer":
        answers = about_label[0].answers
        groups = [[name for name in classes if name in answer.truth] for answer in answers if answer.truth]
    if not groups or not all(groups):
        have = "; ".join(f"{o}: {', '.join(sorted(pools[o].rows_of)) or 'none'}" for o in wanted)
        raise DataDoubleError(
            "the cohorts share no class that the part asks for" if not classes else "an answer has no class",
            where=f"part {part.name}",
            found=have,
            remedy="name the cohorts' classes in the protocol (`classes`, and `truth` of the answers)",
        )
    return groups


def quotas(
    groups: Sequence[Sequence[str]], count: int, capacity: Mapping[str, int], *, per_class: bool, seed: int
) -> dict[str, int]:
    """Return how many images of each class to draw: equal shares, as far as they reach.

    Parameters
    ----------
    groups
        Classes that share a share.
    count
        Of all images; with `per_class` of each class.
    capacity
        How many there are of each class, in the cohort that has fewer.
    seed
        Decides which classes get the images that are left over.

    Notes
    -----
    Where a class has too few, the rest is dealt out among the others; the same for both origins, so that a class says
    nothing about the origin. What nobody can fill is missing from the sum.
    """
    if per_class:
        return {name: min(count, capacity[name]) for group in groups for name in group}
    sums = _level(
        [sum(capacity[name] for name in group) for group in groups], count, seed_for(seed, "groups")
    )
    result: dict[str, int] = {}
    for number, (group, share) in enumerate(zip(groups, sums, strict=True)):
        shares = _level([capacity[name] for name in group], share, seed_for(seed, "classes", number))
        result.update(zip(group, shares, strict=True))
    return result


def _level(capacity: Sequence[int], count: int, seed: int) -> list[int]:
    """Fill vessels of some capacity evenly with `count`; who gets what is left over follows from the seed."""
    shares = [0] * len(capacity)
    left = min(count, sum(capacity))
    order = np.random.default_rng(seed).permutation(len(capacity)).tolist()
    while left:
        open_ = [i for i in order if shares[i] < capacity[i]]
        step = max(1, min(left // len(open_), min(capacity[i] - shares[i] for i in open_)))
        for i in open_[: left if left < len(open_) else None]:
            shares[i] += step
            left -= step
    return shares
