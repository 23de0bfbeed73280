"""Residual networks for grey pictures (He et al., CVPR 2016): ResNet-18, 50 and 101, and a small one for a CPU.

Stride sits in the 3x3 convolution of a bottleneck ("v1.5"). Parameters are named as in torchvision and MONAI, so that
weights of either load; with one input channel there and here the outputs are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class ResNetConfig:
    """The shape of a `ResNet`."""

    layers: tuple[int, int, int, int]
    bottleneck: bool
    width: int = 64  # channels of the first stage; each further stage has twice as many
    pool: bool = True  # the 3x3 pooling after the first convolution: without it small pictures keep detail


RESNETS = {
    "resnet18": ResNetConfig((2, 2, 2, 2), bottleneck=False),
    "resnet50": ResNetConfig((3, 4, 6, 3), bottleneck=True),
    "resnet101": ResNetConfig((3, 4, 23, 3), bottleneck=True),
    # 0.7 M parameters; a step of 32 pictures at 64 px takes some 30 ms on one core.
    "small": ResNetConfig((1, 1, 1, 1), bottleneck=False, width=24, pool=False),
}


class Block(nn.Module):
    """Two 3x3 convolutions, or 1x1, 3x3, 1x1 with four times the channels at the end, and a skip."""

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        self.bottleneck = bottleneck
        out = 4 * width if bottleneck else width
        if bottleneck:
            self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
            self.conv3 = nn.Conv2d(width, out, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(out)
        else:
            self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(width, out, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.bottleneck:
            y = self.bn3(self.conv3(F.relu(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Scores (b, classes) of pictures (b, in_channels, h, w); with 0 classes their pooled features (b, channels)."""

    def __init__(self, config: ResNetConfig, classes: int = 1, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, config.width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.width)
        self.pool = nn.MaxPool2d(3, 2, 1) if config.pool else nn.Identity()
        channels, stages = config.width, []
        for stage, blocks in enumerate(config.layers):
            width = config.width * 2**stage
            modules = []
            for block in range(blocks):
                modules.append(Block(channels, width, 2 if stage and not block else 1, config.bottleneck))
                channels = 4 * width if config.bottleneck else width
            stages.append(nn.Sequential(*modules))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(channels, classes) if classes else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (b, channels, h/32, w/32)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
