"""Equivalence within a stated margin: two one-sided tests (TOST).

A large p-value of a test of difference says that nothing was found, not that nothing is there. To claim
equivalence, name the margin that would not matter before looking, and reject both "smaller by the margin or more"
and "larger by the margin or more" (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 1987;15:657).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datadouble.stats.delong import Labels, Scores, curve_variance, difference_variance, placements
from datadouble.stats.results import Groups, as_numbers, check_confidence, check_lengths


class Equivalence(NamedTuple):
    """The answer of a TOST.

    Attributes
    ----------
    value, low, high : float
        The difference, first minus second, and its interval at confidence 1 - 2·alpha: equivalence holds where it lies
        within (-margin, margin).
    n : int
        Observations: pairs, or both samples together.
    p_value : float
        The larger of the two one-sided p-values.
    statistic_low, statistic_high : float
        t (or z) against -margin (large means above it) and against +margin (small means below it).
    margin, alpha : float
    equivalent : bool
        p_value < alpha. False is not a proof of a difference.
    """

    value: float
    low: float
    high: float
    n: int
    p_value: float
    statistic_low: float
    statistic_high: float
    margin: float
    alpha: float
    equivalent: bool


def equivalence_test(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray | float,
    *,
    margin: float,
    paired: bool = False,
    alpha: float = 0.05,
) -> Equivalence:
    """TOST of two means by t-tests: paired, unpaired (Welch), or one sample against a value.

    Parameters
    ----------
    first : array_like
        At least two values.
    second : array_like or float
        The other sample; a number is a fixed value to compare with.
    margin : float
        Positive, in the units of the data, fixed before the data were seen.
    paired : bool
        Whether entry i of both belongs to one subject.
    alpha : float
        In (0, 0.5); each one-sided test has this level.

    Raises
    ------
    ValueError
        For a margin that is not positive, NaN or infinite values, fewer than two values, unequal lengths of pairs,
        and where nothing varies: a spread of 0 leaves no error to judge a difference by.
    """
    a = _finite(first, "first")
    if np.ndim(second) == 0:
        if not np.isfinite(second):
            raise ValueError(f"second must be finite: found {second}")
        return _from_sample(a - float(second), margin, alpha)  # type: ignore[arg-type]
    b = _finite(second, "second")  # type: ignore[arg-type]
    if paired:
        check_lengths(first=a, second=b)
        return _from_sample(a - b, margin, alpha)
    parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    variance = float(sum(parts))
    if variance <= 0:
        raise ValueError("neither sample varies: equivalence cannot be tested")
    freedom = variance**2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    return equivalence_from_error(
        float(a.mean() - b.mean()),
        float(np.sqrt(variance)),
        margin=margin,
        n=len(a) + len(b),
        alpha=alpha,
        degrees_of_freedom=float(freedom),
    )


def auc_equivalence_test(
    labels: Labels,
    scores_a: Scores,
    scores_b: Scores,
    *,
    margin: float,
    alpha: float = 0.05,
    groups: Groups | None = None,
) -> Equivalence:
    """TOST of two areas under ROC curves over the same cases, with DeLong's variance.

    Parameters are those of :func:`~datadouble.stats.delong_test`, and the margin as a difference of areas, such as
    0.05.
    """
    found = placements(labels, scores_a, scores_b, groups=groups)
    return equivalence_from_error(
        float(found.auc[0] - found.auc[1]),
        float(np.sqrt(difference_variance(found))),
        margin=margin,
        n=found.cases,
        alpha=alpha,
    )


def auc_equivalence_test_value(
    labels: Labels,
    scores: Scores,
    value: float = 0.5,
    *,
    margin: float = 0.05,
    alpha: float = 0.05,
    groups: Groups | None = None,
) -> Equivalence:
    """TOST that one area lies within ``margin`` of a value: with the defaults, that a reader is inside [0.45, 0.55].

    Parameters are those of :func:`~datadouble.stats.delong_test_value`, and the margin. The answer's ``value`` and
    interval are the area minus ``value``. Where DeLong's variance is 0 or unknown, the exact interval's arm towards
    the value stands in for the error. For the average of several readers give a modality's ``value``,
    ``standard_error`` and ``degrees_of_freedom`` (:func:`~datadouble.stats.mrmc`) to :func:`equivalence_from_error`.

    Raises
    ------
    ValueError
        For value ± margin outside (0, 1), one class only, NaN, unequal lengths.
    """
    if not 0 < value - margin < value + margin < 1:
        raise ValueError(f"value - margin and value + margin must lie in (0, 1): found {value} and {margin}")
    found = placements(labels, scores, groups=groups)
    return equivalence_from_error(
        float(found.auc[0]) - value,
        float(np.sqrt(curve_variance(found, 0, value))),
        margin=margin,
        n=found.cases,
        alpha=alpha,
    )


def equivalence_from_error(
    difference: float,
    standard_error: float,
    *,
    margin: float,
    n: int,
    alpha: float = 0.05,
    degrees_of_freedom: float = np.inf,
) -> Equivalence:
    """TOST of any difference with a known standard error: t with the degrees of freedom given, else normal.

    Raises
    ------
    ValueError
        For a margin or standard error that is not positive and finite, or alpha outside (0, 0.5).
    """
    from scipy.special import ndtr, ndtri, stdtr, stdtrit

    if not 0 < margin < np.inf:
        raise ValueError(f"margin must be positive: found {margin}")
    if not 0 < standard_error < np.inf:
        raise ValueError(f"standard_error must be positive: found {standard_error}")
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha must lie between 0 and 0.5: found {alpha}")
    check_confidence(1 - 2 * alpha)
    low, high = (difference + margin) / standard_error, (difference - margin) / standard_error
    if np.isinf(degrees_of_freedom):
        p_value, quantile = max(ndtr(-low), ndtr(high)), ndtri(1 - alpha)
    else:
        p_value = max(stdtr(degrees_of_freedom, -low), stdtr(degrees_of_freedom, high))
        quantile = stdtrit(degrees_of_freedom, 1 - alpha)
    half = float(quantile) * standard_error
    return Equivalence(
        difference,
        difference - half,
        difference + half,
        n,
        float(p_value),
        low,
        high,
        float(margin),
        alpha,
        bool(p_value < alpha),
    )


def _from_sample(differences: np.ndarray, margin: float, alpha: float) -> Equivalence:
    error = float(differences.std(ddof=1) / np.sqrt(len(differences)))
    # Equal differences leave rounding noise, not a spread.
    if error <= 1e-12 * float(np.abs(differences).max()):
        raise ValueError("the differences do not vary: equivalence cannot be tested")
    return equivalence_from_error(
        float(differences.mean()),
        error,
        margin=margin,
        n=len(differences),
        alpha=alpha,
        degrees_of_freedom=len(differences) - 1,
    )


def _finite(values: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    array = as_numbers(values, name, least=2)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds infinite values")
    return array
