"""Rank tests with their effect: Wilcoxon's signed ranks for pairs, Mann and Whitney's for two samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datadouble.stats.results import as_numbers, check_confidence, check_lengths, normal_quantile
from datadouble.stats.roc import roc_auc

ALTERNATIVES = ("two-sided", "greater", "less")


class RankTest(NamedTuple):
    """A rank test with its effect size (``value``), the effect's interval, and n."""

    statistic: float
    p_value: float
    value: float
    low: float
    high: float
    n: int


def wilcoxon_signed_rank(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray | None = None,
    *,
    alternative: str = "two-sided",
    confidence: float = 0.95,
) -> RankTest:
    """Wilcoxon's signed-rank test of paired differences.

    Parameters
    ----------
    first, second : array_like, shape (n,)
        Pairs; without ``second``, ``first`` holds the differences.
    alternative : str
        ``"two-sided"``, ``"greater"`` (first tends to be larger) or ``"less"``.
    confidence : float
        In (0, 1), of the two-sided interval of the effect.

    Returns
    -------
    RankTest
        ``statistic`` is scipy's: the smaller rank sum for two-sided, else the sum of positive ranks. Zero
        differences are dropped for the test (if all are, p = 1). ``value`` is the Hodges-Lehmann median of the
        differences (the median of the averages of all pairs of differences, with the zeros) and the interval
        inverts the test (Hollander and Wolfe 1999, 3.3): exact for up to 50 differences, normal beyond. Below 6
        differences no test reaches 0.05, nothing can be excluded, and the 95% interval is (-inf, inf). ``n``
        counts the pairs.

    Raises
    ------
    ValueError
        For unequal lengths, NaN or infinite differences, no pairs, an unknown alternative.
    """
    from scipy.stats import wilcoxon

    _check(alternative, confidence)
    differences = as_numbers(first, "first")
    if second is not None:
        other = as_numbers(second, "second")
        check_lengths(first=differences, second=other)
        differences = differences - other
    if not np.isfinite(differences).all():
        raise ValueError("a difference is not finite: rank tests of pairs need finite values")
    if differences.any():
        result = wilcoxon(differences, alternative=alternative)
        statistic, p_value = float(result.statistic), float(result.pvalue)
    else:
        statistic, p_value = 0.0, 1.0
    ordered = np.sort(differences)
    n = len(ordered)
    total = n * (n + 1) // 2
    value = (_walsh(ordered, (total + 1) // 2) + _walsh(ordered, total // 2 + 1)) / 2
    cut = _signed_rank_quantile(n, (1 - confidence) / 2)
    low, high = (_walsh(ordered, cut), _walsh(ordered, total + 1 - cut)) if cut else (-np.inf, np.inf)
    return RankTest(statistic, p_value, value, low, high, n)


def mann_whitney(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    *,
    alternative: str = "two-sided",
    confidence: float = 0.95,
) -> RankTest:
    """Mann and Whitney's test of two independent samples, with the probability that the first is larger.

    Parameters
    ----------
    first, second : array_like
        The samples; infinite values are allowed.
    alternative : str
        ``"two-sided"``, ``"greater"`` (first tends to be larger) or ``"less"``.
    confidence : float
        In (0, 1), of the two-sided interval of the effect.

    Returns
    -------
    RankTest
        ``statistic`` is U of the first sample. ``value`` is U / (n1·n2) = P(first > second) + P(equal) / 2, the
        area under the ROC curve, with the interval of :func:`~datadouble.stats.roc_auc`. ``n`` counts both samples.
        All values equal: p = 1.

    Raises
    ------
    ValueError
        For an empty sample, NaN, an unknown alternative.
    """
    from scipy.stats import mannwhitneyu

    _check(alternative, confidence)
    a, b = as_numbers(first, "first"), as_numbers(second, "second")
    values = np.concatenate([a, b])
    if (values == values[0]).all():
        statistic, p_value = len(a) * len(b) / 2, 1.0
    else:
        result = mannwhitneyu(a, b, alternative=alternative)
        statistic, p_value = float(result.statistic), float(result.pvalue)
    effect = roc_auc(np.repeat([1, 0], [len(a), len(b)]), values, confidence=confidence)
    return RankTest(statistic, p_value, *effect)


def _check(alternative: str, confidence: float) -> None:
    check_confidence(confidence)
    if alternative not in ALTERNATIVES:
        raise ValueError(f"unknown alternative {alternative!r}: use one of {', '.join(ALTERNATIVES)}")


def _walsh(ordered: np.ndarray, rank: int) -> float:
    """The rank-th smallest of the averages (x_i + x_j) / 2, i <= j, without forming all n (n + 1) / 2 of them.

    Bisection on the value: how many averages are <= x is a search in the sorted differences.
    """
    n = len(ordered)
    if n <= 1000:
        rows, columns = np.triu_indices(n)
        return float(np.partition((ordered[rows] + ordered[columns]) / 2, rank - 1)[rank - 1])
    low, high = float(ordered[0]), float(ordered[-1])
    for _ in range(80):
        middle = low + (high - low) / 2
        below = np.searchsorted(ordered, 2 * middle - ordered, side="right")
        # Ordered pairs are counted twice, the diagonal once.
        count = (int(below.sum()) + int((ordered <= middle).sum())) // 2
        if count >= rank:
            high = middle
        else:
            low = middle
    return high


def _signed_rank_quantile(n: int, tail: float) -> int:
    """The smallest c with P(T+ <= c) >= tail under the null, T+ the sum of positive ranks of n differences."""
    if n > 50:
        spread = np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return max(0, round(n * (n + 1) / 4 - normal_quantile(1 - 2 * tail) * spread))
    ways = np.ones(1)
    for rank in range(1, n + 1):
        ways = np.append(ways, np.zeros(rank)) + np.append(np.zeros(rank), ways)
    return int(np.searchsorted(np.cumsum(ways) / 2.0**n, tail))
