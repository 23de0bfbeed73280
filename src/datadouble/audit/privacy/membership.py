"""Who was in the training set, told from the release alone.

The attacker sees the synthetic pictures and holds real pictures of patients, some of whom the generator learned from.
For each patient they ask how near the release comes to the patient's pictures, and call the nearest ones members.
Patients of the holdout, of the same kind and unseen by the generator, say how often that is wrong.

Two units are kept apart. Synthetic pictures of an honest generator are independent draws, so the share of them nearer
to train than to holdout has a binomial test, but only *given these patients*: some patients are hubs that many
pictures are near to, and chance decides on which side they lie. The patients are what was dealt to train and
holdout; the headline P value therefore deals them anew (:mod:`.permutation`) and needs no assumption about the
pictures.

Release and real pictures are standardised each by their own mean and spread, as an attacker would, since a
generator's style moves all its pictures alike; and a picture's nearness to the release is taken relative to its
nearness to other real patients, since common pictures are near to everything (difficulty calibration, Watson et al.,
ICLR 2022). Both treat train and holdout alike, so the permutation test stays exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.privacy.distances import aligned, unit_vectors
from datadouble.audit.privacy.nearness import commonness, equal_sides, meet, patient_maximum
from datadouble.audit.privacy.permutation import (
    own_groups,
    permutation_test,
    ranks_within,
    two_sides,
    without_class_medians,
)
from datadouble.audit.privacy.rates import clustered_rate, difference, plain
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for
from datadouble.stats import Estimate, proportion_interval
from datadouble.stats.roc import TprAtFpr, roc_auc, roc_curve, tpr_at_fpr

ATTACKER = (
    "sees the release only, and holds real pictures of patients: which of them were in the training set? "
    "Patients nearest to the release are called members."
)
STATISTICS = ("ranking", "nearest", "tail")


class Space(NamedTuple):
    """Features of the three sets by one extractor: (m, d), (t, d), (h, d)."""

    synthetic: np.ndarray
    train: np.ndarray
    holdout: np.ndarray


class NearerShare(NamedTuple):
    """Share of synthetic pictures nearer to a train patient than to one of an equal number of holdout patients.

    ``low`` and ``high`` (Wilson) and ``p_binomial`` (exact, one-sided against 1/2) count synthetic pictures as
    independent and hold for the given patients only. ``patients`` is the number on each side, equal in each class,
    and ``repeats`` the number of draws of them.
    """

    value: float
    low: float
    high: float
    n: int
    p_binomial: float
    patients: int
    repeats: int


class MembershipCurves(NamedTuple):
    """What a report draws: the ROC curve (fpr, tpr), and patients' scores on both sides (class medians removed)."""

    fpr: np.ndarray
    tpr: np.ndarray
    members: np.ndarray
    non_members: np.ndarray


class MembershipResult(NamedTuple):
    """Release-only membership inference in one feature space.

    Attributes
    ----------
    p_value : float
        Headline: exact, one-sided, by permutation of patients between train and holdout within classes. Small: the
        release is nearer to the patients in train than chance allows.
    p_values : dict
        Of the three statistics whose greatest standard score the headline tests: ``ranking`` (Mann-Whitney over
        patients), ``nearest`` (square root of the number of synthetic pictures that have the patient as the nearest
        real one), ``tail`` (Savage scores over patients: a few members that stand out).
    auc : Estimate
        Over patients (DeLong).
    advantage : Estimate
        TPR - FPR at a threshold chosen on other patients (Newcombe); 0: no better than guessing.
    tpr_at_1_fpr, tpr_at_01_fpr : TprAtFpr
        Share of members found where at most 1% or 0.1% of non-members are called members.
    nearer : NearerShare
    synthetic : int
        Pictures of the release; the other counts are of real patients and pictures in classes that both sides have.
    curves : MembershipCurves
        For plots; not in :meth:`to_json`.
    """

    p_value: float
    p_values: dict[str, float]
    auc: Estimate
    advantage: Estimate
    tpr_at_1_fpr: TprAtFpr
    tpr_at_01_fpr: TprAtFpr
    nearer: NearerShare
    synthetic: int
    train_patients: int
    holdout_patients: int
    train_pictures: int
    holdout_pictures: int
    classes: int
    permutations: int
    attacker: str
    curves: MembershipCurves

    def to_json(self) -> dict[str, Any]:
        """Everything but the curves, as plain values."""
        return {key: plain(value) for key, value in self._asdict().items() if key != "curves"}


