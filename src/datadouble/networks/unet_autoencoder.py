"""A U-Net without its skips: an autoencoder of grey scans whose bottleneck serves as a feature.

With skips the picture would pass around the bottleneck, and the bottleneck would learn nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from datadouble.randomness import torch_generator_for


@dataclass(frozen=True)
class UNetAutoencoderConfig:
    """The shape of a `UNetAutoencoder`; the side of a picture must divide by 2 ** (number of widths)."""

    widths: tuple[int, ...] = (32, 64, 128, 256)  # channels at 1/2, 1/4, ...; the last is the bottleneck's


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each after normalisation and SiLU, with a skip; begins as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        groups = max(width // 16, 1)
        self.layers = nn.Sequential(
            nn.GroupNorm(groups, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(groups, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class UNetAutoencoder(nn.Module):
    """Reconstruct (b, 1, s, s) in [-1, 1] through (b, c, s/16, s/16) with the default widths."""

    def __init__(self, config: UNetAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        first, *deeper = config.widths
        # The unshuffle spares the layers at full size, which would cost as much as all others.
        down: list[nn.Module] = [nn.PixelUnshuffle(2), nn.Conv2d(4, first, 3, padding=1), DoubleConv(first)]
        up: list[nn.Module] = [
            DoubleConv(first),
            nn.SiLU(),
            nn.Conv2d(first, 4, 3, padding=1),
            nn.PixelShuffle(2),
        ]
        width = first
        for wider in deeper:
            down += [nn.Conv2d(width, wider, 3, stride=2, padding=1), DoubleConv(wider)]
            up = [DoubleConv(wider), nn.Upsample(scale_factor=2), nn.Conv2d(wider, width, 3, padding=1), *up]
            width = wider
        self.encoder, self.decoder = nn.Sequential(*down), nn.Sequential(*up)

    def initialise(self, seed: int) -> None:
        """Draw all weights anew from a seed (He et al., 2015); the last convolution of each block starts at zero."""
        last = {id(module.layers[-1]) for module in self.modules() if isinstance(module, DoubleConv)}
        with torch.no_grad():
            for name, module in self.named_modules():
                if isinstance(module, nn.Conv2d):
                    assert module.bias is not None
                    module.bias.zero_()
                    random = torch_generator_for(seed, "unet-autoencoder", name)
                    scale = 0.0 if id(module) in last else math.sqrt(1 / module.weight[0].numel())
                    module.weight.normal_(0, 1, generator=random).mul_(scale)

    @property
    def factor(self) -> int:
        """By how much the bottleneck is smaller than the picture, on a side."""
        return 2 ** len(self.config.widths)

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruction (b, 1, s, s)."""
        return self.decoder(self.encoder(images))

    def bottleneck_maxima(self, images: Tensor) -> Tensor:
        """Greatest value of each bottleneck channel over the picture: (b, 1, s, s) -> (b, c)."""
        return self.encoder(images).amax(dim=(2, 3))
