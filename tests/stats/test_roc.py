"""Areas under ROC curves against CoLDiT's tables, scikit-learn and hand-made cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from datadouble.stats import Estimate, proportion_interval, roc_auc, roc_curve, tpr_at_fpr


def reader(called, positives, rejected, negatives):
    """Labels and yes/no scores of a reader from the counts of a paper's table."""
    labels = np.repeat([1, 0], [positives, negatives])
    return labels, np.concatenate([np.arange(positives) < called, np.arange(negatives) >= rejected]).astype(
        int
    )


def cases(least=2):
    """Labels with both classes and scores with ties."""
    size = st.integers(least, 12)
    return st.tuples(size, size).flatmap(
        lambda mn: st.tuples(
            st.just(np.repeat([1, 0], mn)),
            st.lists(st.integers(-4, 4), min_size=sum(mn), max_size=sum(mn)).map(np.array),
        )
    )


def test_coldit_reader():
    # CoLDiT, Table 3: sensitivity 384/500, specificity 242/500, AUC 0.63 (0.60, 0.66), the exact binomial interval.
    binomial = roc_auc(*reader(384, 500, 242, 500), method="binomial")
    assert isinstance(binomial, Estimate)
    assert binomial.value == pytest.approx(0.626, abs=1e-12)
    assert binomial.n == 1000
    assert binomial[1:3] == proportion_interval(626, 1000, method="clopper-pearson")
    assert (round(binomial.low, 2), round(binomial.high, 2)) == (0.60, 0.66)
    delong = roc_auc(*reader(384, 500, 242, 500))
    assert delong[1:3] == pytest.approx((0.597, 0.655), abs=5e-4)


def test_a_reader_s_area_on_200_pictures():
    # 149 of 200: CoLDiT prints (0.68, 0.80).
    low, high = roc_auc(*reader(80, 100, 69, 100), method="binomial")[1:3]
    assert (round(low, 2), round(high, 2)) == (0.68, 0.80)


@given(cases())
def test_equals_scikit_learn_and_its_mirror(case):
    labels, scores = case
    area = roc_auc(labels, scores)
    assert area.value == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    mirrored = roc_auc(labels, -scores)
    assert mirrored.value == pytest.approx(1 - area.value, abs=1e-12)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - area.high, 1 - area.low), abs=1e-9)
    assert roc_auc(1 - labels, -scores)[:3] == pytest.approx(area[:3], abs=1e-9)


@given(cases(least=1), st.sampled_from(["delong", "delong-logit", "binomial"]))
def test_intervals_hold_their_value_and_have_a_width(case, method):
    estimate = roc_auc(*case, method=method)
    # round(auc * n) moves the binomial interval by up to half a case.
    slack = 0.5 / estimate.n if method == "binomial" else 1e-9
    assert 0 <= estimate.low <= estimate.value + slack
    assert estimate.value - slack <= estimate.high <= 1
    assert estimate.high > estimate.low
    wider = roc_auc(*case, method=method, confidence=0.99)
    assert wider.low <= estimate.low and estimate.high <= wider.high


def test_any_rising_transform_of_the_scores_changes_nothing():
    rng = np.random.default_rng(0)
    labels, scores = np.arange(60) % 2, rng.normal(size=60)
    assert roc_auc(labels, np.exp(3 * scores)) == roc_auc(labels, scores)
    assert roc_auc(labels.astype(bool).tolist(), scores.tolist()) == roc_auc(labels, scores)


@pytest.mark.parametrize("method", ["delong", "delong-logit"])
def test_a_perfect_curve_keeps_a_width(method):
    # Ten pairs in order, none out of order: the exact 95% bound is (0.025)^(1/10), by hand 0.6915.
    perfect = roc_auc([0] * 10 + [1] * 10, np.arange(20), method=method)
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(0.025**0.1)
    wrong = roc_auc([1] * 10 + [0] * 10, np.arange(20), method=method)
    assert (wrong.value, wrong.low) == (0.0, 0.0)
    assert wrong.high == pytest.approx(1 - 0.025**0.1)
    # Only as many independent pairs as the smaller class has.
    assert roc_auc([0] * 1000 + [1] * 10, np.arange(1010)).low == pytest.approx(0.025**0.1)


def test_constant_scores_say_nothing():
    estimate = roc_auc([0, 1] * 10, [7.0] * 20)
    assert estimate.value == 0.5
    assert estimate[1:3] == pytest.approx((0.187, 0.813), abs=1e-3)  # Clopper-Pearson of 5 of 10


def test_one_positive_leaves_nearly_everything_open():
    estimate = roc_auc([1, 0, 0, 0, 0], [3, 1, 2, 4, 5])
    assert estimate.value == 0.5
    assert estimate.low < 0.05 and estimate.high > 0.95


def test_infinite_scores_are_ordered():
    assert roc_auc([0, 0, 1, 1], [-np.inf, 1, 2, np.inf]).value == 1.0
    curve = roc_curve([0, 1, 1], [-np.inf, np.inf, np.inf])
    assert curve.tpr.tolist() == [0, 1, 1]


@pytest.mark.parametrize(("true", "positives", "negatives"), [(0.5, 30, 30), (0.8, 50, 50), (0.9, 60, 120)])
def test_coverage_of_delong(true, positives, negatives):
    from scipy.stats import norm

    rng = np.random.default_rng(11)
    labels = np.repeat([1, 0], [positives, negatives])
    shift = np.sqrt(2) * norm.ppf(true) * labels
    runs = [roc_auc(labels, rng.normal(size=len(labels)) + shift) for _ in range(600)]
    covered = np.mean([run.low <= true <= run.high for run in runs])
    assert 0.91 < covered < 0.98


