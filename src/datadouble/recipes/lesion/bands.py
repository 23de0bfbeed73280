"""Bands: which pixels the repair redraws, and which it must leave alone.

Training bands are the paper's: where a composite differs from its truth by more than 0.15 of the grey scale. At
generation there is no truth, so the band is a ring round the lesion's border, joined with the border of its shadow.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

DIFFERENCE = 0.15  # |truth - composite| of the paper, grey values in [0, 1]
_FILLED = 0.4  # of a crop: random bands hide no more, for something must be left to continue
_BLUR = 1.5  # px; speckle times a smooth gain is not smooth


@dataclass(frozen=True)
class BandOptions:
    """How wide bands are, in pixels of the picture as drawn."""

    outside: float = 3.0  # of the ring, from the mask's border outwards
    inside: float = 2.0  # and inwards
    reach: float = 6.0  # of training bands, from the border, to either side
    shadow_step: float = 0.06  # grey in [0, 1]: where composite and healthy scan differ more, there is shadow
    shadow_width: float = 2.0  # of the band along the shadow's border, to either side


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """Return each pixel's distance to the border of a region: float64 (h, w), px, positive outside, negative inside.

    The border runs between pixels: the nearest ones have 0.5 and -0.5. Without any region all are infinite.
    """
    inside = np.asarray(mask, dtype=bool)
    if not inside.any():
        return np.full(inside.shape, np.inf)
    if inside.all():
        return np.full(inside.shape, -np.inf)
    outwards = ndimage.distance_transform_edt(~inside) - 0.5
    inwards = ndimage.distance_transform_edt(inside) - 0.5
    return np.where(inside, -inwards, outwards)


def ring(mask: np.ndarray, outside: float, inside: float) -> np.ndarray:
    """Return the pixels up to `outside` px from a region's border and up to `inside` px within it: bool (h, w)."""
    distance = signed_distance(mask)
    return (distance < outside) & (distance > -inside)


def training_band(
    truth: np.ndarray, composite: np.ndarray, mask: np.ndarray, options: BandOptions | None = None
) -> np.ndarray:
    """Return where a composite must be mended to be its truth again: bool (h, w).

    Pixels that differ by more than 0.15 are closed to a region, widened by a pixel and kept near the lesion's border.

    Parameters
    ----------
    truth, composite
        uint8 (h, w).
    mask
        The lesion in the composite, bool (h, w).
    """
    options = options or BandOptions()
    differs = np.abs(truth.astype(np.float32) - composite.astype(np.float32)) > 255 * DIFFERENCE
    square = np.ones((3, 3), dtype=bool)
    padded = np.pad(differs, 2)  # closing must not eat what touches the picture's border
    closed = ndimage.binary_dilation(ndimage.binary_closing(padded, square), square)[2:-2, 2:-2]
    return closed & ring(mask, options.reach, options.reach)


def shadow_region(
    composite: np.ndarray, healthy: np.ndarray, mask: np.ndarray, options: BandOptions | None = None
) -> np.ndarray:
    """Return where, outside the lesion, a composite is clearly darker or brighter than the scan: bool (h, w)."""
    options = options or BandOptions()
    change = (composite.astype(np.float32) - healthy.astype(np.float32)) / 255
    change[mask] = 0
    weight = ndimage.gaussian_filter((~mask).astype(np.float32), _BLUR)
    smooth = ndimage.gaussian_filter(change, _BLUR) / np.maximum(weight, 1e-3)
    return (np.abs(smooth) > options.shadow_step) & ~mask


def generation_band(
    composite: np.ndarray, healthy: np.ndarray, mask: np.ndarray, options: BandOptions | None = None
) -> np.ndarray:
    """Return what the repair redraws of a composite: bool (h, w); nothing where there is no lesion.

    Parameters
    ----------
    composite, healthy
        uint8 (h, w), with and without the lesion.
    mask
        The lesion, bool (h, w).
    """
    options = options or BandOptions()
    mask = np.asarray(mask, dtype=bool)
    if not mask.any():
        return np.zeros(mask.shape, dtype=bool)
    # The shadow hangs on the lesion: as one region they have no border between them.
    cast = shadow_region(composite, healthy, mask, options) | mask
    border = ring(cast, options.shadow_width, options.shadow_width)
    within = signed_distance(mask) <= -options.inside
    return ring(mask, options.outside, options.inside) | (border & ~within)


def random_band(shape: tuple[int, int], mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw a band for training without composites: a ring, a blob or a strip, bool `shape`, never empty.

    A lesion in the crop gets a ring round itself half of the time, so that its border is learned too.

    Parameters
    ----------
    mask
        The lesion in the crop, bool `shape`; may be empty.
    """
    kind = random.choice(["ring", "ring", "blob", "strip"])
    if mask.any() and not mask.all() and random.random() < 0.5:
        band = ring(mask, random.uniform(1, 6), random.uniform(1, 6))
    elif kind == "strip":
        band = _strip(shape, random)
    else:
        region = _blob(shape, random)
        band = ring(region, random.uniform(1, 5), random.uniform(1, 4)) if kind == "ring" else region
    if not band.any() or band.mean() > _FILLED:
        centre = [random.uniform(0.25, 0.75) * side for side in shape]
        band = _disc(shape, centre[0], centre[1], 0.15 * min(shape))
    return band


def _disc(shape: tuple[int, int], row: float, column: float, radius: float) -> np.ndarray:
    rows, columns = np.indices(shape)
    return (rows - row) ** 2 + (columns - column) ** 2 <= max(radius, 1) ** 2


def _blob(shape: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """An ellipse with an uneven outline."""
    height, width = shape
    rows, columns = np.indices(shape)
    angle, stretch = random.uniform(0, np.pi), random.uniform(1, 2)
    radius = random.uniform(0.1, 0.3) * min(shape)
    y, x = rows - random.uniform(0.2, 0.8) * height, columns - random.uniform(0.2, 0.8) * width
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    uneven = ndimage.gaussian_filter(random.standard_normal(shape), 0.06 * min(shape))
    uneven /= max(float(uneven.std()), 1e-6)
    distance = np.hypot(along / stretch, across * stretch) / radius
    return distance + random.uniform(0, 0.25) * uneven < 1


def _strip(shape: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """A line downwards, as a shadow's edge is."""
    rows, columns = np.indices(shape)
    lean, width = random.uniform(-0.3, 0.3), random.uniform(2, 6)
    start, end = np.sort(random.uniform(0, shape[0], 2))
    offset = columns - random.uniform(0.15, 0.85) * shape[1] - lean * (rows - start)
    return (np.abs(offset) < width) & (rows >= start) & (rows <= max(end, start + 0.3 * shape[0]))
