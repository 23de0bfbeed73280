"""Hounsfield units and grey levels: the window by which one becomes the other.

A cohort's `intensity` says ``{"unit": "HU", "low": a, "high": b}``: grey level 0 is `a` HU and the greatest level of
the picture's depth (255 or 65535) is `b` HU, linear between.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from datadouble.errors import DataDoubleError

FULL_RANGE = (-1024, 3071)
"""HU that 12 bits hold. In 16 bits each of them has 16 grey levels, so that `to_hounsfield` gives it back."""


def window_limits(level: float, width: float) -> tuple[float, float]:
    """Return the least and the greatest HU of a window, for example (-200, 200) of level 0, width 400.

    Raises
    ------
    DataDoubleError
        When the width is not above 0.
    """
    if not width > 0:
        raise DataDoubleError(
            "the window has no width",
            where="--window",
            found=f"{level:g}/{width:g}",
            remedy="say LEVEL/WIDTH",
        )
    return level - width / 2, level + width / 2


def to_grey_levels(hounsfield: np.ndarray, low: float, high: float, depth: int = 8) -> np.ndarray:
    """Return HU as grey levels, uint8 or uint16 by `depth`; what lies outside `low` to `high` is clipped."""
    dtype = np.uint8 if depth == 8 else np.uint16
    unit = np.clip((hounsfield.astype(np.float32) - low) / (high - low), 0, 1)
    return np.round(unit * np.iinfo(dtype).max).astype(dtype)


def to_hounsfield(image: np.ndarray, intensity: Mapping[str, Any]) -> np.ndarray:
    """Return a cohort's picture in HU, float32 of the same shape; clipped values stay at the window's ends.

    Raises
    ------
    DataDoubleError
        When `intensity` is no window in HU.
    """
    if intensity.get("unit") != "HU" or "low" not in intensity or "high" not in intensity:
        raise DataDoubleError(
            "grey levels have no meaning in HU",
            where="cohort.json",
            found=f"intensity {dict(intensity)}",
            remedy='write {"unit": "HU", "low": ..., "high": ...} if the window is known',
        )
    low, high = float(intensity["low"]), float(intensity["high"])
    return (low + (high - low) / np.iinfo(image.dtype).max * image.astype(np.float32)).astype(np.float32)
