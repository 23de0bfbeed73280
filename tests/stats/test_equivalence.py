"""TOST against statsmodels, its own interval, and the paper's P = 0.81 that was read as equivalence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from datadouble.stats import (
    Equivalence,
    auc_difference,
    auc_equivalence_test,
    delong_test,
    equivalence_from_error,
    equivalence_test,
)


def samples(seed=0, shift=0.1, n=30):
    rng = np.random.default_rng(seed)
    return rng.normal(size=n), rng.normal(size=n) + shift


@pytest.mark.parametrize("shift", [0.0, 0.4, 1.5])
def test_equals_statsmodels(shift):
    weights = pytest.importorskip("statsmodels.stats.weightstats")
    a, b = samples(shift=shift)
    p, low, high = weights.ttost_ind(a, b, -0.5, 0.5, usevar="unequal")
    mine = equivalence_test(a, b, margin=0.5)
    assert (mine.p_value, mine.statistic_low, mine.statistic_high) == pytest.approx((p, low[0], high[0]))
    p, low, high = weights.ttost_paired(a, b, -0.5, 0.5)
    mine = equivalence_test(a, b, margin=0.5, paired=True)
    assert (mine.p_value, mine.statistic_low, mine.statistic_high) == pytest.approx((p, low[0], high[0]))
    p, *_ = weights.DescrStatsW(a).ttost_mean(0.2 - 0.5, 0.2 + 0.5)
    assert equivalence_test(a, 0.2, margin=0.5).p_value == pytest.approx(p)


def test_no_difference_found_is_not_equivalence():
    # P = 0.81 of a test of difference on few pictures says nothing about a margin.
    a, b = samples(seed=3, shift=0.0, n=10)
    assert ttest_ind(a, b).pvalue > 0.5
    result = equivalence_test(a, b, margin=0.1)
    assert isinstance(result, Equivalence)
    assert not result.equivalent
    # And a difference that is certain can lie within the margin.
    large, other = samples(seed=4, shift=0.1, n=20_000)
    assert ttest_ind(large, other).pvalue < 1e-6
    assert equivalence_test(large, other, margin=0.2).equivalent


@given(st.integers(0, 200), st.floats(0.05, 2), st.booleans(), st.sampled_from([0.01, 0.05, 0.1]))
def test_the_interval_decides_as_the_test_does(seed, margin, paired, alpha):
    a, b = samples(seed, shift=0.2, n=12)
    one = equivalence_test(a, b, margin=margin, paired=paired, alpha=alpha)
    assert one.equivalent == (-margin < one.low and one.high < margin)
    assert one.low < one.value < one.high
    other = equivalence_test(b, a, margin=margin, paired=paired, alpha=alpha)
    assert (other.value, other.low, other.high, other.p_value) == pytest.approx(
        (-one.value, -one.high, -one.low, one.p_value)
    )
    assert equivalence_test(a, b, margin=margin * 2, paired=paired, alpha=alpha).p_value <= one.p_value


def test_level_at_the_margin():
    # A true difference equal to the margin is called equivalent in at most alpha of the studies.
    rng = np.random.default_rng(9)
    called = [
        equivalence_test(rng.normal(size=40), rng.normal(0.6, 1, 40), margin=0.6).equivalent
        for _ in range(600)
    ]
    assert np.mean(called) < 0.08


def test_n_counts_pairs_or_both_samples():
    a, b = samples(n=20)
    assert equivalence_test(a, b, margin=1).n == 40
    assert equivalence_test(a, b, margin=1, paired=True).n == 20
    assert equivalence_test(a, 0.0, margin=1).n == 20


def test_areas_under_curves():
    rng = np.random.default_rng(1)
    labels = np.arange(2000) % 2
    shared = rng.normal(size=2000) + labels
    a, b = (shared + 0.2 * rng.normal(size=2000) for _ in range(2))
    result = auc_equivalence_test(labels, a, b, margin=0.03)
    assert result.equivalent
    estimate = auc_difference(labels, a, b, confidence=0.90)
    assert result[:4] == pytest.approx(tuple(estimate))
    # The two one-sided statistics lie as far apart as the margins, in DeLong's standard errors.
    error = estimate.value / delong_test(labels, a, b).statistic
    assert result.statistic_low - result.statistic_high == pytest.approx(0.06 / error)
    few = slice(0, 30)
    assert not auc_equivalence_test(labels[few], a[few], b[few], margin=0.03).equivalent
    # Equal scores on a handful of pictures do not prove equivalence.
    assert not auc_equivalence_test(labels[:8], a[:8], a[:8], margin=0.03).equivalent


def test_normal_by_hand():
    result = equivalence_from_error(0.0, 0.02, margin=0.05, n=100)
    assert (result.statistic_low, result.statistic_high) == pytest.approx((2.5, -2.5))
    assert result.p_value == pytest.approx(0.00621, abs=1e-5)
    assert (result.low, result.high) == pytest.approx((-0.0329, 0.0329), abs=1e-4)


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        ([1, 2], [1, 2], {"margin": 0}, "margin"),
        ([1, 2], [1, 2], {"margin": -1}, "margin"),
        ([1, 2, 3], [1, 2], {"margin": 1, "paired": True}, "unequal lengths"),
        ([1, 2, 3], [2, 3, 4], {"margin": 1, "paired": True}, "do not vary"),
        ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], {"margin": 1, "paired": True}, "do not vary"),
        ([1, 1], [2, 2], {"margin": 1}, "varies"),
        ([1], [2, 3], {"margin": 1}, "at least 2"),
        ([1, np.nan], [2, 3], {"margin": 1}, "NaN"),
        ([1, np.inf], [2, 3], {"margin": 1}, "infinite"),
        ([1, 2], np.nan, {"margin": 1}, "finite"),
        ([1, 2], [1, 3], {"margin": 1, "alpha": 0.5}, "alpha"),
    ],
)
def test_wrong_input_is_refused(first, second, options, message):
    with pytest.raises(ValueError, match=message):
        equivalence_test(first, second, **options)


def test_a_reader_inside_the_band_around_guessing():
    from datadouble.stats import auc_equivalence_test_value, roc_auc

    rng = np.random.default_rng(0)
    labels, scores = np.repeat([0, 1], 1500), rng.normal(size=3000)
    found = auc_equivalence_test_value(labels, scores)
    area = roc_auc(labels, scores, confidence=0.9)
    assert found.equivalent
    assert (found.low + 0.5, found.high + 0.5) == pytest.approx((area.low, area.high))
    # A few cases say nothing, however near 0.5 the area is.
    assert not auc_equivalence_test_value([0, 1] * 10, [0, 0, 1, 1] * 5).equivalent
    # All answers equal: DeLong's variance is 0, which must not be read as certainty.
    flat = auc_equivalence_test_value([0, 1] * 10, [1] * 20)
    assert (flat.value, flat.equivalent) == (0, False)
    with pytest.raises(ValueError, match="in \\(0, 1\\)"):
        auc_equivalence_test_value(labels, scores, 0.97)
