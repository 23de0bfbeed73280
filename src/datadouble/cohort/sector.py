"""The imaged part of an ultrasound picture: what the beams reached, without the black beside and above it.

Beams run away from the probe, so that whatever lies below an echo was imaged too, however dark it is: shadows,
cysts and lost depth belong to the sector. The outline is therefore one row a column: where the first echo is.
"""

import numpy as np

from datadouble.cohort.pixels import fit_square

GRID = 128  # the outline is found at this size, whatever the picture's own
_WINDOW = 7  # columns and rows over which echoes are counted: speckle is black and white pixel by pixel
_FRAME = 3  # rows and columns at the border that a burnt frame may have spoiled
_DENSE = 0.45  # share of bright pixels from which a window counts as imaged
_LEAST_PIECE = 0.02  # of the picture; smaller pieces of echoes are words and marks
_LEAST_ARC = 0.15  # of the columns that must end before the picture does, for a border below
_BLACK = 8  # of 255: the darkest level above which nothing of the picture is taken for the outside
_STEP = 5  # of 255: how much brighter than the darkest level an echo is
_SHARP = 12  # of 255: a border that falls by more than this ends the sector; a weaker one is lost depth
_OFF_ARC = 1.0  # mean distance in rows of the last echoes from an arc
_HOLLOW = 0.001  # curvature above which the arc bends towards the probe, as no border does
_LEAST_MARGIN = 0.015  # of the side; narrower margins are frames and rounding


def sector_mask(image: np.ndarray) -> np.ndarray:
    """Return the imaged part of a grey picture.

    Parameters
    ----------
    image
        uint8 (h, w).

    Returns
    -------
    numpy.ndarray
        bool (h, w). All of it where nothing black lies outside, as in pictures cropped to the sector; also where
        the picture holds no echo at all.
    """
    grid = fit_square(image, GRID).astype(np.float32)
    grid = np.pad(grid[_FRAME:-_FRAME, _FRAME:-_FRAME], _FRAME, mode="edge")
    darkest = float(np.quantile(grid, 0.005))
    whole = np.ones(image.shape, dtype=bool)
    if darkest > _BLACK:
        return whole
    echoes = _echoes(grid > darkest + _STEP)
    if not echoes.any():
        return whole
    top, bottom = _top(echoes), _bottom(echoes, grid)
    height, width = image.shape
    columns = (np.arange(width) + 0.5) * GRID / width - 0.5
    rows = (np.arange(height) + 0.5)[:, None] * GRID / height
    first, last = np.interp(columns, np.arange(GRID), top), np.interp(columns, np.arange(GRID), bottom)
    return (rows >= first[None]) & (rows <= last[None])


def _echoes(bright: np.ndarray) -> np.ndarray:
    """Return where echoes are dense, in large pieces: rulers and words drop out."""
    from scipy import ndimage

    # Mirrored beyond the border, so that the density is right there.
    dense = ndimage.uniform_filter(bright.astype(np.float32), _WINDOW, mode="mirror") > _DENSE
    pieces, count = ndimage.label(dense)
    large = np.bincount(pieces.ravel(), minlength=count + 1) >= _LEAST_PIECE * bright.size
    large[0] = False
    return large[pieces]


def _top(echoes: np.ndarray) -> np.ndarray:
    """Return the first imaged row of each column (GRID,), GRID where the column holds none."""
    from scipy import ndimage

    side = len(echoes)
    first = np.where(echoes.any(axis=0), echoes.argmax(axis=0), side).astype(np.float64)
    # A shadow from the skin down is no edge: dents narrower than a sixth of the picture are bridged.
    reach = side // 6
    padded = np.concatenate([np.full(reach, side), first, np.full(reach, side)])
    first = ndimage.grey_opening(padded, reach)[reach:-reach]
    first = ndimage.median_filter(first, 5, mode="nearest")
    # The sides are straight; a shadow or a cyst beside one makes it seem to begin deeper.
    highest = np.flatnonzero(first == first.min())
    left, right = highest[0] + 1, highest[-1]
    first[:left] = _straight(first[:left])
    first[right:] = _straight(first[right:])
    return np.where(first < _LEAST_MARGIN * side, 0, first)


def _straight(values: np.ndarray) -> np.ndarray:
    """Return the greatest convex function below `values` (n,), raised so that half of them lie below it again."""
    corners: list[int] = []
    for x, value in enumerate(values):
        while len(corners) > 1:
            a, b = corners[-2:]
            if (values[b] - values[a]) * (x - a) < (value - values[a]) * (b - a):
                break
            corners.pop()
        corners.append(x)
    taut = np.interp(np.arange(len(values)), corners, values[corners])
    return taut + np.median(values - taut)


def _bottom(echoes: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return where each column ends (GRID,): at a sharp border such as a curved probe's, else at the picture's end."""
    from scipy import ndimage

    side, open_ended = len(echoes), float(len(echoes))
    ends = side - echoes[::-1].argmax(axis=0).astype(np.float32)  # one past the last echo
    columns = np.flatnonzero(echoes.any(axis=0) & (ends < side * (1 - _LEAST_MARGIN)))
    if len(columns) < _LEAST_ARC * side:
        return np.full(side, open_ended)
    smooth = ndimage.gaussian_filter1d(grid, 2, axis=1)
    falls = np.array([_fall(smooth[:, x], int(ends[x])) for x in columns])
    sharp = columns[falls > _SHARP]
    if len(sharp) < 0.6 * len(columns):
        return np.full(side, open_ended)
    # A probe's border is an arc or a line; where depth is lost, the last echoes lie anyhow.
    arc = np.polyfit(sharp, ends[sharp], 2)
    if np.abs(np.polyval(arc, sharp) - ends[sharp]).mean() > _OFF_ARC or arc[0] > _HOLLOW:
        return np.full(side, open_ended)
    found = np.full(side, open_ended)
    found[columns] = np.clip(np.polyval(arc, columns), 0, side)
    return found


def _fall(column: np.ndarray, end: int) -> float:
    """Return by how much a column (GRID,) falls at its last echo: the mean just above less the brightest below."""
    return float(column[max(end - 5, 0) : end - 1].mean() - column[min(end + 3, len(column) - 1) :].max())
