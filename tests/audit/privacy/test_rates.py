"""Rates by patient, and anonymeter's published interval."""

import numpy as np
import pytest

from datadouble.audit.privacy.rates import clustered_rate, difference, residual_risk, wilson
from datadouble.stats import Estimate, proportion_interval


def test_anonymeter_850_of_1000():
    low, high = wilson(0.85, 1000)
    assert (low + high) / 2 == pytest.approx(0.849, abs=5e-4)
    assert (high - low) / 2 == pytest.approx(0.022, abs=5e-4)


def test_one_picture_a_patient_is_wilson():
    values = np.repeat([1.0, 0.0], [30, 70])
    found = clustered_rate(values, np.arange(100))
    expected = proportion_interval(30, 100, method="wilson")
    # The variance has 99 degrees of freedom, not 100.
    assert found.value == 0.3
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-3)


def test_pictures_that_agree_within_patients_count_once():
    values, groups = np.repeat([1.0, 0.0], [40, 60]), np.arange(100) // 10
    found = clustered_rate(values, groups)
    expected = proportion_interval(4, 10, method="wilson")
    assert found.n == 10
    assert (found.low, found.high) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_equal_still_has_a_width(value):
    found = clustered_rate(np.full(60, value), np.arange(60) // 3)
    expected = proportion_interval(int(20 * value), 20, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected)


def test_weights_move_the_rate():
    found = clustered_rate(np.array([1.0, 1.0, 0.0]), np.arange(3), weights=np.array([1.0, 1.0, 6.0]))
    assert found.value == pytest.approx(0.25)


def test_coverage_with_correlated_pictures():
    covered = 0
    for i in range(300):
        rng = np.random.default_rng(i)
        chance = rng.beta(1, 1.5, 40)  # mean 0.4
        values = rng.random((40, 5)) < chance[:, None]
        found = clustered_rate(values.ravel(), np.repeat(np.arange(40), 5))
        covered += found.low <= 0.4 <= found.high
    assert covered >= 270  # 285 expected; 273 has a probability of 0.2% at 95%


def test_newcombe_worked_example():
    # Newcombe 1998, table II: 56/70 - 48/80 by method 10 is 0.0524 to 0.3339.
    parts = [Estimate(k / n, *proportion_interval(k, n, method="wilson"), n) for k, n in ((56, 70), (48, 80))]
    found = difference(*parts)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_risk_is_what_goes_beyond_the_control():
    attack, control = Estimate(0.75, 0.7, 0.8, 100), Estimate(0.5, 0.45, 0.55, 100)
    found = residual_risk(attack, control)
    assert found.value == pytest.approx(0.5)
    half = np.hypot(0.05 / 0.5, 0.05 * 0.25 / 0.25)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half))
    assert residual_risk(control, attack)[:2] == (0.0, 0.0)
    assert np.isnan(residual_risk(attack, Estimate(1.0, 1.0, 1.0, 10)).value)
