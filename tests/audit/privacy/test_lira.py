"""LiRA: the published formula on Gaussians whose area is known, and by hand."""

import numpy as np
import pytest
from scipy.stats import norm

from datadouble.audit.privacy.lira import lira_attack, lira_scores, logit_confidence, shadow_membership
from datadouble.errors import DataDoubleError
from datadouble.stats import roc_auc


def gaussians(n: int, networks: int, gap: float, seed: int) -> tuple[np.ndarray, ...]:
    """Confidences: of each picture its own level, higher by the gap in networks that had it; unit noise."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0, 3, n)  # hard and easy pictures: a threshold on the confidence sees little
    inside = shadow_membership(np.arange(n).astype(str), networks, seed)
    shadows = level + gap * inside + rng.normal(size=inside.shape)
    member = np.arange(n) % 2 == 0
    return level + gap * member + rng.normal(size=n), shadows, inside, member


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_area_is_that_of_two_gaussians(mode: str) -> None:
    """Members N(gap, 1), others N(0, 1): the best area is Phi(gap / sqrt 2), and LiRA, which knows both, reaches it."""
    victim, shadows, inside, member = gaussians(4000, 128, 1.5, 0)
    scores = lira_scores(victim, shadows, inside, mode=mode)
    assert roc_auc(member, scores).value == pytest.approx(norm.cdf(1.5 / 2**0.5), abs=0.015)
    assert roc_auc(member, victim).value < 0.65  # without calibration


def test_true_positives_at_low_rates_are_those_of_two_gaussians() -> None:
    victim, shadows, inside, member = gaussians(6000, 64, 3.0, 1)
    found = lira_attack(victim, shadows, inside, member, permutations=99)
    for tpr, rate in zip(found.tpr, (0.01, 0.001)):
        assert tpr.fpr == rate and tpr.resolved
        expected = norm.sf(norm.isf(rate) - 3.0)
        assert tpr.value == pytest.approx(expected, abs=0.12)
    assert found.rates.advantage.value == pytest.approx(2 * norm.cdf(1.5) - 1, abs=0.03)
    assert found.rates.accuracy.low < norm.cdf(1.5) < found.rates.accuracy.high + 0.01


def test_the_formula_by_hand() -> None:
    """Two networks with the picture (2, 4), two without (-1, 1); the victim says 2."""
    shadows, inside = np.array([[2.0], [4.0], [-1.0], [1.0]]), np.array([[True], [True], [False], [False]])
    victim = np.array([2.0])
    spread = 2**0.5
    expected = norm.logpdf(2, 3, spread) - norm.logpdf(2, 0, spread)
    for own in (True, False):
        assert lira_scores(victim, shadows, inside, own_variance=own)[0] == pytest.approx(expected)
    assert lira_scores(victim, shadows, inside, mode="offline")[0] == pytest.approx(2 / spread)


def test_nothing_is_found_where_nothing_leaks() -> None:
    rng = np.random.default_rng(0)
    alarms, gains = 0, []
    for seed in range(40):
        victim, shadows, inside, member = gaussians(60, 8, 0.0, int(rng.integers(1e6)))
        found = lira_attack(victim, shadows, inside, member, permutations=99, seed=seed)
        alarms += found.p_value <= 0.05
        gains.append(found.rates.advantage.value)
    assert alarms <= 7  # 2 expected; more has a probability of 0.1%
    assert abs(np.mean(gains)) < 3 * np.std(gains) / 40**0.5


def test_patients_are_the_units() -> None:
    victim, shadows, inside, member = gaussians(400, 16, 2.0, 2)
    groups = np.array([f"p{i // 8 * 2 + i % 2}" for i in range(400)])  # four pictures a patient
    found = lira_attack(victim, shadows, inside, member, groups=groups, permutations=99)
    assert found.auc.n in (100, 400) and len(found.scores) == len(found.member) == 100
    assert not found.tpr[1].resolved  # 0.1% of 50 others is no patient
    alone = lira_attack(victim, shadows, inside, member, permutations=99)
    assert found.auc.value > alone.auc.value  # four pictures tell more than one
    assert "scores" not in found.to_json() and found.to_json()["tpr"][0]["fpr"] == 0.01


def test_each_patient_is_in_half_of_the_networks() -> None:
    groups = np.repeat(np.arange(31), 3).astype(str)
    inside = shadow_membership(groups, 10, 0)
    assert (inside.sum(axis=0) == 5).all() and (inside[:, ::3] == inside[:, 2::3]).all()
    assert set(inside.sum(axis=1)) == {45, 48}
    with pytest.raises(DataDoubleError, match="even number"):
        shadow_membership(groups, 7)


def test_confidence_by_hand() -> None:
    """Two pixels of background with 0.9 and 0.4, one of class 1 with 0.5: (sqrt(0.36) 0.5) ** 0.5."""
    chance = np.array([[[0.9, 0.4, 0.5]], [[0.1, 0.6, 0.5]]])
    p = (0.6 * 0.5) ** 0.5
    assert logit_confidence([chance], [np.array([[0, 0, 1]])])[0] == pytest.approx(np.log(p / (1 - p)))
    sure = np.stack([np.ones((2, 2)), np.zeros((2, 2))])
    assert np.isfinite(logit_confidence([sure, sure], [np.zeros((2, 2)), np.ones((2, 2))])).all()


def test_what_it_needs() -> None:
    victim, shadows, inside, member = gaussians(20, 4, 1.0, 0)
    with pytest.raises(DataDoubleError, match="too few shadow networks"):
        lira_scores(victim, shadows, np.ones_like(inside))
    with pytest.raises(DataDoubleError, match="unknown mode"):
        lira_scores(victim, shadows, inside, mode="both")
    with pytest.raises(DataDoubleError, match="both sides"):
        lira_attack(victim, shadows, inside, np.ones_like(member))
