"""Train, holdout and test, by patient and look-alike group, with the classes balanced.

What may not be torn apart (rows that share a patient or a look-alike group, directly or through others) is a
unit. Units are dealt out greedily, large ones first, each to the split where the chi-squared distance from
the wished counts (images by class, and units) grows least.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from datadouble.cohort.cohort import SPLITS, Cohort
from datadouble.errors import DataDoubleError
from datadouble.randomness import seed_for

if TYPE_CHECKING:
    import pandas as pd

TRAIN, HOLDOUT, TEST = 0.75, 0.125, 0.125
"""Default shares. A small cohort needs its pictures for training; `holdout="equal"` gives the stronger
control."""

EXCLUDED = "excluded"
"""Split of pictures that no part reads: they look like train pictures, and a run has been trained (see `mend`)."""

REASON = "split_reason"
"""The column that says why a picture was moved when a split was mended."""


@dataclass(frozen=True)
class Unit:
    """Rows that stay together: their image ids' first, their indices, and counts by class and of units."""

    name: str
    rows: tuple[int, ...]
    counts: np.ndarray
    fixed: bool


def split(
    cohort: "Cohort | pd.DataFrame",
    *,
    train: float = TRAIN,
    holdout: float | Literal["equal"] = HOLDOUT,
    test: float = TEST,
    seed: int = 0,
    keep_in_train: Iterable[str] = (),
) -> "pd.DataFrame":
    """Return the cohort's table with its `split` column filled anew.

    The result depends on the ids, labels, groups and the seed: not on the order of the rows, nor on the
    platform.

    Parameters
    ----------
    train, holdout, test
        Shares of the images, adding up to 1. Those of `holdout` and `test` may be 0.
    holdout
        Patients of the same kind that no part of a generator sees: the privacy control. ``"equal"`` gives
        train and holdout the same share of what `test` leaves, whatever `train` says.
    seed
        Another seed deals out units of equal size in another order.
    keep_in_train
        Image ids that must be in train with their whole unit, for example those that an encoder was trained
        on.

    Raises
    ------
    DataDoubleError
        When the shares do not add up, or a class has too few patients to be in every split.
    """
    table = cohort.table if isinstance(cohort, Cohort) else cohort
    shares = _shares(train, holdout, test)
    units = counted_units(table, set(keep_in_train))
    _check_classes(table, units, sum(share > 0 for share in shares))
    order = sorted(units, key=lambda unit: (not unit.fixed, -len(unit.rows), seed_for(seed, unit.name)))
    total = np.sum([unit.counts for unit in order], axis=0)
    wished = np.outer(shares, total)  # (splits, classes + 1)
    places = deal(order, wished)
    _fill_gaps(order, places, wished)
    column = np.empty(len(table), dtype=object)
    for unit, place in zip(order, places, strict=True):
        column[list(unit.rows)] = SPLITS[place]
    result = table.drop(columns=REASON, errors="ignore")
    result["split"] = column
    return result


def split_cohort(
    path: Path | str,
    *,
    train: float = TRAIN,
    holdout: float | Literal["equal"] = HOLDOUT,
    test: float = TEST,
    seed: int = 0,
    keep_in_train: Iterable[str] | Callable[[Cohort], Iterable[str]] = (),
    overwrite: bool = False,
) -> Cohort:
    """Split the cohort in the folder `path` and write the column.

    Parameters
    ----------
    keep_in_train
        Image ids that must be in train, or a function that names them. Pass
        ``datadouble.encoders.seen_images`` where a shipped encoder is used: what it saw is training data.
    overwrite
        Replace another split. Runs trained on the old one have then seen pictures of the new holdout.

    Raises
    ------
    DataDoubleError
        As `split`, and when the cohort has another split already.
    """
    cohort = Cohort.open(path)
    kept = keep_in_train(cohort) if callable(keep_in_train) else keep_in_train
    table = split(cohort, train=train, holdout=holdout, test=test, seed=seed, keep_in_train=kept)
    if cohort.has_splits and not overwrite and list(table["split"]) != list(cohort.table["split"]):
        raise DataDoubleError(
            "the cohort is split already, in another way",
            where=Path(path).name,
            remedy="keep it, mend it with --mend, or pass --overwrite; but what was trained on the old split saw the "
            "new holdout",
        )
    cohort.replace_table(table)
    return cohort


