"""Nearest neighbours by cosine similarity (CoLDiT's protocol: Xu et al., Research 2024;7:0532, "memorisation").

A smoke alarm, not evidence: a generator that copies nothing can still give members away, and a near neighbour may be a
common anatomy. The share nearer to train than to an equal-sized holdout is the first step beyond it: 50% is what a
generator reaches that knows its training patients no better than any other patients.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datadouble.audit.fidelity.floor import by_patient
from datadouble.stats import Interval, proportion_interval

BLOCK_BYTES = 64 * 2**20  # of one block of similarities


class Neighbours(NamedTuple):
    """Row in the gallery and cosine similarity, both (queries, k), the nearest first."""

    rows: np.ndarray
    similarity: np.ndarray


class NearerToTrain(NamedTuple):
    """Share of synthetic pictures nearer to train than to an equal-sized holdout, its Wilson interval and counts.

    ``value`` is the mean over ``repeats`` draws of equal-sized galleries, ties counting half; ``gallery`` is their
    size and ``n`` the number of synthetic pictures.
    """

    value: float
    low: float
    high: float
    n: int
    gallery: int
    repeats: int


def nearest_neighbours(queries: np.ndarray, gallery: np.ndarray, *, k: int = 1) -> Neighbours:
    """The k most similar gallery vectors of each query, by exhaustive search in blocks.

    Parameters
    ----------
    queries, gallery : ndarray
        (q, d) and (g, d), not necessarily of unit length; a zero vector is similar to nothing (0).
    k : int
        Neighbours of each query, at most g.

    Notes
    -----
    Memory beyond float32 inputs: one block of similarities (64 MB) and as much again for its bookkeeping, whatever q
    and g. Neither side is copied: the gallery's lengths divide the products.
    """
    if len(gallery) == 0 or not 1 <= k <= len(gallery):
        raise ValueError(f"k must lie between 1 and the gallery's size: found k={k}, gallery {len(gallery)}")
    width = min(len(gallery), 8192)
    # A partition needs 8 bytes of index beside each similarity of 4.
    height = max(1, min(len(queries), BLOCK_BYTES // (4 * width if k == 1 else 12 * width)))
    buffer = np.empty(height * width, dtype=np.float32)
    lengths = np.concatenate(
        [_lengths(gallery[left : left + width]) for left in range(0, len(gallery), width)]
    )
    index = np.zeros((len(queries), k), dtype=np.int64)
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    for top in range(0, len(queries), height):
        rows = slice(top, top + height)
        block = _unit(queries[rows])
        for left in range(0, len(gallery), width):
            part = np.asarray(gallery[left : left + width], dtype=np.float32)
            similarity = buffer[: len(block) * len(part)].reshape(len(block), len(part))
            np.matmul(block, part.T, out=similarity)
            similarity /= lengths[left : left + width]
            near = _greatest(similarity, min(k, len(part)))
            values = np.concatenate([best[rows], np.take_along_axis(similarity, near, axis=1)], axis=1)
            places = np.concatenate([index[rows], near + left], axis=1)
            order = np.argsort(-values, axis=1, kind="stable")[:, :k]
            best[rows] = np.take_along_axis(values, order, axis=1)
            index[rows] = np.take_along_axis(places, order, axis=1)
    return Neighbours(index, np.clip(best, -1.0, 1.0))


def _greatest(values: np.ndarray, count: int) -> np.ndarray:
    """Places (rows, count) of the greatest values of each row, in no order."""
    if count == 1:
        return values.argmax(axis=1)[:, None]
    if count == values.shape[1]:
        return np.broadcast_to(np.arange(count), values.shape)
    return np.argpartition(values, values.shape[1] - count, axis=1)[:, -count:]


def _lengths(vectors: np.ndarray) -> np.ndarray:
    """Euclidean lengths (n,) in float32, 1 for a zero vector."""
    length = np.linalg.norm(np.asarray(vectors, dtype=np.float32), axis=1)
    return np.where(length > 0, length, np.float32(1))


def nearer_to_train(
    synthetic: np.ndarray,
    train: np.ndarray,
    holdout: np.ndarray,
    *,
    train_groups: np.ndarray | None = None,
    holdout_groups: np.ndarray | None = None,
    repeats: int = 20,
    seed: int = 0,
    confidence: float = 0.95,
) -> NearerToTrain:
    """Share of synthetic pictures whose nearest real picture is a training picture, at equal gallery sizes.

    The larger of train and holdout is subsampled by patient to the smaller's size, ``repeats`` times; the shares are
    averaged. The Wilson interval (with continuity correction) treats synthetic pictures as independent.
    """
    similarity_train, similarity_holdout = (
        _all_similarities(synthetic, train),
        _all_similarities(synthetic, holdout),
    )
    size = min(len(train), len(holdout))
    rng = np.random.default_rng(seed)
    train_groups = np.arange(len(train)) if train_groups is None else train_groups
    holdout_groups = np.arange(len(holdout)) if holdout_groups is None else holdout_groups
    shares = []
    for _ in range(repeats if len(train) != len(holdout) else 1):
        to_train = similarity_train[:, by_patient(train_groups, rng)[:size]].max(axis=1)
        to_holdout = similarity_holdout[:, by_patient(holdout_groups, rng)[:size]].max(axis=1)
        shares.append(np.mean(to_train > to_holdout) + 0.5 * np.mean(to_train == to_holdout))
    share, n = float(np.mean(shares)), len(synthetic)
    interval: Interval = proportion_interval(round(share * n), n, confidence=confidence)
    return NearerToTrain(share, interval.low, interval.high, n, size, len(shares))


def _all_similarities(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """(q, g) cosine similarities in float32: 500 queries against 40,000 pictures are 80 MB."""
    return _unit(queries) @ _unit(gallery).T


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors, dtype=np.float32) / _lengths(vectors)[:, None]
