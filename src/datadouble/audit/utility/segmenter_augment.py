"""Changing training pictures and their masks together: geometry on both, grey levels on the picture.

``nnunet`` are the probabilities and ranges of nnU-Net (Isensee et al. 2021, as version 2 has them), without elastic
deformation, which it dropped. Volumes are turned about the axis of their slices only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Augmentation:
    """Probabilities (``p_``) and ranges; grey levels are those after normalisation, of spread about 1."""

    rotation: float = 0.0  # degrees, either way
    p_rotation: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    p_zoom: float = 0.0
    shift: float = 0.0  # of the side
    p_noise: float = 0.0
    p_blur: float = 0.0
    p_brightness: float = 0.0
    p_contrast: float = 0.0
    p_low_resolution: float = 0.0
    p_gamma: float = 0.0
    p_inverted_gamma: float = 0.0
    spread: float = 0.25  # of brightness and contrast about 1
    mirror: bool = True


AUGMENTATIONS = {
    "none": Augmentation(mirror=False),
    "light": Augmentation(shift=0.06, p_brightness=1.0, spread=0.1),
    "turned": Augmentation(
        20.0, 0.5, (0.9, 1.1), 0.5, shift=0.06, p_brightness=0.5, p_contrast=0.5, spread=0.15
    ),
    "nnunet": Augmentation(
        180.0,
        0.2,
        (0.7, 1.4),
        0.2,
        p_noise=0.1,
        p_blur=0.1,  # 0.2 a picture, 0.5 a channel
        p_brightness=0.15,
        p_contrast=0.15,
        p_low_resolution=0.125,
        p_gamma=0.3,
        p_inverted_gamma=0.1,
    ),
}
UPRIGHT_ROTATION = 15.0


def augment(
    x: Tensor, masks: Tensor, how: Augmentation, rng: np.random.Generator, *, upright: bool = True
) -> tuple[Tensor, Tensor]:
    """Change a batch of pictures (b, 1, [d,] h, w) float32 and masks (b, [d,] h, w) of class ids.

    Parameters
    ----------
    upright : bool
        Mirror left to right only and turn by 15 degrees at most: where up is up, as in ultrasound, whose shadows fall
        downwards. Otherwise every axis is mirrored and turns are as ``how`` says.
    """
    x, masks = _move(x, masks, how, rng, upright)
    x = _grey(x, how, rng)
    if how.mirror:
        axes = [x.ndim - 1] if upright else list(range(2, x.ndim))
        for axis in axes:
            turned = torch.from_numpy(rng.random(len(x)) < 0.5).to(x.device)
            if turned.any():
                x[turned] = x[turned].flip(axis)
                masks[turned] = masks[turned].flip(axis - 1)
    return x, masks


def _move(
    x: Tensor, masks: Tensor, how: Augmentation, rng: np.random.Generator, upright: bool
) -> tuple[Tensor, Tensor]:
    b = len(x)
    most = min(how.rotation, UPRIGHT_ROTATION) if upright else how.rotation
    angles = np.deg2rad(rng.uniform(-most, most, b)) * (rng.random(b) < how.p_rotation)
    low, high = (float(np.log(end)) for end in how.zoom)
    zooms = np.where(rng.random(b) < how.p_zoom, np.exp(rng.uniform(low, high, b)), 1.0)
    shifts = rng.uniform(-2 * how.shift, 2 * how.shift, (b, 2))  # in units of half a side
    same = (angles == 0) & (zooms == 1) & (shifts == 0).all(axis=1)
    moving = np.flatnonzero(~same)
    if len(moving) == 0:
        return x, masks.clone()
    height, width = x.shape[-2:]
    aspect = height / width
    cos, sin = np.cos(angles) / zooms, np.sin(angles) / zooms
    # Rows: where each output place (x, y) comes from, on axes from -1 to 1.
    plane = np.stack(
        [
            np.stack([cos, sin * aspect, shifts[:, 0]], axis=1),
            np.stack([-sin / aspect, cos, shifts[:, 1]], axis=1),
        ],
        axis=1,
    )
    if x.ndim == 5:
        theta = np.zeros((b, 3, 4))
        theta[:, :2, :2], theta[:, :2, 3] = plane[:, :, :2], plane[:, :, 2]
        theta[:, 2, 2] = 1
    else:
        theta = plane
    at = torch.from_numpy(moving).to(x.device)
    part, truth = x[at], masks[at][:, None].float()
    places = torch.from_numpy(theta[moving].astype(np.float32)).to(x.device)
    grid = F.affine_grid(places, list(part.shape), align_corners=False)
    x, masks = x.clone(), masks.clone()
    x[at] = F.grid_sample(part, grid, mode="bilinear", padding_mode="border", align_corners=False)
    found = F.grid_sample(truth, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    masks[at] = found[:, 0].to(masks.dtype)
    return x, masks


def _grey(x: Tensor, how: Augmentation, rng: np.random.Generator) -> Tensor:
    """Each step in nnU-Net's order, each on its own draw of pictures."""
    x = x.clone()
    for row in np.flatnonzero(rng.random(len(x)) < how.p_noise):
        noise = rng.standard_normal(tuple(x[row].shape), dtype=np.float32) * np.sqrt(rng.uniform(0, 0.1))
        x[row] += torch.from_numpy(noise.astype(np.float32)).to(x.device)
    for row in np.flatnonzero(rng.random(len(x)) < how.p_blur):
        x[row] = _blurred(x[row : row + 1], float(rng.uniform(0.5, 1.0)))[0]
    for row in np.flatnonzero(rng.random(len(x)) < how.p_brightness):
        x[row] *= float(rng.uniform(1 - how.spread, 1 + how.spread))
    for row in np.flatnonzero(rng.random(len(x)) < how.p_contrast):
        part, factor = x[row], float(rng.uniform(1 - how.spread, 1 + how.spread))
        low, high, mean = part.min(), part.max(), part.mean()
        x[row] = torch.clamp((part - mean) * factor + mean, low, high)
    for row in np.flatnonzero(rng.random(len(x)) < how.p_low_resolution):
        x[row] = _coarser(x[row : row + 1], float(rng.uniform(0.5, 1.0)))[0]
    for chance, sign in ((how.p_inverted_gamma, -1.0), (how.p_gamma, 1.0)):
        for row in np.flatnonzero(rng.random(len(x)) < chance):
            x[row] = sign * _gamma(sign * x[row], float(rng.uniform(0.7, 1.5)))
    return x


