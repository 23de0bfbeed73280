"""Radial power spectrum: how much structure there is at each size, from the whole picture down to two pixels.

Generators tend to lack, or to repeat, the finest structure (Durall et al., CVPR 2020, eq. 3: the azimuthal integral).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Octaves below the Nyquist frequency (half a cycle a pixel), the coarsest first: (name, from, to) as shares of it.
BANDS = (("coarse", 0.0, 0.125), ("medium", 0.125, 0.25), ("fine", 0.25, 0.5), ("finest", 0.5, 1.0))
BLOCK = 64  # pictures transformed at once
DARKEST = 1e-6  # power below which a spectrum counts as empty (a constant picture), in squared grey levels


class SpectrumCurve(NamedTuple):
    """What a plot of the spectra needs, all (b,): ``frequency`` as a share of Nyquist; levels and differences in dB.

    ``difference`` is synthetic minus real, with its interval; ``floor_low`` to ``floor_high`` is where real minus real
    lies.
    """

    frequency: np.ndarray
    synthetic: np.ndarray
    real: np.ndarray
    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    floor_low: np.ndarray
    floor_high: np.ndarray


def radial_power(pictures: np.ndarray, *, windowed: bool = True) -> np.ndarray:
    """Mean power at each integer radius of the Fourier plane, picture by picture.

    Parameters
    ----------
    pictures : ndarray
        (n, s, s).
    windowed : bool
        Multiply by a Hann window first, or the jump from one edge of the picture to the other leaks into all sizes.

    Returns
    -------
    ndarray
        (n, s // 2 - 1) float64, radii 1 to s // 2 - 1 cycles a picture; in squared grey levels.
    """
    side = pictures.shape[-1]
    frequency = np.fft.fftfreq(side) * side
    columns = np.arange(side // 2 + 1)
    radius = np.hypot(frequency[:, None], columns).astype(int)
    # The half-plane stands for the whole: all columns but the first (and the last of an even side) count twice.
    twice = np.where((columns == 0) | (2 * columns == side), 1.0, 2.0) * np.ones((side, 1))
    bins = side // 2
    inside = radius < bins
    places, weights = radius[inside], twice[inside]
    members = np.bincount(places, weights, minlength=bins)
    window = np.outer(np.hanning(side), np.hanning(side)) if windowed else np.ones((side, side))
    window = window / np.sqrt(np.mean(window**2))
    power = np.empty((len(pictures), bins - 1))
    for start in range(0, len(pictures), BLOCK):
        block = np.asarray(pictures[start : start + BLOCK], np.float64)
        level = (block * window**2).mean(axis=(1, 2), keepdims=True)
        spectrum = np.abs(np.fft.rfft2((block - level) * window)) ** 2 / side**2
        for row, values in enumerate(spectrum):
            sums = np.bincount(places, values[inside] * weights, minlength=bins)
            power[start + row] = (sums / members)[1:]
    return power


def decibels(power: np.ndarray) -> np.ndarray:
    """10 log10 of a power; an empty one is at -60 dB."""
    return 10 * np.log10(np.maximum(power, DARKEST))


def radial_spectrum(pictures: np.ndarray, *, windowed: bool = True) -> np.ndarray:
    """Mean spectrum of a set of pictures in decibels, (s // 2 - 1,)."""
    return decibels(radial_power(pictures, windowed=windowed).mean(axis=0))


def spectrum_gap(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute difference of two spectra in decibels."""
    return float(np.abs(np.asarray(first) - second).mean())


def frequencies(bins: int) -> np.ndarray:
    """Frequency of each entry of a spectrum as a share of Nyquist, (bins,)."""
    return np.arange(1, bins + 1) / (bins + 1)


def band_means(spectrum: np.ndarray) -> np.ndarray:
    """Mean of (..., bins) decibels over each of :data:`BANDS`: (..., 4); NaN for a band without an entry."""
    frequency = frequencies(spectrum.shape[-1])
    columns = [(frequency > low) & (frequency <= high) for _, low, high in BANDS]
    return np.stack(
        [
            spectrum[..., c].mean(axis=-1) if c.any() else np.full(spectrum.shape[:-1], np.nan)
            for c in columns
        ],
        axis=-1,
    )
