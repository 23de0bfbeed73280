"""ROC curves: points, area with interval, sensitivity at a low false positive rate. Tests of areas: ``delong.py``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datadouble.stats.delong import NO_VARIANCE, Labels, Scores, delong_covariance, exact_interval, placements
from datadouble.stats.intervals import Estimate, proportion_interval
from datadouble.stats.results import (
    Groups,
    as_labels,
    as_numbers,
    check_confidence,
    check_lengths,
    normal_quantile,
)

AUC_METHODS = ("delong", "delong-logit", "binomial")


class RocCurve(NamedTuple):
    """Points of a curve from (0, 0) to (1, 1): a case is called positive where its score is >= the threshold."""

    fpr: np.ndarray
    tpr: np.ndarray
    thresholds: np.ndarray


class TprAtFpr(NamedTuple):
    """Sensitivity at a fixed false positive rate.

    Attributes
    ----------
    value, low, high : float
        Share of the positives above the threshold, with its Clopper-Pearson interval.
    n : int
        Positives.
    fpr : float
        The rate asked for.
    attained_fpr, attained_fpr_high : float
        The rate among the negatives at this threshold, and the upper end of its Clopper-Pearson interval: what the
        negatives allow to say.
    negatives : int
    threshold : float
        A case is called positive where its score is greater.
    resolved : bool
        False where fewer than 1 / fpr negatives exist: the threshold is then their highest score, and the true rate
        may be far above the one asked for.
    """

    value: float
    low: float
    high: float
    n: int
    fpr: float
    attained_fpr: float
    attained_fpr_high: float
    negatives: int
    threshold: float
    resolved: bool


def roc_curve(labels: Labels, scores: Scores) -> RocCurve:
    """All points of the ROC curve, one for each distinct score, after a first at threshold infinity.

    Raises
    ------
    ValueError
        For one class only, NaN, unequal lengths.
    """
    positive, values = as_labels(labels), as_numbers(scores, "scores")
    check_lengths(labels=positive, scores=values)
    order = np.argsort(-values, kind="stable")
    values, hits = values[order], np.cumsum(positive[order])
    # By comparison, not by difference: two equal infinities differ by NaN.
    last = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
    false = last + 1 - hits[last]
    return RocCurve(
        np.append(0.0, false / (~positive).sum()),
        np.append(0.0, hits[last] / positive.sum()),
        np.append(np.inf, values[last]),
    )


def roc_auc(
    labels: Labels,
    scores: Scores,
    *,
    confidence: float = 0.95,
    method: str = "delong",
    groups: Groups | None = None,
) -> Estimate:
    """Area under the ROC curve (ties count half) with its interval.

    Parameters
    ----------
    labels : array_like of bool or {0, 1}, shape (n,)
        1 for the class that should score higher.
    scores : array_like, shape (n,)
        Infinite ones are allowed, NaN is not.
    confidence : float
        In (0, 1).
    method : str
        ``"delong"``: symmetric, value ± z·SE, cut at 0 and 1 (DeLong et al. 1988). ``"delong-logit"``: the same on
        the logit scale, better close to 0 and 1. ``"binomial"``: the exact binomial interval on round(auc·n) of n,
        as MedCalc prints it; it treats the area as a proportion of the n cases, which it is not: use it to compare
        with print.
    groups : sequence, optional
        Patient of each row: with several pictures a patient the variance is Obuchowski's (1997). Not with
        ``"binomial"``.

    Returns
    -------
    Estimate
        ``n`` counts positives and negatives. Where DeLong's variance is 0 (a perfect or a perfectly wrong curve, or
        all scores equal) or unknown (one positive, one negative), the interval is the exact binomial one on as many
        independent pairs as the sample holds, min(positives, negatives) without groups: perfect separation of 10
        from 10 gives (0.69, 1), not (1, 1).

    Raises
    ------
    ValueError
        For one class only, NaN, labels other than 0 and 1, unequal lengths, an unknown method.
    """
    check_confidence(confidence)
    if method not in AUC_METHODS:
        raise ValueError(f"unknown method {method!r}: use one of {', '.join(AUC_METHODS)}")
    found = placements(labels, scores, groups=groups)
    auc, n = float(found.auc[0]), found.cases
    if method == "binomial":
        if groups is not None:
            raise ValueError("the binomial interval knows no patients: use method='delong' with groups")
        return Estimate(
            auc, *proportion_interval(round(auc * n), n, confidence=confidence, method="clopper-pearson"), n
        )
    variance = float(delong_covariance(found)[0, 0])
    if not variance > NO_VARIANCE:
        return Estimate(auc, *exact_interval(auc, max(found.independent_pairs, 1), confidence), n)
    half = normal_quantile(confidence) * float(np.sqrt(variance))
    if method == "delong-logit":
        half /= auc * (1 - auc)
        centre = np.log(auc / (1 - auc))
        low, high = (float(1 / (1 + np.exp(-end))) for end in (centre - half, centre + half))
    else:
        low, high = max(0.0, auc - half), min(1.0, auc + half)
    return Estimate(auc, low, high, n)


def tpr_at_fpr(labels: Labels, scores: Scores, fpr: float, *, confidence: float = 0.95) -> TprAtFpr:
    """Sensitivity at a false positive rate, the figure that membership attacks are judged by (Carlini et al. 2022).

    The threshold is the lowest that lets at most ``fpr`` of the negatives through; tied negatives count together,
    so that the attained rate may be lower. The interval holds at this threshold: what it cannot hold is how well
    the negatives fix the threshold, for which ``attained_fpr_high`` and ``resolved`` speak. Rows must be
    independent (one a patient).

    Parameters
    ----------
    labels : array_like of bool or {0, 1}, shape (n,)
    scores : array_like, shape (n,)
    fpr : float
        In (0, 1), such as 0.01 or 0.001.
    confidence : float
        In (0, 1).

    Raises
    ------
    ValueError
        For a rate outside (0, 1), one class only, NaN, unequal lengths.
    """
    if not 0 < fpr < 1:
        raise ValueError(f"fpr must lie between 0 and 1: found {fpr}")
    positive, values = as_labels(labels), as_numbers(scores, "scores")
    check_lengths(labels=positive, scores=values)
    negatives = np.sort(values[~positive])[::-1]
    # 0.07 * 100 is 7.000000000000001 and 0.29 * 100 is 28.999999999999996.
    allowed = int(np.floor(fpr * len(negatives) + 1e-9))
    threshold = float(negatives[allowed])
    hits, m = int((values[positive] > threshold).sum()), int(positive.sum())
    alarms = int((negatives > threshold).sum())
    low, high = proportion_interval(hits, m, confidence=confidence, method="clopper-pearson")
    bound = proportion_interval(alarms, len(negatives), confidence=confidence, method="clopper-pearson").high
    return TprAtFpr(
        hits / m,
        low,
        high,
        m,
        float(fpr),
        alarms / len(negatives),
        bound,
        len(negatives),
        threshold,
        allowed >= 1,
    )
