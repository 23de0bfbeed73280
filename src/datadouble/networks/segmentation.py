"""A U-Net for segmentation (Ronneberger et al., MICCAI 2015) with the parts that nnU-Net settled on.

Instance norm and leaky ReLU, strided convolutions down, transposed convolutions up (Isensee et al., Nature Methods
2021). Works on any side that 2**(levels - 1) divides.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class SegmentationConfig:
    """The shape of a `SegmentationUNet`."""

    width: int = 32  # channels at full size; each level down has twice as many
    levels: int = 5
    most_channels: int = 512
    dims: int = 2  # 3: volumes


def _convolutions(dims: int, channels: int, width: int, stride: int = 1) -> nn.Sequential:
    """Two convolutions of side 3, each with instance norm and leaky ReLU; the first may halve the size."""
    convolution = nn.Conv2d if dims == 2 else nn.Conv3d
    norm = nn.InstanceNorm2d if dims == 2 else nn.InstanceNorm3d
    return nn.Sequential(
        convolution(channels, width, 3, stride, 1, bias=False),
        norm(width, affine=True),
        nn.LeakyReLU(0.01),
        convolution(width, width, 3, 1, 1, bias=False),
        norm(width, affine=True),
        nn.LeakyReLU(0.01),
    )


class SegmentationUNet(nn.Module):
    """Scores before softmax or sigmoid (b, classes, h, w) of grey pictures (b, 1, h, w), or volumes (b, 1, d, h, w)."""

    def __init__(self, config: SegmentationConfig, classes: int = 1) -> None:
        super().__init__()
        widths = [min(config.width * 2**level, config.most_channels) for level in range(config.levels)]
        self.down = nn.ModuleList(
            _convolutions(config.dims, widths[level - 1] if level else 1, widths[level], 2 if level else 1)
            for level in range(config.levels)
        )
        upwards = list(reversed(range(config.levels - 1)))
        enlarge = nn.ConvTranspose2d if config.dims == 2 else nn.ConvTranspose3d
        self.up = nn.ModuleList(enlarge(widths[i + 1], widths[i], 2, 2) for i in upwards)
        self.join = nn.ModuleList(_convolutions(config.dims, 2 * widths[i], widths[i]) for i in upwards)
        self.head = (nn.Conv2d if config.dims == 2 else nn.Conv3d)(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, reversed(skips[:-1]), strict=True):
            x = join(torch.cat([up(x), skip], dim=1))
        return self.head(x)
