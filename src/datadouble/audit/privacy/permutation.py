"""The exact test behind the privacy measures: patients are dealt anew to train and holdout, within their class.

Synthetic pictures share hubs and patients have several pictures, so that a test that counts pictures as independent
raises false alarms. Were the release independent of who was in train, each way of dealing the patients to train and
holdout that keeps the numbers in each class would be as likely as the true one: the share of those ways that look at
least as bad as the true one is a P value that no correlation between pictures can spoil (Fisher 1935; Ernst 2004).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for

BLOCK_ENTRIES = 4_000_000  # of one block of permutations


class Patients(NamedTuple):
    """The patients of two real sets, in random order.

    ``code`` (n,) is the patient of each picture, train's pictures first, then holdout's; ``member`` (p,) is True for
    patients of train; ``stratum`` (p,) numbers their classes; ``sizes`` (p,) counts their pictures.
    """

    code: np.ndarray
    member: np.ndarray
    stratum: np.ndarray
    sizes: np.ndarray

    @property
    def informative(self) -> np.ndarray:
        """Boolean (p,): patients of classes that both sets have. The others cannot be dealt anew."""
        both = [
            np.any(self.member[self.stratum == s]) and not np.all(self.member[self.stratum == s])
            for s in range(int(self.stratum.max()) + 1)
        ]
        return np.asarray(both)[self.stratum]


class PermutationResult(NamedTuple):
    """One-sided P values: of all statistics together, and of each; their standard scores under the null, and n.

    ``p_value`` is exact for the greatest standard score of the statistics, so it needs no correction for their number.
    ``null`` (permutations, k) holds the standard scores of the permutations. ``n`` counts patients.
    """

    p_value: float
    p_values: np.ndarray
    scores: np.ndarray
    null: np.ndarray
    n: int

    def best_of(self, some: slice) -> float:
        """P value of the greatest standard score of some of the statistics."""
        return _p_value(self.null[:, some].max(axis=1), float(self.scores[some].max()))


def two_sides(
    train_groups: np.ndarray,
    holdout_groups: np.ndarray,
    train_labels: np.ndarray | None,
    holdout_labels: np.ndarray | None,
    *,
    seed: int,
) -> Patients:
    """Number the patients of train and holdout; a patient's class is that of most of their pictures.

    The numbers are dealt at random, so that ties between patients fall to either side.

    Raises
    ------
    DataDoubleError
        Where a patient is in both sets, a set is empty, or no class is in both.
    """
    groups = [np.asarray(train_groups).astype(str), np.asarray(holdout_groups).astype(str)]
    if not all(len(part) for part in groups):
        raise DataDoubleError(
            "a membership test needs real pictures on both sides",
            found=f"{len(groups[0])} train pictures, {len(groups[1])} holdout pictures",
            remedy="split the cohort before fitting: `datadouble split`",
        )
    shared = np.intersect1d(groups[0], groups[1])
    if len(shared):
        raise DataDoubleError(
            "patients are in train and in holdout",
            found=f"{len(shared)} patients",
            remedy="split the cohort by patient: `datadouble split`",
        )
    names, code = np.unique(np.concatenate(groups), return_inverse=True)
    code = generator_for(seed, "patients").permutation(len(names))[code]
    n = len(names)
    member = np.zeros(n, dtype=bool)
    member[code[: len(groups[0])]] = True
    sizes = np.bincount(code, minlength=n)
    if train_labels is None or holdout_labels is None:
        stratum = np.zeros(n, dtype=np.int64)
    else:
        labels = np.concatenate(
            [np.asarray(train_labels).astype(str), np.asarray(holdout_labels).astype(str)]
        )
        classes, number = np.unique(labels, return_inverse=True)
        counts = np.zeros((n, len(classes)), dtype=np.int64)
        np.add.at(counts, (code, number), 1)
        stratum = np.unique(counts.argmax(axis=1), return_inverse=True)[1]
    patients = Patients(code, member, stratum, sizes)
    if not patients.informative.any():
        raise DataDoubleError(
            "train and holdout have no class in common",
            found="patients of each class are all in train or all in holdout",
            remedy="split the cohort anew, stratified by class: `datadouble split`",
        )
    return patients


def own_groups(groups: np.ndarray | None, n: int, side: str) -> np.ndarray:
    """The groups given, or each picture a patient of its own."""
    return np.array([f"{side}:{i}" for i in range(n)]) if groups is None else np.asarray(groups)


def permutation_test(
    values: np.ndarray, member: np.ndarray, stratum: np.ndarray, *, permutations: int = 9999, seed: int = 0
) -> PermutationResult:
    """Are the sums of ``values`` over the members greater than when members are drawn at random in each stratum?

    Parameters
    ----------
    values : ndarray
        (p, k): k numbers a patient, such as ranks, that do not depend on who is a member.
    member : ndarray of bool
        (p,).
    stratum : ndarray of int
        (p,): class of each patient; members are permuted within classes.
    permutations : int
        The smallest P value is 1 / (permutations + 1).
    """
    values = np.asarray(values, dtype=np.float64).reshape(len(member), -1)
    rng = generator_for(seed, "permutations")
    k = values.shape[1]
    mean, variance, observed = np.zeros(k), np.zeros(k), np.zeros(k)
    drawn = np.zeros((permutations, k))
    n = 0
    for s in np.unique(stratum):
        inside = stratum == s
        size, members = int(inside.sum()), int(member[inside].sum())
        if members in (0, size):
            continue
        n += size
        own = values[inside]
        observed += own[member[inside]].sum(axis=0)
        mean += members * own.mean(axis=0)
        variance += members * (size - members) / size * own.var(axis=0, ddof=1)
        # Draw the smaller side; what the larger one sums to follows.
        few = min(members, size - members)
        height = max(1, BLOCK_ENTRIES // size)
        for top in range(0, permutations, height):
            count = min(height, permutations - top)
            chosen = rng.random((count, size), dtype=np.float32).argpartition(few - 1, axis=1)[:, :few]
            sums = np.stack([own[:, j][chosen].sum(axis=1) for j in range(k)], axis=1)
            drawn[top : top + count] += sums if few == members else own.sum(axis=0) - sums
    spread = np.sqrt(variance)
    usable = spread > 1e-12 * (1 + np.abs(mean))
    scale = np.where(usable, spread, 1.0)
    scores = np.where(usable, (observed - mean) / scale, 0.0)
    null = np.where(usable, (drawn - mean) / scale, 0.0)
    p_values = np.array([_p_value(null[:, j], float(scores[j])) for j in range(k)])
    return PermutationResult(_p_value(null.max(axis=1), float(scores.max())), p_values, scores, null, n)


def _p_value(null: np.ndarray, observed: float) -> float:
    # Equal sums may differ in the last digits by the order of addition.
    return float((1 + np.sum(null >= observed - 1e-9)) / (len(null) + 1))


def ranks_within(values: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """Mid-ranks within each stratum, scaled to (0, 1): sums of them over members are a stratified Mann-Whitney test."""
    from scipy.stats import rankdata

    result = np.empty(len(values))
    for s in np.unique(stratum):
        inside = stratum == s
        result[inside] = (rankdata(values[inside]) - 0.5) / inside.sum()
    return result


def without_class_medians(values: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """Values less the median of their stratum: classes that are easy to draw look near to any release."""
    result = np.array(values, dtype=np.float64)
    for s in np.unique(stratum):
        inside = stratum == s
        result[inside] -= np.median(result[inside])
    return result
