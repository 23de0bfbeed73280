"""Mean squares and covariances by the definition; the published analyses are in test_mrmc.py."""

from itertools import product

import numpy as np
import pytest

from datadouble.stats import obuchowski_rockette
from datadouble.stats.obuchowski_rockette import error_covariances, mean_squares


def test_mean_squares_are_those_of_an_analysis_of_variance():
    import statsmodels.formula.api as smf
    from pandas import DataFrame
    from statsmodels.stats.anova import anova_lm

    areas = np.random.default_rng(0).random((3, 4))
    rows = [(i, j, areas[i, j]) for i, j in product(range(3), range(4))]
    table = DataFrame(rows, columns=["t", "r", "y"])
    sums = anova_lm(smf.ols("y ~ C(t) + C(r)", table).fit())["mean_sq"]
    assert mean_squares(areas) == pytest.approx(tuple(sums))


def test_covariances_are_averages():
    rng = np.random.default_rng(1)
    half = rng.normal(size=(6, 6))
    matrix = half @ half.T
    curves = list(product(range(2), range(3)))
    kinds = {(True, True): [], (False, True): [], (True, False): [], (False, False): []}
    for (a, one), (b, other) in product(enumerate(curves), repeat=2):
        kinds[one[0] == other[0], one[1] == other[1]].append(matrix[a, b])
    assert error_covariances(matrix, 2, 3) == pytest.approx([np.mean(values) for values in kinds.values()])


def test_a_negative_covariance_does_not_shorten_the_interval():
    areas = np.array([[0.7, 0.72, 0.75]])
    free = obuchowski_rockette(areas, np.eye(3) * 1e-3, cases=50, pairs=25).modalities[0]
    negative = np.eye(3) * 1e-3 - 2e-4 * (1 - np.eye(3))
    assert obuchowski_rockette(areas, negative, cases=50, pairs=25).modalities[0] == free
    assert free.standard_error == pytest.approx(areas.std(ddof=1) / np.sqrt(3))
    assert free.degrees_of_freedom == pytest.approx(2)


def test_logit_interval_stays_inside_and_shares_the_error():
    areas, matrix = np.array([[0.97, 0.99, 0.999]]), np.full((3, 3), 2e-4)
    logit = obuchowski_rockette(areas, matrix, cases=50, pairs=25).modalities[0]
    plain = obuchowski_rockette(areas, matrix, cases=50, pairs=25, interval="symmetric").modalities[0]
    assert logit.standard_error == plain.standard_error
    assert plain.high == 1
    assert 0.5 < logit.low < logit.value < logit.high < 1


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="covariances of shape"):
        obuchowski_rockette(np.zeros((2, 3)), np.eye(5), cases=10, pairs=5)
