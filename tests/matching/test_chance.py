"""Chance matches told from the bulk: numbers drawn from the law that is assumed."""

import numpy as np

from datadouble.matching.chance import LEAST, learn_chance


def correlations(random: np.random.Generator, n: int) -> np.ndarray:
    """Greatest correlations (n, 2) whose squared z is exponential above a floor, on two scales."""
    squared = np.stack([0.05 + random.exponential(0.02, n), 0.01 + random.exponential(0.004, n)], 1)
    return np.tanh(np.sqrt(squared))


def test_few_sets_without_true_matches_pass() -> None:
    random = np.random.default_rng(0)
    passed = 0
    for _ in range(400):
        values = correlations(random, 300)
        chance = learn_chance(values, 300, alpha=0.05)
        passed += chance.scores(values).max() > chance.threshold
    assert passed / 400 < 0.12  # 0.05, and the scale is known from 300 pictures only


def test_a_seventh_of_true_matches_hides_none_of_them() -> None:
    random = np.random.default_rng(1)
    values = correlations(random, 300)
    values[:45] = 0.9
    chance = learn_chance(values, 300, alpha=0.01)
    standing = chance.scores(values).max(1) > chance.threshold
    assert standing[:45].all()
    assert not standing[45:].any()


def test_the_bulk_of_a_handful_says_nothing() -> None:
    values = correlations(np.random.default_rng(2), LEAST - 1)
    assert learn_chance(values, 100, alpha=0.01).threshold == -np.inf
    assert np.isfinite(learn_chance(np.zeros((LEAST, 2)), 100, alpha=0.01).threshold)
