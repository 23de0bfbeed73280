"""Comparisons: part against part (the same cases), real against synthetic (other cases), group against group."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from datadouble import stats
from datadouble.audit.evidence import named
from datadouble.study.analysis.intervals import contrast
from datadouble.study.analysis.readers import adjust, compared
from datadouble.study.analysis.readings import Task

FEWEST_FOR_WILCOXON = 6  # pairs below which no signed-rank test reaches 0.05


def part_against_part(tasks: list[Task]) -> list[dict[str, Any]]:
    """The same cases read in two parts: each reader's areas by paired DeLong, all readers' by Wilcoxon."""
    found = []
    for first, second in combinations([task for task in tasks if task.binary], 2):
        shared = set(first.cases["case"]) & set(second.cases["case"])
        if first.question.key != second.question.key or not shared:
            continue
        rows = []
        for code in [code for code in first.complete() if code in second.complete()]:
            one, two = (
                task.of(code).set_index("case").loc[sorted(shared)].reset_index() for task in (first, second)
            )
            truth = one["truth"].to_numpy()
            if len(np.unique(truth)) == 2:
                ratings = one["rating"].to_numpy(), two["rating"].to_numpy()
                groups = first.patients(one)
                row: dict[str, Any] = {"reader": code, "group": str(one["group"].iloc[0])}
                row |= compared(stats.auc_difference, stats.delong_test, truth, *ratings, groups=groups)
                row["areas"] = [_area(truth, rating, groups) for rating in ratings]
                rows.append(row)
        found.append(
            _with_all(rows, {"first": first.part.name, "second": second.part.name, "cases": len(shared)})
            | {"question": first.question.key, "test": "paired DeLong"}
        )
    return [entry for entry in found if entry["readers"]]


def real_against_synthetic(task: Task) -> dict[str, Any] | None:
    """Whether readers grade synthetic images as well as real ones: unpaired DeLong, and Wilcoxon over readers."""
    if not task.binary or len(task.sets) < 3:
        return None
    rows = []
    for code in task.complete():
        frames = [task.of(code, name) for name in ("real", "synthetic")]
        if any(frame["truth"].nunique() < 2 for frame in frames):
            continue
        arrays = [array for f in frames for array in (f["truth"].to_numpy(), f["rating"].to_numpy())]
        groups = {f"groups_{side}": task.patients(f) for side, f in zip("ab", frames, strict=True)}
        row: dict[str, Any] = {"reader": code, "group": str(frames[0]["group"].iloc[0])}
        row |= compared(stats.auc_difference_unpaired, stats.delong_test_unpaired, *arrays, **groups)
        row["areas"] = [
            _area(f["truth"].to_numpy(), f["rating"].to_numpy(), task.patients(f)) for f in frames
        ]
        rows.append(row)
    if not rows:
        return None
    return _with_all(rows, {"first": "real", "second": "synthetic"}) | {
        "part": task.part.name,
        "question": task.question.key,
        "test": "unpaired DeLong",
    }


def _area(truth: np.ndarray, rating: np.ndarray, groups: np.ndarray | None) -> dict[str, Any]:
    return named(stats.roc_auc(truth, rating, method="delong-logit", groups=groups))


def _with_all(rows: list[dict[str, Any]], about: dict[str, Any]) -> dict[str, Any]:
    """The rows with Holm's correction, and Wilcoxon's test over the readers."""
    adjust(rows)
    entry: dict[str, Any] = {**about, "readers": rows}
    if rows:
        values = [[row["areas"][side]["value"] for row in rows] for side in (0, 1)]
        rank = stats.wilcoxon_signed_rank(values[0], values[1])
        entry["wilcoxon"] = named(rank)
        if len(rows) < FEWEST_FOR_WILCOXON:
            entry["wilcoxon"] |= {
                "low": None,
                "high": None,
                "note": f"{len(rows)} readers: below {FEWEST_FOR_WILCOXON} this test cannot reach 0.05, nor bound the "
                "difference",
            }
    return entry


def group_against_group(task: Task) -> list[dict[str, Any]]:
    """Junior against senior: the difference of the groups' mean areas over the same cases, by set of cases.

    ``value`` and its interval are DeLong's contrast and hold for these readers; ``ranks`` is Mann and Whitney's test of
    the readers' areas, which asks about readers like these and has little power with a few.
    """
    found: list[dict[str, Any]] = []
    if not task.binary:
        return found
    for name in task.sets:
        for first, second in combinations(task.groups, 2):
            codes = task.complete(first), task.complete(second)
            if not all(codes):
                continue
            ratings = task.matrix("rating", codes[0] + codes[1], name)
            about = task.about(ratings.index)
            if about["truth"].nunique() < 2:
                continue
            placed = stats.placements(
                about["truth"].to_numpy(),
                *ratings.to_numpy().T,
                groups=task.patients(about),
            )
            weights = np.concatenate(
                [np.full(len(codes[0]), 1 / len(codes[0])), np.full(len(codes[1]), -1 / len(codes[1]))]
            )
            entry: dict[str, Any] = {
                "first": first,
                "second": second,
                "cases": name,
                "readers": [len(codes[0]), len(codes[1])],
                "test": "DeLong, these readers",
                "means": [
                    float(placed.auc[: len(codes[0])].mean()),
                    float(placed.auc[len(codes[0]) :].mean()),
                ],
                "n": len(ratings),
            } | contrast(placed, weights)
            rank = stats.mann_whitney(placed.auc[: len(codes[0])], placed.auc[len(codes[0]) :])
            # Without an interval: none holds 95% of groups of three.
            entry["ranks"] = {
                key: value for key, value in named(rank).items() if key not in ("low", "high")
            } | {"what": "chance that a reader of the first group has the larger area"}
            found.append(entry)
    adjust(found)
    return found
