"""Composites whose truth is known: a real lesion cut out of its own scan and put back a little wrong.

What the repair learns from. The truth is continued smoothly to what stands on either side of the band (a membrane, as
in Poisson editing: Perez et al., SIGGRAPH 2003): the paper's target, the bare truth, has another grey level than the
composite beside it, and a network that learns it draws edges along the band.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from datadouble.recipes.lesion.bands import (
    BandOptions,
    generation_band,
    ring,
    signed_distance,
    training_band,
)

_ROUNDS = 40


@dataclass(frozen=True)
class SeamOptions:
    """How wrong composites are; each is drawn evenly up to these."""

    gain: float = 0.15  # of the lesion, relative
    offset: float = 0.06  # added to the lesion, grey in [0, 1]
    shift: float = 3.0  # px, in rows and columns
    scale: float = 0.1  # relative
    margin: float = 2.0  # px of its surroundings that a lesion takes with it
    shadow: float = 0.35  # gain of the tissue below, relative; half of the composites have one


class Seam(NamedTuple):
    """A composite uint8 (h, w), its lesion bool, the band bool, and what belongs in the band, uint8 (h, w)."""

    composite: np.ndarray
    mask: np.ndarray
    band: np.ndarray
    target: np.ndarray


def make_seam(
    truth: np.ndarray,
    mask: np.ndarray,
    neighbour: np.ndarray,
    random: np.random.Generator,
    options: SeamOptions | None = None,
    bands: BandOptions | None = None,
) -> Seam:
    """Cut the lesion out of a scan, put it back wrong, and say what must be mended.

    Parameters
    ----------
    truth
        uint8 (h, w).
    mask
        Its lesion, bool (h, w), not empty.
    neighbour
        uint8 (h, w), another scan: what shows where the lesion no longer covers its place, at the truth's grey level.
    """
    options, bands = options or SeamOptions(), bands or BandOptions()
    grey = truth.astype(np.float64)
    ground = _without_lesion(grey, mask, neighbour.astype(np.float64), options.margin)
    if random.random() < 0.5:
        ground *= _below(mask, 1 + random.uniform(-options.shadow, options.shadow), random)
    moved, placed = _moved(grey, mask, random, options)
    level = 1 + random.uniform(-options.gain, options.gain)
    lesion = level * moved + 255 * random.uniform(-options.offset, options.offset)
    edge = random.uniform(0, options.margin)
    distance = signed_distance(placed)
    opacity = np.clip(0.5 + (edge - distance) / random.uniform(1, 2.5), 0, 1)
    composite = _byte(opacity * lesion + (1 - opacity) * ground)
    if random.random() < 0.5:
        band = training_band(truth, composite, placed, bands)
    else:  # what generation will ask for
        band = generation_band(composite, truth, placed, bands)
    if not band.any():
        band = ring(placed, bands.outside, bands.inside)
    return Seam(composite, placed, band, _byte(grey + membrane(composite - grey, band)))


def membrane(difference: np.ndarray, band: np.ndarray) -> np.ndarray:
    """Continue a difference of grey values from outside a band smoothly across it: float64 (h, w), 0 elsewhere.

    The solution of Laplace's equation with the known values around: from means of these weighted by nearness, at the
    narrowest width that reaches, by a few dozen rounds of Jacobi's method. Bands are narrow, so that is enough.
    """
    known = ~band
    found, missing = np.zeros(band.shape), band.copy()
    for width in (2.0, 6.0, 20.0):
        weight = ndimage.gaussian_filter(known.astype(np.float64), width, mode="nearest", truncate=3)
        value = ndimage.gaussian_filter(np.where(known, difference, 0.0), width, mode="nearest", truncate=3)
        reached = missing & (weight > 0.02)
        found[reached] = value[reached] / weight[reached]
        missing &= ~reached
    if not band.any():
        return found
    rows, columns = (slice(max(0, x.min() - 1), x.max() + 2) for x in np.nonzero(band))
    inner, solved = band[rows, columns], np.where(band, found, difference)[rows, columns]
    for _ in range(_ROUNDS):
        beside = np.pad(solved, 1, mode="edge")
        mean = (beside[:-2, 1:-1] + beside[2:, 1:-1] + beside[1:-1, :-2] + beside[1:-1, 2:]) / 4
        solved = np.where(inner, mean, solved)
    found[rows, columns] = np.where(inner, solved, 0)
    return found


def _byte(grey: np.ndarray) -> np.ndarray:
    return np.round(np.clip(grey, 0, 255)).astype(np.uint8)


def _without_lesion(grey: np.ndarray, mask: np.ndarray, neighbour: np.ndarray, margin: float) -> np.ndarray:
    """The scan with a neighbour's tissue in the lesion's place, at the mean grey of the lesion's surroundings."""
    hole = signed_distance(mask) < margin
    around = ring(hole, 6, 0)
    here = grey[around].mean() if around.any() else grey.mean()
    there = neighbour[hole].mean() if hole.any() else neighbour.mean()
    filled = neighbour * min(max(here / max(there, 1.0), 0.3), 3.0)
    return np.where(hole, filled, grey)


def _below(mask: np.ndarray, gain: float, random: np.random.Generator) -> np.ndarray:
    """Gain of a shadow (or enhancement): `gain` under a lesion's columns, 1 elsewhere, the edges more or less soft."""
    rows = np.arange(mask.shape[0])[:, None]
    columns = mask.any(axis=0)
    bottom = np.where(columns, mask.shape[0] - np.argmax(mask[::-1], axis=0), mask.shape[0])
    strength = ndimage.gaussian_filter((columns & (rows >= bottom)).astype(float), random.uniform(0.5, 2))
    return 1 + (gain - 1) * strength


def _moved(
    grey: np.ndarray, mask: np.ndarray, random: np.random.Generator, options: SeamOptions
) -> tuple[np.ndarray, np.ndarray]:
    """Picture and mask, shifted and scaled about the lesion's centre by one transform."""
    centre = np.array(ndimage.center_of_mass(mask))
    scale = 1 + random.uniform(-options.scale, options.scale)
    shift = random.uniform(-options.shift, options.shift, 2)
    offset = centre - (centre + shift) / scale
    moved = ndimage.affine_transform(grey, np.eye(2) / scale, offset, order=3, mode="nearest")
    placed = ndimage.affine_transform(mask.astype(float), np.eye(2) / scale, offset, order=1) > 0.5
    return (moved, placed) if placed.any() and not placed.all() else (grey, mask)