def _blurred(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur within the slices of (1, 1, [d,] h, w)."""
    reach = int(np.ceil(3 * sigma))
    places = torch.arange(-reach, reach + 1, dtype=torch.float32, device=x.device)
    kernel = torch.exp(-0.5 * (places / sigma) ** 2)
    kernel = kernel / kernel.sum()
    flat = x.reshape(-1, 1, *x.shape[-2:])
    flat = F.pad(flat, (reach, reach, reach, reach), mode="replicate")
    flat = F.conv2d(F.conv2d(flat, kernel[None, None, :, None]), kernel[None, None, None, :])
    return flat.reshape(x.shape)


def _coarser(x: Tensor, share: float) -> Tensor:
    """Sampled at a share of the resolution and enlarged again, within the slices."""
    height, width = x.shape[-2:]
    flat = x.reshape(-1, 1, height, width)
    small = F.interpolate(
        flat, (max(1, round(height * share)), max(1, round(width * share))), mode="nearest-exact"
    )
    return F.interpolate(small, (height, width), mode="bicubic", align_corners=False).reshape(x.shape)


def _gamma(part: Tensor, power: float) -> Tensor:
    """Grey levels to a power between their least and greatest, with mean and spread kept."""
    low, high = part.min(), part.max()
    wide = (high - low).clamp_min(1e-7)
    changed = ((part - low) / wide) ** power
    return (changed - changed.mean()) / changed.std().clamp_min(1e-7) * part.std() + part.mean()
