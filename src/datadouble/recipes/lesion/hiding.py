"""Hiding lesions in real pictures, so that where one lay cannot be told from how it was hidden.

What the placement stage learns from. The lesion, and what lies under it where it throws a shadow, is replaced by tissue
from about the same depth, of the same picture or of another; its local mean and its contrast are brought to those of
the place, and the border is blended so that the strength of the speckle stays. The very same is done at decoy places
in every picture (see `decoys`): what hiding leaves behind says "something was hidden here", never "a lesion was".
"""

from typing import NamedTuple

import numpy as np

MARGIN = 0.12  # by how much a lesion's outline is widened, as a share of its size
SHADOW = 0.12  # mean log ratio from which on what lies under a lesion is hidden down to the bottom
_SKIRT = 0.3  # else this share of its height is hidden under it
_DEPTH = 1 / 16  # of the side: tissue comes from at most so much higher or deeper
_BLEND = 3.0  # pixels over which a border is blended
_SMOOTH = 2.0  # pixels: what is smoother is local mean, the rest is texture
_REACH = 14  # pixels round a region that are looked at
_RING = 2  # pixels outside a region from which mean and contrast are taken
_TRIES = 8  # places tried of the same picture, and of others
_BLACK = 4.0  # of 255: added before a logarithm
_MOST_GAIN = (-0.8, 0.8)  # logarithms: tissue that would need more is moved only so far
_MOST_SHIFT = 40.0  # grey: and what is then left is added
_POINTS = 96  # of a border, from which gains are carried inwards
_SKIN = 0.03  # of the side, at the least: what is skin in any picture


class Cover(NamedTuple):
    """What has to be replaced to hide a lesion, apart from where it lies.

    Attributes
    ----------
    region
        bool (h, w): the lesion, widened.
    row, column
        The lesion's centre of mass in `region`.
    column_mask
        bool (w,): columns that are replaced under it.
    below
        Pixels that are replaced under it; a negative number: all of them.
    """

    region: np.ndarray
    row: float
    column: float
    column_mask: np.ndarray
    below: int


class Donors(NamedTuple):
    """Pictures that tissue may be taken from; see `donors_of`.

    Attributes
    ----------
    images, means
        uint8 (n, s, s): the pictures, and the same without their texture.
    avoid
        bool (n, s, s): what must not be taken: lesions with their shadows.
    """

    images: np.ndarray
    means: np.ndarray
    avoid: np.ndarray


def donors_of(images: np.ndarray, avoid: np.ndarray) -> Donors:
    """Prepare pictures uint8 (n, s, s) as sources of tissue; `avoid` bool (n, s, s)."""
    return Donors(images, np.stack([_smoothed(image) for image in images]), avoid)


def cover_of(mask: np.ndarray, posterior: float) -> Cover:
    """Return what hides a lesion.

    Parameters
    ----------
    mask
        bool (s, s), not empty.
    posterior
        Of its `Descriptor`: from `SHADOW` on, to either side, all that lies under it goes as well.
    """
    from scipy import ndimage

    size = float(np.sqrt(mask.sum()))
    margin = max(2.0, MARGIN * size)
    pad = int(np.ceil(margin)) + 1
    rows, columns = np.nonzero(mask)
    top, left = rows.min(), columns.min()
    box = np.pad(mask[top : rows.max() + 1, left : columns.max() + 1], pad)
    region = ndimage.distance_transform_edt(~box) <= margin
    if abs(posterior) >= SHADOW:
        below = -1
    else:
        below = round(_SKIRT * float(rows.max() - top + 1))
    return Cover(
        region,
        float(rows.mean() - top + pad),
        float(columns.mean() - left + pad),
        np.asarray(box.any(axis=0)),
        below,
    )


def region_at(cover: Cover, row: float, column: float, side: int, *, mirrored: bool = False) -> np.ndarray:
    """Return what is replaced where the hidden lesion's centre of mass lies at a place: bool (side, side)."""
    region, middle, under = cover.region, cover.column, cover.column_mask
    if mirrored:
        region, under = region[:, ::-1], under[::-1]
        middle = region.shape[1] - 1 - middle
    top, left = round(row - cover.row), round(column - middle)
    result = np.zeros((side, side), dtype=bool)
    height, width = region.shape
    r0, r1 = max(top, 0), min(top + height, side)
    c0, c1 = max(left, 0), min(left + width, side)
    if r0 >= r1 or c0 >= c1:
        return result
    result[r0:r1, c0:c1] = region[r0 - top : r1 - top, c0 - left : c1 - left]
    lowest = side - 1 - result[::-1].argmax(axis=0)
    reach = side if cover.below < 0 else cover.below
    rows = np.arange(side)[:, None]
    strip = (rows > lowest) & (rows <= lowest + reach) & result.any(axis=0)
    kept = np.zeros(side, dtype=bool)
    kept[c0:c1] = under[c0 - left : c1 - left]
    return result | (strip & kept)


