"""Frechet distance against closed forms, the matrix square root and MONAI's toy value."""

import time

import numpy as np
import pytest
import scipy.linalg

from datadouble.audit.fidelity import frechet_distance, frechet_interval, gaussian_statistics


def by_matrix_root(x, y):
    root = scipy.linalg.sqrtm(np.cov(x.T) @ np.cov(y.T))
    return np.square(x.mean(0) - y.mean(0)).sum() + np.trace(np.cov(x.T) + np.cov(y.T) - 2 * root.real)


def test_monai_toy_value():
    # MONAI, tests/metrics/test_compute_fid_metric.py: 0.4444.
    assert frechet_distance([[1, 2], [1, 2], [1, 2]], [[2, 2], [1, 2], [1, 2]]) == pytest.approx(
        0.4444, abs=1e-4
    )


def test_one_dimension_by_hand():
    # (mu_1 - mu_2)^2 + (s_1 - s_2)^2: means 0 and 3, standard deviations sqrt(2) and 2 sqrt(2).
    x, y = np.array([[-1.0], [1.0]]), np.array([[1.0], [5.0]])
    assert frechet_distance(x, y) == pytest.approx(9.0 + 2.0)


def test_commuting_covariances_in_closed_form():
    # With whitened points, covariances are exactly diag(a^2) and diag(b^2): |m|^2 + sum (a - b)^2.
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 4))
    z = (z - z.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T)).T)
    a, b, m = np.array([1.0, 2, 3, 4]), np.array([2.0, 2, 1, 0.5]), np.array([1.0, 0, -2, 0])
    assert frechet_distance(z * a, z * b + m) == pytest.approx(5 + np.square(a - b).sum())


@pytest.mark.parametrize(("n", "m", "d"), [(200, 150, 20), (30, 40, 64), (100, 30, 64), (64, 64, 64)])
def test_equals_the_matrix_square_root(n, m, d):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d)) * rng.uniform(0.5, 2, d) + 0.3
    tolerance = 1e-6 if min(n, m) > d else 2e-4  # sqrtm itself loses digits on singular products
    assert frechet_distance(x, y) == pytest.approx(by_matrix_root(x, y), rel=tolerance)


def test_low_rank_equals_the_full_rank_formula_to_1e_6():
    # Singular covariances: eigenvalues of R_1 S_2 R_1^T (n x n, well conditioned) against our singular values.
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(60, 300)), rng.normal(size=(50, 300)) * 1.3
    first, second = gaussian_statistics(x), gaussian_statistics(y)
    product = first.root @ np.cov(y.T) @ first.root.T
    root_trace = np.sqrt(np.clip(np.linalg.eigvalsh(product), 0, None)).sum()
    means = np.square(first.mean - second.mean).sum()
    expected = means + np.trace(np.cov(x.T)) + np.trace(np.cov(y.T)) - 2 * root_trace
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


def test_low_rank_is_far_faster_than_the_matrix_root():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(60, 400)), rng.normal(size=(60, 400))
    started = time.perf_counter()
    frechet_distance(x, y)
    ours = time.perf_counter() - started
    started = time.perf_counter()
    by_matrix_root(x, y)
    assert time.perf_counter() - started > 3 * ours  # 50 times at 2,048 dimensions: see benchmarks


def test_counts_equal_repeated_rows():
    rng = np.random.default_rng(4)
    x, counts = rng.normal(size=(8, 5)), np.array([0, 1, 2, 0, 3, 1, 1, 1])
    weighted, repeated = gaussian_statistics(x, counts), gaussian_statistics(np.repeat(x, counts, axis=0))
    assert weighted.n == repeated.n == 9
    np.testing.assert_allclose(weighted.mean, repeated.mean)
    np.testing.assert_allclose(weighted.root.T @ weighted.root, repeated.root.T @ repeated.root, atol=1e-12)


def test_equal_sets_are_at_zero_and_errors_are_clear():
    x = np.random.default_rng(5).normal(size=(20, 40))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="two feature vectors"):
        frechet_distance(x[:1], x)
    with pytest.raises(ValueError, match="NaN"):
        frechet_distance(x, np.full((5, 40), np.nan))
    with pytest.raises(ValueError, match="dimensions differ"):
        frechet_distance(x, x[:, :3])


def test_interval_holds_the_value_and_narrows_with_n():
    rng = np.random.default_rng(6)
    widths = []
    for n in (50, 800):
        x, y = rng.normal(size=(n, 3)), rng.normal(size=(n, 3)) + 1
        estimate = frechet_interval(x, y, resamples=100)
        assert estimate.low < estimate.value < estimate.high
        assert estimate.value == pytest.approx(frechet_distance(x, y))
        widths.append(estimate.high - estimate.low)
    assert widths[1] < 0.5 * widths[0]


@pytest.mark.parametrize(("n", "m", "d"), [(40, 30, 90), (30, 40, 8)])
def test_products_give_the_distance_of_repeated_rows(n, m, d):
    from datadouble.audit.fidelity import FrechetProducts

    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(n, d)) + 5, rng.normal(size=(m, d)) * 1.3 + 5.2
    products = FrechetProducts(x, y)
    for _ in range(3):
        a, b = rng.integers(0, 3, n), rng.integers(0, 3, m)
        expected = frechet_distance(np.repeat(x, a, axis=0), np.repeat(y, b, axis=0))
        assert products.distance(a, b) == pytest.approx(expected, rel=1e-5)
    assert products.distance(np.ones(n), np.ones(m)) == pytest.approx(frechet_distance(x, y), rel=1e-5)
    with pytest.raises(ValueError, match="two feature vectors"):
        products.distance(np.eye(n)[0], np.ones(m))
