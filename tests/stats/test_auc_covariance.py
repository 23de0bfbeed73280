"""Covariances of areas against their definitions, case by case."""

import numpy as np
import pytest

from datadouble.stats import area_covariance, placements, roc_auc


def data(seed=0):
    rng = np.random.default_rng(seed)
    truth = np.repeat([True, False], [9, 12])
    curves = np.round(rng.normal(size=21) + rng.normal(size=(3, 21)) + truth, 1)
    return truth, curves


def areas(truth, curves):
    return np.array([roc_auc(truth, curve).value for curve in curves])


def covariance(truth, curves, method, **options):
    groups = options.pop("groups", None)
    found = placements(truth, *curves, groups=groups)
    return area_covariance(found, curves[:, truth], curves[:, ~truth], method, **options)


def test_jackknife_by_leaving_out():
    truth, curves = data()
    left = np.array([areas(np.delete(truth, i), np.delete(curves, i, axis=1)) for i in range(21)]).T
    expected = (
        20 / 21 * (left - left.mean(axis=1, keepdims=True)) @ (left - left.mean(axis=1, keepdims=True)).T
    )
    assert covariance(truth, curves, "jackknife") == pytest.approx(expected)


def test_jackknife_by_leaving_out_patients():
    truth, curves = data()
    groups = np.arange(21) // 2  # one patient has both kinds
    left = np.array([areas(truth[groups != g], curves[:, groups != g]) for g in range(11)]).T
    expected = (
        10 / 11 * (left - left.mean(axis=1, keepdims=True)) @ (left - left.mean(axis=1, keepdims=True)).T
    )
    assert covariance(truth, curves, "jackknife", groups=groups) == pytest.approx(expected)


def test_bootstrap_is_near_delong_and_repeats():
    rng = np.random.default_rng(1)
    truth = np.repeat([True, False], 60)
    curves = rng.normal(size=120) + rng.normal(size=(2, 120)) + truth
    ours = covariance(truth, curves, "bootstrap", resamples=4000, seed=3)
    assert ours == pytest.approx(covariance(truth, curves, "delong"), rel=0.1)
    assert (ours == covariance(truth, curves, "bootstrap", resamples=4000, seed=3)).all()
    assert not (ours == covariance(truth, curves, "bootstrap", resamples=4000, seed=4)).any()


def test_refusals():
    truth, curves = data()
    with pytest.raises(ValueError, match="unknown covariance"):
        covariance(truth, curves, "unbiased")
    with pytest.raises(ValueError, match="resamples"):
        covariance(truth, curves, "bootstrap", resamples=1)
    with pytest.raises(ValueError, match="at least 2 positive"):
        covariance(truth, curves, "delong", groups=np.where(truth, 0, np.arange(21)))