def test_several_pictures_a_patient():
    # Five equal pictures a patient carry what one does; counted as independent they feign precision.
    rng = np.random.default_rng(1)
    labels, patients = np.arange(60) % 2, np.arange(60)
    scores = rng.normal(size=60) + labels
    once = roc_auc(labels, scores)
    copies = [np.repeat(array, 5) for array in (labels, scores)]
    grouped = roc_auc(*copies, groups=np.repeat(patients, 5))
    assert grouped[:3] == pytest.approx(once[:3], abs=1e-12)
    naive = roc_auc(*copies)
    assert naive.high - naive.low < 0.6 * (grouped.high - grouped.low)
    assert roc_auc(labels, scores, groups=[f"p{i}" for i in patients]) == pytest.approx(once, abs=1e-12)


def test_groups_hold_their_coverage_where_rows_do_not():
    from scipy.stats import norm

    rng = np.random.default_rng(2)
    patients = np.repeat(np.arange(80), 3)
    hits = {"groups": 0, "rows": 0}
    for _ in range(300):
        labels = np.repeat(np.arange(80) % 2, 3)
        shared = np.repeat(rng.normal(size=80), 3)
        scores = 0.8 * shared + 0.6 * rng.normal(size=240) + labels * np.sqrt(2) * norm.ppf(0.8)
        for name, groups in (("groups", patients), ("rows", None)):
            run = roc_auc(labels, scores, groups=groups)
            hits[name] += run.low <= 0.8 <= run.high
    assert hits["groups"] / 300 > 0.9
    assert hits["rows"] / 300 < 0.88


@given(cases())
def test_curve_equals_scikit_learn(case):
    labels, scores = case
    expected = metrics.roc_curve(labels, scores, drop_intermediate=False)
    for mine, theirs in zip(roc_curve(labels, scores), expected, strict=True):
        assert mine == pytest.approx(theirs)


def test_area_under_the_points_is_the_area():
    rng = np.random.default_rng(4)
    labels, scores = rng.integers(0, 2, 80), rng.integers(0, 9, 80)
    curve = roc_curve(labels, scores)
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(roc_auc(labels, scores).value)


def test_sensitivity_at_one_percent_by_hand():
    # Negatives 1..200: two may pass at 1%, so the threshold is 198; 7 of 10 positives exceed it.
    labels = np.repeat([1, 0], [10, 200])
    scores = np.concatenate([[300] * 5, [198.5] * 2, [198, 5, 5], np.arange(1, 201)])
    found = tpr_at_fpr(labels, scores, 0.01)
    assert (found.value, found.n, found.threshold, found.negatives) == (0.7, 10, 198, 200)
    assert found[1:3] == proportion_interval(7, 10, method="clopper-pearson")
    assert found.attained_fpr == 0.01
    assert found.resolved
    assert found.attained_fpr_high == pytest.approx(0.0357, abs=1e-4)


def test_too_few_negatives_are_told():
    labels = np.repeat([1, 0], [10, 200])
    found = tpr_at_fpr(labels, np.arange(210)[::-1], 0.001)
    assert found.value == 1.0
    assert found.low == pytest.approx(0.025**0.1)
    assert not found.resolved
    assert found.attained_fpr == 0
    # None of 200 does not mean below 0.1%.
    assert found.attained_fpr_high == pytest.approx(1 - 0.025 ** (1 / 200))
    assert tpr_at_fpr(np.repeat([1, 0], [10, 1000]), np.arange(1010)[::-1], 0.001).resolved


def test_ties_at_the_threshold_count_against():
    found = tpr_at_fpr([1, 1, 0, 0, 0, 0], [2, 1, 1, 1, 1, 0], 0.5)
    assert (found.value, found.attained_fpr) == (0.5, 0.0)


@settings(max_examples=50)
@given(cases(), st.sampled_from([0.1, 0.25, 0.29, 0.5]))
def test_sensitivity_is_the_best_point_of_the_curve(case, fpr):
    curve = roc_curve(*case)
    best = curve.tpr[curve.fpr <= fpr + 1e-9].max()
    found = tpr_at_fpr(*case, fpr)
    assert found.value == pytest.approx(best)
    assert found.attained_fpr <= fpr + 1e-9


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([1, 1, 1], [1, 2, 3], "one class only"),
        ([0, 0], [1, 2], "one class only"),
        ([0, 1], [1, np.nan], "NaN"),
        ([0, 1, 1], [1, 2], "unequal lengths"),
        ([1, 2, 2], [1, 2, 3], "0 and 1"),
        (["a", "b"], [1, 2], "numbers"),
        ([], [], "at least 1"),
        ([[0, 1]], [[1, 2]], "one-dimensional"),
    ],
)
def test_wrong_input_is_refused(labels, scores, message):
    for call in (roc_auc, roc_curve, lambda a, b: tpr_at_fpr(a, b, 0.1)):
        with pytest.raises(ValueError, match=message):
            call(labels, scores)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="delong-logit"):
        roc_auc([0, 1], [0, 1], method="hanley")
    with pytest.raises(ValueError, match="confidence"):
        roc_auc([0, 1], [0, 1], confidence=95)
    with pytest.raises(ValueError, match="fpr"):
        tpr_at_fpr([0, 1], [0, 1], 1.0)
    with pytest.raises(ValueError, match="groups"):
        roc_auc([0, 1], [0, 1], method="binomial", groups=[1, 2])
    with pytest.raises(ValueError, match="unequal lengths"):
        roc_auc([0, 1], [0, 1], groups=[1])
