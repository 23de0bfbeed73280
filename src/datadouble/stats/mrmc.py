"""Multi-reader multi-case analysis of a table of ratings; the analysis itself is in ``obuchowski_rockette.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from datadouble.stats.auc_covariance import area_covariance
from datadouble.stats.delong import placements
from datadouble.stats.obuchowski_rockette import ReaderStudy, obuchowski_rockette
from datadouble.stats.results import as_labels, as_numbers

if TYPE_CHECKING:
    import pandas

COLUMNS = ("reader", "modality", "case", "truth", "rating")
SHOWN = 5


class _Columns(NamedTuple):
    """Codes into the sorted names of each factor, one entry a rating."""

    reader: np.ndarray
    modality: np.ndarray
    case: np.ndarray
    truth: np.ndarray
    rating: np.ndarray
    names: dict[str, np.ndarray]
    group: np.ndarray | None


def mrmc(
    ratings: pandas.DataFrame | Mapping[str, Sequence[Any] | np.ndarray],
    *,
    readers: str = "random",
    cases: str = "random",
    covariance: str = "delong",
    interval: str = "logit",
    confidence: float = 0.95,
    groups: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> ReaderStudy:
    """Compare modalities read by several readers: areas, differences, F, degrees of freedom, P, variance components.

    Two designs are known. Crossed: each reader rates each case with each modality. Unpaired: each reader rates all
    cases of each modality, and no case is in two modalities (real pictures against synthetic ones); Cov1 and Cov3
    are then 0 by design.

    Parameters
    ----------
    ratings : DataFrame or mapping of columns
        ``reader``, ``modality``, ``case`` (names), ``truth`` (0 and 1, or booleans), ``rating`` (higher: likelier 1).
    readers, cases : str
        ``"random"``: the answer is to hold for readers (cases) like these. ``"fixed"``: for these alone. Not both.
    covariance : str
        Of the areas, due to the cases: ``"delong"``, ``"jackknife"`` or ``"bootstrap"``. Not used with fixed cases.
    interval : str
        Of the modalities' areas: ``"logit"``, or ``"symmetric"`` as MRMCaov prints it, which is too short near 1.
    confidence : float
        In (0, 1).
    groups : str, optional
        Name of a further column, the patient of a case, where a patient may have several.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    ReaderStudy
        With one modality its area only: ``test`` is None. With fixed readers F has infinite denominator degrees of
        freedom.

    Raises
    ------
    ValueError
        For missing columns or values, cells that are missing (named) or double, a case whose truth changes, one
        class only, fewer than 2 random readers, both factors fixed.
    """
    table = _read(ratings, groups)
    kinds, count = len(table.names["modality"]), len(table.names["reader"])
    present = np.zeros((kinds, len(table.names["case"])), dtype=bool)
    present[table.modality, table.case] = True
    unpaired = kinds > 1 and bool((present.sum(axis=0) == 1).all())
    sets = [np.flatnonzero(row) for row in present] if unpaired else [np.flatnonzero(present.any(axis=0))]
    truth = _truth_by_case(table)
    cube = _cube(table, sets, unpaired)

    blocks: list[np.ndarray] = []
    areas: list[np.ndarray] = []
    pairs: list[int] = []
    for members, values in zip(sets, cube, strict=True):
        try:
            labels = as_labels(truth[members])
        except ValueError as error:
            where = f"modality {table.names['modality'][len(blocks)]}: " if unpaired else ""
            raise ValueError(f"{where}{error}") from None
        group = None if table.group is None else _group_by_case(table)[members]
        found = placements(labels, *values, groups=group)
        areas.append(found.auc)
        pairs.append(found.independent_pairs)
        if cases == "fixed":
            blocks.append(np.zeros((len(values), len(values))))
        else:
            blocks.append(
                area_covariance(
                    found,
                    values[:, labels],
                    values[:, ~labels],
                    covariance,
                    resamples=resamples,
                    seed=seed + len(blocks),
                )
            )
    matrix = _block_diagonal(blocks)
    if unpaired and covariance == "jackknife":
        # The jackknife leaves out one of all the cases, not of a modality's (as MRMCaov does for nested cases).
        total = sum(map(len, sets))
        sizes = np.repeat([len(members) for members in sets], count)
        matrix = matrix * ((total - 1) / total / ((sizes - 1) / sizes))[:, None]
    return obuchowski_rockette(
        np.concatenate(areas).reshape(kinds, count),
        matrix,
        cases=round(float(np.mean([len(members) for members in sets]))),
        pairs=min(pairs),
        readers=readers,
        case_model=cases,
        confidence=confidence,
        interval=interval,
        modality_names=tuple(map(str, table.names["modality"])),
        reader_names=tuple(map(str, table.names["reader"])),
        design="unpaired" if unpaired else "crossed",
        method="none" if cases == "fixed" else covariance,
    )


def _read(ratings: Any, groups: str | None) -> _Columns:
    wanted = COLUMNS if groups is None else (*COLUMNS, groups)
    missing = [name for name in wanted if name not in ratings]
    if missing:
        raise ValueError(
            f"ratings lack the columns {', '.join(missing)}: found {', '.join(map(str, ratings))}"
        )
    columns = {name: np.asarray(ratings[name]) for name in wanted}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError("unequal lengths: " + ", ".join(f"{name} {size}" for name, size in lengths.items()))
    if not lengths["reader"]:
        raise ValueError("ratings hold no rows")
    codes, names = {}, {}
    for name in ("reader", "modality", "case", *([groups] if groups else [])):
        column = columns[name]
        empty = np.array([item is None or item != item for item in column.tolist()])
        if empty.any():
            raise ValueError(f"column {name} is empty in {int(empty.sum())} rows")
        # Numbers keep their order (2 before 10); everything else is sorted as text.
        names[name], codes[name] = np.unique(
            column if column.dtype.kind in "iu" else column.astype(str), return_inverse=True
        )
    truth, rating = as_numbers(columns["truth"], "truth"), as_numbers(columns["rating"], "rating")
    if not np.isin(truth, (0.0, 1.0)).all():
        raise ValueError(f"truth must be 0 and 1 (or booleans): found {np.unique(truth)[:5].tolist()}")
    return _Columns(
        codes["reader"],
        codes["modality"],
        codes["case"],
        truth,
        rating,
        names,
        codes[groups] if groups else None,
    )


def _constant_by_case(table: _Columns, values: np.ndarray, name: str) -> np.ndarray:
    """The value of each case; an error where its rows differ."""
    by_case = np.zeros(len(table.names["case"]), dtype=values.dtype)
    by_case[table.case] = values
    changed = np.unique(table.case[by_case[table.case] != values])
    if len(changed):
        cases = ", ".join(map(str, table.names["case"][changed[:SHOWN]]))
        raise ValueError(
            f"{name} changes between the rows of {len(changed)} cases ({cases}): give different cases different names"
        )
    return by_case


def _truth_by_case(table: _Columns) -> np.ndarray:
    return _constant_by_case(table, table.truth, "truth")


def _group_by_case(table: _Columns) -> np.ndarray:
    assert table.group is not None
    return _constant_by_case(table, table.group, "the group")


def _cube(table: _Columns, sets: list[np.ndarray], unpaired: bool) -> list[np.ndarray]:
    """Ratings (curves, cases) of each set of cases, all readers of a modality in a row; every cell filled once."""
    kinds, count, size = (len(table.names[name]) for name in ("modality", "reader", "case"))
    flat = (table.modality * count + table.reader) * size + table.case
    times = np.bincount(flat, minlength=kinds * count * size).reshape(kinds, count, size)
    needed = np.zeros((kinds, 1, size), dtype=bool)
    for kind in range(kinds):
        needed[kind, 0, sets[kind] if unpaired else sets[0]] = True
    _refuse(
        table,
        times > 1,
        "rated more than once: keep one rating of each (the first, where cases are repeated)",
    )
    remedy = (
        "missing: every reader must rate every case with every modality, or no case may be in two modalities; drop the "
        "incomplete cases or readers, or give cases that belong to one modality names of their own"
    )
    _refuse(table, needed & (times == 0), remedy)
    column = np.zeros(kinds * count * size)
    column[flat] = table.rating
    values = column.reshape(kinds, count, size)
    if unpaired:
        return [values[kind][:, members] for kind, members in enumerate(sets)]
    return [values.reshape(kinds * count, size)[:, sets[0]]]


def _refuse(table: _Columns, cells: np.ndarray, why: str) -> None:
    found = np.argwhere(cells)
    if len(found):
        some = "; ".join(
            f"reader {table.names['reader'][j]}, modality {table.names['modality'][i]}, case {table.names['case'][k]}"
            for i, j, k in found[:SHOWN]
        )
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise ValueError(f"{len(found)} cells are {why}: {some}{more}")


def _block_diagonal(blocks: list[np.ndarray]) -> np.ndarray:
    size = sum(map(len, blocks))
    matrix, start = np.zeros((size, size)), 0
    for block in blocks:
        matrix[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    return matrix
