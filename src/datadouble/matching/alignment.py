"""Laying one picture on another: axis-aligned scale and shift, refined to a fraction of a pixel, and how well it fits.

A transform is (ax, ay, bx, by): the place (x, y) of a query shows the place (ax x + bx, ay y + by) of a gallery picture
(mirrored beforehand where need be), in working pixels. The fit is by Gauss-Newton steps on the correlation (Baker and
Matthews, IJCV 2004; Evangelidis and Psarakis, PAMI 2008). What decides is the local correlation of whitened texture:
speckle is a fingerprint, structure (skin, fascia) is common to all and whitening takes it out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from datadouble.matching.keypoints import SIDE, blur, normalise_locally

WINDOWS = ((20, 20), (18, 36), (32, 32), (26, 52), (52, 52), (84, 84), (SIDE, SIDE))
"""Height and width in working pixels of the boxes over which pictures are compared; lesions are wider than high."""
PATCH = 28  # side of the piece on which a hypothesis is refined first
NEAR = 14  # working pixels
EDGE = 6  # working pixels at a picture's border that fade out
_FLOOR = 0.15  # of the mean energy: where there is no texture, there is no evidence
_GREATEST_SCALE = 1.9


class Fit(NamedTuple):
    """How well m pairs fit: ``correlation`` (m, windows) and ``place`` (m, windows, 2), the best box's left, top."""

    correlation: np.ndarray
    place: np.ndarray


def detail(x: torch.Tensor) -> torch.Tensor:
    """Texture of (n, h, w) pictures in [0, 1]: locally normalised, without the finest noise."""
    return blur(normalise_locally(x, wide=4.0), 0.4)


