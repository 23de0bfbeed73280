"""Similarities and distances in blocks: memory stays bounded, whatever the sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

BLOCK_BYTES = 64 * 2**20  # of one block of similarities
LEAST_TO_ALIGN = 30  # synthetic pictures that have a mean and spread worth speaking of


class Nearest(NamedTuple):
    """Row of the nearest gallery vector and Euclidean distance to it, both (queries,)."""

    row: np.ndarray
    distance: np.ndarray


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float32; a zero vector stays zero and is similar to nothing."""
    x = np.asarray(vectors, dtype=np.float32)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)


def standardised(vectors: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and standard deviation 1 (float32); a constant column becomes 0."""
    x = np.asarray(vectors, dtype=np.float32)
    x = x - x.mean(axis=0)
    spread = x.std(axis=0)
    return x / np.where(spread > 1e-6 * max(float(spread.max(initial=0.0)), 1e-30), spread, np.inf)


def aligned(synthetic: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sets standardised, each by itself; fewer than 30 synthetic vectors by the real ones' mean and spread."""
    if len(synthetic) >= LEAST_TO_ALIGN:
        return standardised(synthetic), standardised(real)
    both = np.concatenate([real, synthetic]).astype(np.float32)
    centre, spread = real.mean(axis=0, dtype=np.float64), real.std(axis=0, dtype=np.float64)
    both = (both - centre) / np.where(
        spread > 1e-6 * max(float(spread.max(initial=0.0)), 1e-30), spread, np.inf
    )
    return both[len(real) :].astype(np.float32), both[: len(real)].astype(np.float32)


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices over ``rows`` such that a float32 block of that many rows and all columns takes at most 64 MB."""
    height = max(1, BLOCK_BYTES // (4 * max(columns, 1)))
    for top in range(0, rows, height):
        yield slice(top, min(top + height, rows))


def squared_distances(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """(q, g) squared Euclidean distances of one block, never below 0.

    Both in float64 and shifted to the gallery's mean: the difference of large squares would lose near copies.
    """
    centre = gallery.mean(axis=0, dtype=np.float64)
    q, g = queries - centre, gallery - centre
    squared = (q**2).sum(axis=1)[:, None] + (g**2).sum(axis=1)[None, :] - 2 * (q @ g.T)
    return np.maximum(squared, 0.0)


def nearest(
    queries: np.ndarray,
    gallery: np.ndarray,
    *,
    query_groups: np.ndarray | None = None,
    gallery_groups: np.ndarray | None = None,
) -> Nearest:
    """The nearest gallery vector by Euclidean distance; where groups are given, one of another group (patient).

    A query whose group holds all of the gallery has an infinite distance.
    """
    row = np.zeros(len(queries), dtype=np.int64)
    distance = np.full(len(queries), np.inf)
    for rows in row_blocks(len(queries), 2 * len(gallery)):
        squared = squared_distances(queries[rows], gallery)
        if query_groups is not None and gallery_groups is not None:
            squared[query_groups[rows][:, None] == gallery_groups[None, :]] = np.inf
        row[rows] = squared.argmin(axis=1)
        # Recomputed for the winner alone, without the rounding of the expanded square.
        found = np.take_along_axis(squared, row[rows][:, None], axis=1)[:, 0]
        exact = np.linalg.norm(queries[rows].astype(np.float64) - gallery[row[rows]], axis=1)
        distance[rows] = np.where(np.isinf(found), np.inf, exact)
    return Nearest(row, distance)
