"""Training a `UNetAutoencoder` on grey pictures by mean absolute error, and the error it leaves.

The audit takes its bottleneck as a feature, a recipe its error as a filter: one training for both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datadouble.cohort.pixels import fit_square, to_unit
from datadouble.networks.unet_autoencoder import UNetAutoencoder
from datadouble.networks.weights import load_tensors, save_tensors
from datadouble.progress import Bar
from datadouble.randomness import generator_for
from datadouble.training.checkpoints import below_prefix, pack_optimiser, unpack_optimiser, with_prefix


@dataclass(frozen=True)
class AutoencoderOptions:
    """How the autoencoder is built and trained."""

    size: int = 64  # pixels; 128 takes four times as long
    images: int = 8_000  # seen in all; about a minute on two cores at 64 pixels
    batch: int = 16
    learning_rate: float = 5e-4  # at 2e-3 short runs stay at a grey picture
    warm_up: int = 128  # images
    flips: bool = True  # left to right
    widths: tuple[int, ...] = (32, 64, 128, 256)
    save_every: int = 2_048  # images, where a folder is given
    seed: int = 0


def prepare(pictures: Sequence[np.ndarray] | np.ndarray, size: int) -> np.ndarray:
    """uint8 (n, size, size) of any pictures, by the one resize path."""
    squares = [np.round(to_unit(fit_square(picture, size)) * 255).astype(np.uint8) for picture in pictures]
    return np.stack(squares) if squares else np.empty((0, size, size), np.uint8)


def to_inputs(pictures: np.ndarray) -> Tensor:
    """(n, s, s) on the 0..255 scale -> float32 (n, 1, s, s) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures, dtype=np.float32))[:, None] / 127.5 - 1


def absolute_error(network: nn.Module, images: Tensor) -> Tensor:
    """Mean absolute error (n,) of the reconstructions of (n, 1, s, s), in [0, 2]."""
    return (network(images).float() - images).abs().mean(dim=(1, 2, 3))


def train_reconstruction(
    network: UNetAutoencoder,
    images: np.ndarray,
    options: AutoencoderOptions,
    *,
    device: str = "cpu",
    bf16: bool = False,
    state: Path | None = None,
    facts: dict[str, Any] | None = None,
) -> None:
    """Train in place; what is drawn depends on the seed and the images seen alone.

    Parameters
    ----------
    images
        uint8 (n, s, s) of `options.size`; the generator's training pictures only.
    bf16
        Multiply in bf16.
    state
        File that keeps the training's state, with `facts`; a training that was cut off goes on from it, bit for bit.
        The caller deletes it in the end.
    """
    network.initialise(options.seed)
    network.to(device).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=1e-4)
    seen = 0
    if state is not None and state.is_file():
        tensors, _ = load_tensors(state)
        network.load_state_dict(below_prefix("network", tensors))
        unpack_optimiser(optimiser, below_prefix("optimiser", tensors))
        seen = int(tensors["images_seen"])
    saved = seen
    with Bar("autoencoder (images seen)", total=options.images, done=seen) as bar:
        while seen < options.images:
            batch = _batch(images, options, seen).to(device).contiguous(memory_format=torch.channels_last)
            for group in optimiser.param_groups:
                group["lr"] = _learning_rate(options, seen)
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
                error = absolute_error(network, batch).mean()
            optimiser.zero_grad()
            error.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            seen += options.batch
            bar.advance(options.batch, note=f"L1 {error.item():.3f}")
            if state is not None and seen - saved >= options.save_every and seen < options.images:
                tensors = with_prefix("network", network.state_dict())
                tensors |= with_prefix("optimiser", pack_optimiser(optimiser))
                save_tensors(state, tensors | {"images_seen": torch.tensor(seen)}, facts)
                saved = seen


def _learning_rate(options: AutoencoderOptions, seen: int) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * min(seen / options.images, 1)))
    return options.learning_rate * min(1.0, (seen + options.batch) / max(options.warm_up, 1)) * cosine


def _batch(images: np.ndarray, options: AutoencoderOptions, seen: int) -> Tensor:
    """The batch (b, 1, s, s) in [-1, 1] that follows ``seen`` images: a function of seed and clock alone."""
    random = generator_for(options.seed, "autoencoder-batch", seen)
    chosen = images[random.integers(len(images), size=options.batch)]
    if options.flips:
        chosen = np.where(random.random((options.batch, 1, 1)) < 0.5, chosen[:, :, ::-1], chosen)
    return to_inputs(chosen)
