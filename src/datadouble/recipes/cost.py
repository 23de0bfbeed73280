"""What a run will cost, measured on a few steps with random pictures."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from datadouble.diffusion.objectives import Objective
from datadouble.recipes.config import to_toml
from datadouble.training.loop import TrainingOptions

_STEPS = 3


def say_cost(
    config: Any,
    training: TrainingOptions,
    network: nn.Module,
    objective: Objective,
    shape: tuple[int, int, int],
    device: torch.device,
    say: Callable[[str], None],
) -> None:
    """Say the resolved configuration, the number of parameters, and the time the training will take here.

    Parameters
    ----------
    shape
        (c, h, w) of what is learned.
    """
    say(to_toml(config))
    network = network.to(device)
    batch = min(training.micro_batch or training.batch, 64)
    clean = torch.randn(batch, *shape, device=device)
    labels, times = torch.zeros(batch, dtype=torch.int64, device=device), torch.rand(batch, device=device)
    started = 0.0
    for step in range(_STEPS + 1):
        if step == 1:  # the first one warms up
            started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bf16"):
            loss = objective.loss(network, clean, labels, times, torch.randn_like(clean)).total.mean()
        loss.backward()
        float(loss.detach())
    rate = _STEPS * batch / (time.perf_counter() - started)
    parameters = sum(p.numel() for p in network.parameters())
    hours = training.images / rate / 3600
    say(
        f"{parameters:,} parameters; about {rate:.0f} images a second on this {device.type}: {hours:.1f} hours to train"
    )
