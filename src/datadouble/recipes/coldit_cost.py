"""What a CoLDiT run will cost, measured on a few steps with random latents."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from datadouble.encoders import load_encoder
from datadouble.encoders.base import Encoder
from datadouble.networks.dit import DiT
from datadouble.recipes.config import to_toml

if TYPE_CHECKING:
    from datadouble.recipes.coldit import ColditConfig

_STEPS = 3


def say_cost(config: "ColditConfig", classes: int, device: torch.device, say: Callable[[str], None]) -> None:
    """Say the resolved configuration, the number of parameters, and the time the training will take here."""
    from datadouble.recipes.coldit import build_network_config, build_objective

    say(to_toml(config))
    name = "tiny-16" if config.data.encoder == "own" else config.data.encoder
    encoder: Encoder = load_encoder(name, config.data.encoder_path)
    shape = build_network_config(config, encoder, classes)
    network, objective = DiT(shape).to(device), build_objective(config.diffusion)
    batch = min(config.training.batch, 64)
    latents = torch.randn(batch, shape.in_channels, shape.input_size, shape.input_size, device=device)
    labels, times = torch.zeros(batch, dtype=torch.int64, device=device), torch.rand(batch, device=device)
    started = 0.0
    for step in range(_STEPS + 1):
        if step == 1:  # the first one warms up
            started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=config.training.precision == "bf16"):
            loss = objective.loss(network, latents, labels, times, torch.randn_like(latents)).total.mean()
        loss.backward()
        float(loss.detach())
    rate = _STEPS * batch / (time.perf_counter() - started)
    parameters = sum(p.numel() for p in network.parameters())
    hours = config.training.images / rate / 3600
    say(
        f"{parameters:,} parameters; about {rate:.0f} images a second on this {device.type}: {hours:.1f} hours to train"
    )
