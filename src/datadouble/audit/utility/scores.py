"""Scores of several trainings on the same pictures, with intervals that resample patients and trainings.

A resample is a weight for every picture (how often its patient was drawn) and one for every training. All arms share
the resamples, so that differences between arms are paired. Resampling both is the two-way bootstrap (Owen, Annals of
Applied Statistics 2007;1:386): an interval over patients alone would forget that another seed gives another network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from datadouble.randomness import generator_for
from datadouble.stats import Estimate


@dataclass(frozen=True)
class Resamples:
    """Weights of every resample; the first row is the data as they are.

    Parameters
    ----------
    pictures : ndarray
        (1 + resamples, n) float32.
    trainings : ndarray
        (1 + resamples, trainings) float32.
    """

    pictures: np.ndarray
    trainings: np.ndarray


def make_resamples(groups: np.ndarray, trainings: int, *, resamples: int, seed: int) -> Resamples:
    """Draw whole patients, and trainings, with replacement.

    Parameters
    ----------
    groups : ndarray of str
        (n,): patient of every picture.
    """
    rng = generator_for(seed, "two-way bootstrap")
    patients, codes = np.unique(groups, return_inverse=True)
    drawn = rng.multinomial(len(patients), np.full(len(patients), 1 / len(patients)), size=resamples)
    pictures = np.ones((resamples + 1, len(groups)), np.float32)
    pictures[1:] = drawn[:, codes]
    runs = np.ones((resamples + 1, trainings), np.float32)
    runs[1:] = rng.multinomial(trainings, np.full(trainings, 1 / trainings), size=resamples)
    return Resamples(pictures, runs)


def weighted_auc(
    targets: np.ndarray, scores: np.ndarray, weights: np.ndarray, strata: np.ndarray | None = None
) -> np.ndarray:
    """Area under the ROC curve under each row of weights; ties count half.

    Parameters
    ----------
    targets : ndarray
        (n,) of 0 and 1.
    scores : ndarray
        (n,); higher means more likely 1.
    weights : ndarray
        (b, n), not negative.
    strata : ndarray, optional
        (n,): only pairs within one stratum are compared. For scores of several networks, which share no scale.

    Returns
    -------
    ndarray
        (b,); NaN where a row leaves one class empty.
    """
    won = np.zeros(len(weights))
    pairs = np.zeros(len(weights))
    for stratum in [None] if strata is None else np.unique(strata):
        rows = np.arange(len(scores)) if stratum is None else np.flatnonzero(strata == stratum)
        rows = rows[np.argsort(scores[rows], kind="stable")]
        ordered, truth = scores[rows], targets[rows]
        sick, well = weights[:, rows] * (truth == 1), weights[:, rows] * (truth == 0)
        below = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(well, axis=1, dtype=np.float64)], 1)
        first, last = np.searchsorted(ordered, ordered, "left"), np.searchsorted(ordered, ordered, "right")
        won += (sick * (below[:, first] + below[:, last]) / 2).sum(axis=1)
        pairs += sick.sum(axis=1, dtype=np.float64) * below[:, -1]
    return np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


class Sampled(NamedTuple):
    """A number under every resample; the first is the number itself."""

    values: np.ndarray
    n: int

    def estimate(self, confidence: float = 0.95) -> Estimate:
        """The number with its percentile interval."""
        rest = self.values[1:][np.isfinite(self.values[1:])]
        tail = (1 - confidence) / 2
        low, high = np.quantile(rest, [tail, 1 - tail]) if len(rest) else (np.nan, np.nan)
        return Estimate(float(self.values[0]), float(low), float(high), self.n)

    def minus(self, other: Sampled) -> Sampled:
        """The difference, resample by resample."""
        return Sampled(self.values - other.values, self.n)

    def error(self) -> float:
        """Standard error: the spread over the resamples."""
        return float(np.nanstd(self.values[1:], ddof=1))


def over_trainings(each: np.ndarray, resamples: Resamples, n: int) -> Sampled:
    """The weighted mean over trainings of (1 + resamples, trainings) values, those that exist."""
    there = np.isfinite(each)
    weights = resamples.trainings * there
    total = weights.sum(axis=1)
    mean = np.divide(
        (np.where(there, each, 0) * weights).sum(axis=1),
        total,
        out=np.full(len(each), np.nan),
        where=total > 0,
    )
    return Sampled(mean, n)


def auc_of(targets: np.ndarray, scores: np.ndarray, resamples: Resamples) -> Sampled:
    """Mean area over trainings; scores (trainings, n)."""
    each = np.stack([weighted_auc(targets, row, resamples.pictures) for row in scores], axis=1)
    return over_trainings(each, resamples, len(targets))


def rates_of(targets: np.ndarray, called: np.ndarray, resamples: Resamples) -> dict[str, Sampled]:
    """Mean sensitivity, specificity and F1 over trainings of calls (trainings, n) of 0 and 1."""
    weights = resamples.pictures.astype(np.float64)
    sick, well = weights * (targets == 1), weights * (targets == 0)
    hits, alarms = sick @ called.T, well @ called.T  # (resamples, trainings)
    positives, negatives = sick.sum(1, keepdims=True), well.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = {
            "sensitivity": hits / positives,
            "specificity": 1 - alarms / negatives,
            "f1": 2 * hits / (hits + alarms + positives),
        }
    return {name: over_trainings(each, resamples, len(targets)) for name, each in rates.items()}


def best_threshold(targets: np.ndarray, scores: np.ndarray) -> float:
    """Where sensitivity + specificity is greatest (Youden, Cancer 1950;3:32), midway between two scores.

    The middle score where one class is absent.
    """
    ordered = np.unique(scores)
    if len(ordered) < 2 or len(np.unique(targets)) < 2:
        return float(np.median(scores)) if len(scores) else 0.5
    cuts = (ordered[1:] + ordered[:-1]) / 2
    sick, well = np.sort(scores[targets == 1]), np.sort(scores[targets == 0])
    sensitivity = 1 - np.searchsorted(sick, cuts) / len(sick)
    specificity = np.searchsorted(well, cuts) / len(well)
    return float(cuts[np.argmax(sensitivity + specificity)])


def mean_curve(targets: np.ndarray, scores: np.ndarray, points: int = 41) -> dict[str, list[float]]:
    """The ROC curve to draw: sensitivity at even false positive rates, averaged over trainings (trainings, n)."""
    from datadouble.stats import roc_curve

    grid = np.linspace(0, 1, points)
    curves = [roc_curve(targets, row) for row in scores]
    heights = np.mean([np.interp(grid, curve.fpr, curve.tpr) for curve in curves], axis=0)
    return {"fpr": np.round(grid, 4).tolist(), "tpr": np.round(heights, 4).tolist()}