def whitener(details: torch.Tensor) -> torch.Tensor:
    """A filter (h, w // 2 + 1) that flattens the mean spectrum of (n, h, w) details, from 0.1 to 0.4 cycles a pixel."""
    power = torch.zeros(details.shape[-2], details.shape[-1] // 2 + 1)
    for start in range(0, len(details), 64):
        power += torch.fft.rfft2(_tapered(details[start : start + 64])).abs().square().sum(0)
    power /= max(len(details), 1)
    power = _smoothed(power)
    fy = torch.fft.fftfreq(details.shape[-2])[:, None]
    fx = torch.fft.rfftfreq(details.shape[-1])[None]
    frequency = (fx**2 + fy**2).sqrt()
    gain = (power + 0.002 * power.max() + 0.1).rsqrt()  # 0.1: rounding errors of flat pictures stay small
    gain = gain * torch.exp(-0.5 * (frequency / 0.4) ** 4) * (1 - torch.exp(-0.5 * (frequency / 0.1) ** 2))
    energy = (gain.square() * power).mean().sqrt() / SIDE
    return gain / energy.clamp_min(1e-4)


def whiten(details: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """Details (n, h, w) filtered by :func:`whitener`'s filter."""
    return torch.fft.irfft2(torch.fft.rfft2(details) * gain, s=details.shape[-2:])


def warp(x: torch.Tensor, transform: torch.Tensor) -> torch.Tensor:
    """Lay (m, h, w) gallery pictures on their queries' frame by (m, 4) transforms; 0 outside."""
    grid = _places(transform, torch.arange(x.shape[-1]).float(), torch.arange(x.shape[-2]).float())
    return _look_up(x, grid)


@torch.no_grad()
def refine(
    query: torch.Tensor,
    gallery: torch.Tensor,
    transform: torch.Tensor,
    centre: torch.Tensor,
    *,
    side: int = PATCH,
    weight: torch.Tensor | None = None,
    window: torch.Tensor | None = None,
    sigma: float = 7.0,
    steps: int = 5,
    scales: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Improve transforms on a square around ``centre`` and return them with the weighted correlation there.

    Parameters
    ----------
    query, gallery : Tensor
        (m, h, w) details.
    transform : Tensor
        (m, 4), within about two pixels of the truth.
    centre : Tensor
        (m, 2) x, y of the square in the query.
    side : int
        Of the square, working pixels; with ``weight`` the whole picture is used.
    weight : Tensor, optional
        (m, h, w), instead of a Gaussian of ``sigma`` around the centre.
    window : Tensor, optional
        (m, side, side), the same on the square alone.
    scales : bool
        Whether the scales are refined, or the shift alone.
    """
    m = len(query)
    if weight is None:
        offset = torch.arange(side).float() - (side - 1) / 2
        xs, ys = centre[:, :1] + offset, centre[:, 1:] + offset  # (m, side)
        bell = torch.exp(-0.5 * (offset / sigma) ** 2)
        inside_x = (xs >= 0) & (xs <= query.shape[-1] - 1)
        inside_y = (ys >= 0) & (ys <= query.shape[-2] - 1)
        if window is None:
            w = (bell * inside_y)[:, :, None] * (bell * inside_x)[:, None, :]
        else:
            w = window * inside_y[:, :, None] * inside_x[:, None, :]
        q = _look_up(query, _mesh(xs, ys))
    else:
        xs = torch.arange(query.shape[-1]).float().expand(m, -1)
        ys = torch.arange(query.shape[-2]).float().expand(m, -1)
        w, q = weight, query
    unit = max(float(sigma if weight is None else SIDE / 4), 1.0)
    dx, dy = (xs - centre[:, :1]) / unit, (ys - centre[:, 1:]) / unit
    current, best = transform.clone(), transform.clone()
    value = torch.full((m,), -1.0)
    for step in range(steps + 1):
        u = current[:, 0:1] * xs + current[:, 2:3]
        v = current[:, 1:2] * ys + current[:, 3:4]
        g = _look_up(gallery, _mesh(u, v))
        r, scale = _weighted_correlation(q, g, w)
        better = r > value
        best = torch.where(better[:, None], current, best)
        value = torch.where(better, r, value)
        if step == steps:
            break
        gu = 0.5 * (_look_up(gallery, _mesh(u + 1, v)) - _look_up(gallery, _mesh(u - 1, v)))
        gv = 0.5 * (_look_up(gallery, _mesh(u, v + 1)) - _look_up(gallery, _mesh(u, v - 1)))
        columns = [gu, gv]
        if scales:
            columns += [gu * dx[:, None, :], gv * dy[:, :, None]]
        jacobian = torch.stack([c.flatten(1) for c in columns], 1)  # (m, 2 or 4, pixels)
        weighted = jacobian * w.flatten(1)[:, None]
        left = weighted @ jacobian.transpose(1, 2)
        right = weighted @ (scale[:, None, None] * q - g).flatten(1)[..., None]
        damping = 0.02 * left.diagonal(dim1=1, dim2=2).mean(1) + 1e-6
        move = torch.linalg.solve(left + damping[:, None, None] * torch.eye(left.shape[1]), right)[..., 0]
        move[:, :2] = move[:, :2].clamp(-1.5, 1.5)
        current = current.clone()
        if scales:
            stretch = (move[:, 2:] / unit).clamp(-0.06, 0.06)
            current[:, :2] += stretch
            current[:, 2:] -= stretch * centre
        current[:, 2:] += move[:, :2]
        current[:, :2] = current[:, :2].clamp(1 / _GREATEST_SCALE, _GREATEST_SCALE)
    return best, value


def laid(
    query: torch.Tensor, gallery: torch.Tensor, transform: torch.Tensor, gain: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Whitened (m, h, w) details, the gallery's laid on the query's, and where both are valid.

    What lies near the border of either picture is no evidence: every picture has a border.
    """
    edge = _margin(query.shape[-2:])
    a, b = whiten(query * edge, gain), whiten(warp(gallery * edge, transform), gain)
    return a, b, (edge > 0.5) & (warp(edge.expand_as(gallery), transform) > 0.5)


def box_correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """Correlation of two boxes (h, w) of whitened texture, as :func:`compare` takes it."""
    floor = _FLOOR * a.numel()
    return float((a * b).sum() / ((a.square().sum() + floor) * (b.square().sum() + floor)).sqrt())


@torch.no_grad()
def compare(
    query: torch.Tensor,
    gallery: torch.Tensor,
    transform: torch.Tensor,
    gain: torch.Tensor,
    centre: torch.Tensor,
) -> Fit:
    """Local correlation of (m, h, w) details after alignment, the best box of each size of :data:`WINDOWS`.

    Boxes up to 32 pixels high are sought within :data:`NEAR` of ``centre`` (m, 2), where the pieces were found: fewer
    places, less chance of a fit by luck.
    """
    a, b, valid = laid(query, gallery, transform, gain)
    a, b = a * valid, b * valid
    products = torch.stack([a * b, a * a, b * b], 1)
    # integral images: the sum over a box is four look-ups
    total = functional.pad(products.cumsum(-1).cumsum(-2), (1, 0, 1, 0))
    values, places = [], []
    for height, width in WINDOWS:
        inner = (
            total[..., height:, width:] - total[..., :-height, width:] - total[..., height:, :-width]
            + total[..., :-height, :-width]
        )  # fmt: skip
        ab, aa, bb = inner[:, 0], inner[:, 1].clamp_min(0), inner[:, 2].clamp_min(0)
        floor = _FLOOR * height * width
        r = ab / ((aa + floor) * (bb + floor)).sqrt()
        if height <= 32:
            far = (
                _far(r.shape[-1], width, centre[:, 0])[:, None, :]
                | _far(r.shape[-2], height, centre[:, 1])[:, :, None]
            )
            r = r.masked_fill(far, -1.0)
        best, index = r.flatten(1).max(1)
        values.append(best)
        places.append(torch.stack([index % r.shape[-1], index // r.shape[-1]], -1))
    return Fit(torch.stack(values, 1).numpy(), torch.stack(places, 1).numpy().astype(np.float32))


def _far(places: int, size: int, centre: torch.Tensor) -> torch.Tensor:
    """(m, places): whether a box from this place on has its centre out of reach."""
    middle = torch.arange(places) + (size - 1) / 2
    return (middle - centre.clamp(float(middle[0]), float(middle[-1]))[:, None]).abs() > NEAR


def sample_square(x: torch.Tensor, transform: torch.Tensor, centre: torch.Tensor, side: int) -> torch.Tensor:
    """What (m, h, w) gallery pictures show in squares (m, side, side) around ``centre`` of their queries."""
    offset = torch.arange(side).float() - (side - 1) / 2
    xs, ys = centre[:, :1] + offset, centre[:, 1:] + offset
    return _look_up(
        x, _mesh(transform[:, 0:1] * xs + transform[:, 2:3], transform[:, 1:2] * ys + transform[:, 3:4])
    )


def patch_correlation(
    query: torch.Tensor,
    gallery: torch.Tensor,
    transform: torch.Tensor,
    centre: torch.Tensor,
    *,
    sigma: float = 7.0,
) -> torch.Tensor:
    """Weighted correlation (m,) of (m, h, w) whitened pictures around ``centre`` after alignment."""
    offset = torch.arange(PATCH).float() - (PATCH - 1) / 2
    bell = torch.exp(-0.5 * (offset / sigma) ** 2)
    xs, ys = centre[:, :1] + offset, centre[:, 1:] + offset
    q = _look_up(query, _mesh(xs, ys))
    g = _look_up(
        gallery, _mesh(transform[:, 0:1] * xs + transform[:, 2:3], transform[:, 1:2] * ys + transform[:, 3:4])
    )
    return _weighted_correlation(q, g, (bell[:, None] * bell).expand_as(q))[0]


def agreement(
    query: torch.Tensor, gallery: torch.Tensor, transform: torch.Tensor, *, sigma: float = 6.0
) -> torch.Tensor:
    """Weights (m, h, w) in [0, 1]: where the local correlation of aligned details is well above chance."""
    b = warp(gallery, transform)
    half = functional.avg_pool2d(torch.stack([query * b, query * query, b * b], 1), 2)
    ab, aa, bb = (blur(half.flatten(0, 1), sigma / 2).view_as(half)[:, i] for i in range(3))
    r = ab / ((aa + 0.05).clamp_min(1e-6) * (bb + 0.05).clamp_min(1e-6)).sqrt()
    r = functional.interpolate(r[:, None], query.shape[-2:], mode="bilinear")[:, 0]
    return ((r - 0.3) / 0.4).clamp(0, 1)


def best_shift(query: torch.Tensor, gallery: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """Whole-pixel shifts (m, 2), x and y, that add to a query's places to give the gallery's, by cross-correlation."""
    h, w = query.shape[-2:]
    a, b = (torch.fft.rfft2(_tapered(x)) * gain for x in (query, gallery))
    peak = torch.fft.irfft2(b * a.conj(), s=(h, w)).flatten(1).argmax(1)
    dy, dx = peak // w, peak % w
    return torch.stack(
        [torch.where(dx > w // 2, dx - w, dx), torch.where(dy > h // 2, dy - h, dy)], -1
    ).float()


def _weighted_correlation(
    q: torch.Tensor, g: torch.Tensor, w: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted correlation (m,) about 0, and the factor that brings the query to the gallery's contrast."""
    qg, qq, gg = ((w * p).flatten(1).sum(1) for p in (q * g, q * q, g * g))
    floor = 0.05 * w.flatten(1).sum(1) + 1e-6
    return qg / ((qq + floor) * (gg + floor)).sqrt(), qg / (qq + floor)


def _places(transform: torch.Tensor, xs: torch.Tensor, ys: torch.Tensor) -> torch.Tensor:
    return _mesh(transform[:, 0:1] * xs + transform[:, 2:3], transform[:, 1:2] * ys + transform[:, 3:4])


def _mesh(xs: torch.Tensor, ys: torch.Tensor) -> torch.Tensor:
    """(m, w) and (m, h) -> (m, h, w, 2)."""
    m, w, h = len(xs), xs.shape[1], ys.shape[1]
    return torch.stack([xs[:, None, :].expand(m, h, w), ys[:, :, None].expand(m, h, w)], -1)


def _look_up(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Bilinear look-up in (m, h, w) at (m, ., ., 2) places in pixels; 0 outside."""
    size = torch.tensor([x.shape[-1], x.shape[-2]], dtype=torch.float32)
    return functional.grid_sample(x[:, None], (2 * places + 1) / size - 1, align_corners=False)[:, 0]


def _margin(shape: torch.Size) -> torch.Tensor:
    """(h, w): 1 inside, falling to 0 over the outermost :data:`EDGE` pixels."""
    sides = []
    for n in shape:
        distance = torch.minimum(torch.arange(n), torch.arange(n).flip(0)) + 0.5
        sides.append(0.5 - 0.5 * torch.cos(torch.pi * (distance / EDGE).clamp(max=1)))
    return sides[0][:, None] * sides[1]


def _tapered(x: torch.Tensor) -> torch.Tensor:
    def taper(n: int) -> torch.Tensor:
        edge = max(n // 8, 1)
        ramp = 0.5 - 0.5 * torch.cos(torch.pi * (torch.arange(edge) + 0.5) / edge)
        return torch.cat([ramp, torch.ones(n - 2 * edge), ramp.flip(0)])

    return x * taper(x.shape[-2])[:, None] * taper(x.shape[-1])


def _smoothed(power: torch.Tensor) -> torch.Tensor:
    """A mean spectrum, smoothed over 5 x 5 frequencies, with the circular edge of its first axis."""
    padded = functional.pad(
        torch.cat([power[-2:], power, power[:2]])[None, None], (2, 2, 0, 0), mode="reflect"
    )
    return functional.avg_pool2d(padded, 5, stride=1)[0, 0]
