"""Kernel distance (KID on the Inception network): squared MMD with a cubic kernel.

Binkowski et al., ICLR 2018, section 4.

k(x, y) = (x.y / d + 1)^3; the estimator is unbiased at any sample size, so it may be slightly negative where two sets
agree. It leads where pictures are few.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datadouble.stats import Estimate, bootstrap

BLOCK = 2048  # rows of one kernel block: 2048 x 2048 float64 are 32 MB


class KernelDistance(NamedTuple):
    """Unbiased squared MMD of all vectors, with what subsets say of its spread.

    ``subset_mean`` is what the literature prints as KID; ``standard_error`` is the delete-d jackknife's (Efron and
    Tibshirani 1993, section 11.7), which allows for the overlap of subsets.
    """

    value: float
    standard_error: float
    subset_mean: float
    subsets: int
    subset_size: int
    n_real: int
    n_synthetic: int


def cubic_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x.y / d + 1)^3 for (n, d) and (m, d) vectors: (n, m) float64."""
    return (np.asarray(x, np.float64) @ np.asarray(y, np.float64).T / x.shape[1] + 1.0) ** 3


def squared_mmd(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Unbiased squared MMD (Gretton et al., JMLR 2012, eq. 3) of (n, d) and (m, d) vectors, in blocks.

    Raises
    ------
    ValueError
        For fewer than two vectors on a side.
    """
    n, m = len(real), len(synthetic)
    if min(n, m) < 2:
        raise ValueError(f"squared MMD needs at least two vectors a side: found {n} and {m}")
    within = [(_block_sum(x, x) - _diagonal_sum(x)) / (len(x) * (len(x) - 1)) for x in (real, synthetic)]
    return float(within[0] + within[1] - 2 * _block_sum(real, synthetic) / (n * m))


def kernel_distance(
    real: np.ndarray, synthetic: np.ndarray, *, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """Kernel distance between two sets of feature vectors, with its standard error from random subsets.

    Parameters
    ----------
    real, synthetic : ndarray
        (n, d) and (m, d).
    subsets : int
        Number of subsets, drawn without replacement.
    subset_size : int
        Vectors a side in each; at most half of the smaller set is taken, so that subsets differ.
    """
    n, m = len(real), len(synthetic)
    size = max(2, min(subset_size, min(n, m) // 2))
    rng = np.random.default_rng(seed)
    value = squared_mmd(real, synthetic)
    draws = np.array(
        [
            squared_mmd(
                real[rng.choice(n, size, replace=False)], synthetic[rng.choice(m, size, replace=False)]
            )
            for _ in range(subsets if min(n, m) > 2 else 0)
        ]
    )
    if len(draws) == 0:
        return KernelDistance(value, float("nan"), value, 0, size, n, m)
    smaller = min(n, m)
    error = float(np.sqrt(size / (smaller - size) * np.mean(np.square(draws - draws.mean()))))
    return KernelDistance(value, error, float(draws.mean()), subsets, size, n, m)


def kernel_distance_interval(
    real: np.ndarray,
    synthetic: np.ndarray,
    *,
    real_groups: np.ndarray | None = None,
    synthetic_groups: np.ndarray | None = None,
    resamples: int = 200,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """Kernel distance with a bootstrap interval over patients.

    Pairs of a vector with its own repeat are left out of a resample, so that repeats add no bias. Holds the kernels of
    both sets in memory: give at most some 5,000 vectors a side.
    """
    real_kernel, cross = cubic_kernel(real, real), cubic_kernel(real, synthetic)
    synthetic_kernel = cubic_kernel(synthetic, synthetic)
    np.fill_diagonal(real_kernel, 0.0)
    np.fill_diagonal(synthetic_kernel, 0.0)

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        a = np.bincount(first, minlength=len(real)).astype(np.float64)
        b = np.bincount(second, minlength=len(synthetic)).astype(np.float64)
        within_real = a @ real_kernel @ a / (a.sum() ** 2 - a @ a)
        within_synthetic = b @ synthetic_kernel @ b / (b.sum() ** 2 - b @ b)
        return float(within_real + within_synthetic - 2 * (a @ cross @ b) / (a.sum() * b.sum()))

    return bootstrap(
        distance,
        [np.arange(len(real)), np.arange(len(synthetic))],
        groups=[real_groups, synthetic_groups],
        resamples=resamples,
        seed=seed,
        confidence=confidence,
        centre=True,
    )


def _block_sum(x: np.ndarray, y: np.ndarray) -> float:
    starts_x, starts_y = range(0, len(x), BLOCK), range(0, len(y), BLOCK)
    return float(
        sum(cubic_kernel(x[i : i + BLOCK], y[j : j + BLOCK]).sum() for i in starts_x for j in starts_y)
    )


def _diagonal_sum(x: np.ndarray) -> float:
    squares = np.square(np.asarray(x, np.float64)).sum(axis=1)
    return float(((squares / x.shape[1] + 1.0) ** 3).sum())
