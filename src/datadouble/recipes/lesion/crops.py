"""Crops round lesions: picture and mask through one and the same window.

A window is a square inside the picture. Pixel (i, j) of a patch of side p stands for the picture's point
top + (i + 1/2) side / p, and the same of columns: `to_picture` and `to_patch`.
"""

from typing import NamedTuple

import numpy as np

MARGIN = 1.6  # side of a window in longest sides of the lesion's box
MINIMUM_SIDE = 8.0  # pixels


class LesionPatch(NamedTuple):
    """A lesion by itself, at the patch's own scale.

    Attributes
    ----------
    image
        uint8 (p, p): the lesion in its surroundings.
    mask
        bool (p, p).
    margin
        Side of the patch in longest sides of the lesion's box.
    """

    image: np.ndarray
    mask: np.ndarray
    margin: float


class Window(NamedTuple):
    """A square of a picture: row and column of its upper left corner and its side, in pixels, none of them whole."""

    top: float
    left: float
    side: float


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return first row, first column, and the rows and columns (height, width) of a mask's box; it is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def window_of(mask: np.ndarray, *, margin: float = MARGIN, shift: tuple[float, float] = (0.0, 0.0)) -> Window:
    """Return the window round a lesion bool (s, s), kept inside the picture.

    Parameters
    ----------
    margin
        Side in longest sides of the lesion's box; less where the picture ends it.
    shift
        Of the window's centre, rows and columns, in sides of the window.
    """
    top, left, height, width = box_of(mask)
    side = margin * max(height, width)
    # The corner of the first pixel is at -1/2, so that a box's middle is half its side from there.
    centre = top + (height - 1) / 2 + shift[0] * side, left + (width - 1) / 2 + shift[1] * side
    return window_at(centre, side, mask.shape[0])


def window_at(centre: tuple[float, float], side: float, size: int) -> Window:
    """Return the window with a centre (row, column), moved and if need be shrunk to lie in a picture of side `size`."""
    side = min(max(side, MINIMUM_SIDE), float(size))
    top, left = (min(max(c + 0.5 - side / 2, 0.0), size - side) - 0.5 for c in centre)
    return Window(top, left, side)


def cut(
    image: np.ndarray, mask: np.ndarray, centre: tuple[float, float], side: float, patch: int
) -> LesionPatch:
    """Cut a window with its mask, both with one transform.

    Parameters
    ----------
    image, mask
        uint8 (s, s) and bool (s, s).
    centre, side
        Of the window: row and column, and pixels; see `window_at`.
    patch
        Side of the result.
    """
    return cut_window(image, mask, window_at(centre, side, image.shape[0]), patch)


def cut_window(image: np.ndarray, mask: np.ndarray, window: Window, patch: int) -> LesionPatch:
    """Cut a window: the picture bicubic with anti-aliasing, the mask by the covered half of each pixel."""
    from PIL import Image

    # Pillow counts from a pixel's corner.
    box = (
        window.left + 0.5,
        window.top + 0.5,
        window.left + 0.5 + window.side,
        window.top + 0.5 + window.side,
    )
    limit = float(image.shape[0])
    box = (max(box[0], 0.0), max(box[1], 0.0), min(box[2], limit), min(box[3], limit))
    grey = Image.fromarray(image.astype(np.float32))
    cover = Image.fromarray(mask.astype(np.float32))
    picture = np.asarray(grey.resize((patch, patch), Image.Resampling.BICUBIC, box=box))
    covered = np.asarray(cover.resize((patch, patch), Image.Resampling.BILINEAR, box=box)) > 0.5
    longest = max(box_of(covered)[2:]) if covered.any() else 0
    margin = patch / longest if longest else 0.0
    return LesionPatch(np.clip(np.round(picture), 0, 255).astype(np.uint8), covered, margin)


def to_picture(window: Window, points: np.ndarray, patch: int) -> np.ndarray:
    """Return where points (n, 2) of a patch, rows and columns, lie in the picture."""
    return np.array([window.top, window.left]) + (np.asarray(points) + 0.5) * (window.side / patch)


def to_patch(window: Window, points: np.ndarray, patch: int) -> np.ndarray:
    """Return where points (n, 2) of the picture lie in the patch: the inverse of `to_picture`."""
    return (np.asarray(points) - np.array([window.top, window.left])) * (patch / window.side) - 0.5
