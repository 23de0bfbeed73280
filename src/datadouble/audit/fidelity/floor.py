"""The real-against-real floor: what a distance reads between two sets of real pictures of different patients.

Two given splits that are used up at every draw are one pair of sets, drawn again and again: the spread over draws
would say nothing of chance in which patients are in which split. So the spread comes from putting both splits
together and parting them anew at random; the value stays that of the given splits, which may differ for a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Rows = np.ndarray  # of int, row numbers


class Floor(NamedTuple):
    """Mean of a distance over random draws of ``n`` vectors a side, its spread over patients, and how.

    ``low`` and ``high``: 2.5 to 97.5% over random partings of the patients, moved to the value.
    """

    value: float
    low: float
    high: float
    n: int
    repeats: int
    between: str


def real_pairs(
    groups: np.ndarray, other_groups: np.ndarray | None, n: int | None, rng: np.random.Generator
) -> tuple[Rows, Rows]:
    """One random pair of equally large real sets that share no patient, at most ``n`` rows each.

    Parameters
    ----------
    groups : ndarray
        Patient of each row of the reference.
    other_groups : ndarray or None
        Of the second real set; None: both sides come from the reference.

    Raises
    ------
    ValueError
        Where a reference of one patient should be halved.
    """
    order = by_patient(groups, rng)
    if other_groups is None:
        # Cut where a patient ends, as near to the middle as the patients allow.
        ends = np.flatnonzero(groups[order][1:] != groups[order][:-1]) + 1
        if len(ends) == 0:
            raise ValueError("a real-against-real floor needs pictures of at least two patients")
        cut = int(ends[np.argmin(np.abs(ends - len(order) / 2))])
        first, second = order[:cut], order[cut:]
    else:
        first, second = order, by_patient(other_groups, rng)
    size = min(len(first), len(second), n or len(order))
    return first[:size], second[:size]


def floor_of(values: Sequence[float], n: int, between: str, parted: Sequence[float] | None = None) -> Floor:
    """Mean of real-against-real draws, and the central 95% over partings of the patients.

    Parameters
    ----------
    values : sequence of float
        Of the draws.
    parted : sequence of float, optional
        Of random partings of both real sets together; default: the draws are such partings themselves.
    """
    value = float(np.mean(values))
    spread = np.asarray(values if parted is None else parted, np.float64)
    low, high = np.quantile(spread, [0.025, 0.975]) + (value - spread.mean())
    return Floor(value, float(low), float(high), n, len(values), between)


def pooled(groups: np.ndarray, other_groups: np.ndarray) -> np.ndarray:
    """Patients of two sets put together; equal names in both are one patient."""
    return np.concatenate([np.asarray(groups).astype(str), np.asarray(other_groups).astype(str)])


def by_patient(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Row indices with the patients in random order, the rows of one patient together."""
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    rank = rng.permutation(codes.max() + 1)[codes]
    return np.lexsort((rng.random(len(codes)), rank))
