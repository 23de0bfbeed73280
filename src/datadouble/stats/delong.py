"""DeLong's variance of areas under ROC curves, and the tests built on it.

Sources: DeLong, DeLong and Clarke-Pearson, Biometrics 1988;44:837; the midrank algorithm of Sun and Xu, IEEE Signal
Processing Letters 2014;21:1389; several pictures of one patient: Obuchowski, Biometrics 1997;53:567.

Where a curve separates the classes perfectly, or all its scores are equal, DeLong's variance is 0, and an interval
of no width would be a false promise. Then the area is treated as a binomial proportion of k independent pairs, k
being the number of disjoint (positive, negative) pairs of patients that the sample holds: each such pair is in the
right order with a probability equal to the area, so that the Clopper-Pearson interval on k is valid whatever the
distributions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datadouble.stats.intervals import Estimate, Interval
from datadouble.stats.results import (
    Groups,
    TestResult,
    as_labels,
    as_numbers,
    check_confidence,
    check_lengths,
    normal_quantile,
    normal_test,
)

# Variances are sums of squares of placements, which differ by 1 / (2 n) at least; below this it is rounding.
NO_VARIANCE = 1e-24

Scores = Sequence[float] | np.ndarray
Labels = Sequence[int] | np.ndarray


class Placements(NamedTuple):
    """The placement values of one or several curves over the same cases.

    ``positives[c, i]`` is the share of negatives that curve c scores below positive i (ties count half),
    ``negatives[c, j]`` the share of positives above negative j; the groups are codes 0, 1, ... of the patients.
    """

    auc: np.ndarray  # (curves,)
    positives: np.ndarray  # (curves, m)
    negatives: np.ndarray  # (curves, n)
    positive_groups: np.ndarray  # (m,)
    negative_groups: np.ndarray  # (n,)

    @property
    def cases(self) -> int:
        """How many cases there are, positive and negative."""
        return len(self.positive_groups) + len(self.negative_groups)

    @property
    def independent_pairs(self) -> int:
        """How many disjoint (positive, negative) pairs of patients the sample holds."""
        positive, negative = np.unique(self.positive_groups), np.unique(self.negative_groups)
        return min(len(positive), len(negative), len(np.union1d(positive, negative)) // 2)


def midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, tied values sharing their mean; half the time of scipy's rankdata."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean: np.ndarray = np.cumsum(counts) - (counts - 1) / 2
    return mean[codes]


def placements(labels: Labels, *curves: Scores, groups: Groups | None = None) -> Placements:
    """Placement values of each curve by midranks, in O(n log n).

    Parameters
    ----------
    labels : array_like of bool or {0, 1}, shape (n,)
        1 for the class that should score higher.
    *curves : array_like, shape (n,)
        Scores of each curve; infinite ones are allowed, NaN is not.
    groups : sequence, optional
        Patient of each row; without it each row is its own.

    Raises
    ------
    ValueError
        For one class only, NaN, unequal lengths.
    """
    positive = as_labels(labels)
    m, n = int(positive.sum()), int((~positive).sum())
    codes = np.arange(m + n)
    if groups is not None:
        check_lengths(labels=positive, groups=np.asarray(groups))
        codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    auc, above, below = np.empty(len(curves)), np.empty((len(curves), m)), np.empty((len(curves), n))
    for index, curve in enumerate(curves):
        scores = as_numbers(curve, "scores")
        check_lengths(labels=positive, scores=scores)
        ranks = midranks(scores)
        auc[index] = (ranks[positive].sum() - m * (m + 1) / 2) / (m * n)
        above[index] = (ranks[positive] - midranks(scores[positive])) / n
        below[index] = 1 - (ranks[~positive] - midranks(scores[~positive])) / m
    return Placements(auc, above, below, codes[positive], codes[~positive])


def delong_covariance(found: Placements, contrasts: np.ndarray | None = None) -> np.ndarray:
    """Covariance of areas, or of contrasts of them, with whole patients as the unit (Obuchowski 1997, eq. 5).

    Without repeated patients this is DeLong's covariance. Contrasts are formed before squaring, so that the
    variance of a difference between equal curves is 0 and not rounding noise.

    Parameters
    ----------
    found : Placements
        Of c curves.
    contrasts : ndarray, shape (k, c), optional
        Rows of weights; the identity by default.

    Returns
    -------
    ndarray, shape (k, k)
        NaN where a class has a single patient: its spread cannot be known.
    """
    weights = np.eye(len(found.auc)) if contrasts is None else np.asarray(contrasts, dtype=np.float64)
    m, n = found.positives.shape[1], found.negatives.shape[1]
    patients = len(np.union1d(found.positive_groups, found.negative_groups))
    with_positives, with_negatives = (
        len(np.unique(codes)) for codes in (found.positive_groups, found.negative_groups)
    )
    if min(with_positives, with_negatives) < 2:
        return np.full((len(weights), len(weights)), np.nan)
    centre = (weights @ found.auc)[:, None]
    slots = int(max(found.positive_groups.max(), found.negative_groups.max())) + 1
    by_patient = [
        np.stack([np.bincount(codes, row, slots) for row in weights @ values - centre])
        for values, codes in (
            (found.positives, found.positive_groups),
            (found.negatives, found.negative_groups),
        )
    ]
    a, b = by_patient[0] / m, by_patient[1] / n
    covariance: np.ndarray = (
        with_positives / (with_positives - 1) * (a @ a.T)
        + with_negatives / (with_negatives - 1) * (b @ b.T)
        + patients / (patients - 1) * (a @ b.T + b @ a.T)
    )
    return covariance


def exact_interval(auc: float, pairs: int, confidence: float) -> Interval:
    """Clopper-Pearson interval of an area on a number of independent pairs, auc * pairs need not be whole."""
    from scipy.stats import beta

    tail, hits = (1 - confidence) / 2, auc * pairs
    low = 0.0 if hits <= 0 else float(beta.ppf(tail, hits, pairs - hits + 1))
    high = 1.0 if hits >= pairs else float(beta.ppf(1 - tail, hits + 1, pairs - hits))
    return Interval(low, high)


def curve_variance(found: Placements, curve: int, towards: float) -> float:
    """DeLong's variance of one area; where that is 0 or unknown, from the exact interval's arm on the side asked for.

    The arm's width over 1.96, squared, as in Newcombe's square-and-add intervals (Statistics in Medicine 1998;17:873).
    """
    variance = float(delong_covariance(found, np.eye(len(found.auc))[[curve]])[0, 0])
    if variance > NO_VARIANCE:
        return variance
    auc = float(found.auc[curve])
    low, high = exact_interval(auc, max(found.independent_pairs, 1), 0.95)
    arms = [auc - low, high - auc]
    if towards == auc:
        arm = max(arms)
    else:
        arm = arms[int(towards > auc)] or max(arms)
    return (arm / normal_quantile(0.95)) ** 2


def difference_variance(found: Placements) -> float:
    """Variance of the first area minus the second over the same cases.

    Where it is 0 or unknown the two variances are added as though the curves were independent, which errs on the
    safe side.
    """
    variance = float(delong_covariance(found, np.array([[1.0, -1.0]]))[0, 0])
    if variance > NO_VARIANCE:
        return variance
    first, second = found.auc
    return curve_variance(found, 0, second) + curve_variance(found, 1, first)


def delong_test(
    labels: Labels, scores_a: Scores, scores_b: Scores, *, groups: Groups | None = None
) -> TestResult:
    """Two-sided test of equal areas of two curves over the same cases.

    Parameters
    ----------
    labels : array_like of bool or {0, 1}, shape (n,)
    scores_a, scores_b : array_like, shape (n,)
        Higher means more likely 1.
    groups : sequence, optional
        Patient of each row, for several pictures a patient (Obuchowski 1997).

    Returns
    -------
    TestResult
        z (positive where the first area is larger) and its p-value. Equal areas of curves that do not differ in
        variance either give (0, 1).

    Raises
    ------
    ValueError
        For one class only, NaN, unequal lengths.
    """
    found = placements(labels, scores_a, scores_b, groups=groups)
    difference = float(found.auc[0] - found.auc[1])
    return normal_test(difference / float(np.sqrt(difference_variance(found))))


def delong_test_unpaired(
    labels_a: Labels,
    scores_a: Scores,
    labels_b: Labels,
    scores_b: Scores,
    *,
    groups_a: Groups | None = None,
    groups_b: Groups | None = None,
) -> TestResult:
    """Two-sided test of equal areas of two curves over different, independent cases.

    Parameters are those of :func:`delong_test` for each curve; no patient may be in both.
    """
    first = placements(labels_a, scores_a, groups=groups_a)
    second = placements(labels_b, scores_b, groups=groups_b)
    difference, variance = _unpaired(first, second)
    return normal_test(difference / float(np.sqrt(variance)))


def delong_test_value(
    labels: Labels, scores: Scores, value: float = 0.5, *, groups: Groups | None = None
) -> TestResult:
    """Two-sided test that the area equals a value, such as 0.5 for a reader who guesses.

    Where DeLong's variance is 0 or unknown the p-value is the exact binomial one on the independent pairs (see the
    module's head), and the statistic is the z that has this p-value.

    Raises
    ------
    ValueError
        For a value outside (0, 1), one class only, NaN, unequal lengths.
    """
    from scipy.special import betainc, ndtri

    if not 0 < value < 1:
        raise ValueError(f"value must lie between 0 and 1: found {value}")
    found = placements(labels, scores, groups=groups)
    auc = float(found.auc[0])
    variance = float(delong_covariance(found)[0, 0])
    if variance > NO_VARIANCE:
        return normal_test((auc - value) / float(np.sqrt(variance)))
    pairs = max(found.independent_pairs, 1)
    hits = auc * pairs
    at_least = 1.0 if hits <= 0 else float(betainc(hits, pairs - hits + 1, value))
    at_most = 1.0 if hits >= pairs else 1 - float(betainc(hits + 1, pairs - hits, value))
    p_value = min(1.0, 2 * min(at_least, at_most))
    return TestResult(float(np.sign(auc - value) * -ndtri(p_value / 2)), p_value)


def auc_difference(
    labels: Labels,
    scores_a: Scores,
    scores_b: Scores,
    *,
    confidence: float = 0.95,
    groups: Groups | None = None,
) -> Estimate:
    """First area minus second over the same cases, with DeLong's interval; n counts the cases."""
    found = placements(labels, scores_a, scores_b, groups=groups)
    difference = float(found.auc[0] - found.auc[1])
    return _difference(difference, difference_variance(found), confidence, found.cases)


def auc_difference_unpaired(
    labels_a: Labels,
    scores_a: Scores,
    labels_b: Labels,
    scores_b: Scores,
    *,
    confidence: float = 0.95,
    groups_a: Groups | None = None,
    groups_b: Groups | None = None,
) -> Estimate:
    """First area minus second over independent cases, with DeLong's interval; n counts the cases of both."""
    first = placements(labels_a, scores_a, groups=groups_a)
    second = placements(labels_b, scores_b, groups=groups_b)
    difference, variance = _unpaired(first, second)
    return _difference(difference, variance, confidence, first.cases + second.cases)


def _unpaired(first: Placements, second: Placements) -> tuple[float, float]:
    a, b = float(first.auc[0]), float(second.auc[0])
    return a - b, curve_variance(first, 0, b) + curve_variance(second, 0, a)


def _difference(value: float, variance: float, confidence: float, n: int) -> Estimate:
    check_confidence(confidence)
    half = normal_quantile(confidence) * float(np.sqrt(variance))
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half), n)
