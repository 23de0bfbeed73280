"""DeLong's tests against the definition, CoLDiT's tables and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datadouble.stats import (
    TestResult,
    auc_difference,
    auc_difference_unpaired,
    delong_covariance,
    delong_test,
    delong_test_unpaired,
    delong_test_value,
    placements,
    roc_auc,
)
from datadouble.stats.delong import midranks


def reader(called, positives, rejected, negatives):
    labels = np.repeat([1, 0], [positives, negatives])
    return labels, np.concatenate([np.arange(positives) < called, np.arange(negatives) >= rejected]) * 1.0


def by_definition(labels, curves):
    """DeLong et al. 1988, equations 4 to 6, pair by pair."""
    labels = np.asarray(labels, bool)
    wins = np.stack(
        [
            (c[labels][:, None] > c[~labels]) + 0.5 * (c[labels][:, None] == c[~labels])
            for c in map(np.asarray, curves)
        ]
    )
    m, n = wins.shape[1:]
    return wins.mean(axis=(1, 2)), np.cov(wins.mean(axis=2)) / m + np.cov(wins.mean(axis=1)) / n


def curves(size=40, seed=0, strength=(1.0, 0.6)):
    rng = np.random.default_rng(seed)
    labels = (np.arange(size) % 3 == 0).astype(int)
    shared = rng.normal(size=size)
    return labels, *(np.round(shared + rng.normal(size=size) + s * labels, 1) for s in strength)


def test_covariance_equals_the_definition():
    labels, a, b = curves()
    found = placements(labels, a, b, a + b)
    areas, covariance = by_definition(labels, [a, b, a + b])
    assert found.auc == pytest.approx(areas)
    assert delong_covariance(found) == pytest.approx(covariance)


def test_covariance_of_repeated_patients_agrees_with_resampling_patients():
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(60), rng.integers(1, 5, 60))
    labels = (rng.random(len(patients)) < 0.5).astype(int)  # a patient may have both kinds
    scores = rng.normal(size=60)[patients] + rng.normal(size=len(patients)) + labels
    areas = []
    for _ in range(1500):
        rows = np.concatenate([np.flatnonzero(patients == p) for p in rng.integers(60, size=60)])
        areas.append(placements(labels[rows], scores[rows]).auc[0])
    expected = np.var(areas)
    assert delong_covariance(placements(labels, scores, groups=patients))[0, 0] == pytest.approx(
        expected, rel=0.15
    )


def test_midranks_are_scipy_s():
    from scipy.stats import rankdata

    values = np.random.default_rng(0).integers(0, 9, 50) * 1.0
    assert (midranks(values) == rankdata(values)).all()


def test_junior_reader_against_guessing():
    # CoLDiT, study 2, junior reader 1: 285/500 and 244/500, P = 0.07.
    result = delong_test_value(*reader(285, 500, 244, 500))
    assert isinstance(result, TestResult)
    assert round(result.p_value, 2) == 0.07


def test_senior_reader_real_against_synthetic():
    # CoLDiT, senior reader 8: real (100/100, 42/100), synthetic (100/100, 61/100), P = 0.006.
    result = delong_test_unpaired(*reader(100, 100, 42, 100), *reader(100, 100, 61, 100))
    assert round(result.p_value, 3) == 0.006
    assert result.statistic < 0


def test_paired_test_by_the_definition():
    from scipy.stats import norm

    labels, a, b = curves()
    areas, covariance = by_definition(labels, [a, b])
    z = (areas[0] - areas[1]) / np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    result = delong_test(labels, a, b)
    assert result == pytest.approx((z, 2 * norm.sf(abs(z))))


@given(st.integers(0, 1000))
def test_tests_are_symmetric(seed):
    labels, a, b = curves(size=12, seed=seed)
    one, other = delong_test(labels, a, b), delong_test(labels, b, a)
    assert other == pytest.approx((-one.statistic, one.p_value), abs=1e-9)
    # Turning labels and scores round together changes nothing; turning the scores alone changes the sign.
    assert delong_test(1 - labels, -a, -b) == pytest.approx(one, abs=1e-9)
    assert delong_test(labels, -a, -b) == pytest.approx((-one.statistic, one.p_value), abs=1e-9)
    assert 0 <= one.p_value <= 1
    unpaired = delong_test_unpaired(labels, a, labels, b)
    assert delong_test_unpaired(labels, b, labels, a) == pytest.approx(
        (-unpaired.statistic, unpaired.p_value), abs=1e-9
    )


def test_the_paired_test_sees_what_the_unpaired_misses():
    labels, a, b = curves(size=300, strength=(1.2, 0.8))
    assert delong_test(labels, a, b).p_value < delong_test_unpaired(labels, a, labels, b).p_value


def test_level_under_the_null():
    rng = np.random.default_rng(8)
    labels = np.arange(80) % 2
    rejected = {"paired": 0, "unpaired": 0, "value": 0}
    for _ in range(400):
        shared = rng.normal(size=80)
        a, b = (shared + rng.normal(size=80) + labels for _ in range(2))
        rejected["paired"] += delong_test(labels, a, b).p_value < 0.05
        other = np.sqrt(2) * rng.normal(size=80) + labels
        rejected["unpaired"] += delong_test_unpaired(labels, a, labels, other).p_value < 0.05
        rejected["value"] += delong_test_value(labels, shared).p_value < 0.05
    assert all(0.025 < count / 400 < 0.085 for count in rejected.values()), rejected


def test_intervals_of_differences_agree_with_the_tests():
    labels, a, b = curves(size=60)
    for estimate, result in (
        (auc_difference(labels, a, b), delong_test(labels, a, b)),
        (auc_difference_unpaired(labels, a, labels, b), delong_test_unpaired(labels, a, labels, b)),
    ):
        assert estimate.value == pytest.approx(roc_auc(labels, a).value - roc_auc(labels, b).value)
        assert (estimate.low > 0 or estimate.high < 0) == (result.p_value < 0.05)
    assert auc_difference(labels, a, b).n == 60
    assert auc_difference_unpaired(labels, a, labels, b).n == 120


def test_equal_curves_do_not_differ():
    labels, a, _ = curves()
    assert delong_test(labels, a, a) == (0, 1)
    assert delong_test(labels, a, np.exp(a)) == (0, 1)
    difference = auc_difference(labels, a, a)
    assert difference.low < 0 < difference.high


def test_no_variance_gives_no_certainty():
    # Perfect on three and three pictures against all equal scores: DeLong's z would be infinite, and p 0.
    small = delong_test([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6], [0] * 6)
    assert np.isfinite(small.statistic)
    assert 0.05 < small.p_value < 1
    large = delong_test([0] * 100 + [1] * 100, np.arange(200), [0] * 200)
    assert large.p_value < 1e-4
    # Two perfect curves on different cases do not differ; a perfect one differs from a perfectly wrong one.
    labels = [0] * 20 + [1] * 20
    assert delong_test_unpaired(labels, np.arange(40), labels, np.arange(40)).p_value == 1
    assert delong_test_unpaired(labels, np.arange(40), labels, -np.arange(40)).p_value < 1e-6


def test_against_a_value_without_variance_is_the_exact_binomial_test():
    from scipy.stats import binomtest

    perfect = delong_test_value([0] * 5 + [1] * 5, np.arange(10))
    assert perfect.p_value == pytest.approx(binomtest(5, 5).pvalue)  # 0.0625: five pairs prove little
    assert 1.8 < perfect.statistic < 1.9
    constant = delong_test_value([0, 1] * 5, [1] * 10)
    assert constant == (0, 1)
    wrong = delong_test_value([1] * 5 + [0] * 5, np.arange(10))
    assert wrong == pytest.approx((-perfect.statistic, perfect.p_value))
    # The exact interval and the exact test agree.
    low = roc_auc([0] * 5 + [1] * 5, np.arange(10)).low
    assert delong_test_value([0] * 5 + [1] * 5, np.arange(10), low).p_value == pytest.approx(0.05)


def test_one_patient_in_a_class_gives_no_certainty():
    labels, scores = [1, 1, 1, 0, 0, 0], [4.0, 5, 6, 1, 2, 5]
    groups = ["p", "p", "p", "a", "b", "c"]
    assert np.isnan(delong_covariance(placements(labels, scores, groups=groups))).all()
    estimate = roc_auc(labels, scores, groups=groups)
    assert estimate.high - estimate.low > 0.9
    assert delong_test_value(labels, scores, groups=groups).p_value > 0.2


def test_groups_of_copies_do_not_add_evidence():
    labels, a, b = curves(size=40)
    groups = np.repeat(np.arange(40), 4)
    copies = [np.repeat(array, 4) for array in (labels, a, b)]
    once = delong_test(labels, a, b)
    assert delong_test(*copies, groups=groups) == pytest.approx(once)
    assert delong_test(*copies).p_value < once.p_value
    unpaired = delong_test_unpaired(copies[0], copies[1], labels, b, groups_a=groups)
    assert unpaired == pytest.approx(delong_test_unpaired(labels, a, labels, b))
    assert delong_test_value(copies[0], copies[1], groups=groups) == pytest.approx(
        delong_test_value(labels, a)
    )


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="unequal lengths"):
        delong_test([0, 1, 1], [1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="one class only"):
        delong_test_unpaired([0, 1], [1, 2], [1, 1], [1, 2])
    with pytest.raises(ValueError, match="NaN"):
        delong_test([0, 1], [1, 2], [np.nan, 1])
    with pytest.raises(ValueError, match="value"):
        delong_test_value([0, 1], [1, 2], 1.0)
