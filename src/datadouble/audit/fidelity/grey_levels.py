"""Grey levels, and the fine detail of every pixel, as histograms: Wasserstein-1 in grey levels."""

from __future__ import annotations

import numpy as np

DETAIL_SIGMA = 1.5  # pixels: what a Gaussian of this width leaves is the detail
DETAIL_REACH, DETAIL_STEP = 64.0, 0.25  # detail lies within +- 64 grey levels, in bins of a quarter
BLOCK = 64  # pictures at once


def detail(pictures: np.ndarray) -> np.ndarray:
    """The fine part of every pixel, in grey levels: (n, s, s) -> (n, s, s) float32."""
    from scipy.ndimage import gaussian_filter

    floating = np.asarray(pictures, np.float32)
    return floating - gaussian_filter(floating, sigma=(0, DETAIL_SIGMA, DETAIL_SIGMA))


def grey_histograms(pictures: np.ndarray) -> np.ndarray:
    """Share of each of the 256 grey levels in each picture: uint8 (n, s, s) -> (n, 256) float64."""
    shares = np.empty((len(pictures), 256))
    for row, picture in enumerate(pictures):
        shares[row] = np.bincount(np.asarray(picture).ravel(), minlength=256) / picture.size
    return shares


def detail_histograms(pictures: np.ndarray) -> np.ndarray:
    """Share of each step of detail in each picture: (n, s, s) -> (n, 512) float64."""
    bins = int(2 * DETAIL_REACH / DETAIL_STEP)
    shares = np.empty((len(pictures), bins))
    for start in range(0, len(pictures), BLOCK):
        fine = detail(pictures[start : start + BLOCK])
        places = np.clip((fine + DETAIL_REACH) / DETAIL_STEP, 0, bins - 1).astype(np.int64)
        for row, picture in enumerate(places):
            shares[start + row] = np.bincount(picture.ravel(), minlength=bins) / picture.size
    return shares


def histogram_distance(first: np.ndarray, second: np.ndarray, step: float = 1.0) -> np.ndarray:
    """Wasserstein-1 between histograms along the last axis; ``step`` is the width of a bin."""
    return np.abs(np.cumsum(np.asarray(first) - second, axis=-1)).sum(axis=-1) * step
