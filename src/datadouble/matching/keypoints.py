"""Local patches of pictures, for finding a piece of one picture anywhere in another.

Blobs are the extrema of a difference-of-Gaussian scale space (Lowe, IJCV 2004); each is described by the normalised
pixels around it, at its own scale. Pictures are locally normalised first, so that gain, gamma and shading drop out
and what is left is texture: speckle, which no two scans share.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

SIDE = 128  # working side in pixels, to which pictures are brought
BLOBS = 128  # of each polarity (bright, dark) and picture
GRID = 12  # samples across a patch
WIDTH = 9.0  # width of a patch in units of the blob's sigma
SIGMAS = tuple(1.0 * 1.26**i for i in range(9))  # 1.0 .. 6.3 working pixels
BATCH = 32  # pictures described at a time: about 60 MB


class Blobs(NamedTuple):
    """Blobs of n pictures, bright ones first: 2 x BLOBS a picture, empty places with ``sigma`` 0.

    ``place`` (n, 2k, 2): x, y in working pixels; ``sigma`` (n, 2k); ``patch`` (n, 2k, GRID * GRID), mean 0, norm 1.
    """

    place: np.ndarray
    sigma: np.ndarray
    patch: np.ndarray

    def rows(self, keep: np.ndarray) -> Blobs:
        """The blobs of some pictures."""
        return Blobs(self.place[keep], self.sigma[keep], self.patch[keep])

    def mirrored(self) -> Blobs:
        """The blobs of the pictures mirrored left to right."""
        place = self.place.copy()
        place[..., 0] = SIDE - 1 - place[..., 0]
        shape = self.patch.shape
        patch = self.patch.reshape(*shape[:2], GRID, GRID)[..., ::-1].reshape(shape)
        return Blobs(place, self.sigma, np.ascontiguousarray(patch))


def to_working(pictures: np.ndarray) -> torch.Tensor:
    """(n, s, s) uint8 -> (n, SIDE, SIDE) float32 in [0, 1], anti-aliased."""
    x = torch.from_numpy(np.array(pictures, dtype=np.float32))[:, None] / 255.0
    if x.shape[-1] != SIDE:
        smaller = x.shape[-1] > SIDE
        x = functional.interpolate(x, (SIDE, SIDE), mode="bicubic", align_corners=False, antialias=smaller)
    return x[:, 0].clamp(0, 1)


def blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of (n, h, w), reflecting at the borders."""
    radius = min(int(np.ceil(3 * sigma)), x.shape[-1] - 1, x.shape[-2] - 1)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).to(x)
    y = functional.pad(x[:, None], (radius, radius, radius, radius), mode="reflect")
    return functional.conv2d(functional.conv2d(y, taps[None, None, None]), taps[None, None, :, None])[:, 0]


def normalise_locally(x: torch.Tensor, *, wide: float = 6.0, floor: float = 0.012) -> torch.Tensor:
    """Detail of (n, h, w) pictures in [0, 1] over its local spread: gain, gamma and shading drop out.

    ``floor`` (3 grey levels) keeps flat areas, where there is nothing but quantisation, near 0.
    """
    detail = x - blur(x, wide)
    spread = blur(detail**2, wide).clamp_min(0).sqrt()
    return (detail / (spread + floor)).clamp(-3, 3)


def find_blobs(pictures: np.ndarray) -> Blobs:
    """Blobs of (n, s, s) uint8 pictures, a batch at a time.

    Notes
    -----
    About 30 ms a picture on one core; 150 kB a picture in float32.
    """
    parts = [_find(to_working(pictures[i : i + BATCH])) for i in range(0, len(pictures), BATCH)]
    if not parts:
        empty = np.zeros((0, 2 * BLOBS), np.float32)
        return Blobs(
            np.zeros((0, 2 * BLOBS, 2), np.float32), empty, np.zeros((0, 2 * BLOBS, GRID**2), np.float32)
        )
    return Blobs(*(np.concatenate(values) for values in zip(*parts)))


