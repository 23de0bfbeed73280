"""What many pictures show at the same place: words, rulers, logos and screen frames of one device, aligned anatomy.

It says nothing about whether two pictures are one scan, and it hides what does. Each picture is compared with the mean
texture of those most alike in place: speckle averages out, what they share stays.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from datadouble.matching import alignment
from datadouble.matching.keypoints import SIDE, blur, to_working

OTHERS = 24
"""Pictures most alike in place, whose mean shows what is common."""
TWINS = 3
"""The most alike of them do not count: they may be the same scan."""
FEWEST = 12
"""Pictures of other groups below which nothing is called common."""

_AGREES = 0.5  # local correlation with the mean; five standard deviations of chance
_SIGMA = 4.0  # of the local correlation, working pixels
_FLOOR = 0.1  # of the mean energy
_UNIT = 32.0  # steps of the stored texture in its standard deviation
_BATCH = 64
_BLOCK = 512


@torch.no_grad()
def without_common(pictures: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Pictures with what is common to many blurred away.

    Parameters
    ----------
    pictures : ndarray
        (n, s, s) uint8.
    groups : ndarray of int
        (n,): pictures known to look alike are not compared.

    Notes
    -----
    About 25 ms a picture on one core; memory 16 kB a picture.
    """
    n = len(pictures)
    batches = [slice(i, min(i + _BATCH, n)) for i in range(0, n, _BATCH)]
    sample = pictures[:: max(1, n // 512)]
    gain = alignment.whitener(alignment.detail(to_working(sample)))
    texture = torch.empty((n, SIDE, SIDE), dtype=torch.int8)
    for rows in batches:
        fine = alignment.whiten(alignment.detail(to_working(pictures[rows])), gain)
        texture[rows] = (fine * _UNIT).round().clamp(-127, 127).to(torch.int8)
    flat = texture.flatten(1)
    result = pictures.copy()
    for rows in batches:
        asked = flat[rows].float()
        alike = torch.cat([asked @ flat[i : i + _BLOCK].float().T for i in range(0, n, _BLOCK)], 1)
        alike[torch.from_numpy(groups[rows, None] == groups[None])] = -torch.inf
        value, nearest = alike.topk(min(OTHERS, n), dim=1)
        for k, row in enumerate(range(rows.start, rows.stop)):
            others = nearest[k][value[k] > -torch.inf][TWINS:]
            if len(others) >= FEWEST - TWINS:
                result[row] = _without(pictures[row], texture[row].float(), texture[others].float())
    return result


def _without(picture: np.ndarray, own: torch.Tensor, others: torch.Tensor) -> np.ndarray:
    """The picture (s, s) with the places blurred where its texture is that of the others' mean."""
    mean = others.mean(0)
    planes = torch.stack([own * mean, own * own, mean * mean])
    ab, aa, bb = blur(planes, _SIGMA)
    floor = _FLOOR * _UNIT**2
    local = ab / ((aa + floor) * (bb + floor / len(others))).sqrt()
    common = (local > _AGREES).float()[None, None]
    if not common.any():
        return picture
    wide = functional.max_pool2d(common, 7, 1, 3)
    x = torch.from_numpy(np.array(picture, np.float32))[None, None]
    weight = functional.interpolate(wide, x.shape[-2:])[0]
    weight = blur(weight, 1.0)
    # the mean of what is around, not counting the common places themselves
    around = blur(x[0] * (1 - weight), 8.0) / blur(1 - weight, 8.0).clamp_min(0.02)
    mixed = x[0] * (1 - weight) + around * weight
    return mixed[0].round().clamp(0, 255).to(torch.uint8).numpy()
