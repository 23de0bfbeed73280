"""Lost modes are named and their pictures picked out."""

import json

import numpy as np
import pytest

from datadouble.audit.fidelity import Sizes
from datadouble.audit.fidelity.coverage import (
    assess_coverage,
    assign_modes,
    covered_share,
    expected_coverage,
    find_modes,
)
from datadouble.audit.fidelity.precision_recall import neighbour_radii

SIZES = Sizes(100, 5)
CENTRES = 12 * np.eye(4, 6)


def draw(n, seed, shares=(0.25, 0.25, 0.25, 0.25)):
    rng = np.random.default_rng(seed)
    mode = np.repeat(np.arange(4), np.round(np.array(shares) * n).astype(int))
    return rng.normal(size=(len(mode), 6)) + CENTRES[mode]


@pytest.fixture(scope="module")
def assess(make_features):
    real, other = make_features(draw(200, 0)), make_features(draw(200, 1), prefix="q")

    def run(array, with_other=True):
        synthetic = make_features(array, prefix="s", pictures_a_patient=1)
        return assess_coverage(synthetic, real, other if with_other else None, modes=4, sizes=SIZES)

    return run


@pytest.mark.parametrize("with_other", [True, False])
def test_a_fresh_draw_loses_nothing(assess, with_other):
    found, material = assess(draw(200, 2), with_other)
    assert found["lost"] == 0
    assert found["covered"]["value"] == pytest.approx(found["covered"]["expected"], abs=0.06)
    if with_other:
        assert found["covered"]["floor"]["value"] == pytest.approx(found["covered"]["expected"], abs=0.06)
    assert found["total_variation"]["low"] <= found["total_variation"]["floor"]["high"]
    assert len(found["modes"]) == len(material.modes) == 4
    json.dumps(found)


def test_a_dropped_mode_is_lost_and_shown(assess):
    found, material = assess(draw(200, 3, (0.34, 0.33, 0.33, 0)))
    assert found["lost"] == 1
    worst = found["modes"][0]
    assert worst["lost"]
    assert worst["share_synthetic"]["value"] == 0
    assert worst["share_real"]["value"] == pytest.approx(0.25)
    assert worst["covered"] == 0
    assert found["covered"]["value"] == pytest.approx(0.75, abs=0.03)
    assert found["total_variation"]["low"] > found["total_variation"]["floor"]["high"]
    # Its pictures: rows 150 to 199 of the reference, which is rows 250 to 299 of the cohort; each of another patient.
    shown = material.modes[0]
    assert shown.mode == worst["mode"]
    assert len(shown.rows) == len(shown.nearest_rows) == 6
    assert set(shown.rows) <= set(range(250, 300))
    assert len({(row - 100) // 2 for row in shown.rows}) == 6
    assert set(range(250, 300)) <= set(material.uncovered_rows)


def test_a_rare_mode_is_lost_and_a_slightly_rarer_one_is_not(assess):
    assert assess(draw(400, 4, (0.32, 0.32, 0.31, 0.05)))[0]["lost"] == 1
    assert assess(draw(200, 5, (0.27, 0.27, 0.26, 0.2)))[0]["lost"] == 0


def test_one_picture_for_all(assess):
    found, _ = assess(np.repeat(CENTRES[:1], 100, axis=0))
    assert found["lost"] == 3
    assert found["covered"]["value"] < 0.25


def test_modes_and_balls_by_hand():
    x = np.concatenate([np.zeros((10, 3)), np.ones((10, 3)) * 9]) + np.arange(20)[:, None] * 1e-3
    mode = assign_modes(x, find_modes(x, 2))
    assert len(set(mode[:10])) == len(set(mode[10:])) == 1
    assert mode[0] != mode[10]
    line = np.array([[0.0], [1.0], [3.0], [7.0]])  # balls of k = 1 reach 1, 1, 2, 4
    shares = covered_share(
        line, neighbour_radii(line, 1), [np.array([[0.5], [20.0]]), np.array([[6.0], [20.0]])]
    )
    assert shares.tolist() == [0.5, 0.5, 0.0, 0.5]


def test_expected_coverage_is_that_of_independent_draws():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(100):
        real = rng.normal(size=(60, 2))
        found.append(covered_share(real, neighbour_radii(real, 3), [rng.normal(size=(40, 2))]).mean())
    assert np.mean(found) == pytest.approx(expected_coverage(60, 40, 3), abs=0.02)
    assert expected_coverage(10**6, 10**6, 5) == pytest.approx(1 - 2.0**-5, abs=1e-5)


def test_too_few(make_features):
    found, material = assess_coverage(make_features(draw(8, 0)), make_features(draw(200, 1)))
    assert "too few" in found["note"]
    assert material is None
