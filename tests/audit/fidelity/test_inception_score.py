"""Inception score at its attainable ends."""

import numpy as np
import pytest

from datadouble.audit.fidelity import inception_score, inception_score_interval


def test_uniform_predictions_score_one():
    score = inception_score(np.zeros((40, 10)), splits=4)
    assert score.value == pytest.approx(1.0)
    assert score.log_value == pytest.approx(0.0, abs=1e-12)


def test_k_certain_and_balanced_classes_score_k():
    logits = np.where(np.eye(7)[np.arange(70) % 7] > 0, 1000.0, 0.0)
    score = inception_score(logits, splits=1)
    assert score.value == pytest.approx(7.0)
    assert score.log_value == pytest.approx(np.log(7))
    estimate, log_estimate = inception_score_interval(logits, resamples=50)
    assert estimate.value == pytest.approx(7.0)
    assert log_estimate.value == pytest.approx(np.log(7))


def test_equals_the_definition():
    p = np.random.default_rng(0).dirichlet(np.ones(5), size=12)
    divergence = np.mean([sum(q * np.log(q / m) for q, m in zip(row, p.mean(0), strict=True)) for row in p])
    assert inception_score(np.log(p) + 3.0, splits=1).value == pytest.approx(np.exp(divergence))


def test_more_splits_than_pictures():
    with pytest.raises(ValueError, match="splits"):
        inception_score(np.zeros((3, 4)), splits=10)
