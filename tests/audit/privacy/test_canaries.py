"""The lower bound of epsilon: hand-computed, sound on mechanisms whose epsilon is known, and sharp without noise."""

import math

import numpy as np
import pytest

from datadouble.audit.privacy.canaries import (
    epsilon_from_guesses,
    epsilon_lower_bound,
    gaussian_epsilon,
    guess_probability,
)
from datadouble.errors import DataDoubleError


def test_all_right_guesses_have_a_closed_form() -> None:
    """100 of 100 right with delta 0: the chance is (e^eps / (1 + e^eps))^100; at 5% that is eps = 3.4930."""
    chance = 0.05 ** (1 / 100)
    assert epsilon_from_guesses(100, 100, 100, delta=0.0) == pytest.approx(
        math.log(chance / (1 - chance)), abs=1e-6
    )
    assert epsilon_from_guesses(50, 100, 100, delta=0.0) == 0.0  # coin flips prove nothing


def test_delta_adds_by_hand() -> None:
    """One right guess of one, epsilon 0: tail 1/2, mass below 1/2 within one step, so 1/2 + 2 m delta / 2."""
    assert guess_probability(1, 1, 1, 0.0, 0.1) == pytest.approx(0.5 + 2 * 1 * 0.1 * 0.5)


def test_gaussian_privacy_has_its_published_delta() -> None:
    """mu = 1 at epsilon = 1 has delta = Phi(-1/2) - e Phi(-3/2) = 0.126937 (Dong et al. 2022, eq. 6)."""
    assert gaussian_epsilon(1.0, 0.126937) == pytest.approx(1.0, abs=1e-4)
    assert gaussian_epsilon(0.0, 1e-5) == 0.0
    assert gaussian_epsilon(20.0, 1e-5) > 200


def test_randomised_response_is_never_refuted_more_often_than_allowed() -> None:
    """Its epsilon is exactly 1: a bound at 90% may exceed it in a tenth of the runs."""
    wrong, bounds = 0, []
    for seed in range(100):
        random = np.random.default_rng(seed)
        included = random.random(400) < 0.5
        truth = random.random(400) < math.e / (1 + math.e)
        scores = np.where(truth, included, ~included) + 1e-6 * random.random(400)
        found = epsilon_lower_bound(scores, included, delta=0.0, confidence=0.9)
        bounds.append(found.epsilon)
        wrong += found.epsilon > 1
    assert wrong <= 19  # 10 expected at most; three standard deviations more
    assert np.median(bounds) > 0.6


def test_the_gaussian_mechanism_is_bounded_from_below_and_not_from_above() -> None:
    wrong, bounds = 0, []
    for seed in range(100):
        random = np.random.default_rng(seed)
        included = random.random(600) < 0.5
        scores = 1.5 * included + random.normal(size=600)
        found = epsilon_lower_bound(scores, included, delta=1e-4, method="gaussian")
        bounds.append(found.epsilon)
        wrong += found.epsilon > gaussian_epsilon(1.5, 1e-4)
    assert wrong <= 9
    assert np.median(bounds) > 0.5 * gaussian_epsilon(1.5, 1e-4)


def test_without_noise_the_bound_passes_what_was_promised() -> None:
    included = np.arange(300) % 2 == 0
    scores = included + 0.01 * np.random.default_rng(0).normal(size=300)
    found = epsilon_lower_bound(scores, included, delta=1e-4, method="gaussian")
    assert found.epsilon > 8
    guesses = epsilon_lower_bound(scores, included, delta=1e-4)
    assert guesses.correct == guesses.guesses == 300 and 3.5 < guesses.epsilon < 4.5
    assert guesses.to_json()["canaries"] == 300


def test_unfit_canaries_are_refused() -> None:
    for included in (np.ones(4, bool), np.zeros(4, bool)):
        with pytest.raises(DataDoubleError, match="canaries need"):
            epsilon_lower_bound(np.arange(4.0), included, delta=0.0)
    with pytest.raises(DataDoubleError, match="guesses must be"):
        epsilon_from_guesses(5, 4, 10, delta=0.0)
    with pytest.raises(DataDoubleError, match="unknown method"):
        epsilon_lower_bound(np.arange(4.0), np.arange(4) < 2, delta=0.0, method="x")
