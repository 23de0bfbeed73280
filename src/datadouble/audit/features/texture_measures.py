"""Texture measures of grey pictures: first order, GLCM, GLRLM, Haar bands, local binary patterns.

Definitions follow the Image Biomarker Standardisation Initiative (Zwanenburg et al., Radiology 2020;295:328) with
a fixed number of grey levels over the whole scale, so that two cohorts share their bins. Each function takes n
pictures and returns named columns, each (n,) float64.
"""

from __future__ import annotations

import numpy as np

Columns = dict[str, np.ndarray]

LEVELS = 32
# Offsets (down, right) of the four directions; names are degrees, anticlockwise from the right.
DIRECTIONS: dict[str, tuple[int, int]] = {"0": (0, 1), "45": (-1, 1), "90": (-1, 0), "135": (-1, -1)}


def quantise(pictures: np.ndarray, levels: int = LEVELS) -> np.ndarray:
    """(n, h, w) on the 0..255 scale -> grey levels 0..levels-1 of equal width (int64)."""
    return np.clip(np.floor(np.asarray(pictures) * (levels / 256)), 0, levels - 1).astype(np.int64)


def first_order(pictures: np.ndarray, levels: int = LEVELS) -> Columns:
    """Of grey values in [0, 1]: moments, quantiles; entropy (bits) and uniformity of the histogram of grey levels."""
    x = np.asarray(pictures, dtype=np.float64).reshape(len(pictures), -1) / 255
    histogram = _counts(quantise(pictures, levels).reshape(len(x), -1), levels)
    histogram = histogram / histogram.sum(axis=1, keepdims=True)
    q10, q25, q50, q75, q90 = np.quantile(x, [0.1, 0.25, 0.5, 0.75, 0.9], axis=1)
    mean, deviation, skewness, kurtosis = _moments(x)
    return {
        "mean": mean,
        "deviation": deviation,
        "skewness": skewness,
        "kurtosis": kurtosis,
        "quantile_10": q10,
        "median": q50,
        "quantile_90": q90,
        "interquartile_range": q75 - q25,
        "mean_absolute_deviation": np.abs(x - mean[:, None]).mean(axis=1),
        "entropy": _entropy(histogram),
        "uniformity": np.square(histogram).sum(axis=1),
    }


def cooccurrence(grey: np.ndarray, offset: tuple[int, int], levels: int = LEVELS) -> np.ndarray:
    """Symmetric grey-level co-occurrence matrices, each summing to 1: levels (n, h, w) -> (n, levels, levels).

    ``offset`` is (down, right): entry (i, j) is the share of pixel pairs at that offset with levels i and j, in
    either order.
    """
    down, right = offset
    n, height, width = grey.shape
    rows, columns = (
        slice(max(0, -down), height - max(0, down)),
        slice(max(0, -right), width - max(0, right)),
    )
    other_rows, other_columns = (
        slice(max(0, down), height - max(0, -down)),
        slice(max(0, right), width - max(0, -right)),
    )
    pairs = grey[:, rows, columns] * levels + grey[:, other_rows, other_columns]
    matrix = _counts(pairs.reshape(n, -1), levels * levels).reshape(n, levels, levels)
    matrix = matrix + matrix.transpose(0, 2, 1)
    return matrix / matrix.sum(axis=(1, 2), keepdims=True)


def cooccurrence_measures(matrix: np.ndarray) -> Columns:
    """Haralick's measures of co-occurrence matrices (n, levels, levels); a constant picture has correlation 1."""
    level = np.arange(matrix.shape[1], dtype=np.float64)
    gap = level[:, None] - level
    marginal = matrix.sum(axis=2)
    mean = marginal @ level
    variance = marginal @ level**2 - mean**2
    product = np.einsum("nij,i,j->n", matrix, level, level, optimize=True)
    flat = variance < 1e-12
    correlation = np.where(flat, 1.0, (product - mean**2) / np.where(flat, 1.0, variance))
    return {
        "contrast": np.tensordot(matrix, gap**2, 2),
        "dissimilarity": np.tensordot(matrix, np.abs(gap), 2),
        "homogeneity": np.tensordot(matrix, 1 / (1 + gap**2), 2),
        "angular_second_moment": np.square(matrix).sum(axis=(1, 2)),
        "entropy": _entropy(matrix.reshape(len(matrix), -1)),
        "correlation": correlation,
    }


