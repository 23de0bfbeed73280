"""Precision and recall, density and coverage: is what the double shows real, and is what is real in the double?

Kynkaanniemi et al., NeurIPS 2019, eqs. 1-2; Naeem et al., ICML 2020, eqs. 3-4.

A set's manifold is the union of balls around its vectors, each reaching to the k-th nearest other vector of the set.
Precision: share of synthetic vectors inside the real manifold; recall: share of real vectors inside the synthetic one.
Density: in how many real balls a synthetic vector lies, over k; coverage: share of real balls that hold a synthetic
vector. Precision and recall are moved by single outliers, whose balls are large; density and coverage less so.

Balls are closed, as in the first paper. All depend on n and k: compare at equal n, beside real against real.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

PRECISION_NEIGHBOURS = 3  # Kynkaanniemi et al., section 3
COVERAGE_NEIGHBOURS = 5  # Naeem et al., section 4
BLOCK = 1024  # rows of one block of distances: 1024 x 5000 float64 are 40 MB


class PrecisionRecall(NamedTuple):
    """Both in [0, 1]."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Density >= 0, about 1 where the sets agree; coverage in [0, 1]."""

    density: float
    coverage: float


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Euclidean distances of (n, d) and (m, d) vectors: (n, m) float64. Equal vectors are at exactly 0."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    lengths = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)
    squares = lengths - 2 * (x @ y.T)
    squares[squares < 1e-12 * lengths] = 0.0  # what rounding leaves of a vector and its copy
    return np.sqrt(squares)


def distance_blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """:func:`distances` a stretch of x at a time, with the rows of x that it holds: memory stays bounded."""
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        yield rows, distances(x[rows], y)


def neighbour_radii(features: np.ndarray, neighbours: int = PRECISION_NEIGHBOURS) -> np.ndarray:
    """Distance of each vector to its k-th nearest other vector of the set: (n,).

    Raises
    ------
    ValueError
        Unless 1 <= k < n.
    """
    n = len(features)
    if not 1 <= neighbours < n:
        raise ValueError(f"neighbours must lie between 1 and n - 1: found {neighbours} for {n} vectors")
    radii = np.empty(n)
    for rows, block in distance_blocks(features, features):
        # The vector itself takes the first place, at distance 0.
        radii[rows] = np.partition(block, neighbours, axis=1)[:, neighbours]
    return radii


def precision_recall(
    real: np.ndarray, synthetic: np.ndarray, *, neighbours: int = PRECISION_NEIGHBOURS
) -> PrecisionRecall:
    """Improved precision and recall of (n, d) and (m, d) vectors, in bounded memory.

    Raises
    ------
    ValueError
        Unless 1 <= neighbours < n, m.
    """
    real_radii, synthetic_radii = (neighbour_radii(x, neighbours) for x in (real, synthetic))
    held, recalled = np.zeros(len(synthetic), bool), 0
    for rows, block in distance_blocks(real, synthetic):
        held |= (block <= real_radii[rows, None]).any(axis=0)
        recalled += int((block <= synthetic_radii).any(axis=1).sum())
    return PrecisionRecall(float(held.mean()), recalled / len(real))


def density_coverage(
    real: np.ndarray, synthetic: np.ndarray, *, neighbours: int = COVERAGE_NEIGHBOURS
) -> DensityCoverage:
    """Density and coverage of (n, d) and (m, d) vectors, in bounded memory.

    Raises
    ------
    ValueError
        Unless 1 <= neighbours < n, or for an empty synthetic set.
    """
    if len(synthetic) == 0:
        raise ValueError("density and coverage need at least one synthetic vector")
    radii = neighbour_radii(real, neighbours)
    hits = covered = 0
    for rows, block in distance_blocks(real, synthetic):
        inside = block <= radii[rows, None]
        hits += int(inside.sum())
        covered += int(inside.any(axis=1).sum())
    return DensityCoverage(hits / (neighbours * len(synthetic)), covered / len(real))


class ManifoldDistances:
    """All distances of two sets, computed once, and the four measures of any bootstrap resample of them.

    Holds (n, n), (m, m) and (n, m) float64: give at most some 2,500 vectors a side.
    """

    def __init__(self, real: np.ndarray, synthetic: np.ndarray) -> None:
        self.cross = distances(real, synthetic)
        self._order: list[np.ndarray] = []
        self._sorted: list[np.ndarray] = []
        for x in (real, synthetic):
            within = distances(x, x)
            np.fill_diagonal(within, np.inf)
            # Far beyond k, so that a resample that lacks many of a vector's neighbours still finds k.
            reach = min(len(x) - 1, 20 * COVERAGE_NEIGHBOURS)
            nearest = np.argpartition(within, reach - 1, axis=1)[:, :reach]
            values = np.take_along_axis(within, nearest, axis=1)
            order = np.argsort(values, axis=1)
            self._order.append(np.take_along_axis(nearest, order, axis=1))
            self._sorted.append(np.take_along_axis(values, order, axis=1))

    def measures(
        self,
        real_counts: np.ndarray,
        synthetic_counts: np.ndarray,
        *,
        precision_neighbours: int = PRECISION_NEIGHBOURS,
        coverage_neighbours: int = COVERAGE_NEIGHBOURS,
    ) -> tuple[float, float, float, float]:
        """Precision, recall, density, coverage where each row counts so often.

        Repeats count as neighbours of others, never of themselves: radii keep their size on average. NaN where no row
        of a side counts.
        """
        real, synthetic = real_counts > 0, synthetic_counts > 0
        if not (real.any() and synthetic.any()):
            return (float("nan"),) * 4
        a, b = real_counts[real], synthetic_counts[synthetic]
        cross = self.cross[real][:, synthetic]
        inside = cross <= self._radii(0, real_counts, precision_neighbours)[real, None]
        precision = (b @ inside.any(axis=0)) / b.sum()
        inside = cross <= self._radii(1, synthetic_counts, precision_neighbours)[synthetic]
        recall = (a @ inside.any(axis=1)) / a.sum()
        inside = cross <= self._radii(0, real_counts, coverage_neighbours)[real, None]
        density = (a @ inside @ b) / (coverage_neighbours * b.sum())
        coverage = (a @ inside.any(axis=1)) / a.sum()
        return float(precision), float(recall), float(density), float(coverage)

    def _radii(self, side: int, counts: np.ndarray, neighbours: int) -> np.ndarray:
        reached = np.cumsum(counts[self._order[side]], axis=1) >= neighbours
        place = np.where(reached[:, -1], reached.argmax(axis=1), reached.shape[1] - 1)
        return self._sorted[side][np.arange(len(place)), place]
