"""FD-infinity on Gaussians whose distance is known."""

import numpy as np
import pytest

from datadouble.audit.fidelity import fd_infinity, frechet_distance


def test_the_bias_of_samples_is_taken_off():
    # |m|^2 + sum (a - b)^2 = 1 + 10 x 0.25 = 3.5
    errors, raw = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(400, 10)), rng.normal(size=(400, 10)) * 1.5
        y[:, 0] += 1
        errors.append(fd_infinity(x, y, seed=seed).value - 3.5)
        raw.append(frechet_distance(x, y) - 3.5)
    assert abs(np.mean(errors)) < 0.15
    assert abs(np.mean(errors)) < 0.1 + abs(np.mean(raw))


def test_real_against_real_is_near_zero_where_n_exceeds_the_dimension():
    values, raw = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        found = fd_infinity(rng.normal(size=(400, 150)), rng.normal(size=(400, 150)), seed=seed)
        values.append(found.value)
        raw.append(found.distances[-1])
    assert abs(np.mean(values)) < 0.05 * np.mean(raw)
    assert found.above_dimension
    assert found.distances[0] > found.distances[-1]
    assert found.r_squared > 0.99
    assert found.low < found.value < found.high
    assert found.sizes[0] == 200
    assert found.sizes[-1] == found.n == 400
    assert len(found.sizes) == 15


def test_below_the_dimension_it_says_so_and_stays_too_high():
    rng = np.random.default_rng(2)
    found = fd_infinity(rng.normal(size=(60, 300)), rng.normal(size=(60, 300)))
    assert not found.above_dimension
    assert found.value > 50  # the truth is 0: the floor beside it must show this


def test_the_last_point_is_the_distance_itself():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(50, 90)), rng.normal(size=(50, 90)) + 0.2
    assert fd_infinity(x, y).distances[-1] == pytest.approx(frechet_distance(x, y), rel=1e-5)


def test_too_few():
    with pytest.raises(ValueError, match="at least 20"):
        fd_infinity(np.ones((10, 3)), np.ones((30, 3)))
