"""Precision, recall, density and coverage counted by hand, and doubles that must come out bad."""

import importlib

import numpy as np
import pytest

from datadouble.audit.fidelity import (
    ManifoldDistances,
    density_coverage,
    neighbour_radii,
    precision_recall,
)

REAL = np.array([[0.0], [1.0], [3.0], [7.0]])
SYNTHETIC = np.array([[0.5], [6.0], [20.0]])


def test_by_hand_on_a_line():
    # k = 1: real balls [-1, 1], [0, 2], [1, 5], [3, 11]; synthetic [-5, 6], [0.5, 11.5], [6, 34].
    assert neighbour_radii(REAL, 1).tolist() == [1, 1, 2, 4]
    assert neighbour_radii(SYNTHETIC, 1).tolist() == [5.5, 5.5, 14]
    # 0.5 and 6 lie in real balls, 20 in none; 0, 1, 3 and 7 all in synthetic ones.
    assert precision_recall(REAL, SYNTHETIC, neighbours=1) == (2 / 3, 1.0)
    # 0.5 in two balls, 6 in one, 20 in none: 3 / (1 x 3). Balls of 0, 1 and 7 hold one, the ball of 3 none.
    assert density_coverage(REAL, SYNTHETIC, neighbours=1) == (1.0, 0.75)


def test_a_far_outlier_makes_precision_but_hardly_density():
    real = np.append(np.linspace(0, 1, 50), 100.0)[:, None]
    synthetic = np.random.default_rng(0).uniform(2, 90, (60, 1))
    assert precision_recall(real, synthetic).precision == 1.0
    assert density_coverage(real, synthetic).density < 0.25


def test_a_dropped_mode_lowers_recall_and_coverage_and_a_made_up_one_precision_and_density():
    rng = np.random.default_rng(1)
    two = np.concatenate([rng.normal(size=(100, 3)), rng.normal(size=(100, 3)) + 20])
    one, other = (
        rng.normal(size=(200, 3)),
        np.concatenate([rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) - 30]),
    )
    assert precision_recall(two, one).recall == 0.5
    assert density_coverage(two, one).coverage < 0.51
    assert precision_recall(one, other).precision < 0.55
    assert density_coverage(one, other).density < 0.6


def test_one_picture_repeated():
    real = np.random.default_rng(2).normal(size=(100, 4))
    repeated = np.repeat(real[:1], 80, axis=0)
    assert precision_recall(real, repeated).recall == 0.01  # of which it is a copy
    assert density_coverage(real, repeated).coverage < 0.2


def test_equal_sets_are_whole():
    x = np.random.default_rng(3).normal(size=(90, 5))
    assert precision_recall(x, x) == (1.0, 1.0)
    found = density_coverage(x, x)
    assert found.coverage == 1.0
    assert found.density == pytest.approx(1 + 1 / 5)  # k neighbours and the vector itself


def test_density_of_an_independent_draw_is_one_and_coverage_as_in_theory():
    # Naeem et al., lemma 2: expected coverage at n = m is 1 - (2n - 1 choose k) ... about 1 - 2^-k.
    rng = np.random.default_rng(4)
    found = [density_coverage(rng.normal(size=(200, 4)), rng.normal(size=(200, 4))) for _ in range(30)]
    assert np.mean([f.density for f in found]) == pytest.approx(1.0, abs=0.02)
    assert np.mean([f.coverage for f in found]) == pytest.approx(1 - 2.0**-5, abs=0.006)


def test_blocks_and_held_distances_agree(monkeypatch):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(70, 6)), rng.normal(size=(55, 6)) + 0.5
    whole = (*precision_recall(x, y), *density_coverage(x, y))
    monkeypatch.setattr(importlib.import_module("datadouble.audit.fidelity.precision_recall"), "BLOCK", 9)
    assert (*precision_recall(x, y), *density_coverage(x, y)) == pytest.approx(whole)
    held = ManifoldDistances(x, y)
    assert held.measures(np.ones(70), np.ones(55)) == pytest.approx(whole)


def test_repeats_count_but_never_as_their_own_neighbour():
    # The second real vector twice: it is the nearest other of 0 at k = 1, but its own radius stays 1.
    held = ManifoldDistances(REAL, SYNTHETIC)
    counts = np.array([1.0, 2.0, 1.0, 1.0])
    found = held.measures(counts, np.ones(3), precision_neighbours=1, coverage_neighbours=1)
    assert found == pytest.approx((2 / 3, 1.0, 4 / 3, 4 / 5))


def test_errors():
    with pytest.raises(ValueError, match="between 1 and n - 1"):
        precision_recall(REAL, SYNTHETIC, neighbours=3)
    with pytest.raises(ValueError, match="at least one"):
        density_coverage(REAL, SYNTHETIC[:0], neighbours=1)