class JointMembership(NamedTuple):
    """Membership inference in several feature spaces; ``p_value`` is exact for the best of them."""

    p_value: float
    spaces: dict[str, MembershipResult]

    def to_json(self) -> dict[str, Any]:
        return {
            "attacker": ATTACKER,
            "p_value": self.p_value,
            "spaces": {name: result.to_json() for name, result in self.spaces.items()},
        }


def release_membership(
    synthetic: np.ndarray,
    train: np.ndarray,
    holdout: np.ndarray,
    *,
    train_groups: np.ndarray | None = None,
    holdout_groups: np.ndarray | None = None,
    train_labels: np.ndarray | None = None,
    holdout_labels: np.ndarray | None = None,
    repeats: int = 20,
    permutations: int = 9999,
    seed: int = 0,
    confidence: float = 0.95,
    align: bool = True,
) -> MembershipResult:
    """Membership inference by a release-only attacker, with an exact test over patients.

    Parameters
    ----------
    synthetic, train, holdout : ndarray
        (m, d), (t, d), (h, d) features. ``holdout``: patients that the generator never saw, none of them in
        ``synthetic`` either (a control whose "synthetic" pictures are real takes them from other patients).
    train_groups, holdout_groups : ndarray, optional
        Patient of each picture (or unit that was split as one); without them each picture is a patient.
    train_labels, holdout_labels : ndarray, optional
        Class of each picture: train and holdout are compared within classes.
    repeats : int
        Draws of equally many patients a side for ``nearer``.
    permutations : int
        The smallest P value is 1 / (permutations + 1).
    seed : int
        Equal seeds give equal results.
    align : bool
        Standardise release and real pictures each by their own mean and spread.

    Raises
    ------
    DataDoubleError
        Where a patient is in both sets, a set is empty, or no class is in both.

    Notes
    -----
    The P value is exact where the split was random: patients who were kept in train on purpose, because an encoder
    had seen them, were not dealt, and should be left out where they differ from the others. A generator that
    copies nothing is still a little nearer to the patients that it learned from than to others, since it knows the
    population through them alone: with many patients the test may find that. How much it gives away is said by
    ``auc`` and ``advantage`` with their intervals.
    """
    joint = joint_membership(
        {"features": Space(synthetic, train, holdout)},
        train_groups=train_groups,
        holdout_groups=holdout_groups,
        train_labels=train_labels,
        holdout_labels=holdout_labels,
        repeats=repeats,
        permutations=permutations,
        seed=seed,
        confidence=confidence,
        align=align,
    )
    return joint.spaces["features"]


