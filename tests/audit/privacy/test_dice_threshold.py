"""The Dice threshold: a network that learned by heart is seen; the paper's own threshold sees what is not there."""

import numpy as np

from datadouble.audit.privacy.dice_threshold import dice_threshold_attack, optimistic_dice_attack


def test_dice_of_a_network_that_learned_by_heart():
    rng = np.random.default_rng(1)
    high, low = rng.beta(30, 2, 80), rng.beta(12, 4, 80)
    found = dice_threshold_attack(high, low, permutations=999)
    assert found.overall.advantage.low > 0.5
    shadow = dice_threshold_attack(
        high,
        low,
        shadow_member_dice=rng.beta(30, 2, 40),
        shadow_non_member_dice=rng.beta(12, 4, 40),
        permutations=99,
    )
    assert 0.75 < shadow.threshold < 0.95
    assert shadow.overall.advantage.low > 0.5
    same = dice_threshold_attack(low[:40], low[40:], permutations=999)
    assert same.p_value > 0.01
    assert same.overall.advantage.low < 0 < same.overall.advantage.high


def test_the_optimistic_threshold_finds_advantage_where_there_is_none():
    rng = np.random.default_rng(2)
    fair, paper = [], []
    for seed in range(30):
        dice = rng.beta(12, 4, 60)
        fair.append(
            dice_threshold_attack(dice[:30], dice[30:], permutations=9, seed=seed).overall.advantage.value
        )
        found = optimistic_dice_attack(dice[:30], dice[30:], permutations=9, seed=seed)
        paper.append(found.overall.advantage.value)
    assert abs(np.mean(fair)) < 3 * np.std(fair) / 30**0.5
    # The mean greatest gap of two empirical curves of 30: 0.87 x sqrt(2 / 30) = 0.22 (Kolmogorov), one-sided less.
    assert 0.1 < np.mean(paper) < 0.25 and min(paper) > 0
    assert found.rule == "dice-optimistic" and "too high" in found.attacker


def test_the_optimistic_threshold_by_hand():
    found = optimistic_dice_attack(np.array([0.9, 0.8, 0.4]), np.array([0.7, 0.5, 0.3]), permutations=9)
    assert found.threshold == 0.8 and found.overall.recall.value == 2 / 3 and found.overall.fpr.value == 0


def test_patients_are_dealt_within_their_centres():
    """One centre is easy and has most members: across centres members look known, within them they do not."""
    rng = np.random.default_rng(3)
    easy, hard = rng.normal(0.9, 0.02, 60), rng.normal(0.5, 0.02, 60)
    member, other = np.r_[easy[:50], hard[:10]], np.r_[easy[50:], hard[10:]]
    sites = np.repeat(["a", "b"], [50, 10]), np.repeat(["a", "b"], [10, 50])
    blind = dice_threshold_attack(member, other, permutations=999)
    within = dice_threshold_attack(
        member, other, member_sites=sites[0], non_member_sites=sites[1], permutations=999
    )
    assert blind.p_value == 0.001 and within.p_value > 0.05