@torch.no_grad()
def _find(x: torch.Tensor) -> Blobs:
    base = normalise_locally(
        x, wide=3.0
    )  # narrow: a small dark lesion keeps its texture beside bright tissue
    space = torch.stack([blur(base, sigma) for sigma in SIGMAS], 1)  # (n, levels, h, w)
    response = space[:, :-1] - space[:, 1:]
    found = [_extrema(sign * response) for sign in (1.0, -1.0)]
    place = torch.cat([f[0] for f in found], 1)
    level = torch.cat([f[1] for f in found], 1)
    valid = torch.cat([f[2] for f in found], 1)
    sigma = SIGMAS[0] * 1.26**level
    patch = _sample(space, place, sigma, level)
    patch = patch * valid[..., None]
    return Blobs(place.numpy(), (sigma * valid).numpy(), patch.numpy())


def _extrema(response: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Strongest maxima of (n, levels, h, w) over space and scale: place (n, k, 2), level (n, k), valid (n, k)."""
    n, levels, h, w = response.shape
    top = functional.max_pool3d(response[:, None], 3, stride=1, padding=1)[:, 0]
    peak = (response == top) & (response > 0.05)
    peak[:, 0] = peak[:, -1] = False
    peak[:, :, :3] = peak[:, :, -3:] = peak[:, :, :, :3] = peak[:, :, :, -3:] = False
    # Coarser blobs are fewer, surer and describe a wider patch: weigh them up.
    weight = torch.tensor([s**0.75 for s in SIGMAS[:levels]])[None, :, None, None]
    strength = torch.where(peak, response * weight, torch.zeros(()))
    value, index = strength.flatten(1).topk(BLOBS, dim=1)
    level, rest = index // (h * w), index % (h * w)
    y, x = rest // w, rest % w
    valid = value > 0
    level, y, x = (torch.where(valid, t, torch.full_like(t, 4)) for t in (level, y, x))
    row = torch.arange(n)[:, None]

    def vertex(before: torch.Tensor, middle: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """Place of a parabola's top, within half a step."""
        curve = before - 2 * middle + after
        return ((before - after) / (2 * torch.where(curve.abs() < 1e-6, -1e-6, curve))).clamp(-0.5, 0.5)

    centre = response[row, level, y, x]
    dx = vertex(response[row, level, y, x - 1], centre, response[row, level, y, x + 1])
    dy = vertex(response[row, level, y - 1, x], centre, response[row, level, y + 1, x])
    ds = vertex(response[row, level - 1, y, x], centre, response[row, level + 1, y, x])
    return torch.stack([x + dx, y + dy], -1), level + ds, valid


def _sample(
    space: torch.Tensor, place: torch.Tensor, sigma: torch.Tensor, level: torch.Tensor
) -> torch.Tensor:
    """Patches (n, k, GRID * GRID) around blobs, sampled two levels finer than the blob, mean 0 and norm 1."""
    n, levels, h, w = space.shape
    step = torch.linspace(-0.5, 0.5, GRID) * WIDTH
    k = place.shape[1]
    x = place[..., 0, None] + sigma[..., None] * step
    y = place[..., 1, None] + sigma[..., None] * step
    z = (level - 2).clamp_min(0)
    grid = torch.stack(
        [
            (2 * (x + 0.5) / w - 1)[:, :, None, :].expand(n, k, GRID, GRID),
            (2 * (y + 0.5) / h - 1)[:, :, :, None].expand(n, k, GRID, GRID),
            (2 * (z + 0.5) / levels - 1)[:, :, None, None].expand(n, k, GRID, GRID),
        ],
        -1,
    )
    patch = functional.grid_sample(space[:, None], grid, padding_mode="zeros", align_corners=False)
    patch = patch.reshape(n, k, GRID * GRID)
    patch = patch - patch.mean(-1, keepdim=True)
    return patch / patch.norm(dim=-1, keepdim=True).clamp_min(1e-3)
