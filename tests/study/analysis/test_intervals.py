"""Intervals of the analysis against other programs, closed forms and simulated truth."""

import numpy as np
import pytest
from scipy.stats import binom, norm
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from datadouble import stats
from datadouble.study.analysis.intervals import (
    contrast,
    median_interval,
    of_patients,
    share,
    signal_detection,
)


def hits_of(count: int, n: int) -> np.ndarray:
    return np.arange(n) < count


def test_one_look_a_patient_is_wilsons_interval_of_statsmodels() -> None:
    found = share(hits_of(17, 40), units=np.arange(40))
    assert (found["low"], found["high"]) == pytest.approx(proportion_confint(17, 40, method="wilson"))
    assert found["value"] == 17 / 40 and found["n"] == 40 and "units" not in found


def test_looks_that_repeat_a_patient_say_no_more_than_the_patient() -> None:
    alone = share(hits_of(20, 50))
    copied = share(np.repeat(hits_of(20, 50), 6), units=np.repeat(np.arange(50), 6))
    assert copied["n"] == 300 and copied["units"] == 50 and copied["value"] == alone["value"]
    # A little wider than 50 looks: the variance between patients is estimated, from 49 degrees of freedom.
    width = copied["high"] - copied["low"]
    assert 1.0 < width / (alone["high"] - alone["low"]) < 1.05


def test_independent_looks_of_a_patient_count_nearly_each() -> None:
    rng = np.random.default_rng(0)
    hits = rng.random(1200) < 0.4
    apart, together = share(hits), share(hits, units=np.repeat(np.arange(400), 3))
    assert (together["high"] - together["low"]) / (apart["high"] - apart["low"]) == pytest.approx(
        1.0, abs=0.08
    )


@pytest.mark.parametrize(("count", "end"), [(0, "low"), (60, "high")])
def test_where_nothing_varies_patients_are_what_is_counted(count: int, end: str) -> None:
    found = share(hits_of(count, 60), units=np.repeat(np.arange(20), 3))
    assert found[end] == count / 60
    low, high = proportion_confint(20 if count else 0, 20, method="wilson")
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=1e-9)


def test_equal_strata_are_the_two_answer_area_of_stats() -> None:
    truth = np.repeat([1, 0], [70, 80])
    called = np.concatenate([hits_of(56, 70), ~hits_of(32, 80)])
    found, other = share(called == truth, strata=truth, equal=True), stats.two_answer_auc(truth, called)
    assert tuple(found.values()) == pytest.approx(other[:4])


def test_strata_take_their_share_of_the_cases() -> None:
    """With half and half, 2 * share - 1 = sensitivity - (1 - specificity): Newcombe's interval in statsmodels."""
    truth = np.repeat([1, 0], [60, 60])
    right = np.concatenate([hits_of(50, 60), hits_of(20, 60)])
    low, high = confint_proportions_2indep(50, 60, 40, 60, method="newcomb")
    found = share(right, strata=truth)
    assert (found["low"], found["high"]) == pytest.approx(((low + 1) / 2, (high + 1) / 2))
    pooled = share(right)
    assert found["value"] == pooled["value"]
    assert found["high"] - found["low"] < pooled["high"] - pooled["low"]


@pytest.mark.parametrize("n", [6, 9, 20, 61])
def test_median_lies_between_order_statistics_that_hold_95_percent(n: int) -> None:
    values = np.arange(n) + 0.0
    found = median_interval(np.random.default_rng(0).permutation(values))
    assert found is not None
    rank = int(binom.ppf(0.025, n, 0.5))
    assert values[rank - 1] <= found["low"] <= values[rank]
    assert found["low"] + found["high"] == pytest.approx(n - 1)  # symmetric as the values are
    assert found["value"] == np.median(values)


def test_median_of_a_few_has_no_ends_and_of_none_is_none() -> None:
    few = median_interval(np.array([3.0, 1.0, np.nan, 2.0]))
    assert few is not None and few["value"] == 2.0 and few["low"] is few["high"] is None and few["n"] == 3
    assert median_interval(np.array([np.nan])) is None


