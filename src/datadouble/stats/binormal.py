"""The binormal ROC curve by maximum likelihood, from ordered categories (Dorfman and Alf).

Negatives are N(0, 1), positives N(a / b, 1 / b²) on a scale that the reader cuts into categories; then TPR = Phi(a + b
Phi^-1(FPR)) and the area is Phi(a / sqrt(1 + b²)). Sources: Dorfman and Alf, Journal of Mathematical Psychology
1969;6:487 (the method of scoring used here); Metz, Herman and Shen, Statistics in Medicine 1998;17:1033 (continuous
ratings put into categories first).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datadouble.stats.delong import Labels, Scores
from datadouble.stats.intervals import Estimate
from datadouble.stats.results import as_labels, as_numbers, check_confidence, check_lengths, normal_quantile

ITERATIONS = 200
TOLERANCE = 1e-8
SMALLEST = 1e-12
# A fit that leaves this range is on its way to a curve with a corner, which no finite a and b describe.
RANGE_OF_B = (0.01, 100.0)


class Binormal(NamedTuple):
    """A fitted binormal ROC curve.

    Attributes
    ----------
    a, b, auc : Estimate
        With intervals from the expected information: a symmetric, b on the log scale, the area on the probit scale;
        ``n`` counts the cases. All NaN where the fit is degenerate.
    log_likelihood : float
    categories : int
        Categories that were used.
    degenerate : str
        Why there is no fit; empty where there is one. Report the empirical area then.
    """

    a: Estimate
    b: Estimate
    auc: Estimate
    log_likelihood: float
    categories: int
    degenerate: str


def binormal_roc(
    truth: Labels, ratings: Scores, *, confidence: float = 0.95, max_categories: int = 20
) -> Binormal:
    """Fit the binormal ROC curve to one reader's ratings.

    Parameters
    ----------
    truth : array_like of bool or {0, 1}, shape (n,)
    ratings : array_like, shape (n,)
        Categories, or continuous ratings; higher means more likely 1.
    confidence : float
        In (0, 1).
    max_categories : int
        More different ratings than these are cut at quantiles of all ratings into so many categories; at least 3.

    Returns
    -------
    Binormal
        A degenerate data set (two answers only, no operating point off the edges of the ROC square, such as a
        perfect curve, or a likelihood without a maximum) gives NaN and the reason, not a guess.

    Raises
    ------
    ValueError
        For one class only, NaN, unequal lengths, options out of range.
    """
    check_confidence(confidence)
    if max_categories < 3:
        raise ValueError(f"max_categories must be at least 3: found {max_categories}")
    positive, values = as_labels(truth), as_numbers(ratings, "ratings")
    check_lengths(truth=positive, ratings=values)
    codes = _categories(values, max_categories)
    counts = np.stack([np.bincount(codes[~positive], minlength=codes.max() + 1),
                       np.bincount(codes[positive], minlength=codes.max() + 1)]).astype(np.float64)  # fmt: skip
    n = len(values)
    points = np.cumsum(counts, axis=1)[:, :-1] / counts.sum(axis=1, keepdims=True)
    if counts.shape[1] < 3:
        return _none(
            n, counts.shape[1], "two answers make one operating point, and a and b need at least two"
        )
    if not ((points > 0) & (points < 1)).all(axis=0).any():
        return _none(n, counts.shape[1], "no operating point lies off the edges of the ROC square")
    found = _score(counts)
    if found is None:
        return _none(n, counts.shape[1], "the likelihood has no maximum at a finite a and a positive b")
    a, b, covariance, log_likelihood = found
    z = normal_quantile(confidence)
    error_a, error_b = np.sqrt(np.diag(covariance))
    factor = float(np.exp(min(z * float(error_b) / b, 700.0)))
    return Binormal(
        Estimate(a, a - z * float(error_a), a + z * float(error_a), n),
        Estimate(b, b / factor, b * factor, n),
        _area(a, b, covariance, z, n),
        log_likelihood,
        counts.shape[1],
        "",
    )


def _categories(values: np.ndarray, most: int) -> np.ndarray:
    """Codes 0, 1, ... of the categories, none of them empty."""
    distinct, codes = np.unique(values, return_inverse=True)
    if len(distinct) <= most:
        return codes
    # By rank, so that infinite ratings do no harm; tied ratings stay together.
    cuts = np.unique(np.sort(codes)[np.arange(1, most) * len(codes) // most])
    return np.unique(np.searchsorted(cuts, codes, side="right"), return_inverse=True)[1]


def _none(n: int, categories: int, reason: str) -> Binormal:
    nan = float("nan")
    unknown = Estimate(nan, nan, nan, n)
    return Binormal(unknown, unknown, unknown, nan, categories, reason)


def _area(a: float, b: float, covariance: np.ndarray, z: float, n: int) -> Estimate:
    from scipy.special import ndtr

    scale = np.sqrt(1 + b**2)
    gradient = np.array([1 / scale, -a * b / scale**3])
    centre, error = a / scale, float(np.sqrt(gradient @ covariance @ gradient))
    value, low, high = (float(ndtr(centre + k * error)) for k in (0.0, -z, z))
    return Estimate(value, low, high, n)


def _score(counts: np.ndarray) -> tuple[float, float, np.ndarray, float] | None:
    """Fisher scoring of a, b and the cuts; a, b, their covariance and the log-likelihood, or None."""
    from scipy.special import ndtri

    sizes = counts.sum(axis=1, keepdims=True)
    below = ndtri((np.cumsum(counts, axis=1)[:, :-1] + 0.5) / (sizes + 1))  # (2, cuts), kept off 0 and 1
    slope = float(np.clip(np.cov(below)[0, 1] / max(below[0].var(ddof=1), 1e-6), 0.3, 3.0))
    start = slope * below[0].mean() - below[1].mean()
    # Where one class has nothing in a category the other has, so that the mean of both rows increases.
    parameters = np.concatenate([[start, slope], (below[0] + (below[1] + start) / slope) / 2])
    state = _likelihood(parameters, counts)
    if state is None:
        return None
    for _ in range(ITERATIONS):
        value, gradient, information = state
        try:
            step = np.linalg.solve(information, gradient)
        except np.linalg.LinAlgError:
            return None
        factor, moved = 1.0, None
        while factor > 1e-6:
            moved = _likelihood(parameters + factor * step, counts)
            if moved is not None and moved[0] >= value - 1e-10:
                break
            factor, moved = factor / 2, None
        if moved is None:
            return None
        parameters, state = parameters + factor * step, moved
        if not RANGE_OF_B[0] < parameters[1] < RANGE_OF_B[1]:
            return None
        if float(gradient @ step) < TOLERANCE:
            covariance = np.linalg.inv(state[2])[:2, :2]
            if not (np.diag(covariance) > 0).all():
                return None
            return float(parameters[0]), float(parameters[1]), covariance, float(state[0])
    return None


def _likelihood(parameters: np.ndarray, counts: np.ndarray) -> tuple[float, np.ndarray, np.ndarray] | None:
    """Log-likelihood, its gradient and the expected information; None where the parameters are not possible."""
    from scipy.special import ndtr

    a, b, cuts = parameters[0], parameters[1], parameters[2:]
    if b <= 0 or (np.diff(cuts) <= 0).any():
        return None
    places = np.stack([cuts, b * cuts - a])  # (2, cuts)
    density = np.exp(-(places**2) / 2) / np.sqrt(2 * np.pi)
    slopes = np.zeros((2, len(cuts) + 2, len(parameters)))  # of the cumulative probabilities
    inner = np.arange(len(cuts))
    slopes[0, inner + 1, inner + 2] = density[0]
    slopes[1, inner + 1, inner + 2] = b * density[1]
    slopes[1, 1:-1, 0] = -density[1]
    slopes[1, 1:-1, 1] = cuts * density[1]
    chances = np.maximum(np.diff(ndtr(places), axis=1, prepend=0.0, append=1.0), SMALLEST)
    slopes = np.diff(slopes, axis=1)
    gradient = np.einsum("gk,gkp->p", counts / chances, slopes)
    weights = counts.sum(axis=1, keepdims=True) / chances
    rows = slopes.reshape(-1, len(parameters))
    information = (rows * weights.reshape(-1, 1)).T @ rows
    return float((counts * np.log(chances)).sum()), gradient, information