def tissue_of(image: np.ndarray) -> np.ndarray:
    """Return where tissue is imaged: bool (s, s), the sector of an ultrasound picture without the skin at its top.

    The skin is a band of 3% of the side below the first echo: less than in most pictures, but what lies in it is no
    lesion in any.
    """
    from datadouble.cohort.sector import sector_mask

    sector = sector_mask(image)
    band = max(1, round(_SKIN * len(image)))
    shifted = np.zeros_like(sector)
    shifted[band:] = sector[:-band]
    return sector & shifted


def hide(
    image: np.ndarray, region: np.ndarray, avoid: np.ndarray, donors: Donors, rng: np.random.Generator
) -> np.ndarray:
    """Replace a region of a picture by tissue from elsewhere.

    Parameters
    ----------
    image
        uint8 (s, s).
    region, avoid
        bool (s, s): what is replaced; what of this picture must not be taken (a lesion that is not hidden yet).
    donors
        Other pictures. Of a few places of this one and of those, clean tissue whose border fits best is taken.

    Returns
    -------
    numpy.ndarray
        uint8 (s, s); outside `region` widened by 3 pixels equal to `image`.
    """
    if not region.any():
        return image.copy()
    from scipy import ndimage

    unit = _unit(len(image))
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    reach = round(_REACH * unit)
    box = tuple(slice(max(0, one[0] - reach), one[-1] + 1 + reach) for one in (rows, columns))
    inside = region[box]
    distance = ndimage.distance_transform_edt(~inside) / unit
    mean = _smoothed(image)
    clean_mean = _mean_outside(image[box].astype(np.float32), inside, unit)
    border = (distance > 1) & (distance <= 1 + _BLEND)
    own = Donors(image[None], mean[None], (region | avoid)[None])
    found = [
        _Candidate(one, *_drawn_move(one, columns, rng)) for one in (own, donors) for _ in range(_tries(one))
    ]
    clean = min(found, key=lambda one: _misfit(one, box, inside, border, clean_mean[border]))
    result = image.copy()
    result[box] = _graft(
        image[box], clean_mean, _moved(clean.donors.images, clean, box), inside, distance, unit
    )
    return result


class _Candidate(NamedTuple):
    """One of some pictures, moved by rows and columns, mirrored left to right first where that is asked."""

    donors: Donors
    which: int
    rows: int
    columns: int
    mirror: bool


def _tries(donors: Donors) -> int:
    return _TRIES if len(donors.images) else 0


def _drawn_move(donors: Donors, columns: np.ndarray, rng: np.random.Generator) -> tuple[int, int, int, bool]:
    """Draw a picture and its move: a few rows, and as many columns as bring no reflected one into the region."""
    side = donors.images.shape[1]
    reach = max(1, int(_DEPTH * side))
    return (
        int(rng.integers(len(donors.images))),
        int(rng.integers(-reach, reach + 1)),
        int(rng.integers(-int(columns[0]), side - int(columns[-1]))),
        bool(rng.random() < 0.5),
    )


def _places(one: _Candidate, box: tuple[slice, ...]) -> list[np.ndarray]:
    """Return which rows and columns of the picture come into the box; reflected at the picture's borders."""
    side = one.donors.images.shape[1]
    places = []
    for move, part in zip((one.rows, one.columns), box, strict=True):
        place = np.mod(np.arange(side)[part] + move, 2 * side)
        places.append(np.where(place < side, place, 2 * side - 1 - place))
    if one.mirror:
        places[1] = side - 1 - places[1]
    return places


def _moved(arrays: np.ndarray, one: _Candidate, box: tuple[slice, ...]) -> np.ndarray:
    rows, columns = _places(one, box)
    return np.asarray(arrays[one.which][rows[:, None], columns[None]])