def split_summary(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return one row a split: its images, patients (those known), and images of each class.

    Excluded pictures have a row where there are any.
    """
    import pandas as pd

    rows = []
    for name in (*SPLITS, EXCLUDED):
        part = table[table["split"] == name]
        if name == EXCLUDED and part.empty:
            continue
        known = part["patient_id"][part["patient_id"] != ""]
        by_class = {str(label): int((part["label"] == label).sum()) for label in sorted(set(table["label"]))}
        rows.append({"split": name, "images": len(part), "patients": known.nunique(), **by_class})
    return pd.DataFrame(rows)


def units_of(table: "pd.DataFrame") -> list[list[int]]:
    """Return the row numbers of each unit: rows linked by a patient or a look-alike group."""
    parent = list(range(len(table)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for column in ("patient_id", "duplicate_group"):
        first: dict[str, int] = {}
        for index, value in enumerate(table[column]):
            if value:
                parent[root(index)] = root(first.setdefault(str(value), index))
    units: dict[int, list[int]] = {}
    for index in range(len(table)):
        units.setdefault(root(index), []).append(index)
    return list(units.values())


def counted_units(table: "pd.DataFrame", kept: Collection[str] = ()) -> list[Unit]:
    """Return the units of a table; `fixed` are those with an image id in `kept`."""
    classes = sorted(set(table["label"]))
    ids, labels = [str(i) for i in table["image_id"]], [str(label) for label in table["label"]]
    units = []
    for rows in units_of(table):
        counts = np.array([*(sum(labels[row] == name for row in rows) for name in classes), 1], dtype=float)
        fixed = any(ids[row] in kept for row in rows)
        units.append(Unit(min(ids[row] for row in rows), tuple(rows), counts, fixed))
    return units


def _shares(train: float, holdout: float | str, test: float) -> np.ndarray:
    if isinstance(holdout, str):
        if holdout != "equal":
            raise DataDoubleError(
                "holdout is neither a share nor 'equal'", found=repr(holdout), remedy="correct it"
            )
        train = holdout = (1 - test) / 2
    shares = np.array([train, holdout, test], dtype=float)
    if (shares < 0).any() or shares[0] <= 0 or abs(shares.sum() - 1) > 1e-6:
        raise DataDoubleError(
            "the shares of train, holdout and test do not add up to 1",
            found=", ".join(f"{share:g}" for share in shares),
            remedy="give three shares that do, train above 0",
        )
    return shares


def _check_classes(table: "pd.DataFrame", units: list[Unit], splits: int) -> None:
    """Refuse classes that cannot be in every split, all of them at once."""
    if not units:
        raise DataDoubleError("the cohort has no pictures", where="metadata.csv", remedy="import some")
    faults = []
    for number, name in enumerate(sorted(set(table["label"]))):
        having = [unit for unit in units if unit.counts[number]]
        free = sum(not unit.fixed for unit in having)
        if len(having) < splits or free < splits - 1:
            kept = f", {len(having) - free} kept in train" if free < len(having) else ""
            images = int(sum(unit.counts[number] for unit in having))
            faults.append(f"{name!r}: {images} images of {len(having)} patients or groups{kept}")
    if faults:
        raise DataDoubleError(
            f"classes have too few patients for {splits} splits",
            where="metadata.csv",
            found="; ".join(faults),
            remedy="merge them with another class, leave them out, or set the share of holdout or test to 0",
        )


def deal(order: list[Unit], wished: np.ndarray) -> list[int]:
    """Return each unit's split: where the chi-squared distance from the wished counts grows least.

    Parameters
    ----------
    order
        The units, large ones first; fixed ones go to split 0.
    wished
        float (splits, classes + 1): images of each class and, last, units. A split of zeros gets none.
    """
    dealt = np.zeros_like(wished)
    open_splits = np.flatnonzero(wished.sum(1) > 0)
    places = []
    for unit in order:
        place = 0
        if not unit.fixed:
            has = unit.counts > 0
            added, short = unit.counts[has], dealt[:, has] - wished[:, has]
            with np.errstate(divide="ignore", invalid="ignore"):
                growth = (added * (2 * short + added) / wished[:, has]).sum(1)
            # rounding makes ties ties on every platform; the first split wins them
            place = int(open_splits[np.argmin(np.round(growth[open_splits], 9))])
        dealt[place] += unit.counts
        places.append(place)
    return places


def _fill_gaps(order: list[Unit], places: list[int], wished: np.ndarray) -> None:
    """Move a unit of a rare class, the smallest, into each split that has none of the class."""
    for number in np.argsort(wished[:, :-1].sum(0), kind="stable"):
        for gap in np.flatnonzero(wished[:, number] > 0):
            having = [i for i, unit in enumerate(order) if unit.counts[number]]
            held = [sum(places[i] == place for i in having) for place in range(len(wished))]
            if held[gap]:
                continue
            movable = [i for i in having if not order[i].fixed and held[places[i]] > 1]
            if movable:
                places[min(movable, key=lambda i: (len(order[i].rows), -held[places[i]], i))] = int(gap)
