"""Soft Dice plus cross-entropy over the background and any number of classes, at one scale or several."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from datadouble.networks.dynunet import at_scale, truth_at_scale

SMOOTH = 1e-5


def dice_ce_loss(scores: Tensor, truth: Tensor, *, batch_dice: bool = True) -> Tensor:
    """1 - mean soft Dice of the classes without the background, plus cross-entropy, as nnU-Net weighs them.

    Parameters
    ----------
    scores : Tensor
        (b, classes, ...) before softmax.
    truth : Tensor
        (b, ...) int64 class ids.
    batch_dice : bool
        Overlaps summed over the batch before they are divided, so that a class that one picture lacks costs nothing
        there.
    """
    chance = scores.softmax(dim=1)[:, 1:]
    wanted = F.one_hot(truth, scores.shape[1]).movedim(-1, 1)[:, 1:].to(chance.dtype)
    axes = list(range(2, scores.ndim))
    if batch_dice:
        axes = [0, *axes]
    overlap = (chance * wanted).sum(axes)
    total = chance.sum(axes) + wanted.sum(axes)
    dice = (2 * overlap + SMOOTH) / (total + SMOOTH)
    return F.cross_entropy(scores, truth) + 1 - dice.mean()


def dice_ce_by_sample(scores: Tensor, truth: Tensor) -> Tensor:
    """Each sample's own `dice_ce_loss` (b,), as if it were alone in its batch: for private training."""
    chance = scores.softmax(dim=1)[:, 1:]
    wanted = F.one_hot(truth, scores.shape[1]).movedim(-1, 1)[:, 1:].to(chance.dtype)
    overlap, total = (chance * wanted).flatten(2).sum(2), (chance + wanted).flatten(2).sum(2)
    dice = (2 * overlap + SMOOTH) / (total + SMOOTH)
    entropy = F.cross_entropy(scores, truth, reduction="none").flatten(1).mean(1)
    return entropy + 1 - dice.mean(1)


def supervised_by_sample(
    scores: Tensor, truth: Tensor, scales: Sequence[tuple[tuple[int, ...], float]]
) -> Tensor:
    """Each sample's own `supervised_loss` (b,)."""
    total = torch.zeros(len(scores), device=scores.device)
    for number, (step, weight) in enumerate(scales):
        found = at_scale(scores[:, number], step)
        total = total + weight * dice_ce_by_sample(found, truth_at_scale(truth, step))
    return total


def supervised_loss(
    scores: Tensor, truth: Tensor, scales: Sequence[tuple[tuple[int, ...], float]], *, batch_dice: bool = True
) -> Tensor:
    """The weighted sum over scales of scores (b, heads, classes, ...), each against the truth at its scale."""
    total = torch.zeros((), device=scores.device)
    for number, (step, weight) in enumerate(scales):
        found = at_scale(scores[:, number], step)
        total = total + weight * dice_ce_loss(found, truth_at_scale(truth, step), batch_dice=batch_dice)
    return total
