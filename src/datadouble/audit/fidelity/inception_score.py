"""Inception score (Salimans et al., NeurIPS 2016) and its logarithm, from a classifier's logits.

IS = exp(E_x KL(p(y|x) || p(y))). Both are given, for some papers print the exponent without saying so: CoLDiT's formula
drops the exp. The score knows the classes of everyday photographs only and sees no real pictures: read it beside the
same score of real ones, never alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datadouble.stats import Estimate, bootstrap


class InceptionScore(NamedTuple):
    """Mean and spread of the score over splits, and the mean of its logarithm."""

    value: float
    log_value: float
    standard_deviation: float
    splits: int
    n: int


def inception_score(logits: np.ndarray, *, splits: int = 10, seed: int = 0) -> InceptionScore:
    """Inception score from class scores before softmax.

    Parameters
    ----------
    logits : ndarray
        (n, classes).
    splits : int
        Parts into which the shuffled pictures are cut; the score is their mean. 10 in the literature, with 5,000
        pictures a part; with few pictures use 1, for a score of few pictures is too low.

    Raises
    ------
    ValueError
        For fewer pictures than splits.
    """
    n = len(logits)
    if not 1 <= splits <= n:
        raise ValueError(f"splits must lie between 1 and the number of pictures: found {splits} for {n}")
    log_p = _log_softmax(logits)
    order = np.random.default_rng(seed).permutation(n) if splits > 1 else np.arange(n)
    logs = np.array([_mutual_information(log_p[part]) for part in np.array_split(order, splits)])
    scores = np.exp(logs)
    return InceptionScore(float(scores.mean()), float(logs.mean()), float(scores.std()), splits, n)


def inception_score_interval(
    logits: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    resamples: int = 200,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[Estimate, Estimate]:
    """Inception score of all pictures in one split and its logarithm, with bootstrap intervals over patients."""
    log_p = _log_softmax(logits)
    p = np.exp(log_p)
    conditional = np.where(p > 0, p * log_p, 0.0).sum(axis=1)
    log_estimate = bootstrap(
        lambda rows: _information(p, conditional, rows),
        np.arange(len(log_p)),
        groups=groups,
        resamples=resamples,
        seed=seed,
        confidence=confidence,
        centre=True,
    )
    low = max(log_estimate.low, 0.0)  # a mutual information is not negative
    log_estimate = log_estimate._replace(low=low)
    value, low, high = (float(np.exp(v)) for v in log_estimate[:3])
    return Estimate(value, low, high, log_estimate.n), log_estimate


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    x = np.asarray(logits, dtype=np.float64)
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def _mutual_information(log_p: np.ndarray) -> float:
    """Mean KL divergence of the rows from their mean distribution, in nats."""
    p = np.exp(log_p)
    return _information(p, np.where(p > 0, p * log_p, 0.0).sum(axis=1), np.arange(len(p)))


def _information(p: np.ndarray, conditional: np.ndarray, rows: np.ndarray) -> float:
    """The same of a choice of rows, from their probabilities and negative entropies."""
    marginal = np.bincount(rows, minlength=len(p)) @ p / len(rows)
    log_marginal = np.log(np.where(marginal > 0, marginal, 1.0))  # where it is 0, so is every p
    return float(conditional[rows].mean() - marginal @ log_marginal)
