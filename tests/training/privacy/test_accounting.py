"""Epsilon from noise and back, against a closed form, another library and published figures."""

import math

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from datadouble.errors import DataDoubleError
from datadouble.training.privacy.accounting import (
    default_delta,
    epsilon_by_pld,
    epsilon_of,
    noise_multiplier_for,
)

pytest.importorskip("opacus")
pytest.importorskip("dp_accounting")


def test_without_sampling_it_is_the_gaussian_mechanism() -> None:
    """Ten releases with noise 5 are one with 5 / sqrt(10): a closed form (Balle and Wang, ICML 2018)."""
    mu, delta = math.sqrt(10) / 5, 1e-5

    def excess(epsilon: float) -> float:
        return norm.cdf(-epsilon / mu + mu / 2) - math.exp(epsilon) * norm.cdf(-epsilon / mu - mu / 2) - delta

    truth = brentq(excess, 0, 50)
    assert epsilon_of(5.0, delta, sample_rate=1.0, steps=10) == pytest.approx(truth, rel=0.01)


def test_the_known_figure_of_the_mnist_tutorial() -> None:
    """TensorFlow Privacy's tutorial, 60 epochs of 256 of 60,000 at noise 1.1: 2.92 by RDP, which is never tighter."""
    epsilon = epsilon_of(1.1, 1e-5, sample_rate=256 / 60_000, steps=60 * 60_000 // 256)
    assert 2.3 < epsilon < 2.92


@pytest.mark.parametrize(("noise", "rate", "steps"), [(1.7, 0.064, 2000), (0.7, 0.1, 60)])
def test_two_accountants_agree_within_a_hundredth(noise: float, rate: float, steps: int) -> None:
    ours = epsilon_of(noise, 1e-4, sample_rate=rate, steps=steps)
    assert ours == pytest.approx(epsilon_by_pld(noise, 1e-4, sample_rate=rate, steps=steps), rel=0.01)


def test_noise_for_an_epsilon_spends_nearly_all_of_it_and_no_more() -> None:
    noise = noise_multiplier_for(3.0, 1e-4, sample_rate=0.05, steps=500)
    assert 0.99 * 3 < epsilon_of(noise, 1e-4, sample_rate=0.05, steps=500) <= 3.0


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf])
def test_an_epsilon_that_is_no_budget_is_refused(epsilon: float) -> None:
    with pytest.raises(DataDoubleError, match="no noise can reach"):
        noise_multiplier_for(epsilon, 1e-5, sample_rate=0.1, steps=10)


def test_an_epsilon_below_all_noise_says_what_the_most_noise_spends() -> None:
    with pytest.raises(DataDoubleError, match="1000 still spends") as caught:
        noise_multiplier_for(0.01, 1e-4, sample_rate=1.0, steps=100_000)
    assert "fewer steps" in caught.value.remedy


def test_gaussian_noise_never_reaches_delta_zero() -> None:
    with pytest.raises(DataDoubleError, match="delta"):
        epsilon_of(1.0, 0.0, sample_rate=0.1, steps=10)
    with pytest.raises(DataDoubleError, match="chance"):
        epsilon_of(1.0, 1e-5, sample_rate=1.5, steps=10)


def test_ends() -> None:
    assert epsilon_of(0.0, 1e-5, sample_rate=0.1, steps=10) == math.inf
    assert epsilon_of(1.0, 1e-5, sample_rate=0.1, steps=0) == 0.0
    assert default_delta(500) == pytest.approx(2e-4)
