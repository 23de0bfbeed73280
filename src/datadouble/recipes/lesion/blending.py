"""Blending a lesion patch into a healthy scan: geometry, gain, speckle, border, and what it casts below.

Grey values are log-compressed echoes. Gain is multiplicative on them, so that black stays black and the posterior
feature of a descriptor, a log ratio of greys, comes out as asked for.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from datadouble.errors import DataDoubleError
from datadouble.recipes.lesion.crops import LesionPatch
from datadouble.recipes.lesion.descriptors import (
    BELOW,
    MINIMUM_AREA,
    RING,
    Descriptor,
    ellipse_of,
    ring_of,
    wrapped,
)
from datadouble.recipes.lesion.room import NoRoom

_BLACK = 4.0  # grey: added before ratios and logarithms
_LEAST_SHRUNK = 0.7  # how far a lesion that sticks out on both sides may be made smaller
_ROUND = 1.15  # aspect below which a lesion has no axis
_FINE = 1.0  # pixels: what varies faster is speckle
_FAINT = 0.004  # log ratio below which a shadow has ended
_MOST_POSTERIOR = 1.6  # times the log ratio asked for, at its strongest place


class Placement(NamedTuple):
    """Where a lesion goes: its centre and size (square root of its area) in pixels, the angle of its long axis."""

    row: float
    column: float
    size: float
    angle: float


class Composite(NamedTuple):
    """A healthy scan with a lesion in it.

    Attributes
    ----------
    image
        uint8 (s, s).
    mask
        bool (s, s): the lesion.
    touched
        bool (s, s): every pixel that differs from the healthy scan lies in it.
    """

    image: np.ndarray
    mask: np.ndarray
    touched: np.ndarray


@dataclass(frozen=True)
class BlendOptions:
    """Section ``[blend]``."""

    border: float = 0.15  # width of the soft border outside the lesion, as a share of its size
    border_least: float = 3.0  # and in pixels
    gain_limit: float = 2.5  # by which grey is multiplied at most to match the tissue; divided by its square
    match_speckle: bool = True  # bring the lesion's fine texture to the strength that it has around
    posterior: float = 1.0  # strength of shadow and enhancement, as a multiple of the descriptor's; 0: none
    posterior_limit: float = 1.0  # greatest log ratio of grey
    posterior_fade: float = 0.4  # share by which shadow and enhancement have faded at the picture's bottom
    streaks: float = 0.15  # unevenness of a shadow from beam to beam
    turn_limit: float = 45.0  # degrees by which a patch is turned at most, mirrored first where that helps


def blend(
    healthy: np.ndarray,
    patch: LesionPatch,
    placement: Placement,
    descriptor: Descriptor,
    options: BlendOptions,
    rng: np.random.Generator,
) -> Composite:
    """Put a lesion into a healthy scan.

    Parameters
    ----------
    healthy
        uint8 (s, s).
    patch
        The lesion in its surroundings, at any scale: size, centre and angle are measured in its mask.
    placement
        Where its centre goes, its size and the angle of its long axis. A lesion that would stick out of the picture
        is moved inside; one that is longer than the picture by up to two fifths is made smaller.
    descriptor
        `echo` (against the ring of tissue round the lesion) and `posterior` are what the composite gets.
    rng
        Of the shadow's unevenness and of speckle that is added.

    Returns
    -------
    Composite
        Outside `touched` equal to `healthy`, to the bit. The mask is the patch's, moved by the picture's transform.

    Raises
    ------
    NoRoom
        When the lesion is larger than the picture.
    DataDoubleError
        When the patch has no mask.
    """
    picture, mask, footprint = _placed(patch, placement, len(healthy), options)
    sector = _imaged(healthy)
    factor = _cast(mask, descriptor.posterior, sector, options, rng)
    ground = _lit(healthy, factor, healthy)
    size = float(np.sqrt(mask.sum()))
    width = max(options.border_least, options.border * size)
    outside = ndimage.distance_transform_edt(~mask)
    inner = np.clip(ndimage.distance_transform_edt(np.pad(footprint, 1))[1:-1, 1:-1] / 3, 0, 1)
    alpha = np.where(mask, 1.0, _step(1.15 - outside / width) * inner)
    grey = _matched(picture, mask, footprint, ground, options)
    grey = _echoed(grey, mask, outside, ground, descriptor.echo, options)
    if options.match_speckle:
        grey = _speckled(grey, mask, footprint, ground, rng)
    touched = (alpha > 0.002) | (factor != 0)
    image = np.where(alpha > 0.002, _mixed(grey, ground, alpha), ground)
    image = np.clip(np.round(image), 0, 255).astype(np.uint8)
    return Composite(np.where(touched, image, healthy), mask, touched)


def _imaged(healthy: np.ndarray) -> np.ndarray:
    from datadouble.cohort.sector import sector_mask

    return sector_mask(healthy)


def _step(x: np.ndarray) -> np.ndarray:
    """Return 0 below 0, 1 above 1, and a smooth step between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _placed(
    patch: LesionPatch, placement: Placement, side: int, options: BlendOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the patch, its mask and its footprint in the picture's frame: float and two bool (side, side)."""
    if patch.mask.sum() < MINIMUM_AREA:
        raise DataDoubleError(
            "the patch has no lesion to be placed", where="blend", found=f"{int(patch.mask.sum())} pixels"
        )
    row, column, aspect, angle = ellipse_of(patch.mask)
    scale = placement.size / np.sqrt(patch.mask.sum())
    turn, mirror = 0.0, 1.0
    if aspect >= _ROUND:
        turn = wrapped(placement.angle - angle)
        mirrored = wrapped(placement.angle + angle)
        if abs(mirrored) < abs(turn):  # an axis that falls to the left: the mirror image needs no turning
            turn, mirror = mirrored, -1.0
        limit = np.deg2rad(options.turn_limit)
        turn = float(np.clip(turn, -limit, limit))
    # Axes are (sin a, cos a) in (row, column): turning by t takes the angle a to a + t.
    turned = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    forward = scale * turned @ np.diag([1.0, mirror])
    centre = np.array([placement.row, placement.column])
    points = (np.argwhere(patch.mask) - [row, column]) @ forward.T
    half = 0.5 * scale
    low, high = points.min(axis=0) - half, points.max(axis=0) + half
    shrunk = min(1.0, float((side - 2) / (high - low).max()))
    if shrunk < _LEAST_SHRUNK:
        raise NoRoom(
            "the lesion is larger than the healthy scan",
            where="blend",
            found=f"{(high - low).max():.0f} px in a picture of {side} px",
            remedy="draw a smaller lesion, or use a larger scan",
        )
    scale, forward, low, high = shrunk * scale, shrunk * forward, shrunk * low, shrunk * high
    centre = np.clip(centre, -low, side - 1 - high)
    back = np.linalg.inv(forward)
    offset = np.array([row, column]) - back @ centre
    source = patch.image.astype(np.float64)
    if scale < 1:  # what the coarser grid cannot show would fold back as noise
        source = ndimage.gaussian_filter(source, 0.5 * np.sqrt(1 / scale**2 - 1), mode="nearest")
    shape = (side, side)
    picture = ndimage.affine_transform(source, back, offset, shape, order=3, mode="nearest")
    cover = ndimage.affine_transform(patch.mask.astype(np.float64), back, offset, shape, order=1)
    ones = np.ones(patch.mask.shape)
    footprint = ndimage.affine_transform(ones, back, offset, shape, order=0, mode="constant") > 0.5
    mask = cover > 0.5
    if not mask.any():
        raise DataDoubleError(
            "the lesion is smaller than a pixel", where="blend", found=f"{placement.size:.1f} px"
        )
    return np.clip(picture, 0, 255), mask, footprint | mask


def _cast(
    mask: np.ndarray,
    posterior: float,
    sector: np.ndarray,
    options: BlendOptions,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the logarithm of the factor on grey below a lesion, float (s, s); 0 above and far beside it.

    Attenuation adds up along the beam: a column's share goes with the lesion's thickness in it. Over the window in
    which a descriptor is measured the mean is what was asked for.
    """
    side = len(mask)
    strength = float(
        np.clip(options.posterior * posterior, -options.posterior_limit, options.posterior_limit)
    )
    noise = ndimage.gaussian_filter1d(rng.standard_normal(side), 2.0, mode="reflect")
    if strength == 0:
        return np.zeros(mask.shape)
    size = float(np.sqrt(mask.sum()))
    columns = np.flatnonzero(mask.any(axis=0))
    thickness = mask.sum(axis=0).astype(float)
    profile = ndimage.gaussian_filter1d(thickness, max(1.0, 0.07 * size), mode="constant")
    profile *= 1 + options.streaks * noise / max(float(noise.std()), 1e-6)
    profile /= profile.max()
    lowest = side - 1 - mask[::-1].argmax(axis=0).astype(float)
    lowest = np.interp(np.arange(side), columns, lowest[columns])
    depth = np.arange(side)[:, None] - lowest[None]
    onset = _step(depth / max(2.0, 0.2 * size))
    fade = 1 - options.posterior_fade * np.clip(depth / np.maximum(side - lowest, 1), 0, 1)
    weight = np.maximum(profile, 0) * onset * fade * sector * ~mask
    bottom, left, right = int(lowest[columns].max()), columns[0], columns[-1]
    inset = 0.2 * (right - left + 1)
    window = weight[bottom + 2 : round(bottom + 2 + BELOW * size), int(left + inset) : int(right - inset) + 1]
    mean = float(window.mean()) if window.size else 1.0
    factor = strength * weight * min(1 / max(mean, 1e-6), _MOST_POSTERIOR)
    factor[np.abs(factor) < _FAINT] = 0
    return factor


def _lit(picture: np.ndarray, factor: np.ndarray, scan: np.ndarray) -> np.ndarray:
    """Multiply grey by exp(factor); what is raised levels off below the brightest tissue of the scan, as gain does."""
    grey = picture.astype(np.float64)
    change = grey * np.expm1(factor)
    room = np.maximum(float(np.quantile(scan, 0.98)) - grey, 1e-3)
    return grey + np.where(change > 0, change / (1 + np.maximum(change, 0) / room), change)


def _matched(
    picture: np.ndarray, mask: np.ndarray, footprint: np.ndarray, ground: np.ndarray, options: BlendOptions
) -> np.ndarray:
    """Bring the patch's surroundings to the grey of the tissue in which they come to lie.

    The gain is smooth, in depth and across: the log ratio of local means in the ring, carried on by normalised
    convolution.
    """
    size = float(np.sqrt(mask.sum()))
    around = ring_of(mask, max(3.0, 0.7 * RING * size)) & footprint
    if not around.any():
        return picture
    weight = around.astype(np.float64)
    here, there = (ndimage.gaussian_filter(grey * weight, 1.5, mode="nearest") for grey in (ground, picture))
    count = ndimage.gaussian_filter(weight, 1.5, mode="nearest")
    ratio = np.zeros_like(picture)
    ratio[around] = np.log((here + _BLACK * count)[around] / (there + _BLACK * count)[around])
    total = float(ratio[around].mean())
    width = max(2.0, 0.25 * size)
    near = ndimage.gaussian_filter(weight, width, mode="nearest")
    smooth = (ndimage.gaussian_filter(ratio * weight, width, mode="nearest") + 1e-3 * total) / (near + 1e-3)
    limit = float(np.log(options.gain_limit))
    # Darkened further than brightened: a bright rim in black tissue is seen at once.
    return _lit(picture, np.clip(smooth, -2 * limit, limit), ground)


def _echoed(
    grey: np.ndarray,
    mask: np.ndarray,
    outside: np.ndarray,
    ground: np.ndarray,
    echo: float,
    options: BlendOptions,
) -> np.ndarray:
    """Bring the lesion's mean to the descriptor's echo against the tissue round it."""
    ring = ring_of(mask, max(2.0, RING * np.sqrt(mask.sum())))
    around = ground[ring]
    if not len(around):
        return grey
    floor = min(float(np.quantile(ground, 0.01)), 10.0)
    wanted = float(np.clip(around.mean() + echo * max(float(around.std()), 1.0), floor, 245))
    found = float(grey[mask].mean())
    gain = float(np.clip((wanted + _BLACK) / (found + _BLACK), 1 / options.gain_limit, options.gain_limit))
    # Darkening multiplies; brightening partly adds, or the few bright spots of a dark lesion would glare.
    gain = gain if gain < 1 else gain**0.5
    changed = grey * gain
    # Half way at the border: a step there would show the mask's own pixels.
    inside = ndimage.distance_transform_edt(mask)
    share = _step(0.5 + np.where(mask, inside - 0.5, 0.5 - outside) / 4)
    result = grey + share * (changed - grey)
    for _ in range(4):  # what is cut off at black or white, and at the border, moves the mean again
        changed = np.clip(changed + wanted - float(result[mask].mean()), 0, 255)
        result = grey + share * (changed - grey)
    return result


def _speckled(
    grey: np.ndarray, mask: np.ndarray, footprint: np.ndarray, ground: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Bring the fine texture of the patch's surroundings to the strength of the scan's, and the lesion's with it.

    Damped or raised; where an enlarged patch has lost it, it is made good with the scan's own from nearby.
    """
    ring = ring_of(mask, max(3.0, RING * np.sqrt(mask.sum()))) & footprint
    if ring.sum() < 8:
        return grey
    smooth, smooth_ground = (ndimage.gaussian_filter(x, _FINE, mode="nearest") for x in (grey, ground))
    fine, fine_ground = grey - smooth, ground - smooth_ground
    wanted, found = (float(x[ring].std()) for x in (fine_ground, fine))
    kept = float(np.clip((wanted + 0.5) / (found + 0.5), 0.7, 1.3))
    lacking = np.sqrt(max((0.85 * wanted) ** 2 - (kept * found) ** 2, 0.0))
    shift = tuple(rng.integers(-3, 4, size=2).tolist())
    borrowed = np.clip(np.roll(fine_ground, shift, axis=(0, 1)) / max(wanted, 0.5), -2, 2)
    level = np.clip(smooth / max(float(ground[ring].mean()), 1.0), 0, 1)  # black stays black
    return np.clip(smooth + kept * fine + lacking * level * borrowed, 0, 255)


def _mixed(above: np.ndarray, below: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Mix two pictures; textures with weights whose squares sum to 1, for two averaged speckles would be smoother."""
    means = [ndimage.gaussian_filter(x, 1.5, mode="nearest") for x in (above, below)]
    mean = alpha * means[0] + (1 - alpha) * means[1]
    texture = alpha * (above - means[0]) + (1 - alpha) * (below - means[1])
    return mean + texture / np.sqrt(alpha**2 + (1 - alpha) ** 2)
