"""Confidence intervals: of proportions, and of any statistic by a bootstrap over patients."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np

from datadouble.stats.results import check_confidence

PROPORTION_METHODS = ("wilson", "wilson-cc", "clopper-pearson")


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A value, its confidence interval, and the number of observations it rests on."""

    value: float
    low: float
    high: float
    n: int


def proportion_interval(
    successes: int, trials: int, *, confidence: float = 0.95, method: str = "wilson-cc"
) -> Interval:
    """Two-sided interval of a proportion.

    Parameters
    ----------
    successes, trials : int
        Counts, 0 <= successes <= trials, trials >= 1.
    confidence : float
        In (0, 1).
    method : str
        ``"wilson"`` (score interval, Wilson 1927), ``"wilson-cc"`` (the same with continuity correction, Newcombe
        1998, method 4) or ``"clopper-pearson"`` (exact).

    Returns
    -------
    Interval
        Both ends in [0, 1].

    Raises
    ------
    ValueError
        Where the counts, the confidence or the method are out of range.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(
            f"successes must lie in 0..trials and trials be positive: found {successes} of {trials}"
        )
    check_confidence(confidence)
    if method not in PROPORTION_METHODS:
        raise ValueError(f"unknown method {method!r}: use one of {', '.join(PROPORTION_METHODS)}")
    # scipy's binomtest gives the same ends, and a p-value that takes a hundred times as long.
    k, n = int(successes), int(trials)
    if method == "clopper-pearson":
        return _clopper_pearson(k, n, confidence)
    return _wilson(k, n, confidence, corrected=method == "wilson-cc")


def _clopper_pearson(k: int, n: int, confidence: float) -> Interval:
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return Interval(low, high)


def _wilson(k: int, n: int, confidence: float, *, corrected: bool) -> Interval:
    """The score interval; with continuity correction as Newcombe 1998, method 4."""
    from scipy.special import ndtri

    p, z = k / n, float(ndtri((1 + confidence) / 2))
    ends = []
    for side in (-1, 1):
        spread = z**2 + 4 * n * p * (1 - p)
        shift = 0.0
        if corrected:
            spread += -1 / n - side * (4 * p - 2)
            shift = 1.0
        ends.append(
            (2 * n * p + z**2 + side * (shift + z * float(np.sqrt(max(spread, 0.0))))) / (2 * (n + z**2))
        )
    return Interval(0.0 if k == 0 else max(ends[0], 0.0), 1.0 if k == n else min(ends[1], 1.0))


def proportion_estimate(
    successes: int, trials: int, *, confidence: float = 0.95, method: str = "wilson-cc"
) -> Estimate:
    """The proportion with :func:`proportion_interval` and its number of trials."""
    low, high = proportion_interval(successes, trials, confidence=confidence, method=method)
    return Estimate(successes / trials, low, high, int(trials))


def bootstrap(
    statistic: Callable[..., float],
    data: np.ndarray | Sequence[np.ndarray],
    *,
    groups: Sequence[Hashable] | np.ndarray | Sequence[np.ndarray | None] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    centre: bool = False,
) -> Estimate:
    """Percentile bootstrap of a statistic, resampling whole groups (patients) where they are given.

    Parameters
    ----------
    statistic : callable
        ``statistic(sample) -> float``, or ``statistic(first, second, ...)`` where several samples are given.
    data : ndarray or sequence of ndarray
        One array, resampled along its first axis; or several independent samples, each resampled by itself.
    groups : sequence, optional
        Group (patient) of each row. For several samples a sequence with one entry (an array, or None) a sample. All
        rows of a drawn group come together (cluster bootstrap; Davison and Hinkley 1997, section 3.8).
    resamples : int
        Number of bootstrap resamples.
    seed : int
        Equal seeds give equal intervals.
    confidence : float
        In (0, 1).
    centre : bool
        Shift the percentile interval by the bootstrap bias, value - mean of the resampled values. Resampling repeats
        rows, which inflates distances between distributions; without the shift their interval may exclude the value.

    Returns
    -------
    Estimate
        ``n`` counts the rows of the first sample. The ends are NaN where a sample is a single group: one patient says
        nothing of how patients differ, and drawing them again and again would feign certainty.

    Raises
    ------
    ValueError
        Where a sample is empty, the groups do not match the rows, or the confidence is not in (0, 1).
    """
    check_confidence(confidence)
    samples = [data] if isinstance(data, np.ndarray) else [np.asarray(sample) for sample in data]
    if groups is None:
        sample_groups: list[np.ndarray | None] = [None] * len(samples)
    elif isinstance(data, np.ndarray):
        sample_groups = [np.asarray(groups)]
    else:
        sample_groups = [None if g is None else np.asarray(g) for g in groups]
    if len(sample_groups) != len(samples):
        raise ValueError(f"{len(samples)} samples but {len(sample_groups)} group lists")
    rows = [_rows_by_group(len(sample), g) for sample, g in zip(samples, sample_groups, strict=True)]
    value = float(statistic(*samples))
    if resamples == 0 or min(map(len, rows)) < 2:
        return Estimate(value, float("nan"), float("nan"), len(samples[0]))

    rng = np.random.default_rng(seed)
    values = np.empty(resamples)
    for index in range(resamples):
        drawn = [
            sample[np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])]
            for sample, members in zip(samples, rows, strict=True)
        ]
        values[index] = statistic(*drawn)
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    shift = value - float(np.mean(values)) if centre else 0.0
    return Estimate(value, float(low + shift), float(high + shift), len(samples[0]))


def _rows_by_group(length: int, groups: np.ndarray | None) -> list[np.ndarray]:
    if length == 0:
        raise ValueError("a sample is empty: nothing to resample")
    if groups is None:
        return list(np.arange(length)[:, None])
    if len(groups) != length:
        raise ValueError(f"{length} rows but {len(groups)} group entries")
    _, codes = np.unique(groups.astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
