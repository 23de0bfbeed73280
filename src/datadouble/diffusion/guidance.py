"""Classifier-free guidance, its interval, and autoguidance.

Convention of Ho and Salimans 2022 and of CoLDiT: (1 + w) e_c - w e_u with `guidance_weight` w. DiT and
diffusers write e_u + s (e_c - e_u): s = 1 + w. All latent channels are guided; a learned variance is the
conditional one's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from datadouble.diffusion.objectives import ModelFunction, check_channels
from datadouble.diffusion.schedules import Path
from datadouble.errors import DataDoubleError

Predictor = Callable[[Tensor, float], tuple[Tensor, Tensor | None]]
"""(x, time) -> guided prediction (b, c, h, w) and variance fraction (b, c, h, w) or None."""


@dataclass(frozen=True)
class Guidance:
    """How the class is emphasised.

    Attributes
    ----------
    weight : w; 0 is no guidance and costs one forward a step instead of two.
    null_label : label of "no class", DiTConfig.null_label; needed unless `weak_model` is given.
    interval : (low, high) of sigma / alpha inside which to guide, low < sigma / alpha <= high, elsewhere one
        forward only (Kynkäänniemi et al. 2024, arXiv:2404.07724); None guides everywhere.
    weak_model : an earlier or smaller checkpoint; its prediction *with* the class takes the place of e_u
        (autoguidance, Karras et al. 2024, arXiv:2406.02507).
    """

    weight: float = 0.0
    null_label: int | None = None
    interval: tuple[float, float] | None = None
    weak_model: ModelFunction | None = None

    def __post_init__(self) -> None:
        if self.weight and self.null_label is None and self.weak_model is None:
            raise DataDoubleError(
                "guidance needs a null label or a weak model",
                where="Guidance",
                found=f"weight {self.weight} alone",
                remedy="pass null_label=config.null_label",
            )
        if self.interval is not None and not 0 <= self.interval[0] < self.interval[1]:
            raise DataDoubleError(
                "the guidance interval must be (low, high) with 0 <= low < high",
                where="Guidance",
                found=str(self.interval),
                remedy="the unit is sigma / alpha, for example (0.2, 5)",
            )

    def active(self, path: Path, time: float) -> bool:
        """Whether a sampler guides at `time`."""
        if not self.weight:
            return False
        return self.interval is None or self.interval[0] < path.noise_level(time) <= self.interval[1]


def guided(
    model_fn: ModelFunction, path: Path, labels: Tensor, guidance: Guidance | None = None
) -> Predictor:
    """The function that a sampler calls: the network's output at (x, time), guided.

    Conditional and unconditional halves go through the network as one batch [x, x], [labels, null].
    """
    guidance = guidance or Guidance()

    def predict(x: Tensor, time: float) -> tuple[Tensor, Tensor | None]:
        batch, channels = x.shape[:2]
        timesteps = torch.full((batch,), path.network_timestep(time), device=x.device)
        unguided = None
        if not guidance.active(path, time):
            output = model_fn(x, timesteps, labels).float()
        elif guidance.weak_model is not None:
            output = model_fn(x, timesteps, labels).float()
            unguided = guidance.weak_model(x, timesteps, labels).float()
        else:
            assert guidance.null_label is not None
            null = torch.full_like(labels, guidance.null_label)
            both = model_fn(torch.cat([x, x]), torch.cat([timesteps, timesteps]), torch.cat([labels, null]))
            output, unguided = both.float().chunk(2)
        check_channels(output, channels, False)
        prediction = output[:, :channels]
        if unguided is not None:
            prediction = (1 + guidance.weight) * prediction - guidance.weight * unguided[:, :channels]
        return prediction, output[:, channels:] if output.shape[1] > channels else None

    return predict
