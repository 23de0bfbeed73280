"""DiffGuard's membership attacks (Zhou et al., npj Digit Med 2024, s41746-024-01290-7).

What is covered:

- *The two-cohort attack on the data* (:func:`two_cohort_attack`). A second double is drawn from a generator that was
  trained on the holdout. A real picture is called a member of train where the first double comes nearer to it than
  the second, by cosine similarity of features (the paper's are channel maxima of the bottleneck of an autoencoder
  trained on the real pictures; here the caller's). ``rule="threshold"`` looks at the first double alone: for
  whoever has no second double. The paper reports recall minus false positive rate, and accuracy, for 500 to 10,000
  pictures a class.
- *The attack on a model as printed*: :mod:`.dice_threshold`; the one in the paper's code is another, with a shadow
  model: :mod:`.shadow_model`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.privacy.distances import aligned, row_blocks, unit_vectors
from datadouble.audit.privacy.permutation import own_groups, permutation_test, ranks_within, two_sides
from datadouble.audit.privacy.rates import clustered_rate, difference, plain
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for
from datadouble.stats import Estimate
from datadouble.stats.roc import roc_curve

ATTACKER = {
    "nearer": "sees the release and a second one, drawn from a generator trained on the holdout: a patient's picture "
    "is called a member of the training set where the first release comes nearer to it",
    "threshold": "sees the release only, and knows how near members come: a patient's picture is called a member where "
    "the release comes nearer to it than a threshold chosen on other patients",
}


class AttackRates(NamedTuple):
    """Pictures called members: of train (``recall``), of holdout (``fpr``), recall - fpr, and the share called right.

    Intervals by patient. ``accuracy`` weighs pictures equally, so it depends on how many of them are members;
    ``advantage`` does not: 0 is guessing, 1 knowing.
    """

    recall: Estimate
    fpr: Estimate
    advantage: Estimate
    accuracy: Estimate


class TwoCohortResult(NamedTuple):
    """An attack's rates over all pictures and by class; ``p_value``: one-sided, permuting patients within classes.

    ``release`` is the number of pictures taken from each double, ``threshold`` None where the rule needs none or each
    half of the patients had its own.
    """

    overall: AttackRates
    by_class: dict[str, AttackRates]
    p_value: float
    release: int
    threshold: float | None
    rule: str
    attacker: str

    def to_json(self) -> dict[str, Any]:
        return {key: plain(value) for key, value in self._asdict().items()}


def two_cohort_attack(
    double: np.ndarray,
    other_double: np.ndarray | None,
    train: np.ndarray,
    holdout: np.ndarray,
    *,
    train_groups: np.ndarray | None = None,
    holdout_groups: np.ndarray | None = None,
    train_labels: np.ndarray | None = None,
    holdout_labels: np.ndarray | None = None,
    rule: str = "nearer",
    threshold: float | None = None,
    align: bool = False,
    permutations: int = 9999,
    seed: int = 0,
    confidence: float = 0.95,
) -> TwoCohortResult:
    """Membership of each real picture by which of two doubles is more similar, or by a threshold.

    Parameters
    ----------
    double, other_double : ndarray
        (m, d) and (k, d): features of the release, and of the double of the holdout; the larger is thinned to the
        smaller's size. ``rule="threshold"`` needs no ``other_double``.
    train, holdout : ndarray
        (t, d), (h, d): features of the real pictures that the two generators learned from.
    train_groups, holdout_groups, train_labels, holdout_labels : ndarray, optional
        Patient and class of each real picture.
    rule : str
        ``"nearer"`` or ``"threshold"``.
    threshold : float, optional
        Cosine similarity from which a picture is called a member; by default the one with the greatest recall - fpr
        on the other half of the patients.
    align : bool
        Standardise doubles and real pictures each by themselves; not in the paper.

    Raises
    ------
    DataDoubleError
        Where a patient is on both sides, the rule is unknown, or the second double is missing.
    """
    if rule not in ("nearer", "threshold"):
        raise DataDoubleError("unknown rule", where="rule", found=rule, remedy="use nearer or threshold")
    groups = [
        own_groups(train_groups, len(train), "train"),
        own_groups(holdout_groups, len(holdout), "holdout"),
    ]
    patients = two_sides(groups[0], groups[1], train_labels, holdout_labels, seed=seed)
    real = np.concatenate([train, holdout])
    member = np.repeat([True, False], [len(train), len(holdout)])
    size = len(double)
    if rule == "nearer":
        if other_double is None:
            raise DataDoubleError(
                "the two-cohort attack needs a second double",
                remedy="train a generator on the holdout and generate from it, or use rule='threshold'",
            )
        size = min(len(double), len(other_double))
        first = _nearness(_thinned(double, size, seed, "double"), real, align)
        scores = first - _nearness(_thinned(other_double, size, seed, "other"), real, align)
        called = np.where(scores == 0, 0.5, scores > 0)
    else:
        scores = _nearness(double, real, align)
        called = called_above(scores, member, patients.code, threshold, seed)

    average = np.bincount(patients.code, weights=scores) / patients.sizes
    ranks = ranks_within(average, patients.stratum)
    tested = permutation_test(ranks, patients.member, patients.stratum, permutations=permutations, seed=seed)
    by_class: dict[str, AttackRates] = {}
    if train_labels is not None and holdout_labels is not None:
        labels = np.concatenate(
            [np.asarray(train_labels).astype(str), np.asarray(holdout_labels).astype(str)]
        )
        for name in np.unique(labels):
            inside = labels == name
            if member[inside].any() and not member[inside].all():
                by_class[str(name)] = attack_rates(
                    called[inside], member[inside], patients.code[inside], confidence
                )
    overall = attack_rates(called, member, patients.code, confidence)
    return TwoCohortResult(overall, by_class, tested.p_value, size, threshold, rule, ATTACKER[rule])


def attack_rates(called: np.ndarray, member: np.ndarray, code: np.ndarray, confidence: float) -> AttackRates:
    """Rates of pictures (n,) called members (0, 1, or 0.5 for a tie) by an attack; ``code`` is each one's patient."""
    recall = clustered_rate(called[member], code[member], confidence=confidence)
    fpr = clustered_rate(called[~member], code[~member], confidence=confidence)
    accuracy = clustered_rate(np.where(member, called, 1 - called), code, confidence=confidence)
    return AttackRates(recall, fpr, difference(recall, fpr), accuracy)


