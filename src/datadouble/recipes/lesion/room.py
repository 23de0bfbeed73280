"""Whether a lesion has room in the tissue of a picture."""

import numpy as np

from datadouble.errors import DataDoubleError

_CUT = 0.85  # of a lesion's ellipse that must lie in the tissue: outlines are no ellipses


class NoRoom(DataDoubleError):
    """A lesion does not fit into a picture; another lesion, or another picture, may do."""


def extents(size: np.ndarray, aspect: float, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return half the height and half the width of an ellipse's box.

    Parameters
    ----------
    size
        Square root of the area.
    aspect
        Long to short axis.
    angle
        Of the long axis, radians.
    """
    long, short = size * np.sqrt(aspect / np.pi), size / np.sqrt(aspect * np.pi)
    sin, cos = np.sin(angle), np.cos(angle)
    return np.hypot(long * sin, short * cos), np.hypot(long * cos, short * sin)


def fits(
    row: np.ndarray,
    column: np.ndarray,
    size: np.ndarray,
    angle: np.ndarray,
    aspect: float,
    tissue: np.ndarray,
) -> np.ndarray:
    """Return whether lesions fit: the centre and the four ends of the ellipse's box lie in the tissue; bool (n,).

    Parameters
    ----------
    row, column, size, angle
        float (n,), pixels and radians.
    tissue
        bool (s, s).
    """
    side = len(tissue)
    high, wide = (_CUT * value for value in extents(size, aspect, angle))
    result = np.ones(np.shape(row), dtype=bool)
    for r, c in (
        (row, column),
        (row - high, column),
        (row + high, column),
        (row, column - wide),
        (row, column + wide),
    ):
        inside = (r > -0.5) & (r < side - 0.5) & (c > -0.5) & (c < side - 0.5)
        i, j = (np.clip(np.round(v), 0, side - 1).astype(int) for v in (r, c))
        result &= inside & tissue[i, j]
    return result
