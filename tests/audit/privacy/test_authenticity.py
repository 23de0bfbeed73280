"""AuthPct and C_T: 0 and far below 0 for a perfect copy, about 50 and 0 for an independent draw."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from datadouble.audit.privacy.authenticity import assess_authenticity, authentic, data_copying, distance_ratio


def draws(seed: int, *sizes: int, d: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, d)).astype(np.float32) for n in sizes]


def test_a_perfect_copy():
    train, holdout = draws(0, 500, 200)
    found = assess_authenticity(train.copy(), train, holdout, resamples=50)
    assert found.auth_pct.value == 0.0
    assert found.c_t.value < -8
    assert found.c_t.p_value < 1e-12
    assert found.ratio.value == 0.0
    assert found.ratio_auc.value == 1.0
    assert abs(found.auth_pct_control.value - 50) < 10


def test_an_independent_draw():
    auth, c_t, p_values = [], [], []
    for seed in range(20):
        synthetic, train, holdout = draws(seed, 300, 500, 200)
        found = assess_authenticity(synthetic, train, holdout, resamples=20, cells=2)
        auth.append(found.auth_pct.value)
        c_t.append(found.c_t.value)
        p_values.append(found.c_t.p_value)
    assert abs(np.mean(auth) - 50) < 5
    assert abs(np.mean(c_t)) < 3 * np.std(c_t) / 20**0.5 + 0.05
    assert np.sum(np.array(p_values) <= 0.05) <= 4  # 1 expected; more has a probability of 0.3%


def test_z_of_one_cell_is_the_mann_whitney_z():
    synthetic, train, holdout = draws(1, 80, 100, 60)

    def to_train(x: np.ndarray) -> np.ndarray:
        return np.linalg.norm(x[:, None] - train[None], axis=2).min(axis=1)

    found = data_copying(synthetic, train, holdout, cells=1)
    u = mannwhitneyu(to_train(synthetic), to_train(holdout)).statistic
    assert found.value == pytest.approx((u - 80 * 60 / 2) / np.sqrt(80 * 60 * 141 / 12), abs=1e-6)
    assert (found.n, found.cells, found.cells_used) == (80, 1, 1)


def test_cells_without_synthetic_pictures_are_left_out():
    train, holdout = (np.concatenate([x, x + 20]) for x in draws(2, 100, 50))
    (synthetic,) = draws(3, 60)
    found = data_copying(synthetic, train, holdout, cells=2)
    assert (found.cells, found.cells_used) == (2, 1)
    assert abs(found.value) < 3.5


def test_ordinary_pictures_are_not_copies():
    """A release of low diversity is near to train and to the holdout alike: the exchanged C_T says so."""
    synthetic, train, holdout = draws(4, 300, 300, 300)
    found = assess_authenticity(0.3 * synthetic, train, holdout, resamples=20)
    assert found.c_t.value < -3
    assert found.c_t_exchanged.value < -3
    copied = assess_authenticity(train + 0.01 * synthetic, train, holdout, resamples=20)
    assert copied.c_t.value < -10
    assert copied.c_t_exchanged.value > -3


def test_a_far_release_is_authentic_and_has_a_high_c_t():
    synthetic, train, holdout = draws(5, 200, 200, 100)
    found = assess_authenticity(synthetic * 3, train, holdout, resamples=20)
    assert found.auth_pct.value > 90
    assert found.c_t.value > 3


def test_a_patients_own_pictures_do_not_excuse_a_copy():
    train = np.array([[0.0, 0], [0.1, 0], [10, 0], [10.1, 0]])
    release, patients = np.array([[0.5, 0]]), np.array(["a", "a", "b", "b"])
    assert authentic(release, train, np.arange(4))[0].tolist() == [True]
    assert authentic(release, train, patients)[0].tolist() == [False]
    assert distance_ratio(release, train, patients)[0] == pytest.approx(0.4 / 9.5)
    assert distance_ratio(train[:1], train, patients)[0] == 0.0


def test_json_leaves_out_the_arrays():
    import json

    synthetic, train, holdout = draws(6, 60, 60, 60)
    found = assess_authenticity(synthetic, train, holdout, resamples=20)
    written = json.loads(json.dumps(found.to_json()))
    assert set(written["auth_pct"]) == {"value", "low", "high", "n"}
    assert "ratios" not in written
    assert len(found.ratios.synthetic) == 60
