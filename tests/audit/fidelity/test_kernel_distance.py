"""Kernel distance against a naive double loop, theory, and torch-fidelity's printed formula."""

import numpy as np
import pytest

from datadouble.audit.fidelity import kernel_distance, kernel_distance_interval, squared_mmd


def naive(x, y):
    def k(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_equals_a_double_loop():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(13, 6)), rng.normal(size=(9, 6)) + 0.4
    assert squared_mmd(x, y) == pytest.approx(naive(x, y), rel=1e-12)
    assert kernel_distance(x, y, subsets=5).value == pytest.approx(naive(x, y), rel=1e-12)


def test_blocks_do_not_matter(monkeypatch):
    import importlib

    module = importlib.import_module("datadouble.audit.fidelity.kernel_distance")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(25, 4))
    whole = squared_mmd(x, y)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert squared_mmd(x, y) == pytest.approx(whole, rel=1e-12)


def test_is_unbiased():
    # Mean over many draws from one distribution is 0 within its standard error.
    rng = np.random.default_rng(2)
    values = [squared_mmd(rng.normal(size=(20, 5)), rng.normal(size=(20, 5))) for _ in range(400)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(400)


def test_standard_error_predicts_the_spread():
    rng = np.random.default_rng(3)
    draws = [
        kernel_distance(rng.normal(size=(100, 3)), rng.normal(size=(100, 3)) + 0.5, subsets=60)
        for _ in range(40)
    ]
    spread = np.std([draw.value for draw in draws])
    assert np.mean([draw.standard_error for draw in draws]) == pytest.approx(spread, rel=0.35)
    assert draws[0].subset_size == 50


def test_interval_over_patients():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 3)) + 1
    estimate = kernel_distance_interval(x, y, resamples=200)
    assert estimate.low < estimate.value < estimate.high
    assert estimate.low > 0  # a shift of a whole standard deviation is seen
    assert estimate.value == pytest.approx(squared_mmd(x, y), rel=1e-9)


def test_too_few_vectors():
    with pytest.raises(ValueError, match="two vectors"):
        squared_mmd(np.ones((1, 3)), np.ones((5, 3)))