def called_above(
    scores: np.ndarray, member: np.ndarray, code: np.ndarray, threshold: float | None, seed: int
) -> np.ndarray:
    """(n,) 1 for pictures at or above the threshold, or above the best one of the other half of the patients."""
    if threshold is not None:
        return (scores >= threshold).astype(np.float64)
    rng = generator_for(seed, "threshold halves")
    half = np.zeros(int(code.max()) + 1, dtype=bool)
    for side in (True, False):
        own = rng.permutation(np.unique(code[member == side]))
        half[own[: len(own) // 2]] = True
    use = half[code]
    called = np.zeros(len(scores))
    for now in (use, ~use):
        learn = ~now
        if not member[learn].any() or member[learn].all():
            raise DataDoubleError(
                "too few patients to choose a threshold on one half of them",
                found=f"{len(half)} patients",
                remedy="give a threshold",
            )
        called[now] = scores[now] >= best_threshold(member[learn], scores[learn])
    return called


def best_threshold(member: np.ndarray, scores: np.ndarray) -> float:
    """Where recall - fpr is greatest."""
    curve = roc_curve(member, scores)
    return float(curve.thresholds[np.argmax(curve.tpr - curve.fpr)])


def _nearness(double: np.ndarray, real: np.ndarray, align: bool) -> np.ndarray:
    """(n,): cosine similarity of each real picture to the nearest one of a double."""
    if align:
        double, real = aligned(double, real)
    unit = unit_vectors(double)
    result = np.empty(len(real))
    for rows in row_blocks(len(real), len(unit)):
        result[rows] = (unit_vectors(real[rows]) @ unit.T).max(axis=1)
    return result


def _thinned(vectors: np.ndarray, size: int, seed: int, name: str) -> np.ndarray:
    if len(vectors) == size:
        return vectors
    return vectors[np.sort(generator_for(seed, "thin", name).permutation(len(vectors))[:size])]
