"""Leaks planted in a double on purpose, so that an audit can show that it finds them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from datadouble.randomness import generator_for

KINDS = ("copies", "shifts", "flips", "crops", "gain", "noise", "stitched", "lesion-only")
"""Kinds of leaks of pixels; `redraw` plants structure without pixels."""

LEAST_LESION = 0.01
"""Share of the picture that a lesion must cover to be planted by itself (164 pixels of 128 x 128). Smaller ones hold
so few speckles that the search cannot always tell them from chance: this is its stated limit."""


class Leak(NamedTuple):
    """A leaked picture (s, s) uint8, and the box of it that holds a patient's pixels: left, top, right, bottom."""

    picture: np.ndarray
    box: tuple[int, int, int, int]


class Planted(NamedTuple):
    """A double with leaks.

    ``pictures`` (n, s, s) uint8; ``rows`` (k,) where leaks stand in it; ``sources`` (k,) rows of train; ``boxes``
    (k, 4) what of each leak is a patient's.
    """

    pictures: np.ndarray
    rows: np.ndarray
    sources: np.ndarray
    boxes: np.ndarray
    kind: str


def plant(
    double: np.ndarray,
    train: np.ndarray,
    kind: str,
    *,
    share: float,
    seed: int,
    masks: np.ndarray | None = None,
) -> Planted:
    """Replace a share of a double's pictures by leaks of one kind, at least one.

    Parameters
    ----------
    double, train : ndarray
        (n, s, s) and (m, s, s) uint8.
    kind : str
        One of :data:`KINDS`.
    share : float
        Of the double's pictures, in (0, 1].
    seed : int
    masks : ndarray, optional
        (m, s, s) of train, not 0 in lesions; without them an ellipse in the middle third plays the lesion.

    Raises
    ------
    ValueError
        For an unknown kind, a share out of range, or no picture.
    """
    if not 0 < share <= 1 or len(double) == 0 or len(train) == 0:
        raise ValueError(f"a share in (0, 1] of some pictures is needed: found {share} of {len(double)}")
    count = max(1, round(share * len(double)))
    rng = generator_for(seed, "plant", kind)
    rows = np.sort(rng.permutation(len(double))[:count])
    sources = choose_sources(len(train), count, kind, rng, masks)
    pictures = np.array(double)
    boxes = np.zeros((count, 4), np.int64)
    for i, (row, source) in enumerate(zip(rows, sources)):
        mask = None if masks is None else masks[source]
        found = leak(kind, train[source], seed=seed, key=int(source), background=double[row], mask=mask)
        pictures[row], boxes[i] = found
    return Planted(pictures, rows, sources, boxes, kind)


