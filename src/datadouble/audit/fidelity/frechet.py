"""Frechet distance between two Gaussians fitted to feature vectors (Heusel et al., NeurIPS 2017, eq. 6).

d^2 = |mu_1 - mu_2|^2 + tr S_1 + tr S_2 - 2 tr (S_1 S_2)^(1/2). With S_i = R_i^T R_i the last trace is the nuclear norm
of R_1 R_2^T, whose sides are min(n, d): below n = d this needs no d x d matrix root and is exact up to rounding.
All in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datadouble.stats import Estimate, bootstrap

SMALL_SAMPLE = 5000  # below it the estimate's own bias dominates (Chong and Forsyth, CVPR 2020): KID leads


class GaussianStatistics(NamedTuple):
    """Mean (d,), a root (k, d) with covariance = root.T @ root, and the number of vectors behind them."""

    mean: np.ndarray
    root: np.ndarray
    n: int


def gaussian_statistics(features: np.ndarray, counts: np.ndarray | None = None) -> GaussianStatistics:
    """Mean and covariance root of feature vectors.

    Parameters
    ----------
    features : ndarray
        (n, d), n >= 2.
    counts : ndarray, optional
        (n,) how often each row counts (bootstrap); rows of count 0 drop out.

    Raises
    ------
    ValueError
        For fewer than two vectors or non-finite values.
    """
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2:
        raise ValueError(f"features must be (n, d): found shape {x.shape}")
    weights = np.ones(len(x)) if counts is None else np.asarray(counts, dtype=np.float64)
    if counts is not None:
        x, weights = x[weights > 0], weights[weights > 0]
    total = weights.sum()
    if total < 2:
        raise ValueError(f"a covariance needs at least two feature vectors: found {total:g}")
    mean = weights @ x / total
    if not np.isfinite(mean).all():
        raise ValueError("features hold NaN or infinite values")
    root = (x - mean) * np.sqrt(weights / (total - 1))[:, None]
    if len(root) > root.shape[1]:  # R of a QR has the same R^T R and only d rows
        root = np.linalg.qr(root, mode="r")
    return GaussianStatistics(mean, root, int(total))


def frechet_distance_from_statistics(real: GaussianStatistics, synthetic: GaussianStatistics) -> float:
    """Squared Frechet distance of two fitted Gaussians (what the literature prints as FID), >= 0."""
    if real.mean.shape != synthetic.mean.shape:
        raise ValueError(f"feature dimensions differ: {real.mean.size} and {synthetic.mean.size}")
    cross = np.linalg.svd(real.root @ synthetic.root.T, compute_uv=False).sum()
    means = np.square(real.mean - synthetic.mean).sum()
    traces = np.square(real.root).sum() + np.square(synthetic.root).sum()
    return max(float(means + traces - 2 * cross), 0.0)  # rounding can leave -1e-13


def frechet_distance(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of feature vectors.

    Parameters
    ----------
    real, synthetic : ndarray
        (n, d) and (m, d). The estimate is biased upward, the more the smaller n and m: compare only equal sizes, and
        put the real-against-real floor of the same size beside it (:mod:`datadouble.audit.fidelity.floor`).
    """
    return frechet_distance_from_statistics(gaussian_statistics(real), gaussian_statistics(synthetic))


class FrechetProducts:
    """Inner products of two sets, computed once, and the Frechet distance of any subset or resample of them.

    With centred roots R_i, R_1 R_2^T holds inner products of vectors only: a resample needs no pass over the d
    features but for its means. Worth it while a side has fewer vectors than dimensions; holds (n, m) float64.

    Parameters
    ----------
    real, synthetic : ndarray
        (n, d) and (m, d).
    """

    def __init__(self, real: np.ndarray, synthetic: np.ndarray) -> None:
        x, y = np.asarray(real, np.float64), np.asarray(synthetic, np.float64)
        centre = (x.mean(axis=0) + y.mean(axis=0)) / 2  # keeps the products small, and so exact
        self._sets = x - centre, y - centre
        self._lengths = tuple(np.square(z).sum(axis=1) for z in self._sets)
        self._cross = self._sets[0] @ self._sets[1].T

    def distance(self, real_counts: np.ndarray, synthetic_counts: np.ndarray) -> float:
        """Frechet distance where each row counts so often; that of the repeated rows to about 1e-7 of the traces."""
        roots, kept, means, traces = [], [], [], 0.0
        for counts, z, lengths in zip(
            (real_counts, synthetic_counts), self._sets, self._lengths, strict=True
        ):
            weights = np.asarray(counts, np.float64)
            total = weights.sum()
            if total < 2:
                raise ValueError(f"a covariance needs at least two feature vectors: found {total:g}")
            mean = weights @ z / total
            traces += (weights @ lengths - total * (mean @ mean)) / (total - 1)
            kept.append(np.flatnonzero(weights))
            roots.append(np.sqrt(weights[kept[-1]] / (total - 1)))
            means.append(mean)
        first, second = kept
        cross = self._cross[np.ix_(first, second)] + means[0] @ means[1]
        cross -= (self._sets[0] @ means[1])[first, None]
        cross -= (self._sets[1] @ means[0])[second]
        cross *= roots[0][:, None] * roots[1]
        # Half the cost of singular values; small ones lose digits, the sum about 1e-7 of itself.
        gram = cross @ cross.T if len(first) <= len(second) else cross.T @ cross
        nuclear = np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0.0, None)).sum()
        return max(float(np.square(means[0] - means[1]).sum() + traces - 2 * nuclear), 0.0)


def frechet_interval(
    real: np.ndarray,
    synthetic: np.ndarray,
    *,
    real_groups: np.ndarray | None = None,
    synthetic_groups: np.ndarray | None = None,
    resamples: int = 200,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """Frechet distance with a bootstrap interval over patients.

    A resample repeats rows, which raises the distance as a smaller sample does; the interval is therefore shifted by
    the bootstrap's bias. It describes chance in which patients and pictures were drawn, not the bias of the estimate
    itself, which the floor shows.
    """
    real, synthetic = np.asarray(real), np.asarray(synthetic)
    # A resample keeps about 63% of the rows: up to n = 1.5 d their singular values cost less than d x d roots.
    products = None
    if max(len(real), len(synthetic)) <= 1.5 * real.shape[1]:
        products = FrechetProducts(real, synthetic)

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        counts = np.bincount(first, minlength=len(real)), np.bincount(second, minlength=len(synthetic))
        if products is not None:
            return products.distance(*counts)
        return frechet_distance_from_statistics(
            gaussian_statistics(real, counts[0]), gaussian_statistics(synthetic, counts[1])
        )

    return bootstrap(
        distance,
        [np.arange(len(real)), np.arange(len(synthetic))],
        groups=[real_groups, synthetic_groups],
        resamples=resamples,
        seed=seed,
        confidence=confidence,
        centre=True,
    )
