"""Speckle, picture by picture: local contrast in even patches, and how far its grains reach sideways and in depth.

In fully developed speckle the envelope's mean over standard deviation is 1.91 (Burckhardt, IEEE Trans. Sonics
Ultrason. 1978); a B-mode picture is log-compressed, so its values differ and only synthetic against real counts. The
grain is the full width at half maximum of the autocorrelation (Wagner et al., same journal, 1983). In pixels of
the compared size: both sides are squashed to the same square. Thin layers of tissue widen it sideways.
"""

from __future__ import annotations

import numpy as np

DARK, BRIGHT = 20.0, 235.0  # mean grey level of a patch that is neither shadow nor saturated
EVENEST = 1 / 3  # share of the patches that count as even
FLAT = 0.5  # grey levels; a smaller spread is rounding
BLOCK = 64
PROPERTIES = {
    "local_snr": "mean / standard deviation",
    "local_contrast": "grey levels",
    "lateral_width": "px",
    "axial_width": "px",
}


def speckle_statistics(pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Local and correlation statistics of each picture.

    Parameters
    ----------
    pictures : ndarray
        (n, s, s) grey levels, depth along the first axis of a picture.

    Returns
    -------
    dict
        Keys of :data:`PROPERTIES`, (n,) each. ``local_snr`` and ``local_contrast`` (standard deviation) are medians
        over the third of patches (a sixteenth of the side, at least 8 px) whose quadrants differ least. NaN: no patch
        of medium brightness, or no texture at all (a width).
    """
    blocks = [pictures[start : start + BLOCK] for start in range(0, len(pictures), BLOCK)]
    parts = [_block(np.asarray(block, np.float32)) for block in blocks]
    return (
        {key: np.concatenate([part[key] for part in parts]) for key in PROPERTIES}
        if parts
        else {key: np.empty(0) for key in PROPERTIES}
    )


def _block(pictures: np.ndarray) -> dict[str, np.ndarray]:
    snr, contrast = _patches(pictures)
    axial, lateral = _widths(pictures)
    return {"local_snr": snr, "local_contrast": contrast, "lateral_width": lateral, "axial_width": axial}


def _patches(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median SNR and standard deviation over even patches."""
    n, side = len(pictures), pictures.shape[-1]
    size = max(8, side // 16)
    size -= size % 2
    count = side // size
    cut = pictures[:, : count * size, : count * size].astype(np.float64)
    patches = cut.reshape(n, count, size, count, size).transpose(0, 1, 3, 2, 4).reshape(n, -1, size, size)
    mean, spread = patches.mean(axis=(2, 3)), patches.std(axis=(2, 3))
    half = size // 2
    quadrants = patches.reshape(*patches.shape[:2], 2, half, 2, half).mean(axis=(3, 5))
    uneven = quadrants.std(axis=(2, 3)) / np.maximum(spread, FLAT)
    usable = (mean >= DARK) & (mean <= BRIGHT)
    snr, contrast = np.full(n, np.nan), np.full(n, np.nan)
    for row in range(n):
        candidates = np.flatnonzero(usable[row])
        if len(candidates) == 0:
            continue
        kept = candidates[np.argsort(uneven[row, candidates], kind="stable")]
        kept = kept[: max(1, round(EVENEST * len(candidates)))]
        snr[row] = np.median(mean[row, kept] / np.maximum(spread[row, kept], FLAT))
        contrast[row] = np.median(spread[row, kept])
    return snr, contrast


def _widths(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axial and lateral full width at half maximum of the autocorrelation, after evening out local brightness."""
    from scipy.ndimage import gaussian_filter

    side = pictures.shape[-1]
    reach = (0.0, side / 16, side / 16)
    even = pictures - gaussian_filter(pictures, sigma=reach)
    even /= np.sqrt(gaussian_filter(even**2, sigma=reach)) + 1.0
    power = np.abs(np.fft.rfft2(even)) ** 2
    correlation = np.fft.irfft2(power, s=pictures.shape[-2:])
    return _half_width(correlation[:, :, 0]), _half_width(correlation[:, 0, :])


def _half_width(correlation: np.ndarray) -> np.ndarray:
    """Twice the lag at which (n, s) autocorrelations first fall to half, between lags on a straight line."""
    lags = correlation.shape[1] // 2
    peak = correlation[:, 0]
    widths = np.full(len(correlation), np.nan)
    textured = peak > 1e-3 * correlation.shape[1] ** 2  # mean square of what was evened out
    curves = correlation[textured, :lags] / peak[textured, None]
    below = curves <= 0.5
    lag = np.where(below.any(axis=1), below.argmax(axis=1), lags - 1)
    rows = np.arange(len(curves))
    before, after = curves[rows, np.maximum(lag - 1, 0)], curves[rows, lag]
    step = np.clip((before - 0.5) / np.maximum(before - after, 1e-9), 0.0, 1.0)
    widths[textured] = 2 * (lag - 1 + step)
    return widths