def choose_sources(
    available: int, count: int, kind: str, rng: np.random.Generator, masks: np.ndarray | None
) -> np.ndarray:
    """Rows of train to leak, different ones while they last; for lesions only those that are large enough."""
    rows = np.arange(available)
    if kind in ("stitched", "lesion-only") and masks is not None:
        large = rows[(np.asarray(masks) > 0).mean((1, 2)) >= LEAST_LESION]
        rows = large if len(large) else rows
    return np.concatenate([rng.permutation(rows) for _ in range(-(-count // len(rows)))])[:count]


def leak(
    kind: str,
    source: np.ndarray,
    *,
    seed: int,
    key: int = 0,
    background: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    margin: float = 0.03,
) -> Leak:
    """One leak of a training picture; a fixed function of its arguments.

    Parameters
    ----------
    kind : str
        ``copies``: the picture. ``shifts``: moved by up to a tenth of its side each way. ``flips``: mirrored.
        ``crops``: 70% to 95% of each side, resized. ``gain``: gain 0.75 to 1.3, gamma 0.7 to 1.4, an offset.
        ``noise``: one of noise (3 to 8 grey levels), blur (sigma 0.4 to 0.8 pixels at 128) or JPEG (quality 50 to
        85). ``stitched``: the lesion, blended into the background in its place, matched in brightness.
        ``lesion-only``: the same, with a sharper edge and elsewhere in the background, mirrored half of the time.
        The brightness is matched as far as nine tenths of the lesion stay clear of black and white.
    source, background : ndarray
        (s, s) uint8; a background is needed for the last two kinds.
    mask : ndarray, optional
        (s, s) of the source, not 0 in the lesion.
    margin : float
        How much of the lesion's surroundings goes with it, of the side.
    """
    rng = generator_for(seed, "leak", kind, key)
    if kind in ("stitched", "lesion-only"):
        if background is None:
            raise ValueError(f"{kind} needs a background")
        return _lesion(source, background, mask, rng, moved=kind == "lesion-only", margin=margin)
    if kind not in _WHOLE:
        raise ValueError(f"no such kind of leak: {kind!r}; known: {', '.join(KINDS)}")
    picture = _WHOLE[kind](source, rng)
    return Leak(picture, (0, 0, source.shape[1], source.shape[0]))


def redraw(
    source: np.ndarray, *, seed: int, key: int = 0, warp: float = 0.02, grain: float = 0.25
) -> np.ndarray:
    """Redraw a training picture with its structure kept and its speckle fresh: what an overfitted generator does.

    The picture is smoothed, warped by a smooth random field and given new multiplicative speckle of the strength and
    grain that were taken away. Pixel comparison finds no copy; the patient is still given away.

    Parameters
    ----------
    source : ndarray
        (s, s) uint8.
    warp : float
        Standard deviation of the displacement, of the side.
    grain : float
        Share of the fine detail's contrast that is kept.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates

    side = source.shape[0]
    rng = generator_for(seed, "redraw", key)
    picture = source.astype(np.float64)
    coarse = gaussian_filter(picture, side / 64)
    detail = picture - coarse
    spread = np.sqrt(gaussian_filter(detail**2, side / 16))
    move = [_smooth_field(rng, side, side / 8) * warp * side for _ in range(2)]
    y, x = np.mgrid[:side, :side].astype(np.float64)
    places = [y + move[0], x + move[1]]
    structure = map_coordinates(coarse + grain * detail, places, order=3, mode="reflect")
    strength = map_coordinates(spread, places, order=1, mode="reflect")
    speckle = _smooth_field(rng, side, side / 128)
    return _grey(structure + strength * np.sqrt(1 - grain**2) * speckle)


def redrawn(train: np.ndarray, count: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A cheap overfitted double: ``count`` redrawn training pictures (count, s, s), and their sources (count,)."""
    rng = generator_for(seed, "redrawn")
    sources = np.concatenate([rng.permutation(len(train)) for _ in range(-(-count // len(train)))])[:count]
    return np.stack([redraw(train[s], seed=seed, key=i) for i, s in enumerate(sources)]), sources


def _shift(source: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    most = max(1, source.shape[0] // 10)
    dy, dx = (int(v) for v in rng.integers(-most, most + 1, 2))
    dx = dx or 1
    padded = np.pad(source, most, mode="reflect")
    height, width = source.shape
    return padded[most - dy : most - dy + height, most - dx : most - dx + width].copy()


def _crop(source: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    from PIL import Image

    height, width = source.shape
    keep = rng.uniform(0.70, 0.95)
    w, h = (keep * side * float(rng.uniform(0.97, 1.03)) for side in (width, height))
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    picture = Image.fromarray(source.astype(np.float32))
    box = (left, top, left + w, top + h)
    return _grey(np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC, box=box)))


def _gain(source: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    gamma, gain, offset = rng.uniform(0.7, 1.4), rng.uniform(0.75, 1.3), rng.uniform(-10, 10)
    return _grey(255 * gain * (source / 255.0) ** gamma + offset)


def _noise(source: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    from PIL import Image
    from scipy.ndimage import gaussian_filter

    how = int(rng.integers(3))
    if how == 0:
        return _grey(source + rng.normal(0, rng.uniform(3, 8), source.shape))
    if how == 1:
        return _grey(
            gaussian_filter(source.astype(np.float64), rng.uniform(0.4, 0.8) * source.shape[0] / 128)
        )
    kept = io.BytesIO()
    Image.fromarray(source).save(kept, format="JPEG", quality=int(rng.integers(50, 86)))
    return np.asarray(Image.open(kept)).copy()


_WHOLE: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "copies": lambda source, _: source.copy(),
    "shifts": _shift,
    "flips": lambda source, _: source[:, ::-1].copy(),
    "crops": _crop,
    "gain": _gain,
    "noise": _noise,
}


def _lesion(
    source: np.ndarray,
    background: np.ndarray,
    mask: np.ndarray | None,
    rng: np.random.Generator,
    *,
    moved: bool,
    margin: float,
) -> Leak:
    """Blend a lesion and its margin into a background, matched in brightness: in its place, or moved."""
    from scipy.ndimage import binary_dilation, gaussian_filter

    side = source.shape[0]
    inside = _ellipse(side, rng) if mask is None or not np.any(mask) else np.asarray(mask) > 0
    picture: np.ndarray = source.astype(np.float64)
    steps = round(margin * side)
    inside = binary_dilation(inside, iterations=steps) if steps else inside
    if moved:
        if rng.integers(2):
            inside, picture = inside[:, ::-1], picture[:, ::-1]
        box = _box(inside)
        dx = int(rng.integers(-box[0], side - box[2] + 1))
        dy = int(rng.integers(-box[1], side - box[3] + 1))
        inside, picture = (np.roll(a, (dy, dx), (0, 1)) for a in (inside, picture))
        weight = gaussian_filter(inside.astype(np.float64), 0.6 * side / 128)
    else:
        weight = gaussian_filter(inside.astype(np.float64), 1.5 * side / 128)
    ring = binary_dilation(inside, iterations=max(2, side // 32)) & ~inside
    if ring.any():
        # matched in brightness, but not so far that more than a tenth of the lesion turns black or white: what is
        # clipped is not leaked
        dark, bright = np.quantile(picture[inside], (0.1, 0.9))
        picture = picture + np.clip(background[ring].mean() - picture[ring].mean(), -dark, 255 - bright)
    return Leak(_grey(weight * picture + (1 - weight) * background), _box(inside))


def _ellipse(side: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:side, :side] / side
    cy, cx = rng.uniform(0.35, 0.65, 2)
    ry, rx = rng.uniform(0.1, 0.16), rng.uniform(0.14, 0.24)
    return ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1


def _box(inside: np.ndarray) -> tuple[int, int, int, int]:
    y, x = np.nonzero(inside)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def _smooth_field(rng: np.random.Generator, side: int, sigma: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.normal(size=(side, side)), sigma)
    return field / max(float(field.std()), 1e-9)


def _grey(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)
