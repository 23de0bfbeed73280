"""The two-answer area against CoLDiT's tables, scikit-learn and Newcombe's intervals."""

import numpy as np
import pytest

from datadouble.stats import proportion_interval, roc_auc, two_answer_auc


def reader(called, positives, rejected, negatives):
    truth = np.repeat([1, 0], [positives, negatives])
    return truth, np.concatenate([np.arange(positives) < called, np.arange(negatives) >= rejected]) * 1


def test_coldit_junior_reader():
    # CoLDiT, study 2, junior reader 1: 285/500 and 244/500, area 0.53.
    found = two_answer_auc(*reader(285, 500, 244, 500))
    assert found.value == pytest.approx((285 / 500 + 244 / 500) / 2)
    assert round(found.value, 2) == 0.53
    assert tuple(found.sensitivity)[:3] == pytest.approx(
        (0.57, *proportion_interval(285, 500, method="wilson"))
    )


def test_it_is_the_area_of_one_operating_point():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    truth, answers = rng.integers(0, 2, 40), rng.integers(0, 2, 40)
    found = two_answer_auc(truth, answers)
    assert found.value == pytest.approx(roc_auc_score(truth, answers))
    assert found.value == pytest.approx(roc_auc(truth, answers).value)
    assert found.n == 40


def test_interval_squares_and_adds_the_arms():
    from statsmodels.stats.proportion import confint_proportions_2indep

    # sensitivity - (1 - specificity) = 2 * area - 1, and Newcombe's interval of a difference is in statsmodels.
    found = two_answer_auc(*reader(56, 70, 32, 80))
    low, high = confint_proportions_2indep(56, 70, 48, 80, method="newcomb")
    assert (2 * found.low - 1, 2 * found.high - 1) == pytest.approx((low, high), abs=1e-9)


def test_all_right_keeps_a_width():
    found = two_answer_auc(*reader(10, 10, 10, 10))
    assert found.value == found.high == 1
    assert found.low < 0.9


def test_bad_answers():
    with pytest.raises(ValueError, match="answers must be 0 and 1"):
        two_answer_auc([0, 1], [0, 2])
    with pytest.raises(ValueError, match="one class"):
        two_answer_auc([1, 1], [0, 1])