def _misfit(
    one: _Candidate, box: tuple[slice, ...], inside: np.ndarray, border: np.ndarray, target: np.ndarray
) -> tuple[float, float]:
    """Return how much of the region would not be clean, then how badly the border fits: log ratio of local means."""
    rows, columns = _places(one, box)
    avoid = one.donors.avoid[one.which][rows[::2, None], columns[None, ::2]]
    taken = float((avoid & inside[::2, ::2]).sum())
    if not border.any():
        return taken, 0.0
    r, c = np.nonzero(border)
    mean = one.donors.means[one.which][rows[r], columns[c]].astype(np.float32)
    return taken, float(np.abs(np.log((mean + _BLACK) / (target + _BLACK))).mean())


def _smoothed(image: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return ndimage.gaussian_filter(image, _SMOOTH * _unit(len(image)), mode="nearest")


def _unit(side: int) -> float:
    """Return how many pixels count as one: lengths are given for pictures of 128; speckle grows in larger ones."""
    return max(1.0, side / 128)


def _mean_outside(grey: np.ndarray, inside: np.ndarray, unit: float) -> np.ndarray:
    """Return local means without what lies inside: normalised convolution over the rest (h, w)."""
    from scipy import ndimage

    sigma = _SMOOTH * unit
    weight = ndimage.gaussian_filter((~inside).astype(np.float32), sigma, mode="nearest")
    return ndimage.gaussian_filter(grey * ~inside, sigma, mode="nearest") / np.maximum(weight, 1e-3)


def _graft(
    image: np.ndarray,
    clean: np.ndarray,
    source: np.ndarray,
    inside: np.ndarray,
    distance: np.ndarray,
    unit: float,
) -> np.ndarray:
    """Put a source into the region: local mean (`clean`, of the picture) and contrast of the border, blended there."""
    from scipy import ndimage

    here, there = image.astype(np.float32), source.astype(np.float32)
    mean_there = ndimage.gaussian_filter(there, _SMOOTH * unit, mode="nearest")
    ring = (distance > 0) & (distance <= _RING)
    # Gain first: black stays black, and texture grows with its mean as speckle does. The rest is added.
    ratio = np.log((np.maximum(clean, 0) + _BLACK) / (mean_there + _BLACK))
    gain = np.exp(_membrane(ratio, ring, *_MOST_GAIN))
    new_mean = mean_there * gain
    new_mean += _membrane(clean - new_mean, ring, -_MOST_SHIFT, _MOST_SHIFT)
    texture_here, texture_there = here - clean, (there - mean_there) * gain
    wide = distance > 0
    contrast = 1.0
    if wide.any():
        contrast = float(np.clip((texture_here[wide].std() + 1) / (texture_there[wide].std() + 1), 0.7, 1.4))
    # Two speckle patterns averaged would be smoother than either, and a smooth line round the region tells of it:
    # means are averaged, textures added with weights whose squares sum to 1.
    share = np.clip(1 - distance / _BLEND, 0, 1)
    mean = np.where(inside, new_mean, share * new_mean + (1 - share) * clean)
    own = np.sqrt(1 - share**2)
    blended = mean + share * contrast * texture_there + own * np.where(inside, 0, texture_here)
    return np.where(distance < _BLEND, np.clip(np.round(blended), 0, 255).astype(np.uint8), image)


def _membrane(values: np.ndarray, ring: np.ndarray, low: float, high: float) -> np.ndarray:
    """Carry values given on a ring everywhere: Shepard's interpolation (1968), weights of distance^-3; (h, w)."""
    from scipy import ndimage

    points = np.argwhere(ring)
    if not len(points):
        return np.zeros_like(values)
    points = points[np.linspace(0, len(points) - 1, min(len(points), _POINTS)).astype(int)]
    known = np.clip(values[points[:, 0], points[:, 1]], low, high)
    height, width = values.shape
    # It is smooth: a grid of every fourth pixel will do.
    rows, columns = (np.linspace(0, n - 1, max(2, n // 4)) for n in (height, width))
    squared = (rows[:, None, None] - points[:, 0]) ** 2 + (columns[None, :, None] - points[:, 1]) ** 2
    weights = (squared + 1) ** -1.5
    coarse = (weights @ known) / weights.sum(axis=-1)
    r = np.linspace(0, len(rows) - 1, height)
    c = np.linspace(0, len(columns) - 1, width)
    return ndimage.map_coordinates(coarse, np.meshgrid(r, c, indexing="ij"), order=1, mode="nearest")
