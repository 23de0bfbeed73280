"""DiffGuard's attack on a segmentation network as printed: what it segments well, it has seen.

Zhou et al., npj Digit Med 2024, s41746-024-01290-7. A real picture is called a member where the network's Dice on it is
at or above a threshold. Where the threshold comes from decides what the figures mean: :func:`dice_threshold_attack`
takes it from separate data, :func:`optimistic_dice_attack` from the very pictures that it is judged on, as the paper
does.
"""

from __future__ import annotations

import numpy as np

from datadouble.audit.privacy.permutation import own_groups, permutation_test, ranks_within, two_sides
from datadouble.audit.privacy.two_cohorts import (
    TwoCohortResult,
    attack_rates,
    best_threshold,
    called_above,
)

ATTACKER = {
    "dice": "sees a segmentation network trained on the release, and holds pictures with masks: a picture is called a "
    "member where the network's Dice is above a threshold set on other pictures",
    "dice-optimistic": "as the Dice threshold, but with the threshold that happens to part these members from these "
    "others best: what nobody outside can know, so that the figures are too high, above 0 even where nothing leaks",
}


def dice_threshold_attack(
    member_dice: np.ndarray,
    non_member_dice: np.ndarray,
    *,
    member_groups: np.ndarray | None = None,
    non_member_groups: np.ndarray | None = None,
    member_sites: np.ndarray | None = None,
    non_member_sites: np.ndarray | None = None,
    shadow_member_dice: np.ndarray | None = None,
    shadow_non_member_dice: np.ndarray | None = None,
    permutations: int = 9999,
    seed: int = 0,
    confidence: float = 0.95,
) -> TwoCohortResult:
    """Membership by the Dice that a segmentation network reaches, with a threshold from separate data.

    Parameters
    ----------
    member_dice, non_member_dice : ndarray
        In [0, 1]: of real pictures whose patients the generator (or the network itself) learned from, and of others.
    member_groups, non_member_groups, member_sites, non_member_sites : ndarray, optional
        Patient and centre of each; the test deals patients anew within their centre.
    shadow_member_dice, shadow_non_member_dice : ndarray, optional
        Of a shadow network on its own training and other pictures: they set the threshold. Without them it is
        chosen on one half of the patients and used on the other.
    """
    threshold = None
    if shadow_member_dice is not None and shadow_non_member_dice is not None:
        shadow = np.concatenate([shadow_member_dice, shadow_non_member_dice])
        inside = np.repeat([True, False], [len(shadow_member_dice), len(shadow_non_member_dice)])
        threshold = best_threshold(inside, shadow)
    sides = (member_dice, non_member_dice, member_groups, non_member_groups, member_sites, non_member_sites)
    return _attack(*sides, "dice", threshold, permutations, seed, confidence)


def optimistic_dice_attack(
    member_dice: np.ndarray,
    non_member_dice: np.ndarray,
    *,
    member_groups: np.ndarray | None = None,
    non_member_groups: np.ndarray | None = None,
    member_sites: np.ndarray | None = None,
    non_member_sites: np.ndarray | None = None,
    permutations: int = 9999,
    seed: int = 0,
    confidence: float = 0.95,
) -> TwoCohortResult:
    """The paper's figure: the threshold is the best one for the pictures that it is judged on.

    Its advantage is the greatest gap between two step curves, which is above 0 for any two samples; ``p_value``, which
    needs no threshold, is as good as that of :func:`dice_threshold_attack`.
    """
    scores = np.concatenate([member_dice, non_member_dice])
    member = np.repeat([True, False], [len(member_dice), len(non_member_dice)])
    sides = (member_dice, non_member_dice, member_groups, non_member_groups, member_sites, non_member_sites)
    return _attack(*sides, "dice-optimistic", best_threshold(member, scores), permutations, seed, confidence)


def _attack(
    member_dice: np.ndarray,
    non_member_dice: np.ndarray,
    member_groups: np.ndarray | None,
    non_member_groups: np.ndarray | None,
    member_sites: np.ndarray | None,
    non_member_sites: np.ndarray | None,
    rule: str,
    threshold: float | None,
    permutations: int,
    seed: int,
    confidence: float,
) -> TwoCohortResult:
    groups = [
        own_groups(member_groups, len(member_dice), "member"),
        own_groups(non_member_groups, len(non_member_dice), "other"),
    ]
    patients = two_sides(groups[0], groups[1], member_sites, non_member_sites, seed=seed)
    scores = np.concatenate([member_dice, non_member_dice]).astype(np.float64)
    member = np.repeat([True, False], [len(member_dice), len(non_member_dice)])
    called = called_above(scores, member, patients.code, threshold, seed)
    average = np.bincount(patients.code, weights=scores) / patients.sizes
    tested = permutation_test(
        ranks_within(average, patients.stratum),
        patients.member,
        patients.stratum,
        permutations=permutations,
        seed=seed,
    )
    rates = attack_rates(called, member, patients.code, confidence)
    return TwoCohortResult(rates, {}, tested.p_value, 0, threshold, rule, ATTACKER[rule])