def test_dprime_of_many_answers() -> None:
    truth = np.repeat([1, 0], 10000)
    called = np.concatenate([hits_of(8413, 10000), hits_of(1587, 10000)]) * 1
    found = signal_detection(called, truth)
    assert found["dprime"]["value"] == pytest.approx(2.0, abs=0.01)
    assert found["criterion"]["value"] == pytest.approx(0.0, abs=0.01)
    # By the delta method: variance p (1 - p) / (n phi(1)²) a side.
    half = 1.96 * np.sqrt(2 * 0.8413 * 0.1587 / 1e4) / norm.pdf(1)
    assert found["dprime"]["high"] - found["dprime"]["value"] == pytest.approx(half, rel=1e-2)


def test_dprime_of_copied_looks_is_no_better_known() -> None:
    truth = np.repeat([1, 0], 60)
    called = np.concatenate([hits_of(40, 60), hits_of(20, 60)]) * 1
    alone = signal_detection(called, truth)["dprime"]
    copied = signal_detection(np.repeat(called, 4), np.repeat(truth, 4), np.repeat(np.arange(120), 4))[
        "dprime"
    ]
    assert copied["high"] - copied["low"] == pytest.approx(alone["high"] - alone["low"], rel=0.05)


@pytest.mark.parametrize("kind", ["fleiss", "ac1", "cohen"])
def test_agreement_on_copied_items_is_no_better_known(kind: str) -> None:
    """Each item four times over: the interval is that of the items alone, to the jackknife's own error."""
    rng = np.random.default_rng(3)
    ratings = (rng.standard_normal((80, 1)) + rng.standard_normal((80, 2)) > 0.2).astype(int)
    compute = {
        "fleiss": stats.fleiss_kappa,
        "ac1": lambda r: stats.gwet_ac1(r, categories=(0, 1)),
        "cohen": lambda r: stats.cohen_kappa(r[:, 0], r[:, 1]),
    }[kind]
    alone, many = compute(ratings), np.repeat(ratings, 4, axis=0)
    copied = of_patients(compute(many), kind, many, 2, np.repeat(np.arange(80), 4))
    assert copied.value == pytest.approx(alone.value) and copied.n == 320
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.05)
    assert of_patients(alone, kind, ratings, 2, np.arange(80)) is alone
    assert of_patients(alone, kind, ratings, 2, None) is alone


def test_contrast_of_two_readers_is_delongs_difference() -> None:
    rng = np.random.default_rng(1)
    truth = np.repeat([1, 0], 30)
    first, second = rng.standard_normal((2, 60)) + np.array([[1.0], [0.3]]) * truth
    found = contrast(stats.placements(truth, first, second), np.array([1.0, -1.0]))
    test = stats.delong_test(truth, first, second)
    assert found["p_value"] == pytest.approx(test.p_value)
    expected = stats.auc_difference(truth, first, second)
    assert [found[key] for key in ("value", "low", "high")] == pytest.approx(expected[:3])
    assert "low" not in contrast(stats.placements(truth, first, first), np.array([1.0, -1.0]))


@pytest.mark.parametrize(("images", "cut"), [(28, 0.0), (40, 0.8)])
def test_six_readers_of_the_same_images_hold_the_truth_in_95_percent(images: int, cut: float) -> None:
    """The plain interval over all looks would hold it in some 75%."""
    rng = np.random.default_rng(2)
    units, held, plain = np.repeat(np.arange(images), 6), [], []
    for _ in range(400):
        hits = rng.standard_normal((images, 1)) + rng.standard_normal((images, 6)) > cut * np.sqrt(2)
        for kept, by in ((held, units), (plain, None)):
            found = share(hits.ravel(), units=by)
            kept.append(found["low"] <= norm.cdf(-cut) <= found["high"])
    assert 0.92 < np.mean(held) < 0.985
    assert np.mean(plain) < 0.85
