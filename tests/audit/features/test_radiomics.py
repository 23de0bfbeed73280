"""Radiomics features: named, finite, sensitive to texture; one scale by the real pictures."""

import time

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from datadouble.audit.features import extract_features, load_extractor, standardise
from datadouble.errors import DataDoubleError


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(8, 128, 128)), (0, 1.5, 1.5))
    return list(np.clip(128 + 240 * smooth, 0, 255).astype(np.uint8))


def test_columns_are_named_and_finite(pictures):
    extractor = load_extractor("radiomics")
    assert len(set(extractor.names)) == extractor.dimension == 118
    assert {
        "glcm_d1_90_correlation",
        "haar_h2_log_energy",
        "glrlm_0_run_percentage",
        "lbp_r2_pattern_9",
    } <= set(extractor.names)
    extremes = [np.zeros((128, 128), np.uint8), np.full((128, 128), 255, np.uint8)]
    found = extract_features([*pictures, *extremes], extractor)
    assert np.isfinite(found.array).all()
    assert np.abs(found.array).max() < 20


def test_a_gain_moves_the_mean_and_noise_the_finest_detail(pictures):
    extractor = load_extractor("radiomics")
    rng = np.random.default_rng(1)
    plain = extract_features(pictures, extractor).array
    noisy = [np.clip(p + rng.normal(0, 20, p.shape), 0, 255).astype(np.uint8) for p in pictures]
    column = extractor.names.index
    found = extract_features(noisy, extractor).array
    assert (found[:, column("haar_d1_log_energy")] > plain[:, column("haar_d1_log_energy")] + 0.5).all()
    assert (found[:, column("glcm_d1_0_correlation")] < plain[:, column("glcm_d1_0_correlation")]).all()
    np.testing.assert_allclose(
        found[:, column("first_order_mean")], plain[:, column("first_order_mean")], atol=0.02
    )


def test_standardise_brings_columns_to_one_scale(pictures):
    features = extract_features(pictures, "radiomics")
    scaled = standardise(features, features).array
    spread = features.array.std(axis=0) > 1e-6
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(axis=0)[spread], 1, atol=1e-3)
    other = extract_features(pictures, "radiomics", at_size=64)
    with pytest.raises(ValueError, match="different extractors"):
        standardise(other, features)


def test_fast_enough(pictures):
    extractor = load_extractor("radiomics")
    batch = np.stack(pictures * 2).astype(np.float32)
    started = time.process_time()
    extractor.features(batch)
    assert len(batch) / (time.process_time() - started) > 20  # pictures a second on one core


def test_no_bf16():
    with pytest.raises(DataDoubleError, match="no bf16"):
        load_extractor("radiomics", precision="bf16")
