"""Intervals against published figures and hand-made cases."""

import numpy as np
import pytest

from datadouble.stats import Estimate, Interval, bootstrap, proportion_estimate, proportion_interval


@pytest.mark.parametrize(
    ("successes", "trials", "method", "expected"),
    [
        (278, 500, "wilson-cc", (0.511, 0.600)),  # CoLDiT (Research 2024;7:0532), Table 2
        (100, 100, "wilson-cc", (0.954, 1.000)),  # CoLDiT, Table 2
        (149, 200, "clopper-pearson", (0.68, 0.80)),  # CoLDiT, Table 3
        (81, 263, "wilson-cc", (0.2535, 0.3682)),  # Newcombe 1998, Table I, method 4
        (81, 263, "wilson", (0.2553, 0.3662)),  # method 3
        (81, 263, "clopper-pearson", (0.2527, 0.3676)),  # method 5
        (0, 20, "wilson-cc", (0.0, 0.2005)),
    ],
)
def test_published_intervals(successes, trials, method, expected):
    digits = len(str(expected[1]).split(".")[1]) if expected[1] != 1.0 else 3
    interval = proportion_interval(successes, trials, method=method)
    assert isinstance(interval, Interval)
    assert interval == pytest.approx(expected, abs=0.6 * 10.0 ** -min(digits, 4) + 1e-9)


def test_none_of_500_does_not_mean_none():
    # The design's example: 0 copies in 500 pictures leaves a one-sided 95% bound of 0.6% (rule of three).
    assert proportion_interval(0, 500, confidence=0.90, method="clopper-pearson").high == pytest.approx(
        0.006, abs=1e-4
    )


def test_anonymeter_s_interval():
    # anonymeter prints 850 of 1000 as 0.849 ± 0.022: centre and half-width of the Wilson interval, not 0.85 itself.
    low, high = proportion_interval(850, 1000, method="wilson")
    assert round((low + high) / 2, 3) == 0.849
    assert round((high - low) / 2, 3) == 0.022


def test_estimate_carries_value_and_n():
    assert proportion_estimate(1, 4)[0] == 0.25
    assert proportion_estimate(1, 4).n == 4


@pytest.mark.parametrize("wrong", [(-1, 5), (6, 5), (0, 0)])
def test_counts_out_of_range(wrong):
    with pytest.raises(ValueError, match="successes"):
        proportion_interval(*wrong)


def test_unknown_method():
    with pytest.raises(ValueError, match="clopper-pearson"):
        proportion_interval(1, 2, method="wald")


def test_bootstrap_of_a_mean_agrees_with_theory():
    data = np.random.default_rng(3).normal(size=400)
    estimate = bootstrap(np.mean, data, resamples=2000)
    assert isinstance(estimate, Estimate)
    assert estimate.n == 400
    half_width = 1.96 * data.std() / np.sqrt(400)
    assert estimate.high - estimate.value == pytest.approx(half_width, rel=0.1)
    assert estimate.value - estimate.low == pytest.approx(half_width, rel=0.1)


def test_groups_are_drawn_whole():
    # Ten identical rows a patient carry no more than one: the interval is as wide as with one row each.
    patients = np.random.default_rng(5).normal(size=50)
    single = bootstrap(np.mean, patients, resamples=2000)
    repeated = bootstrap(
        np.mean, np.repeat(patients, 10), groups=np.repeat(np.arange(50), 10), resamples=2000
    )
    assert repeated.high - repeated.low == pytest.approx(single.high - single.low, rel=0.1)
    naive = bootstrap(np.mean, np.repeat(patients, 10), resamples=2000)
    assert naive.high - naive.low < 0.5 * (repeated.high - repeated.low)


def test_same_seed_same_interval_and_two_samples():
    a, b = np.arange(20.0), np.arange(30.0) + 5
    first = bootstrap(lambda x, y: y.mean() - x.mean(), [a, b], groups=[None, np.arange(30) // 3], seed=4)
    assert first == bootstrap(
        lambda x, y: y.mean() - x.mean(), [a, b], groups=[None, np.arange(30) // 3], seed=4
    )
    assert first.value == pytest.approx(10.0)
    assert first.low < 10 < first.high


@pytest.mark.parametrize("centre", [False, True])
def test_one_patient_says_nothing_of_others(centre):
    # Twenty pictures of a single patient: an interval over patients cannot be known, and is not of width 0.
    data = np.random.default_rng(6).normal(size=20)
    alone = bootstrap(np.mean, data, groups=["a"] * 20, centre=centre)
    assert alone.value == pytest.approx(data.mean())
    assert np.isnan([alone.low, alone.high]).all()
    assert np.isnan(bootstrap(np.mean, data[:1]).low)
    beside = bootstrap(lambda x, y: x.mean() - y.mean(), [data, data], groups=[None, ["a"] * 20])
    assert np.isnan([beside.low, beside.high]).all()


def test_groups_of_wrong_length():
    with pytest.raises(ValueError, match="group entries"):
        bootstrap(np.mean, np.arange(4.0), groups=["a", "b"])


@pytest.mark.parametrize(
    ("method", "theirs"), [("wilson", "wilson"), ("wilson-cc", "wilsoncc"), ("clopper-pearson", "exact")]
)
def test_proportion_intervals_are_scipy_s(method, theirs):
    from scipy.stats import binomtest

    for trials in (1, 2, 7, 40, 501):
        for successes in {0, 1, trials // 3, trials // 2, trials - 1, trials}:
            for confidence in (0.9, 0.99):
                expected = binomtest(successes, trials).proportion_ci(confidence, theirs)
                found = proportion_interval(successes, trials, confidence=confidence, method=method)
                assert tuple(found) == pytest.approx((expected.low, expected.high), abs=1e-10)
