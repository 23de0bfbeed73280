"""Speckle statistics of noise whose statistics are known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from datadouble.audit.fidelity.speckle import speckle_statistics


def noise(n=12, side=128, sigma=(0, 0), mean=120, sd=20, seed=0):
    x = gaussian_filter(np.random.default_rng(seed).normal(size=(n, side, side)), (0, *sigma))
    return mean + sd * x / x.std()


def test_white_noise():
    found = speckle_statistics(noise())
    assert np.median(found["local_snr"]) == pytest.approx(6.0, rel=0.05)
    assert np.median(found["local_contrast"]) == pytest.approx(20, rel=0.05)
    # The autocorrelation falls from 1 to 0 within a pixel: half of it at half a pixel, on both sides.
    assert np.median(found["axial_width"]) == pytest.approx(1.0, abs=0.05)
    assert np.median(found["lateral_width"]) == pytest.approx(1.0, abs=0.05)


def test_the_grain_is_measured_in_both_directions():
    # A Gaussian of width s has the autocorrelation exp(-x^2 / 4 s^2): full width at half maximum 4 s sqrt(ln 2).
    found = speckle_statistics(noise(sigma=(1, 2.5)))
    assert np.median(found["axial_width"]) == pytest.approx(4 * 1 * np.sqrt(np.log(2)), rel=0.12)
    assert np.median(found["lateral_width"]) == pytest.approx(4 * 2.5 * np.sqrt(np.log(2)), rel=0.12)


def test_brightness_across_the_picture_does_not_widen_the_grain():
    ramp = noise(sigma=(1, 1), sd=10) + np.linspace(-60, 60, 128)
    assert np.median(speckle_statistics(ramp)["lateral_width"]) == pytest.approx(3.33, rel=0.1)


def test_even_patches_pass_over_edges():
    # Every fourth column of patches holds an edge of 100 grey levels.
    edges = noise(sd=10)
    stepped = edges + 100 * ((np.arange(128) // 4) % 8 == 0)
    assert np.median(speckle_statistics(stepped)["local_contrast"]) == pytest.approx(10, rel=0.15)


def test_what_has_no_texture_is_undefined():
    flat = speckle_statistics(np.full((2, 64, 64), 120.0))
    assert np.isnan(flat["lateral_width"]).all()
    assert (flat["local_contrast"] == 0).all()
    assert np.isnan(speckle_statistics(np.zeros((2, 64, 64)))["local_snr"]).all()
    assert len(speckle_statistics(np.zeros((0, 64, 64)))["local_snr"]) == 0
