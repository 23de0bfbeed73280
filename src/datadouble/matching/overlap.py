"""How much of two aligned pictures shows the same texture: a crop shares all of its overlap, a logo next to nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from datadouble.matching import alignment
from datadouble.matching.keypoints import blur, to_working

AGREES = 0.4
"""Local correlation of whitened texture from which a place agrees: five standard deviations of chance."""

_SIGMA = 4.0  # of the local correlation, working pixels
_FLOOR = 0.1  # of the mean energy: where there is no texture, nothing agrees
_DARK, _BRIGHT = 3.5 / 255, 249.5 / 255  # beyond these a pixel is clipped
_BATCH = 32  # pairs at a time


class Overlap(NamedTuple):
    """What m aligned pairs share, as shares of the area of the picture that shows more.

    ``textured`` (m,): both pictures are there, and neither is clipped. ``agreeing`` (m,): where of this the texture
    agrees. ``correlation`` (m,): of the whitened texture, over all that is textured. ``map`` (m, s, s) bool: where it
    agrees, in the frame of the picture that shows more.
    """

    textured: np.ndarray
    agreeing: np.ndarray
    correlation: np.ndarray
    map: np.ndarray


def query_is_closer(transform: np.ndarray) -> np.ndarray:
    """Whether (m,) the query is the picture that shows less, magnified."""
    return transform[:, 0] * transform[:, 1] < 1


@torch.no_grad()
def overlap(
    query: np.ndarray,
    gallery: np.ndarray,
    transform: np.ndarray,
    mirrored: np.ndarray,
    gain: torch.Tensor,
) -> Overlap:
    """Compare pairs of pictures over all that both show.

    Parameters
    ----------
    query, gallery : ndarray
        (m, s, s) uint8.
    transform : ndarray
        (m, 4), from the query, mirrored where ``mirrored`` (m,) says so, to the gallery (see :mod:`.alignment`).
    gain : Tensor
        :func:`.alignment.whitener`'s filter.

    Notes
    -----
    The comparison is made in the frame of the picture that shows more: magnified, its texture would be too coarse.
    """
    parts = []
    for start in range(0, len(query), _BATCH):
        some = slice(start, start + _BATCH)
        laid = torch.from_numpy(np.array(transform[some])), torch.from_numpy(np.array(mirrored[some]))
        parts.append(_overlap(*laid, to_working(query[some]), to_working(gallery[some]), gain))
    if not parts:
        nothing = np.zeros(0, np.float32)
        return Overlap(nothing, nothing, nothing, np.zeros((0, 0, 0), bool))
    return Overlap(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _overlap(
    transform: torch.Tensor, mirrored: torch.Tensor, x: torch.Tensor, y: torch.Tensor, gain: torch.Tensor
) -> Overlap:
    x = torch.where(mirrored[:, None, None], x.flip(-1), x)
    swap = torch.from_numpy(query_is_closer(transform.numpy()))
    wide = torch.where(swap[:, None, None], y, x)
    close = torch.where(swap[:, None, None], x, y)
    inverse = torch.cat([1 / transform[:, :2], -transform[:, 2:] / transform[:, :2]], 1)
    transform = torch.where(swap[:, None], inverse, transform).float()
    inside = _inside(x.shape[-1])
    ok = inside & (alignment.warp(inside.float().expand_as(close), transform) > 0.99)
    ok &= ~(_clipped(wide) | (alignment.warp(_clipped(close).float(), transform) > 0))
    a = alignment.whiten(alignment.detail(wide), gain) * ok
    b = alignment.whiten(alignment.warp(alignment.detail(close), transform), gain) * ok
    planes = torch.stack([a * b, a * a, b * b, ok.float()], 1)
    ab, aa, bb, w = blur(planes.flatten(0, 1), _SIGMA).view_as(planes).unbind(1)
    local = ab / ((aa + _FLOOR * w) * (bb + _FLOOR * w)).sqrt().clamp_min(1e-6)
    agrees = (local > AGREES) & ok
    total = planes.flatten(2).sum(2)
    correlation = total[:, 0] / (total[:, 1] * total[:, 2]).sqrt().clamp_min(1e-6)
    return Overlap(
        ok.flatten(1).float().mean(1).numpy(),
        agrees.flatten(1).float().mean(1).numpy(),
        correlation.numpy(),
        agrees.numpy(),
    )


def _inside(side: int) -> torch.Tensor:
    """(s, s): not at the border, which every picture has."""
    inside = torch.zeros(side, side, dtype=torch.bool)
    inside[alignment.EDGE : -alignment.EDGE, alignment.EDGE : -alignment.EDGE] = True
    return inside


def _clipped(x: torch.Tensor) -> torch.Tensor:
    """Places (n, s, s) within two pixels of one that is black or white."""
    clipped = ((x < _DARK) | (x > _BRIGHT)).float()
    return functional.max_pool2d(clipped[:, None], 5, 1, 2)[:, 0] > 0
