"""Mending a split that look-alikes straddle, so that a run that was trained on it stays valid.

What the generator saw cannot be taken back: train stays as it is, its look-alike groups too, because a run carves its
validation patients by them. Pictures of holdout and test that belong to a train picture (a look-alike, its patient, or
tied to it through others) are no longer unseen: they leave, into the split ``"excluded"``, which no part reads.
Look-alikes between holdout and test join the split that holds more of them.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from datadouble.cohort.cohort import SPLITS, Cohort
from datadouble.cohort.duplicates import THRESHOLD, DuplicateGroups, LookAlike, find_duplicates
from datadouble.cohort.split import EXCLUDED, REASON, units_of
from datadouble.errors import DataDoubleError

if TYPE_CHECKING:
    import pandas as pd


class Move(NamedTuple):
    """A picture that left its split."""

    image_id: str
    before: str
    after: str
    reason: str


class Mended(NamedTuple):
    """A table with its split mended, what moved, and the pairs within train that were left in peace."""

    table: "pd.DataFrame"
    moves: tuple[Move, ...]
    within_train: tuple[LookAlike, ...]


def mend_split(
    path: Path | str, *, threshold: float = THRESHOLD, crops: bool | None = None
) -> tuple[Cohort, Mended]:
    """Search a split cohort for look-alikes and mend its split, in place.

    Parameters
    ----------
    threshold, crops
        See `find_duplicates`.

    Raises
    ------
    DataDoubleError
        When the cohort is not split, or nothing would be left of holdout or test.
    """
    cohort = Cohort.open(path)
    if not (cohort.table["split"] == SPLITS[0]).any():
        raise DataDoubleError(
            "the cohort has no train pictures to keep", where=Path(path).name, remedy="run `datadouble split`"
        )
    mended = mend(cohort.table, find_duplicates(cohort, threshold=threshold, crops=crops))
    if list(mended.table["split"]) != list(cohort.table["split"]) or mended.moves:
        _refuse_empty(cohort.table, mended.table)
    cohort.replace_table(mended.table)
    return cohort, mended


def mend(table: "pd.DataFrame", found: DuplicateGroups) -> Mended:
    """Return the table with the pictures moved that the pairs of `found` tie to another split.

    Rows without a split stay without one, and tie nothing. Train rows keep their split and the groups among
    themselves.
    """
    ids = [str(value) for value in table["image_id"]]
    split = [str(value) for value in table["split"]]
    used = [row for row in range(len(table)) if split[row]]
    pairs = [pair for pair in found.pairs if split[pair.first] and split[pair.second]]
    train = SPLITS[0]
    column, reasons, moves = list(split), _reasons(table), []
    groups = [str(value) for value in table["duplicate_group"]]
    names = _unused_names(groups)
    for unit in _tied(table, used, pairs):
        seen = [row for row in unit if split[row] == train]
        others = [row for row in unit if split[row] != train]
        if not others:
            continue
        place = EXCLUDED if seen else _place([split[row] for row in others])
        for row in others:
            if split[row] in (place, EXCLUDED):
                continue
            column[row] = place
            reasons[row] = _reason(row, seen or [r for r in unit if split[r] == place], pairs, ids, split)
            moves.append(Move(ids[row], split[row], place, reasons[row]))
        _join_groups(groups, others, seen, pairs, names)
    result = table.copy()
    result["split"], result["duplicate_group"] = column, groups
    if moves or REASON in table.columns:
        result[REASON] = reasons
    within = tuple(
        pair
        for pair in pairs
        if split[pair.first] == split[pair.second] == train and not _together(table, pair.first, pair.second)
    )
    return Mended(result, tuple(moves), within)


def train_units(table: "pd.DataFrame") -> set[frozenset[str]]:
    """Return what a run deals out as one when it carves its validation patients: train's units, by image id."""
    train = table[table["split"] == SPLITS[0]].reset_index(drop=True)
    ids = [str(value) for value in train["image_id"]]
    return {frozenset(ids[row] for row in rows) for rows in units_of(train)}


def _tied(table: "pd.DataFrame", used: list[int], pairs: Iterable[LookAlike]) -> list[list[int]]:
    """Return the rows tied by patient, group or pair, each set in the order of the rows."""
    part = table.iloc[used].reset_index(drop=True)
    unit_of = {used[i]: number for number, rows in enumerate(units_of(part)) for i in rows}
    parent = list(range(len(table)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for pair in pairs:
        parent[root(unit_of[pair.second])] = root(unit_of[pair.first])
    tied: dict[int, list[int]] = {}
    for row in used:
        tied.setdefault(root(unit_of[row]), []).append(row)
    return list(tied.values())


def _place(splits: list[str]) -> str:
    """Return the one of holdout and test that holds more, holdout where they tie; excluded where neither holds any."""
    counts = {name: splits.count(name) for name in SPLITS[1:]}
    return max(counts, key=lambda name: counts[name]) if any(counts.values()) else EXCLUDED


def _reason(row: int, towards: list[int], pairs: list[LookAlike], ids: list[str], split: list[str]) -> str:
    for pair in pairs:
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            if one == row and other in towards:
                how = "mirrored " if pair.mirrored else ""
                return f"looks like {ids[other]} of {split[other]} ({how}{pair.kind})"
    nearest = min(ids[other] for other in towards)
    return f"tied to {nearest} of {split[towards[0]]} by its patient or look-alikes"


def _join_groups(
    groups: list[str], others: list[int], seen: list[int], pairs: list[LookAlike], names: Iterable[str]
) -> None:
    """Name the rows outside train as one group, or as that of the train picture that each looks like."""
    linked = {pair.first for pair in pairs} | {pair.second for pair in pairs}
    for row in others if seen else ():
        mine = [p.second if p.first == row else p.first for p in pairs if row in (p.first, p.second)]
        for other in [other for other in mine if other in seen][:1]:
            groups[other] = groups[other] or next(iter(names))
            groups[row] = groups[other]
    if not seen and linked & set(others):
        name = min((groups[row] for row in others if groups[row]), default="") or next(iter(names))
        for row in others:
            groups[row] = name


def _unused_names(groups: list[str]) -> Iterable[str]:
    taken = set(groups)
    return (name for name in (f"d{number:04d}" for number in range(1, 10**6)) if name not in taken)


def _together(table: "pd.DataFrame", first: int, second: int) -> bool:
    one, other = table.iloc[first], table.iloc[second]
    return any(one[c] and one[c] == other[c] for c in ("patient_id", "duplicate_group"))


def _reasons(table: "pd.DataFrame") -> list[str]:
    return [str(value) for value in table[REASON]] if REASON in table.columns else [""] * len(table)


def _refuse_empty(before: "pd.DataFrame", after: "pd.DataFrame") -> None:
    for name in SPLITS[1:]:
        if (before["split"] == name).any() and not (after["split"] == name).any():
            raise DataDoubleError(
                f"nothing would be left of {name}",
                where="metadata.csv",
                found=f"{int((before['split'] == name).sum())} pictures, all tied to another split",
                remedy="split again with --overwrite and train again",
            )
