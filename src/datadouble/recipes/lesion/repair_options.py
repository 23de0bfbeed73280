"""Section ``[repair]`` and the networks that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import nn

from datadouble.errors import DataDoubleError
from datadouble.networks.lora import add_lora
from datadouble.networks.unet import UNetConfig, build_unet
from datadouble.randomness import torch_generator_for
from datadouble.recipes.lesion.bands import BandOptions
from datadouble.recipes.lesion.repair_task import CHANNELS, make_objective
from datadouble.recipes.lesion.seams import SeamOptions
from datadouble.training.loop import TrainingOptions

_NOT_ADAPTED = ("time_embedding", "time_emb_proj", "class_embedding")


@dataclass(frozen=True)
class RepairOptions(TrainingOptions):
    """Section ``[repair]``; the training options are those of the base.

    Lengths are in pixels of the picture as drawn (`data.size`).
    """

    side: int = 64  # of the crops that are redrawn
    seam_images: int = 6_000  # composites to see after the base
    seam_learning_rate: float = 5e-4
    lora_rank: int = 8  # of the adapters; 0: all weights are trained on composites
    lora_targets: tuple[str, ...] = ()  # names of layers; empty: every linear layer and convolution
    objective: str = (
        "clean"  # or mse (of the noise), or flow: both leave noise in the band after short training
    )
    gamma: float = 25.0  # greatest weight of clean: the greater, the more texture counts
    width: int = 32
    multipliers: tuple[int, ...] = (1, 2, 4)
    blocks: int = 1
    attention: tuple[int, ...] = ()
    head_width: int = 32
    patch: int = 2
    detail: int = 16
    band_outside: float = 3.0  # ring round the lesion's border
    band_inside: float = 2.0
    band_reach: float = 6.0  # of training bands
    shadow_step: float = 0.06  # grey in [0, 1]; above it a change of the healthy scan is shadow
    shadow_width: float = 0.0  # band along a shadow's border; 0: none, for the blend's are soft
    gain: float = 0.15  # how wrong composites for training are: see seams.SeamOptions
    offset: float = 0.06
    shift: float = 3.0
    scale: float = 0.1
    sampler: str = "ddim"  # or dpmpp, sde: both overshoot after short training
    steps: int = 8

    def bands(self) -> BandOptions:
        """Return the widths of bands."""
        return BandOptions(
            self.band_outside, self.band_inside, self.band_reach, self.shadow_step, self.shadow_width
        )

    def seams(self) -> SeamOptions:
        """Return how wrong composites are."""
        return SeamOptions(self.gain, self.offset, self.shift, self.scale)

    def network(self, labels: int) -> UNetConfig:
        """Return the network's shape for a number of labels."""
        return UNetConfig(
            size=self.side,
            in_channels=CHANNELS,
            num_classes=labels,
            width=self.width,
            multipliers=self.multipliers,
            blocks=self.blocks,
            attention=self.attention,
            head_width=self.head_width,
            resampling="convolution",
            patch=self.patch,
            detail=self.detail,
        )

    def training(self, phase: str) -> TrainingOptions:
        """Return how a phase is trained; its images divide by the batch."""
        values = {item.name: getattr(self, item.name) for item in fields(TrainingOptions)}
        if phase == "seam":
            images = max(1, round(self.seam_images / self.batch)) * self.batch
            values |= {"images": images, "learning_rate": self.seam_learning_rate}
        return TrainingOptions(**values)


def check_repair(options: RepairOptions, size: int) -> None:
    """Refuse crops that are larger than the picture, and settings that cannot be.

    Raises
    ------
    DataDoubleError
    """
    if options.side > size:
        raise DataDoubleError(
            "the crop of the repair is larger than the picture",
            where="repair.side",
            found=f"{options.side} at data.size {size}",
            remedy=f"use at most {size}",
        )
    if options.lora_rank < 0:
        raise DataDoubleError(
            "a rank is not negative", where="repair.lora_rank", found=str(options.lora_rank)
        )
    make_objective(options.objective, options.gamma)


def build_repair_unet(options: RepairOptions, classes: int) -> nn.Module:
    """Return a fresh network for `classes` lesion classes and the healthy one."""
    return build_unet(options.network(classes + 1), torch_generator_for(options.seed, "repair-weights"))


def build_seam_network(
    network: nn.Module, rank: int, targets: Sequence[str], generator: torch.Generator | None = None
) -> nn.Module:
    """Put adapters into the base, in place: beside convolutions too, for a U-Net has few linear layers.

    Raises
    ------
    DataDoubleError
        When one of `targets` is no layer of the network.
    """
    add_lora(network, rank, convolutions=True, targets=targets, skip=_NOT_ADAPTED, generator=generator)
    return network
