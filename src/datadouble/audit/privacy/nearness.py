"""How near a release comes to real pictures and patients: one pass over all pairs, in blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datadouble.audit.privacy.distances import row_blocks, unit_vectors
from datadouble.audit.privacy.permutation import Patients
from datadouble.randomness import generator_for

OTHERS = 10  # real neighbours that say how common a picture is


class Met(NamedTuple):
    """What one pass over the release leaves: memory for real pictures and patients, not for their product.

    ``nearness`` (n,): cosine similarity of each real picture to the nearest synthetic one; ``nearest_patient`` (m,):
    patient nearest to each synthetic picture; ``nearer`` (m,): the share of the draws in which a synthetic
    picture is nearer to train, ties counting half.
    """

    nearness: np.ndarray
    nearest_patient: np.ndarray
    nearer: np.ndarray


def meet(synthetic: np.ndarray, real: np.ndarray, patients: Patients, draws: list[np.ndarray]) -> Met:
    """Compare every synthetic with every real picture (unit vectors), in blocks."""
    order = np.argsort(patients.code, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(patients.code[order]) > 0])
    sorted_real = real[order]
    nearness = np.full(len(real), -np.inf, dtype=np.float32)
    nearest_patient = np.empty(len(synthetic), dtype=np.int64)
    nearer = np.zeros(len(synthetic))
    for rows in row_blocks(len(synthetic), len(real)):
        similarity = unit_vectors(synthetic[rows]) @ sorted_real.T
        np.maximum(nearness, similarity.max(axis=0), out=nearness)
        by_patient = np.maximum.reduceat(similarity, starts, axis=1)
        nearest_patient[rows] = by_patient.argmax(axis=1)
        for chosen in draws:
            inside = patients.member[chosen]
            to_train = by_patient[:, chosen[inside]].max(axis=1)
            to_holdout = by_patient[:, chosen[~inside]].max(axis=1)
            nearer[rows] += (to_train > to_holdout) + 0.5 * (to_train == to_holdout)
    unsorted = np.empty_like(nearness)
    unsorted[order] = nearness
    return Met(unsorted, nearest_patient, nearer / len(draws))


def equal_sides(patients: Patients, repeats: int, seed: int) -> list[np.ndarray]:
    """Draws of patients with equally many of train and holdout in each class; one where no choice is left."""
    rng = generator_for(seed, "equal sides")
    pools = []
    for s in np.unique(patients.stratum[patients.informative]):
        sides = [
            np.flatnonzero((patients.stratum == s) & (patients.member == side)) for side in (True, False)
        ]
        pools.append((sides, min(len(side) for side in sides)))
    if all(len(side) == size for sides, size in pools for side in sides):
        repeats = 1
    return [
        np.concatenate([rng.permutation(side)[:size] for sides, size in pools for side in sides])
        for _ in range(repeats)
    ]


def commonness(real: np.ndarray, patients: Patients) -> np.ndarray:
    """Mean cosine similarity of each real picture to its ten nearest ones of other patients, on either side."""
    result = np.empty(len(real), dtype=np.float32)
    k = min(OTHERS, len(real) - int(patients.sizes.max()))
    for rows in row_blocks(len(real), 2 * len(real)):
        similarity = real[rows] @ real.T
        similarity[patients.code[rows][:, None] == patients.code[None, :]] = -np.inf
        result[rows] = -np.partition(-similarity, k - 1, axis=1)[:, :k].mean(axis=1)
    return result


def patient_maximum(values: np.ndarray, patients: Patients) -> np.ndarray:
    """(p,): the greatest value among each patient's pictures."""
    result = np.full(len(patients.member), -np.inf)
    np.maximum.at(result, patients.code, values)
    return result