def joint_membership(
    spaces: Mapping[str, Space],
    *,
    train_groups: np.ndarray | None = None,
    holdout_groups: np.ndarray | None = None,
    train_labels: np.ndarray | None = None,
    holdout_labels: np.ndarray | None = None,
    repeats: int = 20,
    permutations: int = 9999,
    seed: int = 0,
    confidence: float = 0.95,
    align: bool = True,
) -> JointMembership:
    """:func:`release_membership` in several feature spaces of the same pictures, with one P value for all of them.

    The parameters are those of :func:`release_membership`. The joint P value is that of the greatest standard score
    over all spaces and statistics: the attacker may choose, and the test counts that in.
    """
    first = next(iter(spaces.values()))
    patients = two_sides(
        own_groups(train_groups, len(first.train), "train"),
        own_groups(holdout_groups, len(first.holdout), "holdout"),
        train_labels,
        holdout_labels,
        seed=seed,
    )
    draws = equal_sides(patients, repeats, seed)
    usable = patients.informative
    member, stratum = patients.member[usable], patients.stratum[usable]
    values, scores, met = [], {}, {}
    for name, space in spaces.items():
        if (len(space.train), len(space.holdout)) != (len(first.train), len(first.holdout)):
            raise DataDoubleError(
                "feature spaces hold different pictures",
                where=name,
                found=f"{len(space.train)} + {len(space.holdout)}, not {len(first.train)} + {len(first.holdout)}",
                remedy="extract both from the same rows",
            )
        synthetic, real = space.synthetic, np.concatenate([space.train, space.holdout])
        if align:
            synthetic, real = aligned(synthetic, real)
        real = unit_vectors(real)
        met[name] = meet(synthetic, real, patients, draws)
        scores[name] = patient_maximum(met[name].nearness - commonness(real, patients), patients)[usable]
        ranks = ranks_within(scores[name], stratum)
        counts = np.bincount(met[name].nearest_patient, minlength=len(usable))[usable]
        values += [ranks, np.sqrt(counts), -np.log1p(-ranks)]
    tested = permutation_test(np.stack(values, axis=1), member, stratum, permutations=permutations, seed=seed)

    results = {}
    for i, name in enumerate(spaces):
        own = slice(i * len(STATISTICS), (i + 1) * len(STATISTICS))
        adjusted = without_class_medians(scores[name], stratum)
        curve = roc_curve(member, adjusted)
        share, m = float(np.mean(met[name].nearer)), len(spaces[name].synthetic)
        results[name] = MembershipResult(
            p_value=tested.best_of(own),
            p_values=dict(zip(STATISTICS, tested.p_values[own].tolist())),
            auc=roc_auc(member, adjusted, confidence=confidence),
            advantage=membership_advantage(member, adjusted, stratum, seed=seed, confidence=confidence),
            tpr_at_1_fpr=tpr_at_fpr(member, adjusted, 0.01, confidence=confidence),
            tpr_at_01_fpr=tpr_at_fpr(member, adjusted, 0.001, confidence=confidence),
            nearer=_nearer(share, m, len(draws[0]) // 2, len(draws), confidence),
            synthetic=m,
            train_patients=int(member.sum()),
            holdout_patients=int((~member).sum()),
            train_pictures=int(patients.sizes[usable][member].sum()),
            holdout_pictures=int(patients.sizes[usable][~member].sum()),
            classes=len(np.unique(stratum)),
            permutations=permutations,
            attacker=ATTACKER,
            curves=MembershipCurves(curve.fpr, curve.tpr, adjusted[member], adjusted[~member]),
        )
    return JointMembership(tested.p_value, results)


def membership_advantage(
    member: np.ndarray, scores: np.ndarray, stratum: np.ndarray, *, seed: int = 0, confidence: float = 0.95
) -> Estimate:
    """TPR - FPR (Yeom et al. 2018) of a threshold that is chosen on one half of the patients and used on the other.

    The greatest TPR - FPR of the whole curve would be above 0 for any release. Halves hold equal shares of each class
    and side; the interval is Newcombe's for a difference of proportions (1998, method 10). ``n`` counts patients.
    """
    rng = generator_for(seed, "advantage")
    half = np.zeros(len(member), dtype=bool)
    for s in np.unique(stratum):
        for side in (True, False):
            rows = rng.permutation(np.flatnonzero((stratum == s) & (member == side)))
            # Odd ones go to either half, so that neither runs dry where classes are small.
            half[rows[: (len(rows) + int(rng.integers(2))) // 2]] = True
    called = np.zeros(len(member), dtype=bool)
    for use in (half, ~half):
        learn = ~use
        if not use.any() or not member[learn].any() or member[learn].all():
            learn = np.ones(len(member), dtype=bool)  # too few patients to keep apart
        curve = roc_curve(member[learn], scores[learn])
        called[use] = scores[use] >= curve.thresholds[np.argmax(curve.tpr - curve.fpr)]
    own = np.arange(len(member))
    return difference(
        clustered_rate(called[member], own[member], confidence=confidence),
        clustered_rate(called[~member], own[~member], confidence=confidence),
    )


def _nearer(share: float, m: int, patients: int, repeats: int, confidence: float) -> NearerShare:
    from scipy.stats import binomtest

    hits = round(share * m)
    interval = proportion_interval(hits, m, confidence=confidence)
    p_value = float(binomtest(hits, m, 0.5, alternative="greater").pvalue)
    return NearerShare(share, interval.low, interval.high, m, p_value, patients, repeats)
