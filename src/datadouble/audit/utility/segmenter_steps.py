"""The steps of a segmenter's training: what optimises, and how fast when."""

from __future__ import annotations

import math

import torch
from torch import nn

from datadouble.audit.utility.segmenter_settings import SegmenterSettings


def make_optimiser(network: nn.Module, settings: SegmenterSettings) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW, over all parameters."""
    if settings.optimiser == "sgd":
        return torch.optim.SGD(
            network.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=True,
            weight_decay=settings.weight_decay,
        )
    return torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )


def rate_at(settings: SegmenterSettings, step: int) -> float:
    """Factor on the learning rate at a step, from 1 towards 0."""
    share = step / settings.steps
    return (1 - share) ** 0.9 if settings.schedule == "poly" else 0.5 * (1 + math.cos(math.pi * share))
