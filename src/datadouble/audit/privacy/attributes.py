"""Attribute disclosure: does the release tell more of the patients in the training set than of others like them?

The attacker holds a known patient's picture, not the attribute (diagnosis, site, device), and guesses it from the
release: the attribute of the nearest synthetic picture. That a picture tells its diagnosis is what a useful
release is for, and holds for patients whom the generator never saw as much: only what goes beyond them is
disclosure. The triple is anonymeter's (Giomi et al., PoPETs 2023): the attack on train, the same attack on the
holdout (control), and a guess from population statistics (baseline).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.privacy.distances import aligned, row_blocks, unit_vectors
from datadouble.audit.privacy.permutation import own_groups, permutation_test, two_sides
from datadouble.audit.privacy.rates import clustered_rate, difference, plain, residual_risk
from datadouble.errors import DataDoubleError
from datadouble.stats import Estimate

ATTACKER = (
    "sees the release with its attributes only, and holds a known patient's picture without the attribute: "
    "guesses that of the nearest synthetic pictures"
)


class AttributeRisk(NamedTuple):
    """How well an attribute is guessed, of pictures; intervals by patient.

    Attributes
    ----------
    attack, control, baseline : Estimate
        Share guessed right: of train, of the holdout (weighted to train's mix of values), and of train by always
        naming the release's most frequent value.
    excess : Estimate
        attack - control.
    risk : Estimate
        (attack - control) / (1 - control), cut at 0 and 1.
    p_value : float
        One-sided, exact by permutation of patients between train and holdout within values.
    values : int
        Different values in the release.
    worth_having : bool
        Whether the attack beats the baseline at all (its interval lies above); an attack that does not says little.
    """

    attribute: str
    risk: Estimate
    attack: Estimate
    control: Estimate
    baseline: Estimate
    excess: Estimate
    p_value: float
    values: int
    worth_having: bool
    neighbours: int
    attacker: str

    def to_json(self) -> dict[str, Any]:
        return {key: plain(value) for key, value in self._asdict().items()}


def attribute_disclosure(
    synthetic: np.ndarray,
    synthetic_values: np.ndarray,
    train: np.ndarray,
    train_values: np.ndarray,
    holdout: np.ndarray,
    holdout_values: np.ndarray,
    *,
    attribute: str,
    train_groups: np.ndarray | None = None,
    holdout_groups: np.ndarray | None = None,
    neighbours: int = 1,
    align: bool = True,
    permutations: int = 9999,
    seed: int = 0,
    confidence: float = 0.95,
) -> AttributeRisk:
    """Guess one attribute of real patients from the release.

    Parameters
    ----------
    synthetic, train, holdout : ndarray
        (m, d), (t, d), (h, d) features of the pictures.
    synthetic_values, train_values, holdout_values : ndarray of str
        The attribute of each; ``""`` (unknown) leaves a picture out.
    attribute : str
        Its name, for the record.
    neighbours : int
        Synthetic pictures that vote; 1, the default, is what gives copies away.
    align : bool
        Standardise release and real pictures each by their own mean and spread.

    Raises
    ------
    DataDoubleError
        Where the release has fewer than two values of the attribute (it then discloses none), or no real picture
        has one.
    """
    known = [np.asarray(v).astype(str) for v in (synthetic_values, train_values, holdout_values)]
    kept = [v != "" for v in known]
    released, of_train, of_holdout = (v[k] for v, k in zip(known, kept))
    if len(np.unique(released)) < 2:
        raise DataDoubleError(
            "the release does not carry this attribute",
            where=attribute,
            found=f"{len(np.unique(released))} different values in the double",
            remedy="nothing to do: leave it out",
        )
    groups = [
        own_groups(train_groups, len(train), "train")[kept[1]],
        own_groups(holdout_groups, len(holdout), "holdout")[kept[2]],
    ]
    patients = two_sides(groups[0], groups[1], of_train, of_holdout, seed=seed)
    real, truth = np.concatenate([train[kept[1]], holdout[kept[2]]]), np.concatenate([of_train, of_holdout])
    release = synthetic[kept[0]]
    if align:
        release, real = aligned(release, real)
    right = (guess(release, released, real, neighbours) == truth).astype(np.float64)
    member = np.repeat([True, False], [len(of_train), len(of_holdout)])

    attack = clustered_rate(right[member], patients.code[member], confidence=confidence)
    control = clustered_rate(
        right[~member],
        patients.code[~member],
        weights=weights_to_match(of_holdout, of_train),
        confidence=confidence,
    )
    values, counts = np.unique(released, return_counts=True)
    commonest = (of_train == values[counts.argmax()]).astype(np.float64)
    baseline = clustered_rate(commonest, patients.code[member], confidence=confidence)
    share = np.bincount(patients.code, weights=right) / patients.sizes
    tested = permutation_test(share, patients.member, patients.stratum, permutations=permutations, seed=seed)
    return AttributeRisk(
        attribute=attribute,
        risk=residual_risk(attack, control),
        attack=attack,
        control=control,
        baseline=baseline,
        excess=difference(attack, control),
        p_value=tested.p_value,
        values=len(values),
        worth_having=attack.low > baseline.value,
        neighbours=neighbours,
        attacker=ATTACKER,
    )


def guess(release: np.ndarray, values: np.ndarray, targets: np.ndarray, neighbours: int = 1) -> np.ndarray:
    """(t,): the value that most of the nearest synthetic pictures have, by cosine similarity; ties to the nearest."""
    names, code = np.unique(values, return_inverse=True)
    unit = unit_vectors(release)
    k = min(neighbours, len(unit))
    result = np.empty(len(targets), dtype=np.int64)
    for rows in row_blocks(len(targets), 2 * len(unit)):
        similarity = unit_vectors(targets[rows]) @ unit.T
        near = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        closeness = np.take_along_axis(similarity, near, axis=1)
        votes = np.zeros((len(near), len(names)))
        for j in range(k):
            # A similarity is at most 1: it decides between equal counts and never beats a count.
            votes[np.arange(len(near)), code[near[:, j]]] += 1 + 1e-3 * closeness[:, j] / k
        result[rows] = votes.argmax(axis=1)
    return names[result]


def weights_to_match(values: np.ndarray, wished: np.ndarray) -> np.ndarray:
    """(n,): weights that give ``values`` the shares that they have in ``wished``, as far as they occur in both."""
    names, code, counts = np.unique(values, return_inverse=True, return_counts=True)
    shares = np.array([np.mean(wished == name) for name in names])
    weights = (shares / counts)[code]
    return weights if weights.sum() > 0 else np.ones(len(values))
