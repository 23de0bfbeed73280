"""The area that papers give for readers who answer yes or no: the mean of sensitivity and specificity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datadouble.stats.delong import Labels
from datadouble.stats.intervals import Estimate, proportion_estimate
from datadouble.stats.results import as_labels, as_numbers, check_lengths


class TwoAnswerAuc(NamedTuple):
    """(sensitivity + specificity) / 2, its interval, and the two with theirs."""

    value: float
    low: float
    high: float
    n: int
    sensitivity: Estimate
    specificity: Estimate


def two_answer_auc(
    truth: Labels, answers: Labels, *, confidence: float = 0.95, method: str = "wilson"
) -> TwoAnswerAuc:
    """(sensitivity + specificity) / 2, which is the area under the ROC curve of a single operating point.

    It is not the area that confidence ratings would give: a reader with the same eyes and another habit of saying yes
    has another one.

    Parameters
    ----------
    truth, answers : array_like of bool or {0, 1}, shape (n,)
    confidence : float
        In (0, 1).
    method : str
        Of the intervals of sensitivity and specificity (:func:`~datadouble.stats.proportion_interval`); the interval of
        their mean squares and adds their arms (Newcombe, Statistics in Medicine 1998;17:873, method 10), and so keeps a
        width where all answers are right.

    Raises
    ------
    ValueError
        For one class only, answers other than two, NaN, unequal lengths.
    """
    positive, called = as_labels(truth), as_numbers(answers, "answers")
    check_lengths(truth=positive, answers=called)
    if not np.isin(called, (0.0, 1.0)).all():
        raise ValueError(f"answers must be 0 and 1 (or booleans): found {np.unique(called)[:5].tolist()}")
    hits, passes = int(called[positive].sum()), int((1 - called[~positive]).sum())
    sensitivity = proportion_estimate(hits, int(positive.sum()), confidence=confidence, method=method)
    specificity = proportion_estimate(passes, int((~positive).sum()), confidence=confidence, method=method)
    value = (sensitivity.value + specificity.value) / 2
    below = np.hypot(sensitivity.value - sensitivity.low, specificity.value - specificity.low) / 2
    above = np.hypot(sensitivity.high - sensitivity.value, specificity.high - specificity.value) / 2
    return TwoAnswerAuc(
        value, value - float(below), value + float(above), len(positive), sensitivity, specificity
    )
