"""How well two masks agree: Dice's coefficient and the 95th percentile of the Hausdorff distance."""

from __future__ import annotations

import numpy as np


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice's coefficient of two masks (h, w) of 0 and 1; 1 where both are empty."""
    a, b = first.astype(bool), second.astype(bool)
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def hausdorff95(first: np.ndarray, second: np.ndarray) -> float:
    """The greater of the two directed 95th percentiles of distances between outlines, in pixels.

    Parameters
    ----------
    first, second : ndarray
        (h, w) of 0 and 1.

    Returns
    -------
    float
        0 where both are empty; the picture's diagonal where one is, so that a miss counts as the worst.
    """
    from scipy.ndimage import distance_transform_edt

    a, b = first.astype(bool), second.astype(bool)
    if not a.any() or not b.any():
        return 0.0 if a.any() == b.any() else float(np.hypot(*a.shape))
    edge_a, edge_b = _outline(a), _outline(b)
    there = distance_transform_edt(~edge_b)[edge_a]
    back = distance_transform_edt(~edge_a)[edge_b]
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def _outline(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import binary_erosion

    return mask & ~binary_erosion(mask)
