"""Wasserstein-1 and Kolmogorov-Smirnov: distances between two samples of one number, such as a lesion's size.

W1 is the area between the two distribution functions, in the number's own unit; KS their greatest gap, in [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from datadouble.audit.evidence import named
from datadouble.audit.fidelity.comparison import (
    DEFAULT_SIZES,
    Plan,
    Sizes,
    centred_interval,
    measured,
    paired_counts,
    patient_counts,
    plan_comparison,
    real_floor_values,
)
from datadouble.randomness import seed_for

QUANTILES = tuple(round(0.05 * i, 2) for i in range(21))  # for a plot


def wasserstein_1(first: np.ndarray, second: np.ndarray) -> float:
    """Wasserstein-1 distance of two samples, in their unit."""
    return float(sample_distances(first, second)[0][0])


def kolmogorov_smirnov(first: np.ndarray, second: np.ndarray) -> float:
    """Greatest difference of the two empirical distribution functions, in [0, 1]."""
    return float(sample_distances(first, second)[1][0])


def sample_distances(
    first: np.ndarray,
    second: np.ndarray,
    first_counts: np.ndarray | None = None,
    second_counts: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """W1 and KS of two samples, for many resamples at once.

    Parameters
    ----------
    first, second : ndarray
        (n,) and (m,) finite values.
    first_counts, second_counts : ndarray, optional
        (r, n) and (r, m): how often each value counts in each resample; default once, r = 1.

    Returns
    -------
    tuple of ndarray
        (r,) each.

    Raises
    ------
    ValueError
        For an empty sample.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if min(len(a), len(b)) == 0:
        raise ValueError("a distance between samples needs values on both sides")
    values = np.concatenate([a, b])
    order = np.argsort(values, kind="stable")
    steps = np.diff(values[order])
    counts = [
        np.ones((1, len(x))) if c is None else np.atleast_2d(c).astype(np.float64)
        for x, c in ((a, first_counts), (b, second_counts))
    ]
    empty = [np.zeros((c.shape[0], n)) for c, n in ((counts[0], len(b)), (counts[1], len(a)))]
    ours = np.concatenate([counts[0], empty[0]], axis=1)[:, order]
    theirs = np.concatenate([empty[1], counts[1]], axis=1)[:, order]
    totals = [c.sum(axis=1, keepdims=True) for c in counts]
    gap = np.abs(np.cumsum(ours, axis=1) / totals[0] - np.cumsum(theirs, axis=1) / totals[1])[:, :-1]
    apart = steps > 0  # a distribution function has no value between equal numbers
    greatest = gap[:, apart].max(axis=1) if apart.any() else np.zeros(len(gap))
    return gap @ steps, greatest


def compare_samples(
    synthetic: np.ndarray,
    reference: np.ndarray,
    counterpart: np.ndarray | None,
    *,
    synthetic_groups: np.ndarray,
    reference_groups: np.ndarray,
    counterpart_groups: np.ndarray | None,
    unit: str = "",
    sizes: Sizes = DEFAULT_SIZES,
    seed: int = 0,
) -> dict[str, Any]:
    """One number of synthetic and real pictures (or lesions) compared, as JSON.

    Parameters
    ----------
    synthetic, reference, counterpart : ndarray
        Values; NaN where undefined, which is counted and left out.
    synthetic_groups, reference_groups, counterpart_groups : ndarray
        Patient of each value.
    unit : str

    Returns
    -------
    dict
        ``unit``; ``synthetic`` and ``real``: mean with interval over patients, standard deviation, 21 quantiles and
        how many were ``undefined``; ``wasserstein`` and ``kolmogorov_smirnov`` with interval and floor, the first
        also ``in_real_sd``. Where there are too few values ``note`` says so.
    """
    values, groups = [], []
    result: dict[str, Any] = {"unit": unit}
    for key, x, g in (
        ("synthetic", synthetic, synthetic_groups),
        ("real", reference, reference_groups),
        ("other", counterpart, counterpart_groups),
    ):
        if x is None or g is None:
            continue
        fine = np.isfinite(x)
        values.append(np.asarray(x, np.float64)[fine])
        groups.append(np.asarray(g)[fine])
        if key != "other":
            result[key] = describe(values[-1], groups[-1], sizes, seed_for(seed, "mean", key)) | {
                "undefined": int(np.sum(~fine))
            }
    plan = plan_comparison(
        groups[0],
        groups[1],
        groups[2] if len(groups) > 2 else None,
        repeats=sizes.repeats,
        seed=seed_for(seed, "plan"),
    )
    if plan.note:
        return result | {"note": plan.note.replace("pictures", "values")}
    for key, found in zip(
        ("wasserstein", "kolmogorov_smirnov"),
        _both(values[0], values[1], values[2] if len(values) > 2 else None, groups, plan, sizes, seed),
        strict=True,
    ):
        result[key] = found
    spread = float(values[1].std())
    wasserstein = result["wasserstein"]["value"]
    result["wasserstein"]["in_real_sd"] = wasserstein / spread if spread > 0 else None
    return result


def describe(values: np.ndarray, groups: np.ndarray, sizes: Sizes, seed: int) -> dict[str, Any]:
    """Mean with its interval over patients, spread and quantiles of a sample."""
    if len(values) == 0:
        return {"value": None, "low": None, "high": None, "n": 0, "sd": None, "quantiles": []}
    counts = patient_counts(groups, sizes.resamples, seed)
    means = counts @ values / counts.sum(axis=1)
    mean = centred_interval(float(values.mean()), means, len(values), sizes.confidence)
    return {
        **named(mean),
        "sd": float(values.std()),
        "quantiles": np.quantile(values, QUANTILES).tolist(),
    }


def _both(
    synthetic: np.ndarray,
    real: np.ndarray,
    other: np.ndarray | None,
    groups: list[np.ndarray],
    plan: Plan,
    sizes: Sizes,
    seed: int,
) -> list[dict[str, Any]]:
    first, second = plan.draws[0]
    counts = paired_counts(groups[1][first], groups[0][second], sizes, seed_for(seed, "samples"))
    resampled = sample_distances(real[first], synthetic[second], *counts)
    draws = [sample_distances(real[a], synthetic[b]) for a, b in plan.draws]
    floors = real_floor_values(sample_distances, real, other, plan)
    return [
        measured(
            [float(draw[i][0]) for draw in draws],
            resampled[i],
            ([float(v[i][0]) for v in floors[0]], [float(v[i][0]) for v in floors[1]]),
            plan,
            sizes,
            (0.0, (np.inf, 1.0)[i]),
        )
        for i in range(2)
    ]
