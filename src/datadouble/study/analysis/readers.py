"""What each reader did in a task: areas, sensitivity and specificity, the equivalence to guessing, times, learning."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble import stats
from datadouble.audit.evidence import named
from datadouble.study.analysis.intervals import median_interval, share, signal_detection
from datadouble.study.analysis.readings import Task

if TYPE_CHECKING:
    import pandas as pd

CHANCE, MARGIN, ALPHA = 0.5, 0.05, 0.05
# A reader who gives one answer nearly always has an area near 0.5 whatever they see: that proves nothing.
ONE_SIDED = 0.1
MOST_POINTS = 101


def reader_results(task: Task) -> list[dict[str, Any]]:
    """One entry a reader: how far they got, and by set of cases what they reached. P values are adjusted by Holm."""
    results = []
    for facts in task.readers:
        entry: dict[str, Any] = facts._asdict() | {"complete": facts.complete}
        if facts.answered:
            entry["sets"] = {name: _set(task, task.of(facts.reader, name)) for name in task.sets}
            entry["times"] = times(task.of(facts.reader))
            entry["learning"] = learning(task, task.of(facts.reader))
        results.append(entry)
    for name in task.sets:
        adjust([at for r in results if (at := r.get("sets", {}).get(name, {}).get("against_chance"))])
        adjust([at for r in results if (at := r.get("sets", {}).get(name, {}).get("equivalence"))])
    adjust([at for r in results if (at := (r.get("learning") or {}).get("auc_gained"))])
    return results


def adjust(entries: list[dict[str, Any]]) -> None:
    """Give entries that have a ``p_value`` also ``p_holm``, over all of them."""
    entries = [entry for entry in entries if entry.get("p_value") is not None]
    if entries:
        for entry, value in zip(entries, stats.holm([e["p_value"] for e in entries]), strict=True):
            entry["p_holm"] = float(value)


def _set(task: Task, frame: pd.DataFrame) -> dict[str, Any]:
    right = (frame["value"] == frame["right"]).to_numpy()
    found: dict[str, Any] = {"n": len(frame), "patients": int(frame["patient"].nunique())}
    patients = task.patients(frame)
    if task.question.truth and len(frame):
        found["accuracy"] = share(right, units=patients, strata=frame["right"].to_numpy(dtype=str))
    truth = frame["truth"].to_numpy()
    if not task.binary or len(np.unique(truth)) < 2:
        return found | {"note": "no area: the cases judged are of one kind" if task.binary else ""}
    rating, called = frame["rating"].to_numpy(), frame["called"].to_numpy()
    curve = stats.roc_curve(truth, rating)
    keep = np.unique(np.linspace(0, len(curve.fpr) - 1, min(MOST_POINTS, len(curve.fpr))).astype(int))
    positive = truth == 1
    of_positives, of_negatives = (
        (None, None) if patients is None else (patients[positive], patients[~positive])
    )
    positives, negatives = int(positive.sum()), int((~positive).sum())
    test = stats.delong_test_value(truth, rating, CHANCE, groups=patients)
    found |= {
        "positives": positives,
        "negatives": negatives,
        "auc": named(stats.roc_auc(truth, rating, method="delong-logit", groups=patients)),
        "binormal": _binormal(truth, rating, task.scale),
        # stats.two_answer_auc, with patients as units.
        "two_answer_auc": share(called == truth, units=patients, strata=truth, equal=True),
        "sensitivity": share(called[positive], units=of_positives),
        "specificity": share(1 - called[~positive], units=of_negatives),
        "called_positive": share(called, units=patients, strata=truth),
        "signal_detection": signal_detection(called, truth, patients),
        "against_chance": {"statistic": test.statistic, "p_value": test.p_value},
        "equivalence": _equivalence(truth, rating, called, patients),
        "roc": {"fpr": curve.fpr[keep].tolist(), "tpr": curve.tpr[keep].tolist()},
    }
    return found


def _binormal(truth: np.ndarray, rating: np.ndarray, scale: str) -> dict[str, Any]:
    if scale != "confidence":
        return {"degenerate": "no confidence was asked for"}
    fit = stats.binormal_roc(truth, rating)
    if fit.degenerate:
        return {"degenerate": fit.degenerate}
    # a and b without intervals: of few cases those do not hold 95% (results/study/coverage.md).
    return {"auc": named(fit.auc), "a": fit.a.value, "b": fit.b.value, "categories": fit.categories}


def _equivalence(
    truth: np.ndarray, rating: np.ndarray, called: np.ndarray, patients: np.ndarray | None
) -> dict[str, Any]:
    """TOST of the area within 0.5 ± 0.05, and whether the answers can bear it.

    The 90% interval is the one on the logit scale, which also holds for areas far from 0.5; the verdict is the test's.
    """
    shown = stats.roc_auc(truth, rating, method="delong-logit", confidence=1 - 2 * ALPHA, groups=patients)
    found = stats.auc_equivalence_test_value(
        truth, rating, CHANCE, margin=MARGIN, alpha=ALPHA, groups=patients
    )
    one_sided = bool(min(called.mean(), 1 - called.mean()) < ONE_SIDED)
    passed = found.equivalent and not one_sided
    return {
        "value": shown.value,
        "low": shown.low,
        "high": shown.high,
        "n": found.n,
        "confidence": 1 - 2 * ALPHA,
        "band": [CHANCE - MARGIN, CHANCE + MARGIN],
        "p_value": found.p_value,
        "equivalent": passed,
        "one_sided": one_sided,
        "verdict": verdict(passed, one_sided, shown.low, shown.high),
    }


def verdict(equivalent: bool, one_sided: bool, low: float, high: float) -> str:
    """What an interval says about the band, in words."""
    if one_sided:
        return "not judged: nearly always the same answer"
    if equivalent:
        return "inside the band"
    if low > CHANCE + MARGIN or high < CHANCE - MARGIN:
        return "outside the band"
    if low <= CHANCE <= high:
        return "open: too few cases to say"
    return f"not shown: leans {'above' if low > CHANCE else 'below'} 0.5"


def times(frame: pd.DataFrame) -> dict[str, Any]:
    """Median seconds of an answer: all, right and wrong ones, and how many times are unknown."""
    seconds = frame["seconds"].to_numpy()
    right = (frame["value"] == frame["right"]).to_numpy()
    return {
        "seconds": median_interval(seconds),
        "right": median_interval(seconds[right]),
        "wrong": median_interval(seconds[~right]),
        "unknown": int((~np.isfinite(seconds)).sum()),
    }


def learning(task: Task, frame: pd.DataFrame) -> dict[str, Any] | None:
    """The second half of a reader's answers against the first: area gained, and whether the answers grew quicker."""
    middle = len(frame) // 2
    halves = [frame.iloc[:middle], frame.iloc[middle:]]
    found: dict[str, Any] = {}
    seconds = [half["seconds"].dropna().to_numpy() for half in halves]
    if min(map(len, seconds)) >= 2:
        rank = stats.mann_whitney(seconds[1], seconds[0])
        found["slower_in_second_half"] = named(rank)
        found["seconds"] = [median_interval(one) for one in seconds]
    if task.binary and all(half["truth"].nunique() == 2 for half in halves):
        first, second = ((half["truth"].to_numpy(), half["rating"].to_numpy()) for half in halves)
        of_first, of_second = (task.patients(half) for half in halves)
        found["auc_gained"] = compared(
            stats.auc_difference_unpaired,
            stats.delong_test_unpaired,
            *second,
            *first,
            groups_a=of_second,
            groups_b=of_first,
        )
        found["auc"] = [
            named(stats.roc_auc(*half, method="delong-logit", groups=groups))
            for half, groups in ((first, of_first), (second, of_second))
        ]
    return found or None


def compared(
    difference: Callable[..., stats.Estimate],
    test: Callable[..., stats.TestResult],
    *arrays: Any,
    **groups: Any,
) -> dict[str, Any]:
    """A difference of areas with its interval, and the test of it."""
    result = test(*arrays, **groups)
    return named(difference(*arrays, **groups)) | {"statistic": result.statistic, "p_value": result.p_value}
