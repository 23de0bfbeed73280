"""Fully developed speckle has known statistics."""

import numpy as np
import pytest
from scipy import stats

from datadouble.cohort.phantom.speckle import Beam, convolve, envelope, homogeneous_envelope

RAYLEIGH_SNR = np.sqrt(np.pi / (4 - np.pi))  # 1.913, Wagner et al. 1983


@pytest.fixture(scope="module")
def medium() -> np.ndarray:
    return homogeneous_envelope((512, 512), np.random.default_rng(0))


def test_envelope_snr_is_that_of_rayleigh(medium: np.ndarray) -> None:
    assert medium.mean() / medium.std() == pytest.approx(RAYLEIGH_SNR, rel=0.03)
    for part in np.array_split(medium, 4):  # at every depth
        assert part.mean() / part.std() == pytest.approx(RAYLEIGH_SNR, rel=0.07)


def test_envelope_is_rayleigh_distributed(medium: np.ndarray) -> None:
    apart = medium[::16, ::48].ravel()  # farther apart than the beam is wide: independent
    assert stats.kstest(apart, stats.rayleigh(scale=np.sqrt(0.5)).cdf).pvalue > 0.001


def test_mean_power_is_one_at_all_depths(medium: np.ndarray) -> None:
    for part in np.array_split(medium, 4):
        assert np.mean(part**2) == pytest.approx(1, rel=0.12)


def _width(rows: np.ndarray) -> float:
    """Lateral full width at half maximum of the intensity's autocovariance, in pixels."""
    intensity = rows**2 - (rows**2).mean()
    spectrum = np.abs(np.fft.rfft(intensity, axis=1)) ** 2
    covariance = np.fft.irfft(spectrum, axis=1).mean(axis=0)
    covariance = covariance / covariance[0]
    below = int(np.argmax(covariance < 0.5))
    before, after = covariance[below - 1], covariance[below]
    return 2 * (below - 1 + (before - 0.5) / (before - after))


def test_lateral_speckle_size_follows_the_beam() -> None:
    beam = Beam(lateral_mm=0.8, focus_mm=14, clutter=0.0)
    shape, depth_mm, width_mm = (600, 600), 40.0, 38.0
    medium = homogeneous_envelope(
        shape, np.random.default_rng(1), beam=beam, depth_mm=depth_mm, width_mm=width_mm
    )
    found, expected = [], []
    for start in (200, 350, 500):
        middle = np.array([(start + 40) * depth_mm / shape[0]])
        # |h|^2 of a Gaussian beam of width w correlates with itself over w: sqrt(2)/sqrt(2).
        expected.append(float(beam.lateral_width(middle)[0]))
        found.append(_width(medium[start : start + 80]) * width_mm / shape[1])
    assert found == pytest.approx(expected, rel=0.15)
    assert found[0] < found[1] < found[2]


def test_lateral_is_wider_than_axial(medium: np.ndarray) -> None:
    assert _width(medium) > 1.4 * _width(medium.T.copy())


def test_point_scatterer_shows_the_beam() -> None:
    pixel = (0.05, 0.05)
    beam = Beam(axial_mm=0.3, lateral_mm=0.6, focus_mm=10, clutter=0.0)
    field = np.zeros((400, 400), np.complex64)
    field[200, 200] = 1
    spread = np.abs(convolve(field, beam, pixel)[0])

    def full_width(line: np.ndarray) -> float:
        return float(np.count_nonzero(line > line.max() / 2) * 0.05)

    assert full_width(spread[:, 200]) == pytest.approx(0.3, abs=0.06)
    assert full_width(spread[200]) == pytest.approx(float(beam.lateral_width(np.array([10.0]))[0]), abs=0.1)


def test_compounding_raises_snr_with_the_root_of_the_looks() -> None:
    flat = np.ones((384, 384), np.float32)
    pixel = (0.1, 0.1)
    four = envelope(flat, np.random.default_rng(2), beam=Beam(), pixel_mm=pixel, looks=4)
    assert four.mean() / four.std() == pytest.approx(2 * RAYLEIGH_SNR, rel=0.06)


def test_interfaces_keep_their_echo() -> None:
    """A wide smooth interface passes with its amplitude, whatever the beam."""
    specular = np.full((128, 128), 5.0, np.float32)
    echo = envelope(
        np.zeros((128, 128), np.float32),
        np.random.default_rng(0),
        beam=Beam(clutter=0.0),
        pixel_mm=(0.2, 0.2),
        specular=specular,
    )
    assert echo[40:90].mean() == pytest.approx(5, rel=0.01)
