"""The U-Net of ADM (Dhariwal and Nichol 2021, arXiv:2105.05233), by diffusers' `UNet2DModel`.

What diffusers leaves out is added here: weights from a seed with the last layer of each block at zero, so that the
output is exactly zero at the start; and patches, which let a CPU work on a quarter of the places.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datadouble.errors import DataDoubleError, suggest

RESAMPLING = ("residual", "convolution")


@dataclass(frozen=True)
class UNetConfig:
    """Everything that fixes the architecture.

    Attributes
    ----------
    size : side of the square pictures in pixels.
    in_channels : channels of a picture and its mask code.
    num_classes : number of classes; label `num_classes` is the null label.
    learn_sigma : the output has 2 x in_channels channels: the prediction, then the variance's interpolation.
    width, multipliers, blocks : channels of level i are width * multipliers[i], with `blocks` residual blocks.
    attention : sides of the feature maps, in places, at which blocks attend; the middle always does.
    resampling : "residual" is ADM's; "convolution" has half the cost.
    patch : side of the squares of pixels that are folded into channels before the first layer.
    coordinates : give the first layer each place's column and row: scans have a top and a middle, and short training
        does not find out from the borders where they are.
    detail : channels of a last stage at full resolution, which sees the input again; 0: none. Pixels folded into few
        channels lose their texture there; with this stage it goes around them.
    """

    size: int
    in_channels: int
    num_classes: int
    learn_sigma: bool = False
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 4, 8)
    blocks: int = 2
    attention: tuple[int, ...] = ()
    head_width: int = 32
    dropout: float = 0.0
    resampling: str = "residual"
    patch: int = 1
    coordinates: bool = False
    detail: int = 0

    def __post_init__(self) -> None:
        if self.resampling not in RESAMPLING:
            raise DataDoubleError(
                "unknown resampling", found=self.resampling, remedy=suggest(self.resampling, list(RESAMPLING))
            )
        step = self.patch * 2 ** (len(self.multipliers) - 1)
        if self.size % step:
            raise DataDoubleError(
                f"the pictures' side must be a multiple of {step}: the patch times 2 for each level but the first",
                where="UNetConfig",
                found=str(self.size),
                remedy=f"for example {max(1, round(self.size / step)) * step}",
            )
        attending = {self.width * self.multipliers[-1]} | {
            self.width * m
            for m, side in zip(self.multipliers, self.sides, strict=True)
            if side in self.attention
        }
        if self.width % 8 or any(channels % self.head_width for channels in attending):
            raise DataDoubleError(
                "the width must be a multiple of 8, and channels that attend one of the head's width",
                where="UNetConfig",
                found=f"width {self.width}, channels {sorted(attending)}, head {self.head_width}",
                remedy="change model.width or model.head_width",
            )

    @property
    def null_label(self) -> int:
        return self.num_classes

    @property
    def out_channels(self) -> int:
        return self.in_channels * (2 if self.learn_sigma else 1)

    @property
    def sides(self) -> tuple[int, ...]:
        """Side of each level's feature maps, in places."""
        return tuple(self.size // self.patch // 2**level for level in range(len(self.multipliers)))


class UNet(nn.Module):
    """A class-conditional U-Net over pictures with masks.

    Parameters
    ----------
    config : the architecture.
    generator : source of the initial weights; None takes torch's global one.

    Raises
    ------
    DataDoubleError
        When diffusers is missing or cannot be imported.
    """

    def __init__(self, config: UNetConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.body = _build_body(config)
        self.detail = (
            _Detail(config, self.body.time_embedding.linear_2.out_features) if config.detail else None
        )
        self.initialise(generator)

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights: uniform by fan-in, N(0, 1) for classes as ADM has it, zero at the end of each block."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.body.class_embedding.weight, generator=generator)
        for name, module in self.named_modules():
            if name.endswith((".conv2", ".to_out.0", ".conv_out", "detail.last")):
                nn.init.zeros_(module.weight)

    def parameter_count(self) -> int:
        """Trained parameters."""
        return sum(p.numel() for p in self.parameters())

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        """Predict the noise (or the velocity) in `x`.

        Parameters
        ----------
        x : (b, c, h, w) noisy picture and mask code.
        timesteps : (b,) in [0, 1000], integer or fractional.
        labels : (b,) int64 in [0, num_classes]; num_classes is the null label.

        Returns
        -------
        (b, c, h, w), or (b, 2 c, h, w) with `learn_sigma`.
        """
        patch = self.config.patch
        h = F.pixel_unshuffle(x, patch) if patch > 1 else x  # (b, c p p, h / p, w / p)
        if self.config.coordinates:
            h = torch.cat([h, self._places(h)], dim=1)
        h = self.body(h.to(self.body.dtype), timesteps, class_labels=labels).sample
        h = F.pixel_shuffle(h, patch) if patch > 1 else h
        if self.detail is None:
            return h
        time = self.body.time_embedding(self.body.time_proj(timesteps).to(h.dtype))
        return h + self.detail(torch.cat([h, x.to(h.dtype)], dim=1), time)

    @staticmethod
    def _places(like: Tensor) -> Tensor:
        """Column and row of each place of (b, c, h, w), from -1 to 1: (b, 2, h, w)."""
        rows = torch.linspace(-1, 1, like.shape[2], device=like.device, dtype=like.dtype)
        columns = torch.linspace(-1, 1, like.shape[3], device=like.device, dtype=like.dtype)
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))  # (2, h, w): columns, rows
        return grid.expand(len(like), -1, -1, -1)


