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
    Memory beyond the inputs' unit vectors: one block of similarities (64 MB), whatever q and g.
    """
    if len(gallery) == 0 or not 1 <= k <= len(gallery):
        raise ValueError(f"k must lie between 1 and the gallery's size: found k={k}, gallery {len(gallery)}")
    unit_gallery = _unit(gallery)
    width = min(len(gallery), 8192)
    height = max(1, BLOCK_BYTES // (4 * width))
    index = np.zeros((len(queries), k), dtype=np.int64)
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    for top in range(0, len(queries), height):
        rows = slice(top, top + height)
        block = _unit(queries[rows])
        for left in range(0, len(gallery), width):
            similarity = block @ unit_gallery[left : left + width].T
            count = min(k, similarity.shape[1])
            near = np.argpartition(-similarity, count - 1, axis=1)[:, :count] if count > 1 else None
            near = similarity.argmax(axis=1)[:, None] if near is None else near
            values = np.concatenate([best[rows], np.take_along_axis(similarity, near, axis=1)], axis=1)
            places = np.concatenate([index[rows], near + left], axis=1)
            order = np.argsort(-values, axis=1, kind="stable")[:, :k]
            best[rows] = np.take_along_axis(values, order, axis=1)
            index[rows] = np.take_along_axis(places, order, axis=1)
    return Neighbours(index, np.clip(best, -1.0, 1.0))


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
    x = np.asarray(vectors, dtype=np.float32)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1.0)
