"""The real-against-real floor: what a distance reads between two sets of real pictures of different patients."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from datadouble.audit.fidelity.frechet import frechet_distance

Metric = Callable[[np.ndarray, np.ndarray], float]


class Floor(NamedTuple):
    """Mean of a distance over random draws of ``n`` vectors a side, its spread (2.5 to 97.5% of draws), and how."""

    value: float
    low: float
    high: float
    n: int
    repeats: int
    between: str


def real_floor(
    reference: np.ndarray,
    n: int | None = None,
    groups: np.ndarray | None = None,
    repeats: int = 10,
    *,
    other: np.ndarray | None = None,
    other_groups: np.ndarray | None = None,
    metric: Metric = frechet_distance,
    seed: int = 0,
) -> Floor:
    """Distance between real and real at equal n.

    Parameters
    ----------
    reference : ndarray
        (m, d) features of real pictures.
    n : int, optional
        Vectors a side; default and upper limit: half of ``reference``, or the smaller of ``reference`` and ``other``.
    groups, other_groups : ndarray, optional
        Patient of each row. Draws take whole patients in random order until n vectors are there.
    repeats : int
        Number of random draws.
    other : ndarray, optional
        A second real set whose patients are not in ``reference``, such as another split. Without it ``reference`` is
        halved at random, never one patient in both halves.
    metric : callable
        ``metric(real, real) -> float``.

    Returns
    -------
    Floor
        ``between`` is ``"halves"`` or ``"splits"``.
    """
    rng = np.random.default_rng(seed)
    groups = np.arange(len(reference)) if groups is None else np.asarray(groups)
    values, sizes = [], []
    for _ in range(repeats):
        if other is None:
            order = by_patient(groups, rng)
            # Cut where a patient ends, as near to the middle as the patients allow.
            ends = np.flatnonzero(groups[order][1:] != groups[order][:-1]) + 1
            if len(ends) == 0:
                raise ValueError("a real-against-real floor needs pictures of at least two patients")
            cut = int(ends[np.argmin(np.abs(ends - len(order) / 2))])
            first, second = order[:cut], order[cut:]
            size = min(len(first), len(second), n or len(order))
            pair = reference[first[:size]], reference[second[:size]]
        else:
            size = min(len(reference), len(other), n or len(reference))
            pair = (
                reference[by_patient(groups, rng)[:size]],
                other[
                    by_patient(np.arange(len(other)) if other_groups is None else other_groups, rng)[:size]
                ],
            )
        sizes.append(size)
        values.append(metric(*pair))
    low, high = np.quantile(values, [0.025, 0.975])
    between = "halves" if other is None else "splits"
    return Floor(float(np.mean(values)), float(low), float(high), min(sizes), repeats, between)


def by_patient(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Row indices with the patients in random order, the rows of one patient together."""
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    rank = rng.permutation(codes.max() + 1)[codes]
    return np.lexsort((rng.random(len(codes)), rank))
