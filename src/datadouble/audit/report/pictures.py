"""Scans in a report: as small JPEG thumbnails in data addresses, every one by the same resize path."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from datadouble.cohort.pixels import fit_square
from datadouble.errors import DataDoubleError

if TYPE_CHECKING:
    from datadouble.cohort.cohort import Cohort

SIDE = 192  # pixels; shown at about half of it, for sharp displays


class Box(NamedTuple):
    """A rectangle over a picture, all in percent of its side: the page draws it, the pixels stay as they are."""

    left: float
    top: float
    width: float
    height: float


def native_size(cohort: Cohort) -> int:
    """Side of a cohort's pictures where they are square and of one size, judged by a few of them; otherwise 0."""
    shapes = set()
    for row in np.unique(np.linspace(0, len(cohort) - 1, 8).astype(int)):
        try:
            shapes.add(cohort.image(int(row)).shape[:2])
        except DataDoubleError:
            continue
    height, width = shapes.pop() if len(shapes) == 1 else (0, 1)
    return height if height == width else 0


def thumbnail(cohort: Cohort, row: int, at_size: int = 0) -> str | None:
    """One picture as a data address, first brought to ``at_size`` if that is not 0; None where it cannot be read."""
    from PIL import Image

    if not 0 <= row < len(cohort):
        return None
    try:
        image = cohort.image(row)
    except DataDoubleError:
        return None
    grey = fit_square(fit_square(image, at_size) if at_size else image, SIDE)
    if grey.dtype != np.uint8:
        grey = (grey.astype(np.float32) * (255.0 / np.iinfo(grey.dtype).max)).round().astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def sheet(
    cohort: Cohort, rows: np.ndarray, count: int, rng: np.random.Generator, at_size: int = 0
) -> list[str]:
    """Up to ``count`` pictures drawn at random from ``rows``, none chosen by how they look."""
    pictures = []
    for row in rng.permutation(rows):
        picture = thumbnail(cohort, int(row), at_size)
        if picture is not None:
            pictures.append(picture)
        if len(pictures) == count:
            break
    return pictures


def box_over(corners: np.ndarray) -> Box | None:
    """Left, top, right, bottom as a box inside the picture; None where nothing of it lies inside.

    Parameters
    ----------
    corners : ndarray
        (4,), fractions of the picture's side; may lie outside it, and left and right may be exchanged.
    """
    values = np.asarray(corners, np.float64).ravel()
    if len(values) != 4 or not np.isfinite(values).all():
        return None
    left, right = sorted(np.clip(values[[0, 2]], 0, 1))
    top, bottom = sorted(np.clip(values[[1, 3]], 0, 1))
    if right - left < 0.005 or bottom - top < 0.005:
        return None
    return Box(*(round(float(100 * v), 2) for v in (left, top, right - left, bottom - top)))
