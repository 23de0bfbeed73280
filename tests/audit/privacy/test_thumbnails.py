"""Thumbnails: blind to gain, brightness and mirroring, not to structure."""

import numpy as np
from scipy.ndimage import gaussian_filter

from datadouble.audit.privacy.thumbnails import thumbnail_features


def test_mirror_gain_and_brightness_change_nothing():
    picture = gaussian_filter(np.random.default_rng(0).normal(size=(64, 64)), 5)
    picture = (50 + 30 * picture / picture.std()).clip(0, 120).astype(np.uint8)
    features = thumbnail_features([picture, picture[:, ::-1], 2 * picture + 10, picture[::-1]])
    assert features.shape == (4, 256)
    np.testing.assert_allclose(features[1], features[0], atol=0.05)
    np.testing.assert_allclose(features[2], features[0], atol=0.05)
    assert np.abs(features[3] - features[0]).max() > 0.5


def test_a_black_picture_is_all_zeros():
    assert not thumbnail_features(np.zeros((1, 32, 32), np.uint8)).any()
