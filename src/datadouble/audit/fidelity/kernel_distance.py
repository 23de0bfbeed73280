"""Kernel distance (KID on the Inception network): squared MMD with a cubic kernel.

Binkowski et al., ICLR 2018, section 4.

k(x, y) = (x.y / d + 1)^3; the estimator is unbiased at any sample size, so it may be slightly negative where two sets
agree. It leads where pictures are few.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from datadouble.stats import Estimate, bootstrap

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (n, d), (m, d) -> (n, m)
HELD = 3000  # vectors a side whose kernels are held (3 x 72 MB)
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


def squared_mmd(
    real: np.ndarray, synthetic: np.ndarray, *, kernel: Kernel = cubic_kernel, biased: bool = False
) -> float:
    """Squared MMD (Gretton et al., JMLR 2012) of (n, d) and (m, d) vectors, in blocks.

    Parameters
    ----------
    real, synthetic : ndarray
    kernel : callable
        ``kernel(x, y) -> (n, m)``.
    biased : bool
        False: the unbiased estimator (eq. 3), without a vector's kernel with itself. True: with it (eq. 5), never
        negative and too high by about 1 / n.

    Raises
    ------
    ValueError
        For fewer than two vectors on a side.
    """
    n, m = len(real), len(synthetic)
    if min(n, m) < 2:
        raise ValueError(f"squared MMD needs at least two vectors a side: found {n} and {m}")
    if biased:
        within = [_block_sum(x, x, kernel) / len(x) ** 2 for x in (real, synthetic)]
    else:
        within = [
            _block_sum(x, x, kernel, without_diagonal=True) / (len(x) * (len(x) - 1))
            for x in (real, synthetic)
        ]
    return float(within[0] + within[1] - 2 * _block_sum(real, synthetic, kernel) / (n * m))


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
    value = squared_mmd(real, synthetic)
    if min(n, m) <= 2 or subsets == 0:
        return KernelDistance(value, float("nan"), value, 0, size, n, m)
    if max(n, m) <= HELD:
        draws = _subset_draws(real, synthetic, subsets, size, seed)
    else:
        rng = np.random.default_rng(seed)
        draws = np.array(
            [
                squared_mmd(*(x[rng.choice(len(x), size, replace=False)] for x in (real, synthetic)))
                for _ in range(subsets)
            ]
        )
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
    kernel: Kernel = cubic_kernel,
) -> Estimate:
    """Kernel distance with a bootstrap interval over patients.

    Pairs of a vector with its own repeat are left out of a resample, so that repeats add no bias. Holds the kernels of
    both sets in memory: give at most some 5,000 vectors a side.
    """
    real_kernel, cross = kernel(real, real), kernel(real, synthetic)
    synthetic_kernel = kernel(synthetic, synthetic)
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


def _block_sum(x: np.ndarray, y: np.ndarray, kernel: Kernel, *, without_diagonal: bool = False) -> float:
    total = 0.0
    for i in range(0, len(x), BLOCK):
        for j in range(0, len(y), BLOCK):
            block = kernel(x[i : i + BLOCK], y[j : j + BLOCK])
            total += float(block.sum()) - (float(np.trace(block)) if without_diagonal and i == j else 0.0)
    return total


def _subset_draws(real: np.ndarray, synthetic: np.ndarray, subsets: int, size: int, seed: int) -> np.ndarray:
    """Unbiased values of random subsets; kernels are computed once."""
    rng = np.random.default_rng(seed)
    sets = real, synthetic
    held = [cubic_kernel(x, y) for x, y in ((real, real), (synthetic, synthetic), (real, synthetic))]
    for within in held[:2]:
        np.fill_diagonal(within, 0.0)
    values = np.empty(subsets)
    for index in range(subsets):
        a, b = (rng.choice(len(x), size, replace=False) for x in sets)
        within = sum(kernel[np.ix_(rows, rows)].sum() for kernel, rows in zip(held, (a, b), strict=False))
        values[index] = within / (size * (size - 1)) - 2 * held[2][np.ix_(a, b)].mean()
    return values
