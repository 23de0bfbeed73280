"""Binormal fits against MRMCaov's for the Van Dyke study, a general optimiser and simulated truth."""

import numpy as np
import pandas
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from datadouble.stats import binormal_roc, roc_auc

# MRMCaov user guide, `parameters(mrmc(binormal_auc(truth, rating), treatment, reader, case, data = VanDyke))`:
# treatment, reader, a, b, AUC as printed.
PUBLISHED = [
    (1, 1, 1.70, 0.537, 0.933),
    (1, 2, 1.40, 0.561, 0.890),
    (1, 3, 1.74, 0.635, 0.929),
    (1, 4, 1.93, 0.202, 0.970),
    (1, 5, 1.06, 0.464, 0.833),
    (2, 1, 1.85, 0.503, 0.951),
    (2, 2, 1.66, 0.447, 0.935),
    (2, 3, 1.62, 0.488, 0.928),
    (2, 5, 1.73, 0.422, 0.945),
]


@pytest.fixture(scope="module")
def van_dyke(shared_data):
    table = pandas.read_csv(shared_data / "mrmc" / "VanDyke.csv")
    return {key: (part.truth, part.rating) for key, part in table.groupby(["treatment", "reader"])}


def test_van_dyke_as_published(van_dyke):
    for treatment, reader, a, b, auc in PUBLISHED:
        fit = binormal_roc(*van_dyke[treatment, reader])
        assert fit.a.value == pytest.approx(a, abs=0.00501)
        assert fit.b.value == pytest.approx(b, abs=0.000501)
        assert fit.auc.value == pytest.approx(auc, abs=0.000501)
    # The guide's mean of treatment 1, to 7 digits; that of treatment 2 counts reader 4 as 1.
    means = [[binormal_roc(*van_dyke[t, r]).auc.value for r in range(1, 6)] for t in (1, 2)]
    assert np.mean(means[0]) == pytest.approx(0.9109867, abs=1e-6)
    assert np.nansum([*means[1], 1.0]) / 5 == pytest.approx(0.9515536, abs=1e-6)


def test_van_dyke_degenerate_reader_is_not_given_a_number(van_dyke):
    # MRMCaov prints a = 1.8e308 and an area of 1 here, where the empirical area is 0.9994.
    fit = binormal_roc(*van_dyke[2, 4])
    assert np.isnan([fit.a.value, fit.b.value, fit.auc.value, fit.auc.low]).all()
    assert "edges" in fit.degenerate
    assert fit.auc.n == 114


def categorised(seed=0, n=400, a=1.2, b=0.7, cuts=(-0.6, 0.3, 0.9, 1.6)):
    rng = np.random.default_rng(seed)
    truth = np.repeat([0, 1], n)
    places = np.concatenate([rng.normal(size=n), rng.normal(a / b, 1 / b, size=n)])
    return truth, np.searchsorted(cuts, places)


def test_fit_is_the_maximum_that_a_general_optimiser_finds():
    truth, ratings = categorised(n=60)
    counts = [np.bincount(ratings[truth == k], minlength=5) for k in (0, 1)]

    def loss(x):
        cuts = np.concatenate([[-np.inf], x[2] + np.concatenate([[0], np.cumsum(np.exp(x[3:]))]), [np.inf]])
        chances = np.diff(norm.cdf(cuts)), np.diff(norm.cdf(np.exp(x[1]) * cuts - x[0]))
        return -sum((c * np.log(np.maximum(p, 1e-12))).sum() for c, p in zip(counts, chances, strict=True))

    best = minimize(loss, [1, 0, -0.5, 0, 0, 0], method="BFGS")
    fit = binormal_roc(truth, ratings)
    assert fit.log_likelihood == pytest.approx(-best.fun, abs=1e-6)
    assert (fit.a.value, fit.b.value) == pytest.approx((best.x[0], np.exp(best.x[1])), abs=1e-3)


def test_standard_errors_are_the_spread_over_samples():
    fits = [binormal_roc(*categorised(seed)) for seed in range(150)]
    for name, truth in (("a", 1.2), ("b", 0.7), ("auc", norm.cdf(1.2 / np.sqrt(1.49)))):
        values = np.array([getattr(fit, name).value for fit in fits])
        widths = np.array([getattr(fit, name).high - getattr(fit, name).low for fit in fits])
        assert values.mean() == pytest.approx(truth, rel=0.02)
        assert widths.mean() / (2 * 1.96) == pytest.approx(values.std(), rel=0.2)


def test_continuous_ratings_recover_the_truth_whatever_their_scale():
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1], 20000)
    ratings = np.concatenate([rng.normal(size=20000), rng.normal(1.2 / 0.7, 1 / 0.7, 20000)])
    fit = binormal_roc(truth, ratings)
    assert (fit.a.value, fit.b.value) == pytest.approx((1.2, 0.7), abs=0.03)
    assert fit.auc.value == pytest.approx(norm.cdf(1.2 / np.sqrt(1.49)), abs=0.004)
    assert binormal_roc(truth, np.exp(ratings)) == fit
    assert fit.categories == 20
    ratings[np.argmax(ratings)] = np.inf
    assert binormal_roc(truth, ratings) == fit


def test_turning_the_labels_and_ratings_round_keeps_the_area():
    truth, ratings = categorised(n=100)
    fit, turned = binormal_roc(truth, ratings), binormal_roc(1 - truth, -ratings)
    assert tuple(turned.auc) == pytest.approx(tuple(fit.auc), abs=1e-4)
    assert turned.b.value == pytest.approx(1 / fit.b.value, rel=1e-3)


def test_near_guessing_it_agrees_with_the_empirical_area():
    rng = np.random.default_rng(2)
    truth, ratings = np.repeat([0, 1], 300), rng.normal(size=600)
    fit, empirical = binormal_roc(truth, ratings).auc, roc_auc(truth, ratings)
    assert fit.value == pytest.approx(empirical.value, abs=0.01)
    assert fit.high - fit.low == pytest.approx(empirical.high - empirical.low, rel=0.1)


@pytest.mark.parametrize(
    ("negatives", "positives", "reason"),
    [
        ([1, 1, 2, 2], [3, 3, 4, 4], "edges"),  # perfect
        ([0, 0, 1, 1], [0, 1, 1, 1], "two answers"),
        ([1, 1, 1], [1, 1, 1], "two answers"),
        ([1, 1, 1, 1, 2, 2], [1, 2, 3, 3, 3, 3], "no maximum"),
    ],
)
def test_degenerate_data(negatives, positives, reason):
    fit = binormal_roc([0] * len(negatives) + [1] * len(positives), negatives + positives)
    assert reason in fit.degenerate
    assert np.isnan(fit.auc.value)


def test_bad_input():
    with pytest.raises(ValueError, match="one class"):
        binormal_roc([1, 1], [1, 2])
    with pytest.raises(ValueError, match="max_categories"):
        binormal_roc([0, 1], [1, 2], max_categories=2)
    with pytest.raises(ValueError, match="unequal lengths"):
        binormal_roc([0, 1, 1], [1, 2])
