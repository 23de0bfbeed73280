"""Lesions of gallery pictures, each searched for at every place of a picture.

A small lesion gives few local patches, and boxes around it are half foreign. So the texture of each lesion is cut out
along its outline and correlated with the whole picture: on a coarse grid through the Fourier transform, at all places,
mirrored or not and at some scales; the best places are compared at full resolution over the lesion's own pixels, and
the best of these are refined. Under chance Fisher's z of a correlation over m independent samples has a spread of
1 / sqrt(m - 3), which brings lesions of all sizes to one scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from datadouble.matching import alignment
from datadouble.matching.keypoints import SIDE, blur, to_working

SCALES = (
    1 / 1.2,
    1.0,
    1.2,
)  # of a lesion in a picture: texture still correlates when it is a tenth too large
GRIDS = (
    64,
    80,
    64,
)  # side of the grid of places at each scale; 80 keeps frequencies up to 0.31 cycles a pixel
LEAST = 48  # pixels of a lesion that is sought (0.3% of a picture)
TILE = 3200  # pixels of a lesion that are sought as one piece
MOST = 3  # pieces of one lesion
MARGIN = 2  # working pixels around a lesion that are taken for its own
REACH = 20.0  # working pixels from a piece's centre that count
CROP = 56  # side of the square that is kept of a piece
WINDOW = 44  # side of the square of a picture in which a piece is compared
PLACES = 160  # places of a picture that are compared
REFINED = 8  # of these, refined
SAMPLES = 0.45  # independent samples in a pixel of whitened texture: the area of its band of frequencies
STANDARD = 200.0  # samples: evidence is told as the correlation over so many that would surprise as much
_BLOCK = 128  # pieces at a time: 3 MB of places


class Lesions(NamedTuple):
    """Pieces of lesions of a gallery; about 90 kB each.

    ``row`` (k,) gallery row; ``centre`` (k, 2) x, y in the gallery picture; ``corner`` (k, 2) of the squares;
    ``inside``, ``detail`` and ``texture`` (k, CROP, CROP): the piece's pixels (uint8), the picture's details and its
    levelled texture; ``spectra`` of the pieces' texture for each of :data:`SCALES` (k, grid, grid // 2 + 1), conjugate,
    of norm 1, with the piece's centre at the origin.
    """

    row: torch.Tensor
    centre: torch.Tensor
    corner: torch.Tensor
    inside: torch.Tensor
    detail: torch.Tensor
    texture: torch.Tensor
    spectra: tuple[torch.Tensor, ...]

    @property
    def total(self) -> int:
        """How many pieces."""
        return len(self.row)


class Found(NamedTuple):
    """The most alike lesion of each of n pictures.

    ``correlation`` (n,): over :data:`STANDARD` samples, what would surprise as much; ``row`` (n,); ``mirrored`` (n,);
    ``box`` (n, 4): left, top, width, height in the picture, which is mirrored where ``mirrored``; ``transform`` (n, 4).
    """

    correlation: torch.Tensor
    row: torch.Tensor
    mirrored: torch.Tensor
    box: torch.Tensor
    transform: torch.Tensor


def level(whitened: torch.Tensor) -> torch.Tensor:
    """Whitened texture (n, h, w) over its local spread, so that no bright spot decides a correlation."""
    return whitened / (blur(whitened.square(), 4.0).clamp_min(0).sqrt() + 0.15)


@torch.no_grad()
def prepare_lesions(pictures: np.ndarray, masks: np.ndarray, gain: torch.Tensor) -> Lesions | None:
    """Cut out the lesions of (n, s, s) pictures by masks (n, t, t), not 0 inside; None where there is none.

    About 10 to 30 ms a lesion on one core. ``gain``: see :func:`.alignment.whitener`.
    """
    rows, pieces = [], []
    for row, mask in enumerate(masks):
        for piece in _pieces(_at_working_size(mask)):
            rows.append(row)
            pieces.append(piece)
    if not rows:
        return None
    centre = torch.tensor([[float(v) for v in np.argwhere(p).mean(0)[::-1]] for p in pieces])
    corner = centre.round().long() - CROP // 2
    crops: list[tuple[torch.Tensor, ...]] = []
    spectra: list[list[torch.Tensor]] = [[] for _ in SCALES]
    for start in range(0, len(rows), 32):
        part = slice(start, start + 32)
        working = to_working(pictures[rows[part]])
        details = alignment.detail(working)
        inside = torch.from_numpy(np.stack(pieces[part])).float()
        texture = level(alignment.whiten(details, gain))
        here = torch.arange(len(working))
        cut = [_cut(x, here, corner[part], CROP) for x in (inside, details, texture)]
        crops.append((cut[0].to(torch.uint8), cut[1], cut[2]))
        for scale, grid, found in zip(SCALES, GRIDS, spectra):
            found.append(_template(working, inside, centre[part], scale, grid, gain))
    kept = [torch.cat(values) for values in zip(*crops)]
    return Lesions(
        torch.tensor(rows), centre, corner, kept[0], kept[1], kept[2], tuple(torch.cat(s) for s in spectra)
    )


@torch.no_grad()
def find_lesions(
    details: torch.Tensor,
    whitened: torch.Tensor,
    lesions: Lesions,
    left_out: Sequence[np.ndarray] | None = None,
) -> Found:
    """The most alike lesion of each of (n, SIDE, SIDE) pictures; ``left_out``: gallery rows that do not count."""
    n = len(details)
    textures = level(whitened)
    both = torch.cat([textures, textures.flip(-1)])
    details = torch.cat([details, details.flip(-1)])
    picture, piece, transform, place, out = [], [], [], [], []
    for q in range(n):
        barred = torch.zeros(lesions.total, dtype=torch.bool)
        if left_out is not None:
            barred = torch.isin(lesions.row, torch.as_tensor(np.asarray(left_out[q], np.int64)))
        side, which, moved, centre = _places(both[q], both[n + q], lesions, barred)
        score, moved, centre = _compare(both, q + n * side, which, moved, centre, lesions)
        best = score.masked_fill(barred[which], -torch.inf).topk(min(REFINED, len(score))).indices
        out.append(barred[which[best]])
        picture.append(q + n * side[best])
        piece.append(which[best])
        transform.append(moved[best])
        place.append(centre[best])
    p, k, t, c = (torch.cat(values) for values in (picture, piece, transform, place))
    parts = [
        _refine(details, both, p[i : i + 64], k[i : i + 64], t[i : i + 64], c[i : i + 64], lesions)
        for i in range(0, len(p), 64)
    ]
    value = torch.cat([v for v, _ in parts]).masked_fill(torch.cat(out), -1.0)
    t = torch.cat([m for _, m in parts])
    lead = value.view(n, -1).max(1)
    chosen = torch.arange(n) * (len(p) // n) + lead.indices
    p, k, t = p[chosen], k[chosen], t[chosen]
    return Found(lead.values, lesions.row[k], p >= n, _boxes(lesions, k, t), t)


def _places(
    picture: torch.Tensor, mirrored: torch.Tensor, lesions: Lesions, barred: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """The most alike places: mirrored (0 or 1), piece, transform (., 4) and whole-pixel centre (., 2)."""
    values, indices = [], []
    for side in (picture, mirrored):
        whole = torch.fft.rfft2(side)
        for grid, spectra in zip(GRIDS, lesions.spectra):
            low = _low(whole, grid)
            low = low / torch.fft.irfft2(low, s=(grid, grid)).square().mean().sqrt().clamp_min(1e-3)
            for start in range(0, lesions.total, _BLOCK):
                field = torch.fft.irfft2(spectra[start : start + _BLOCK] * low, s=(grid, grid))
                best = field.flatten(1).max(1)
                values.append(best.values)
                indices.append(best.indices)
    value, index = torch.cat(values), torch.cat(indices)
    value[barred.repeat(2 * len(SCALES))] = -torch.inf
    order = value.topk(min(PLACES, len(value))).indices
    turn, piece = order // lesions.total, order % lesions.total
    scale = turn % len(SCALES)
    grid_of = torch.tensor(GRIDS)[scale]
    step = SIDE / grid_of
    centre = (torch.stack([index[order] % grid_of, index[order] // grid_of], 1) * step[:, None]).round()
    a = 1 / torch.tensor(SCALES)[scale]  # gallery pixels in a pixel of the picture
    shift = lesions.centre[piece] - a[:, None] * centre
    return turn // len(SCALES), piece, torch.cat([a[:, None], a[:, None], shift], 1), centre


def _compare(
    textures: torch.Tensor,
    picture: torch.Tensor,
    piece: torch.Tensor,
    transform: torch.Tensor,
    centre: torch.Tensor,
    lesions: Lesions,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fisher's z of each place, the best of nine shifts by up to a pixel, and the transform and centre of that."""
    own, middle = _own_frame(transform, centre, piece, lesions)
    weight = alignment.sample_square(lesions.inside[piece].float(), own, middle, WINDOW)
    there = alignment.sample_square(lesions.texture[piece], own, middle, WINDOW)
    size = (weight * there.square()).flatten(1).sum(1)
    there = there * weight
    here = _cut(textures, picture, centre.long() - WINDOW // 2 - 1, WINDOW + 2)
    energy = here.square()
    area = weight.flatten(1).sum(1)
    values = []
    for dy in range(3):
        for dx in range(3):
            box = (slice(None), slice(dy, dy + WINDOW), slice(dx, dx + WINDOW))
            ab = (here[box] * there).flatten(1).sum(1)
            bb = (energy[box] * weight).flatten(1).sum(1)
            values.append(_fisher(ab, size, bb, area))
    z, shift = torch.stack(values, 1).max(1)
    move = torch.stack([shift % 3 - 1, shift // 3 - 1], 1)
    moved = transform.clone()
    moved[:, 2:] -= transform[:, :2] * move
    return z, moved, centre + move


def _refine(
    details: torch.Tensor,
    textures: torch.Tensor,
    picture: torch.Tensor,
    piece: torch.Tensor,
    transform: torch.Tensor,
    centre: torch.Tensor,
    lesions: Lesions,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Standard correlation (m,) and transform after refinement of the shift alone, or of the scales too."""
    own, middle = _own_frame(transform, centre, piece, lesions)
    corner = centre.long() - WINDOW // 2
    here, texture = (_cut(x, picture, corner, WINDOW) for x in (details, textures))
    inside = lesions.inside[piece].float()
    candidates = [own]
    for scales in (False, True):
        window = alignment.sample_square(inside, candidates[-1], middle, WINDOW)
        candidates.append(
            alignment.refine(
                here, lesions.detail[piece], candidates[-1], middle,
                side=WINDOW, window=window, sigma=10.0, steps=4, scales=scales,
            )[0]
        )  # fmt: skip
    scores = []
    for found in candidates:
        window = alignment.sample_square(inside, found, middle, WINDOW)
        there = alignment.sample_square(lesions.texture[piece], found, middle, WINDOW)
        products = (window * texture * there, window * there * there, window * texture * texture, window)
        scores.append(_fisher(*(product.flatten(1).sum(1) for product in products)))
    z, which = torch.stack(scores, 1).max(1)
    best = torch.stack(candidates, 1)[torch.arange(len(z)), which].clone()
    # back to the frame of whole pictures
    best[:, 2:] += lesions.corner[piece] - best[:, :2] * corner
    return torch.tanh(z / STANDARD**0.5), best


def _fisher(ab: torch.Tensor, aa: torch.Tensor, bb: torch.Tensor, area: torch.Tensor) -> torch.Tensor:
    """Fisher's z in units of its spread under chance; where there is no texture, there is no evidence."""
    floor = 0.05 * area + 1e-6
    r = (ab / ((aa + floor) * (bb + floor)).sqrt()).clamp(-0.999, 0.999)
    return torch.atanh(r) * (SAMPLES * area - 3).clamp_min(1).sqrt()


def _own_frame(
    transform: torch.Tensor, centre: torch.Tensor, piece: torch.Tensor, lesions: Lesions
) -> tuple[torch.Tensor, torch.Tensor]:
    """Transforms between squares of side WINDOW around whole-pixel centres and pieces' squares; their middles."""
    corner = centre - WINDOW // 2
    own = transform.clone()
    own[:, 2:] += transform[:, :2] * corner - lesions.corner[piece]
    return own, torch.full_like(centre, (WINDOW - 1) / 2)


def _boxes(lesions: Lesions, piece: torch.Tensor, transform: torch.Tensor) -> torch.Tensor:
    """(m, 4): left, top, width, height of pieces where they lie in the pictures."""
    inside = lesions.inside[piece] > 0
    boxes = []
    for axis, along in ((0, inside.any(1)), (1, inside.any(2))):
        first = along.float().argmax(1) + lesions.corner[piece, axis]
        last = CROP - along.flip(1).float().argmax(1) + lesions.corner[piece, axis]
        a, b = transform[:, axis], transform[:, 2 + axis]
        # pixel centres are mapped; half a pixel around them belongs to the box
        boxes.append(((first - 0.5 - b) / a + 0.5, (last - first) / a))
    return torch.stack([boxes[0][0], boxes[1][0], boxes[0][1], boxes[1][1]], 1)


def _template(
    working: torch.Tensor,
    inside: torch.Tensor,
    centre: torch.Tensor,
    scale: float,
    grid: int,
    gain: torch.Tensor,
) -> torch.Tensor:
    """(m, grid, grid // 2 + 1): conjugate spectra of pieces (m, SIDE, SIDE) at a scale."""
    middle = SIDE // 2  # shows the piece's centre, so that the whole piece stays in the frame
    transform = torch.cat([torch.full_like(centre, 1 / scale), centre - middle / scale], 1)
    texture = level(alignment.whiten(alignment.detail(alignment.warp(working, transform)), gain))
    texture = texture * alignment.warp(inside, transform)
    low = _low(torch.fft.rfft2(texture.roll((-middle, -middle), (1, 2))), grid)
    norm = torch.fft.irfft2(low, s=(grid, grid)).square().sum((1, 2)).sqrt()
    return (low / norm.clamp_min(1e-3)[:, None, None]).conj().resolve_conj()


def _low(spectrum: torch.Tensor, grid: int) -> torch.Tensor:
    """The low frequencies of (..., SIDE, SIDE // 2 + 1) spectra: those of pictures of side ``grid``."""
    half = grid // 2
    low = torch.cat([spectrum[..., :half, : half + 1], spectrum[..., -half:, : half + 1]], -2)
    low[..., half, :] = 0  # the highest frequency has no partner
    low[..., half] = 0
    return low * (grid / SIDE) ** 2


def _cut(x: torch.Tensor, which: torch.Tensor, corner: torch.Tensor, side: int) -> torch.Tensor:
    """Squares (m, side, side) of pictures ``which`` (m,) of (n, SIDE, SIDE), 0 outside them."""
    xs, ys = (corner[:, i : i + 1] + torch.arange(side) for i in (0, 1))
    found = x[which[:, None, None], ys.clamp(0, SIDE - 1)[:, :, None], xs.clamp(0, SIDE - 1)[:, None, :]]
    in_x, in_y = ((v >= 0) & (v < SIDE) for v in (xs, ys))
    return found * (in_y[:, :, None] & in_x[:, None, :])


def _at_working_size(mask: np.ndarray) -> np.ndarray:
    """(t, t) -> (SIDE, SIDE) bool, nearest."""
    pick = ((np.arange(SIDE) + 0.5) * mask.shape[-1] / SIDE).astype(int)
    return np.asarray(mask)[np.ix_(pick, pick)] > 0


def _pieces(inside: np.ndarray) -> list[np.ndarray]:
    """Each lesion with its margin, the largest in strips, as uint8; what is smaller than LEAST is not sought."""
    from scipy.ndimage import binary_dilation, label

    parts = []
    names, count = label(inside)
    y, x = np.mgrid[:SIDE, :SIDE]
    for name in range(1, count + 1):
        own = names == name
        if own.sum() < LEAST:
            continue
        lesion = binary_dilation(own, iterations=MARGIN)
        strips = int(np.clip(round(lesion.sum() / TILE), 1, MOST))
        edges = np.quantile(x[lesion], np.linspace(0, 1, strips + 1))
        edges[0] = -1
        for left, right in zip(edges, edges[1:]):
            strip = lesion & (x > left) & (x <= right)
            near = (x - x[strip].mean()) ** 2 + (y - y[strip].mean()) ** 2 <= REACH**2
            if (strip & near).sum() >= LEAST:
                parts.append((strip & near).astype(np.uint8))
    return parts