class _Detail(nn.Module):
    """Convolutions at full resolution over the draft and the noisy input; the time scales and shifts the first."""

    def __init__(self, config: UNetConfig, time_width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(config.in_channels + config.out_channels, config.detail, 3, padding=1)
        self.time = nn.Linear(time_width, 2 * config.detail)
        self.middle = nn.Conv2d(config.detail, config.detail, 3, padding=1)
        self.last = nn.Conv2d(config.detail, config.out_channels, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Of (b, c + out, h, w) and the time's embedding (b, e): the correction (b, out, h, w)."""
        scale, shift = self.time(F.silu(time))[:, :, None, None].chunk(2, dim=1)
        h = F.silu(self.first(x)) * (1 + scale) + shift
        return self.last(F.silu(self.middle(h)))


def build_unet(config: UNetConfig, generator: torch.Generator | None = None) -> UNet:
    """Return a U-Net with fresh weights; see `UNet`."""
    return UNet(config, generator)


def _build_body(config: UNetConfig) -> Any:
    try:
        from diffusers.models.unets.unet_2d import UNet2DModel
    except (ImportError, RuntimeError) as error:  # a torchvision of another build raises RuntimeError
        raise DataDoubleError(
            "the U-Net needs the package diffusers, and it cannot be imported",
            where="recipe diffguard",
            found=str(error)[:120],
            remedy="pip install 'diffusers>=0.35'; remove torchvision where it does not fit torch",
        ) from error
    residual = config.resampling == "residual"

    def kinds(place: str) -> tuple[str, ...]:
        plain = f"Resnet{place}sampleBlock2D" if residual else f"{place}Block2D"
        return tuple(f"Attn{place}Block2D" if side in config.attention else plain for side in config.sides)

    squared = config.patch**2
    return UNet2DModel(
        in_channels=config.in_channels * squared + 2 * config.coordinates,
        out_channels=config.out_channels * squared,
        block_out_channels=tuple(config.width * m for m in config.multipliers),
        layers_per_block=config.blocks,
        down_block_types=kinds("Down"),
        up_block_types=kinds("Up")[::-1],
        downsample_type="resnet" if residual else "conv",
        upsample_type="resnet" if residual else "conv",
        attention_head_dim=config.head_width,
        dropout=config.dropout,
        norm_num_groups=math.gcd(32, config.width),
        resnet_time_scale_shift="scale_shift",
        num_class_embeds=config.num_classes + 1,
    )
