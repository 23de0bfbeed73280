"""Nearest neighbours by hand, planted copies, and the share nearer to train."""

import importlib

import numpy as np
import pytest

from datadouble.audit.privacy import nearer_to_train, nearest_neighbours


def test_by_hand():
    gallery = np.array([[1.0, 0], [0, 2], [-1, 0], [3, 3]])
    found = nearest_neighbours(np.array([[5.0, 0.1], [1, 1], [0, -1]]), gallery)
    assert found.rows.ravel().tolist() == [0, 3, 0]
    assert found.similarity[1, 0] == pytest.approx(1.0)
    assert found.similarity[2, 0] == pytest.approx(0.0, abs=1e-6)


def test_planted_copies_are_found_across_blocks(monkeypatch):
    module = importlib.import_module("datadouble.audit.privacy.neighbours")
    monkeypatch.setattr(module, "BLOCK_BYTES", 4000)
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(9000, 16)).astype(np.float32)
    rows = rng.choice(9000, 30, replace=False)
    found = nearest_neighbours(gallery[rows] * 2.5, gallery, k=3)
    assert found.rows[:, 0].tolist() == rows.tolist()
    np.testing.assert_allclose(found.similarity[:, 0], 1.0, atol=1e-5)
    unit = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    full = unit[rows] @ unit.T
    np.testing.assert_allclose(found.similarity, -np.sort(-full, axis=1)[:, :3], atol=1e-5)


def test_vectors_of_any_length_and_type_and_a_zero():
    rng = np.random.default_rng(3)
    gallery = rng.normal(size=(50, 6)) * rng.uniform(1e-3, 1e3, size=(50, 1))
    gallery[7] = 0
    queries = gallery[[3, 9]]  # float64
    unit = gallery / np.maximum(np.linalg.norm(gallery, axis=1, keepdims=True), 1e-12)
    found = nearest_neighbours(queries, gallery, k=50)
    assert found.rows[:, 0].tolist() == [3, 9]
    assert sorted(found.rows[0].tolist()) == list(range(50))
    np.testing.assert_allclose(found.similarity, -np.sort(-unit[[3, 9]] @ unit.T, axis=1), atol=1e-5)


def test_copies_of_train_are_all_nearer_to_train():
    rng = np.random.default_rng(1)
    train, holdout = rng.normal(size=(300, 8)), rng.normal(size=(100, 8))
    result = nearer_to_train(train[:80] + 1e-3, train[:100], holdout)
    assert result.value == 1.0
    assert result.low > 0.94
    assert (result.n, result.gallery, result.repeats) == (80, 100, 1)


def test_independent_pictures_are_at_one_half():
    rng = np.random.default_rng(2)
    train, holdout, synthetic = (rng.normal(size=(n, 8)) for n in (400, 120, 400))
    result = nearer_to_train(synthetic, train, holdout, train_groups=np.arange(400) // 2)
    assert result.gallery == 120
    assert result.repeats == 20
    assert result.low < 0.5 < result.high


def test_empty_gallery():
    with pytest.raises(ValueError, match="gallery"):
        nearest_neighbours(np.ones((2, 3)), np.ones((0, 3)))
