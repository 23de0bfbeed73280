import numpy as np
import pytest

from datadouble.audit.privacy.copy_threshold import copy_scores, learn_threshold
from datadouble.errors import DataDoubleError
from datadouble.matching.alignment import WINDOWS
from datadouble.matching.search import Matches


def matches(correlation: np.ndarray) -> Matches:
    n, w = correlation.shape
    return Matches(
        correlation,
        np.zeros((n, w), int),
        np.zeros((n, w), bool),
        np.zeros((n, w, 2)),
        np.zeros((n, w, 4)),
        np.zeros((n, w, 2)),
    )


def chance(rng: np.random.Generator, n: int, tries: int = 3000) -> np.ndarray:
    """Greatest of many chance correlations, from fewer independent pixels in smaller boxes."""
    cells = np.linspace(60, 400, len(WINDOWS))
    shared = rng.normal(size=(n, 1))
    # the greatest of `tries` normals, drawn through its distribution function
    from scipy.special import ndtri

    greatest = ndtri(rng.uniform(size=(n, len(WINDOWS))) ** (1 / tries))
    return np.tanh((greatest + 0.1 * shared) / np.sqrt(cells))


def test_a_clean_release_alarms_in_at_most_its_share() -> None:
    rng = np.random.default_rng(0)
    alarms, rounds, release = 0, 150, 200
    for i in range(rounds):
        threshold = learn_threshold(
            matches(chance(rng, 150)), np.arange(150) // 2, release=release, alpha=0.05, seed=i
        )
        score = copy_scores(matches(chance(rng, release)), threshold).score
        alarms += bool((score > threshold.threshold).any())
    assert alarms <= 0.05 * rounds + 2 * np.sqrt(0.05 * rounds)


def test_a_copy_is_above_and_larger_releases_need_more() -> None:
    rng = np.random.default_rng(1)
    unseen = matches(chance(rng, 150))
    small, large = (learn_threshold(unseen, np.arange(150), release=n) for n in (50, 5000))
    assert large.threshold > small.threshold > small.greatest - 1e-9
    copied = chance(rng, 1)
    copied[0, 1] = 0.95
    found = copy_scores(matches(copied), large)
    assert found.score[0] > large.threshold and found.window[0] == 1 and found.p_value[0] < 1e-6


def test_few_patients_give_a_higher_threshold() -> None:
    rng = np.random.default_rng(2)
    values = chance(rng, 160)
    many = learn_threshold(matches(values), np.arange(160), release=200)
    few = learn_threshold(matches(values), np.arange(160) // 20, release=200)
    assert few.patients == 8
    assert few.threshold != many.threshold


def test_too_few_unseen_pictures_are_refused() -> None:
    with pytest.raises(DataDoubleError, match="too few unseen"):
        learn_threshold(matches(chance(np.random.default_rng(0), 10)), np.arange(10), release=100)


def test_the_p_value_of_a_release_is_sidaks() -> None:
    from datadouble.audit.privacy.copy_threshold import release_p_value

    assert release_p_value(np.array([0.01, 0.5])) == pytest.approx(1 - 0.99**2)
    assert release_p_value(np.array([1.0, 1.0])) == pytest.approx(1)
    assert release_p_value(np.zeros(0)) == 1
