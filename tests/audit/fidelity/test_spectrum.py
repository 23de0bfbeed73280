"""Power spectra of pictures whose spectrum is known."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from datadouble.audit.fidelity.spectrum import (
    BANDS,
    band_means,
    frequencies,
    radial_power,
    radial_spectrum,
    spectrum_gap,
)


def test_a_wave_has_its_power_at_its_frequency():
    x = np.arange(64)
    wave = 100 + 50 * np.sin(2 * np.pi * 10 * x / 64) * np.ones((64, 1))
    power = radial_power(wave[None], windowed=False)[0]
    assert power.argmax() == 10 - 1  # the first entry is radius 1
    assert np.delete(power, 9).max() < 1e-9 * power[9]
    turned = radial_power(wave.T[None], windowed=False)[0]
    np.testing.assert_allclose(turned, power, atol=1e-6)


def test_half_plane_equals_the_whole():
    pictures = np.random.default_rng(0).uniform(0, 255, (3, 40, 40))
    whole = np.abs(np.fft.fft2(pictures - pictures.mean(axis=(1, 2), keepdims=True))) ** 2 / 40**2
    frequency = np.fft.fftfreq(40) * 40
    radius = np.hypot(*np.meshgrid(frequency, frequency)).astype(int)
    expected = [[plane[radius == r].mean() for r in range(1, 20)] for plane in whole]
    np.testing.assert_allclose(radial_power(pictures, windowed=False), expected)


@pytest.mark.parametrize("windowed", [True, False])
def test_white_noise_is_flat_at_its_variance(windowed):
    noise = np.random.default_rng(1).normal(100, 20, (60, 64, 64))
    spectrum = radial_spectrum(noise, windowed=windowed)
    assert spectrum.shape == (31,)
    np.testing.assert_allclose(spectrum[2:], 10 * np.log10(20**2), atol=0.6)


def test_twice_the_contrast_is_six_decibels_and_blur_takes_the_finest():
    pictures = np.random.default_rng(2).normal(0, 20, (20, 64, 64))
    spectrum = radial_spectrum(pictures)
    assert spectrum_gap(spectrum, radial_spectrum(2 * pictures)) == pytest.approx(20 * np.log10(2))
    blurred = gaussian_filter(pictures, (0, 1, 1))
    lost = band_means(radial_spectrum(blurred) - spectrum)
    assert [name for name, _, _ in BANDS] == ["coarse", "medium", "fine", "finest"]
    assert (np.diff(lost) < 0).all()
    # A Gaussian of 1 px leaves exp(-w^2) of the power, w in radians a pixel: -43 w^2 / pi^2 dB at Nyquist's scale.
    at = frequencies(31)
    expected = -10 * np.log10(np.e) * (np.pi * at) ** 2
    np.testing.assert_allclose((radial_spectrum(blurred) - spectrum)[4:20], expected[4:20], atol=1.5)


def test_a_constant_picture_has_no_power():
    assert (radial_spectrum(np.full((2, 32, 32), 7.0)) == -60).all()