def run_length_measures(grey: np.ndarray, direction: str, levels: int = LEVELS) -> Columns:
    """Grey-level run-length measures along a key of :data:`DIRECTIONS`; levels are counted from 1.

    A run is a longest stretch of equal levels along a line. Runs are listed, not tabulated: N runs with levels g
    and lengths r.
    """
    n, height, width = grey.shape
    order, begins = _lines(height, width, direction)
    line = grey.reshape(n, -1)[:, order]
    starts = np.ones(line.shape, dtype=bool)
    starts[:, 1:] = (line[:, 1:] != line[:, :-1]) | begins[1:]
    position = np.flatnonzero(starts)
    length = np.diff(position, append=starts.size)
    picture, level = position // order.size, line.ravel()[position] + 1.0
    runs = np.bincount(picture, minlength=n).astype(np.float64)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(picture, values, minlength=n) / runs

    def shares(code: np.ndarray, size: int) -> np.ndarray:
        return np.bincount(picture * size + code, minlength=n * size).reshape(n, size) / runs[:, None]

    longest = max(height, width)
    level_code, length_code = level.astype(np.int64) - 1, length - 1
    return {
        "short_run_emphasis": mean(1.0 / length**2),
        "long_run_emphasis": mean(length.astype(np.float64) ** 2),
        "low_grey_level_run_emphasis": mean(1 / level**2),
        "high_grey_level_run_emphasis": mean(level**2),
        "grey_level_non_uniformity": np.square(shares(level_code, levels)).sum(axis=1),  # normalised
        "run_length_non_uniformity": np.square(shares(length_code, longest)).sum(axis=1),  # normalised
        "run_percentage": runs / order.size,
        "run_entropy": _entropy(shares(level_code * longest + length_code, levels * longest)),
    }


def haar_bands(pictures: np.ndarray, depth: int = 3) -> dict[str, np.ndarray]:
    """Orthonormal Haar wavelet bands of (n, h, w): ``h1 v1 d1 h2 ...`` and the last ``approximation``.

    ``h``: horizontal detail (left minus right), ``v``: vertical (above minus below), ``d``: diagonal. Sums of
    squares of all bands add up to that of the picture. An odd last row or column is left out.
    """
    x, bands = np.asarray(pictures, dtype=np.float64), {}
    for level in range(1, depth + 1):
        x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
        a, b, c, d = x[:, ::2, ::2], x[:, ::2, 1::2], x[:, 1::2, ::2], x[:, 1::2, 1::2]
        bands[f"h{level}"] = (a - b + c - d) / 2
        bands[f"v{level}"] = (a + b - c - d) / 2
        bands[f"d{level}"] = (a - b - c + d) / 2
        x = (a + b + c + d) / 2
    bands["approximation"] = x
    return bands


def haar_measures(pictures: np.ndarray, depth: int = 3) -> Columns:
    """Mean square, kurtosis and mean magnitude of each detail band of grey values in [0, 1]."""
    columns: Columns = {}
    for name, band in haar_bands(np.asarray(pictures, dtype=np.float64) / 255, depth).items():
        if name == "approximation":
            continue
        flat = band.reshape(len(band), -1)
        columns[f"{name}_energy"] = np.square(flat).mean(axis=1)
        columns[f"{name}_kurtosis"] = _moments(flat)[3]
        columns[f"{name}_magnitude"] = np.abs(flat).mean(axis=1)
    return columns


def binary_pattern_measures(pictures: np.ndarray, radius: int = 1) -> Columns:
    """Shares of the 10 uniform, rotation-invariant binary patterns of 8 points (Ojala et al., TPAMI 2002)."""
    from skimage.feature import local_binary_pattern

    bytes_ = np.clip(np.round(pictures), 0, 255).astype(np.uint8)
    codes = np.stack([local_binary_pattern(picture, 8, radius, "uniform") for picture in bytes_])
    shares = _counts(codes.astype(np.int64).reshape(len(codes), -1), 10) / codes[0].size
    return {f"pattern_{code}": shares[:, code] for code in range(10)}


def _counts(codes: np.ndarray, size: int) -> np.ndarray:
    """How often each code 0..size-1 occurs in each row: (n, k) -> (n, size)."""
    n = len(codes)
    shifted = codes + np.arange(n)[:, None] * size
    return np.bincount(shifted.ravel(), minlength=n * size).reshape(n, size)


def _entropy(shares: np.ndarray) -> np.ndarray:
    """In bits, of each row of shares."""
    return -np.sum(shares * np.log2(np.where(shares > 0, shares, 1.0)), axis=1)


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, deviation, skewness and kurtosis (3 for a Gaussian) of each row; the last two 0 without spread."""
    mean = x.mean(axis=1)
    centred = x - mean[:, None]
    squared = centred * centred
    variance = squared.mean(axis=1)
    flat = variance < 1e-14
    scale = np.where(flat, 1.0, variance)
    skewness = np.where(flat, 0.0, (squared * centred).mean(axis=1) / scale**1.5)
    kurtosis = np.where(flat, 0.0, np.square(squared).mean(axis=1) / scale**2)
    return mean, np.sqrt(variance), skewness, kurtosis


def _lines(height: int, width: int, direction: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in the order of their lines along a direction, and whether each begins one: both (height * width,)."""
    down, right = DIRECTIONS[direction]
    row, column = (grid.ravel() for grid in np.indices((height, width)))
    line = row * right - column * down  # constant along the direction
    place = row * down + column * right  # grows along it
    order = np.lexsort((place, line))
    begins = np.ones(order.size, dtype=bool)
    begins[1:] = np.diff(line[order]) != 0
    return order, begins
