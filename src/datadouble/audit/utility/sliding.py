"""Predicting a volume patch by patch: half-overlapping windows, weighted so that their middles count most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def sliding_window(
    network: Callable[[Tensor], Tensor], x: Tensor, patch: Sequence[int], *, overlap: float = 0.5
) -> Tensor:
    """The weighted mean of a network's outputs over windows.

    Parameters
    ----------
    network : callable
        (1, 1, *patch) -> (1, classes, *patch).
    x : Tensor
        (1, 1, *sides); sides below the patch are padded with their edge, and cut again.
    overlap : float
        Share of the patch that neighbouring windows have in common at least.

    Returns
    -------
    Tensor
        (1, classes, *sides) float32 on the CPU.
    """
    sides = x.shape[2:]
    short = [max(0, int(wanted) - have) for wanted, have in zip(patch, sides, strict=True)]
    before = [amount // 2 for amount in short]
    pad = [end for a, amount in reversed(list(zip(before, short))) for end in (a, amount - a)]
    padded = F.pad(x, pad, mode="replicate") if any(short) else x
    weight = _weight(patch)
    total, weights = None, torch.zeros(padded.shape[2:])
    for corner in product(
        *(starts(h, int(p), overlap) for h, p in zip(padded.shape[2:], patch, strict=True))
    ):
        window: tuple[Any, ...] = (..., *(slice(a, a + int(p)) for a, p in zip(corner, patch, strict=True)))
        found = network(padded[window]).float().cpu()
        if total is None:
            total = torch.zeros(1, found.shape[1], *padded.shape[2:])
        total[window] += found * weight
        weights[window] += weight
    assert total is not None
    cut: tuple[Any, ...] = (..., *(slice(a, a + side) for a, side in zip(before, sides, strict=True)))
    return (total / weights)[cut]


def starts(side: int, patch: int, overlap: float) -> list[int]:
    """Where windows begin along an axis: evenly spread, the first and last at the ends."""
    if side <= patch:
        return [0]
    count = int(np.ceil((side - patch) / max(1, int(patch * (1 - overlap))))) + 1
    return [round(place) for place in np.linspace(0, side - patch, count)]


def _weight(patch: Sequence[int]) -> Tensor:
    """A Gaussian of an eighth of the patch as in nnU-Net, never below 0.001."""
    weight = torch.ones(())
    for side in patch:
        places = torch.arange(int(side), dtype=torch.float32) - (int(side) - 1) / 2
        weight = weight[..., None] * torch.exp(-0.5 * (places / (int(side) / 8)) ** 2)
    return weight.clamp_min(1e-3)
