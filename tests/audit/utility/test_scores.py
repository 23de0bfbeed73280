"""Areas and rates under weights, against scikit-learn; the patient bootstrap."""

import numpy as np
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from datadouble.audit.utility.scores import (
    Resamples,
    auc_of,
    best_threshold,
    make_resamples,
    mean_curve,
    rates_of,
    weighted_auc,
)
from datadouble.stats import bootstrap

RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 2, 60)
SCORES = np.round(TRUTH * 0.5 + RNG.normal(size=60), 1)  # rounded: with ties


def test_weighted_area_is_scikit_learns() -> None:
    weights = RNG.integers(0, 4, (5, 60)).astype(float)
    expected = [roc_auc_score(TRUTH, SCORES, sample_weight=row) for row in weights]
    assert np.allclose(weighted_auc(TRUTH, SCORES, weights), expected)


def test_strata_compare_only_within_themselves() -> None:
    strata = np.repeat([0, 1], 30)
    shifted = SCORES + 100 * strata  # another network's scale
    inside = weighted_auc(TRUTH, shifted, np.ones((1, 60)), strata)[0]
    halves = [(TRUTH[strata == s], SCORES[strata == s]) for s in (0, 1)]
    pairs = [t.sum() * (1 - t).sum() for t, _ in halves]
    assert np.isclose(inside, np.average([roc_auc_score(t, s) for t, s in halves], weights=pairs))


def test_one_class_has_no_area() -> None:
    assert np.isnan(weighted_auc(np.ones(3), np.arange(3.0), np.ones((1, 3)))[0])


def test_the_interval_agrees_with_the_slow_bootstrap_over_patients() -> None:
    groups = np.array([f"p{i // 3}" for i in range(60)])
    draws = make_resamples(groups, 1, resamples=2000, seed=0)
    ours = auc_of(TRUTH, SCORES[None], draws).estimate()
    slow = bootstrap(
        lambda rows: roc_auc_score(TRUTH[rows], SCORES[rows]), np.arange(60), groups=groups, resamples=400
    )
    assert np.isclose(ours.value, slow.value)
    assert abs(ours.low - slow.low) < 0.03 and abs(ours.high - slow.high) < 0.03


def test_rates_are_scikit_learns() -> None:
    called = (SCORES > 0.3).astype(float)
    once = Resamples(np.ones((1, 60), np.float32), np.ones((1, 1), np.float32))
    rates = {name: rate.values[0] for name, rate in rates_of(TRUTH, called[None], once).items()}
    assert np.isclose(rates["sensitivity"], recall_score(TRUTH, called))
    assert np.isclose(rates["specificity"], recall_score(1 - TRUTH, 1 - called))
    assert np.isclose(rates["f1"], f1_score(TRUTH, called))


def test_other_trainings_widen_the_interval() -> None:
    groups = np.arange(60).astype(str)
    scores = np.stack([TRUTH + RNG.normal(size=60) * spread for spread in (0.1, 0.1, 3.0, 3.0)])
    both = make_resamples(groups, 4, resamples=500, seed=1)
    patients = Resamples(both.pictures, np.ones_like(both.trainings))
    assert auc_of(TRUTH, scores, both).error() > 1.5 * auc_of(TRUTH, scores, patients).error()


def test_threshold_by_hand() -> None:
    # At 0.5: both sick above, two of three well below; no other cut has a greater sum.
    assert best_threshold(np.array([0, 0, 1, 0, 1]), np.array([0.1, 0.4, 0.6, 0.7, 0.9])) == 0.5
    assert best_threshold(np.array([1, 1, 1]), np.array([0.2, 0.3, 0.9])) == 0.3


def test_the_mean_curve_of_a_perfect_score() -> None:
    curve = mean_curve(np.array([0, 0, 1, 1]), np.array([[0.1, 0.2, 0.8, 0.9]]), points=3)
    assert curve == {"fpr": [0.0, 0.5, 1.0], "tpr": [1.0, 1.0, 1.0]}
