"""W1 and KS of samples against SciPy, repeats, and a comparison by patient."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, wasserstein_distance

from datadouble.audit.fidelity import Sizes, compare_samples, kolmogorov_smirnov, wasserstein_1
from datadouble.audit.fidelity.distributions import sample_distances


def test_equal_scipy():
    rng = np.random.default_rng(0)
    for x, y in (
        (rng.normal(size=31), rng.normal(size=20) + 0.4),
        (rng.integers(0, 4, 50), rng.integers(1, 6, 33)),
    ):
        assert wasserstein_1(x, y) == pytest.approx(wasserstein_distance(x, y))
        assert kolmogorov_smirnov(x, y) == pytest.approx(ks_2samp(x, y).statistic)
    assert (wasserstein_1([2, 2], [2]), kolmogorov_smirnov([2, 2], [2])) == (0, 0)


def test_counts_equal_repeated_values():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=9), rng.normal(size=7)
    a, b = rng.integers(0, 3, (4, 9)), rng.integers(0, 3, (4, 7)) + np.eye(7, dtype=int)[:4]
    a[:, 0] += 1
    w1, ks = sample_distances(x, y, a, b)
    for i in range(4):
        first, second = np.repeat(x, a[i]), np.repeat(y, b[i])
        assert w1[i] == pytest.approx(wasserstein_distance(first, second))
        assert ks[i] == pytest.approx(ks_2samp(first, second).statistic)


def compare(synthetic, real, other=None, pictures_a_patient=4, **settings):
    def groups(x):
        return None if x is None else np.arange(len(x)) // pictures_a_patient

    return compare_samples(
        synthetic,
        real,
        other,
        synthetic_groups=groups(synthetic),
        reference_groups=groups(real),
        counterpart_groups=groups(other),
        sizes=Sizes(100, 5),
        **settings,
    )


def test_a_shift_stands_above_the_floor_and_a_fresh_draw_does_not():
    rng = np.random.default_rng(2)
    real, other, fresh = rng.normal(size=(3, 200))
    shifted = compare(fresh + 1, real, other, unit="px")
    assert shifted["unit"] == "px"
    assert shifted["wasserstein"]["value"] == pytest.approx(1.0, abs=0.25)
    assert shifted["wasserstein"]["low"] > shifted["wasserstein"]["floor"]["high"]
    assert shifted["wasserstein"]["in_real_sd"] == pytest.approx(1.0, abs=0.3)
    assert shifted["kolmogorov_smirnov"]["low"] > shifted["kolmogorov_smirnov"]["floor"]["high"]
    same = compare(fresh, real, other)
    assert same["wasserstein"]["low"] <= same["wasserstein"]["floor"]["high"]
    assert same["wasserstein"]["n"] == same["wasserstein"]["floor"]["n"] == 200


def test_the_interval_is_over_patients():
    # Ten pictures of each patient are all alike: 200 values know no more than 20.
    rng = np.random.default_rng(3)
    repeated = np.repeat(rng.normal(size=20), 10)
    wide = compare(repeated, repeated, pictures_a_patient=10)["synthetic"]
    narrow = compare(repeated, repeated, pictures_a_patient=1)["synthetic"]
    assert wide["high"] - wide["low"] > 2 * (narrow["high"] - narrow["low"])


def test_undefined_values_are_counted():
    x = np.arange(40.0)
    holed = np.where(x < 5, np.nan, x)
    found = compare(holed, x)
    assert found["synthetic"]["undefined"] == 5
    assert found["synthetic"]["n"] == 35
    none = compare(np.full(40, np.nan), x)
    assert none["synthetic"]["undefined"] == 40
    assert "too few values" in none["note"]
