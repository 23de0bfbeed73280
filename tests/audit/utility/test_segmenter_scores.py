"""Scores against hand, scikit-learn and MONAI."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from datadouble.audit.utility.scores import make_resamples
from datadouble.audit.utility.segmenter_scores import (
    CaseScores,
    by_volume,
    case_dice,
    constant_floor,
    false_alarms,
    macro_f1,
    measure,
    score_cases,
    volume_fifths,
)


def test_dice_by_hand_over_the_classes_a_case_shows() -> None:
    truth = np.array([[1, 1, 2, 0]])
    assert case_dice(truth, np.array([[1, 0, 2, 3]])) == pytest.approx(
        (2 / 3 + 1) / 2
    )  # 3 is not in the truth
    assert case_dice(truth, np.zeros((1, 4), int)) == 0
    assert np.isnan(case_dice(np.zeros((1, 4), int), truth))


def test_dice_as_monai() -> None:
    metrics = pytest.importorskip("monai.metrics")
    import torch

    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 4, (5, 16, 16)), rng.integers(0, 4, (5, 16, 16))
    hot = [torch.nn.functional.one_hot(torch.from_numpy(m), 4).movedim(-1, 1) for m in (found, truth)]
    peer = metrics.DiceMetric(include_background=False, reduction="none")(*hot).mean(dim=1)
    assert score_cases(truth, found, 4).dice == pytest.approx(peer.numpy(), abs=1e-6)


def test_measures_as_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    types, called = rng.integers(0, 4, 60), rng.integers(0, 4, (2, 60))
    called[0, :30] = types[:30]
    dice = np.where(types > 0, rng.random(60), np.nan)
    scores = [CaseScores(dice, row) for row in called]
    draws = make_resamples(np.arange(60).astype(str), 2, resamples=200, seed=0)
    found = measure(types, scores, draws)
    expected = np.mean([f1_score(types, row, average="macro") for row in called])
    assert found.f1.values[0] == pytest.approx(expected)
    assert found.accuracy.values[0] == pytest.approx(np.mean([accuracy_score(types, r) for r in called]))
    estimate = found.dice.estimate()
    assert estimate.value == pytest.approx(np.nanmean(dice)) and estimate.n == int((types > 0).sum())
    # The interval of a mean of 46 uniform numbers: 2 x 1.96 x 0.29 / sqrt(46).
    assert estimate.high - estimate.low == pytest.approx(
        3.92 * np.nanstd(dice) / np.sqrt(estimate.n), rel=0.25
    )


def test_a_class_that_the_test_lacks_costs_nothing() -> None:
    """scikit-learn counts a class that is only predicted as F1 = 0; here means are over the true types."""
    types = np.array([0, 0, 1, 1])
    one = np.ones((1, 4))
    assert macro_f1(types, np.array([[0, 0, 1, 1]]), one)[0, 0] == 1
    assert macro_f1(types, np.array([[0, 5, 1, 1]]), one)[0, 0] == pytest.approx((2 / 3 + 1) / 2)
    # A resample without type 1 that calls none: its F1 does not exist, and the mean is over type 0.
    assert macro_f1(types, np.array([[0, 0, 1, 1]]), np.array([[1, 1, 0, 0]]))[0, 0] == 1


def test_patients_are_resampled_whole() -> None:
    """Ten equal pictures of each of four patients are four observations, not forty."""
    groups = np.repeat(np.arange(4), 10).astype(str)
    right = np.repeat([1, 1, 0, 1], 10)
    scores = [CaseScores(np.full(40, np.nan), right)]
    found = measure(np.ones(40, int), scores, make_resamples(groups, 1, resamples=2000, seed=0))
    estimate = found.accuracy.estimate()
    assert (estimate.value, estimate.low, estimate.high) == (0.75, 0.25, 1.0)
    assert np.isnan(found.dice.values[0])


def test_fifths_and_their_test() -> None:
    volumes = np.arange(50)  # the first case is normal
    fifth = volume_fifths(volumes)
    assert fifth[0] == -1 and np.bincount(fifth[1:]).tolist() == [10, 10, 9, 10, 10]
    rng = np.random.default_rng(0)
    real = CaseScores(np.where(volumes > 0, 0.6 + 0.1 * rng.random(50), np.nan), np.ones(50, int))
    worse = real._replace(dice=np.where(fifth == 0, real.dice - 0.4, real.dice + 1e-4 * rng.random(50)))
    draws = make_resamples(np.arange(50).astype(str), 1, resamples=100, seed=0)
    entries = by_volume(volumes.astype(float), [worse], draws, [real])
    assert [entry["dice"]["n"] for entry in entries] == [10, 10, 9, 10, 10]
    assert entries[0]["mann_whitney_p_holm"] < 0.001 < 0.5 < entries[3]["mann_whitney_p_holm"]
    assert entries[0]["dice"]["value"] == pytest.approx(worse.dice[1:11].mean())


def test_one_answer_for_all_by_hand() -> None:
    """Three training pictures with the lesion at the left, once of type 2: the answer is type 1 at the left."""
    train = np.array([[[1, 0, 0]], [[1, 0, 0]], [[2, 0, 2]]])
    test = np.array([[[1, 1, 0]], [[2, 0, 0]], [[0, 0, 0]], [[1, 0, 0]]])
    floor = constant_floor(train, test, 3)
    assert floor["dice"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert floor["accuracy"] == 0.5
    assert floor["f1"] == pytest.approx(f1_score([1, 2, 0, 1], [1] * 4, average="macro", zero_division=0))


def test_false_alarms_and_round_trip() -> None:
    score = CaseScores(np.array([np.nan, np.nan, 0.5]), np.array([0, 2, 2]))
    assert false_alarms(np.array([0, 0, 2]), [score]) == 0.5 and false_alarms(np.array([1]), [score]) is None
    again = CaseScores.from_json(score.to_json())
    assert np.array_equal(again.dice, score.dice, equal_nan=True) and np.array_equal(
        again.called, score.called
    )
