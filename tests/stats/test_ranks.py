"""Rank tests against scipy, Hollander and Wolfe's example, and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from datadouble.stats import RankTest, mann_whitney, roc_auc, wilcoxon_signed_rank
from datadouble.stats.ranks import _walsh

# Hollander and Wolfe, Table 3.1: depression scale factor at two visits (R's example of wilcox.test).
FIRST_VISIT = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
SECOND_VISIT = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]


def test_hollander_and_wolfe():
    result = wilcoxon_signed_rank(FIRST_VISIT, SECOND_VISIT, alternative="greater")
    assert isinstance(result, RankTest)
    assert result.statistic == 40
    assert result.p_value == pytest.approx(0.01953, abs=1e-5)
    assert result.value == pytest.approx(0.46)  # the book's estimate
    assert result.n == 9


def test_interval_inverts_the_exact_test():
    differences = np.array(FIRST_VISIT) - SECOND_VISIT
    _, p_value, value, low, high, _ = wilcoxon_signed_rank(differences)
    assert p_value == pytest.approx(0.0390625)
    assert low < value < high
    # Just inside the interval the shift is not rejected, just outside it is.
    for end, inwards in ((low, 1e-6), (high, -1e-6)):
        assert scipy_stats.wilcoxon(differences - (end + inwards)).pvalue > 0.05
        assert scipy_stats.wilcoxon(differences - (end - inwards)).pvalue <= 0.05


@settings(max_examples=25)  # scipy enumerates up to 2^13 signs, which takes a while
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9))
def test_signed_rank_turns_round(differences):
    one, other = wilcoxon_signed_rank(differences), wilcoxon_signed_rank([-d for d in differences])
    assert other.p_value == pytest.approx(one.p_value)
    assert (other.value, other.low, other.high) == pytest.approx((-one.value, -one.high, -one.low))
    assert one.low <= one.value <= one.high
    if len(differences) >= 6:
        assert min(differences) <= one.low and one.high <= max(differences)
    if any(differences):
        theirs = scipy_stats.wilcoxon(differences)
        assert one[:2] == pytest.approx(tuple(theirs))


def test_no_difference_at_all():
    assert wilcoxon_signed_rank(np.arange(6), np.arange(6)) == (0, 1, 0, 0, 0, 6)


def test_five_folds_cannot_exclude_anything():
    # The lowest two-sided p of five pairs is 2 / 2^5 = 0.0625, so that a 95% interval has no end.
    result = wilcoxon_signed_rank([0.1, 0.2, 0.3, 0.4, 0.5])
    assert result.p_value == pytest.approx(0.0625)
    assert (result.value, result.low, result.high) == (pytest.approx(0.3), -np.inf, np.inf)
    assert wilcoxon_signed_rank([0.1, 0.2, 0.3, 0.4, 0.5], confidence=0.9).low == pytest.approx(0.1)


def test_coverage_of_the_median_difference():
    rng = np.random.default_rng(5)
    for n in (20, 80):
        runs = [wilcoxon_signed_rank(rng.logistic(loc=0.3, size=n)) for _ in range(300)]
        assert 0.91 < np.mean([run.low <= 0.3 <= run.high for run in runs]) < 0.99


def test_many_pairs_need_no_quadratic_memory():
    values = np.sort(np.random.default_rng(6).normal(size=1500))
    rows, columns = np.triu_indices(1500)
    averages = np.sort((values[rows] + values[columns]) / 2)
    for rank in (1, 1000, 562_000, len(averages)):
        assert _walsh(values, rank) == pytest.approx(averages[rank - 1], abs=1e-12)
    result = wilcoxon_signed_rank(np.random.default_rng(7).normal(0.1, 1, 50_000))
    assert result.low < 0.1 < result.high
    assert result.high - result.low < 0.03


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=15),
    st.lists(st.integers(-5, 5), min_size=1, max_size=15),
)
def test_mann_whitney_is_scipy_s_and_its_effect_the_area(first, second):
    result = mann_whitney(first, second)
    if len({*first, *second}) > 1:
        assert result[:2] == pytest.approx(tuple(scipy_stats.mannwhitneyu(first, second)))
    else:
        assert result.p_value == 1
    assert result.value == pytest.approx(result.statistic / (len(first) * len(second)))
    labels = [1] * len(first) + [0] * len(second)
    assert result[2:] == pytest.approx(tuple(roc_auc(labels, first + second)))
    other = mann_whitney(second, first)
    assert (other.value, other.p_value) == pytest.approx((1 - result.value, result.p_value))


def test_one_sided():
    low, high = np.arange(10), np.arange(10) + 4.5
    assert mann_whitney(high, low, alternative="greater").p_value < 0.01
    assert mann_whitney(high, low, alternative="less").p_value > 0.99
    assert wilcoxon_signed_rank(high, low, alternative="less").p_value > 0.99


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="unequal lengths"):
        wilcoxon_signed_rank([1, 2], [1])
    with pytest.raises(ValueError, match="NaN"):
        mann_whitney([1, np.nan], [1])
    with pytest.raises(ValueError, match="at least 1"):
        mann_whitney([], [1])
    with pytest.raises(ValueError, match="finite"):
        wilcoxon_signed_rank([1, np.inf])
    with pytest.raises(ValueError, match="two-sided"):
        mann_whitney([1], [2], alternative="both")
