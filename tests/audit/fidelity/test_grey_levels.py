"""Histogram distances against SciPy."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance

from datadouble.audit.fidelity.grey_levels import (
    DETAIL_STEP,
    detail,
    detail_histograms,
    grey_histograms,
    histogram_distance,
)


def test_grey_levels_equal_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 200, (4, 32, 32), np.uint8), rng.integers(30, 256, (5, 32, 32), np.uint8)
    ours = histogram_distance(grey_histograms(x).mean(axis=0), grey_histograms(y).mean(axis=0))
    assert ours == pytest.approx(wasserstein_distance(x.ravel(), y.ravel()))
    brighter = histogram_distance(grey_histograms(x).mean(axis=0), grey_histograms(x + 9).mean(axis=0))
    assert brighter == pytest.approx(9.0)


def test_detail_equals_scipy_within_a_bin_and_blur_is_far():
    rng = np.random.default_rng(1)
    x = rng.normal(120, 15, (4, 32, 32)).clip(0, 255).astype(np.uint8)
    y = gaussian_filter(x, (0, 1, 1))
    first, second = (detail_histograms(z).mean(axis=0) for z in (x, y))
    expected = wasserstein_distance(detail(x).ravel(), detail(y).ravel())
    assert histogram_distance(first, second, DETAIL_STEP) == pytest.approx(expected, abs=DETAIL_STEP)
    assert expected > 5
    assert first.sum() == pytest.approx(1)
