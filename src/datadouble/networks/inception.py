"""Inception-v3 as the FID paper uses it: the TensorFlow graph of 2015-12-05, rebuilt for its converted weights.

Not torchvision's Inception: 1,008 classes; average pooling that leaves padded zeros out of the mean (Mixed_5,
Mixed_6, Mixed_7b); maximum pooling in the last block (Mixed_7c), a slip of the original that the numbers depend
on; and a bilinear resize without half-pixel centres. The modules carry the names of the weight file
``weights-inception-2015-12-05-6726825d.pth``, so that its state dict loads as it is. Architecture: Szegedy et al.,
CVPR 2016; use for FID: Heusel et al., NeurIPS 2017.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE, POOLED, CLASSES = 299, 2048, 1008
BATCH_NORM_EPSILON = 1e-3

POINT, SQUARE, ROW, COLUMN = (1, 1), (3, 3), (1, 7), (7, 1)  # kernels, (height, width)
Step = tuple[int, tuple[int, int]]  # output channels, kernel


class Branch(NamedTuple):
    """One branch of a block: pooling or none, then convolutions; `fork` doubles the last one into 1x3 and 3x1."""

    name: str
    steps: tuple[Step, ...]
    pool: str = ""  # "average", "max"
    fork: int = 0  # channels of each of the two


def _block_35(pool_channels: int) -> tuple[Branch, ...]:
    return (
        Branch("branch1x1", ((64, POINT),)),
        Branch("branch5x5", ((48, POINT), (64, (5, 5)))),
        Branch("branch3x3dbl", ((64, POINT), (96, SQUARE), (96, SQUARE))),
        Branch("branch_pool", ((pool_channels, POINT),), pool="average"),
    )


def _block_17(c: int) -> tuple[Branch, ...]:
    return (
        Branch("branch1x1", ((192, POINT),)),
        Branch("branch7x7", ((c, POINT), (c, ROW), (192, COLUMN))),
        Branch("branch7x7dbl", ((c, POINT), (c, COLUMN), (c, ROW), (c, COLUMN), (192, ROW))),
        Branch("branch_pool", ((192, POINT),), pool="average"),
    )


def _block_8(pool: str) -> tuple[Branch, ...]:
    return (
        Branch("branch1x1", ((320, POINT),)),
        Branch("branch3x3", ((384, POINT),), fork=384),
        Branch("branch3x3dbl", ((448, POINT), (384, SQUARE)), fork=384),
        Branch("branch_pool", ((192, POINT),), pool=pool),
    )


# Blocks that halve the side: the last convolution of each branch has stride 2, beside a maximum pooling.
_TO_17 = (
    Branch("branch3x3", ((384, SQUARE),)),
    Branch("branch3x3dbl", ((64, POINT), (96, SQUARE), (96, SQUARE))),
)
_TO_8 = (
    Branch("branch3x3", ((192, POINT), (320, SQUARE))),
    Branch("branch7x7x3", ((192, POINT), (192, ROW), (192, COLUMN), (192, SQUARE))),
)


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(
        self, channels: int, out: int, kernel: tuple[int, int], *, stride: int = 1, same: bool = True
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if same else 0
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=BATCH_NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Mixed(nn.Module):
    """Branches side by side: (n, c, h, w) -> (n, sum of their channels, h, w), or half the side with `halve`."""

    def __init__(self, channels: int, branches: tuple[Branch, ...], *, halve: bool = False) -> None:
        super().__init__()
        self._branches, self._halve = branches, halve
        self.out_channels = channels if halve else 0
        for branch in branches:
            width = channels
            for index, (out, kernel) in enumerate(branch.steps):
                strided = halve and index == len(branch.steps) - 1
                step = ConvNorm(width, out, kernel, stride=1 + strided, same=not strided)
                self.add_module(_step_name(branch, index), step)
                width = out
            if branch.fork:
                index = len(branch.steps) + 1
                self.add_module(f"{branch.name}_{index}a", ConvNorm(width, branch.fork, (1, 3)))
                self.add_module(f"{branch.name}_{index}b", ConvNorm(width, branch.fork, (3, 1)))
                width = 2 * branch.fork
            self.out_channels += width

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for branch in self._branches:
            h = x
            if branch.pool == "average":  # TensorFlow's: padded zeros do not count
                h = F.avg_pool2d(h, 3, stride=1, padding=1, count_include_pad=False)
            elif branch.pool == "max":
                h = F.max_pool2d(h, 3, stride=1, padding=1)
            for index in range(len(branch.steps)):
                h = self.get_submodule(_step_name(branch, index))(h)
            if branch.fork:
                index = len(branch.steps) + 1
                outputs += [self.get_submodule(f"{branch.name}_{index}{side}")(h) for side in "ab"]
            else:
                outputs.append(h)
        if self._halve:
            outputs.append(F.max_pool2d(x, 3, stride=2))
        return torch.cat(outputs, dim=1)


def _step_name(branch: Branch, index: int) -> str:
    alone = len(branch.steps) == 1 and not branch.fork
    return branch.name if alone else f"{branch.name}_{index + 1}"


class FIDInception(nn.Module):
    """The network of the FID paper; :meth:`forward` gives the 2,048 pooled features.

    23,850,960 parameters, 1,008 classes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, SQUARE, stride=2, same=False)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, SQUARE, same=False)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, SQUARE)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, POINT, same=False)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, SQUARE, same=False)
        blocks: tuple[tuple[str, tuple[Branch, ...], bool], ...] = (
            ("Mixed_5b", _block_35(32), False),  # 35 x 35
            ("Mixed_5c", _block_35(64), False),
            ("Mixed_5d", _block_35(64), False),
            ("Mixed_6a", _TO_17, True),  # 17 x 17
            ("Mixed_6b", _block_17(128), False),
            ("Mixed_6c", _block_17(160), False),
            ("Mixed_6d", _block_17(160), False),
            ("Mixed_6e", _block_17(192), False),
            ("Mixed_7a", _TO_8, True),  # 8 x 8
            ("Mixed_7b", _block_8("average"), False),
            ("Mixed_7c", _block_8("max"), False),
        )
        self._names = [name for name, _, _ in blocks]
        channels = 192
        for name, branches, halve in blocks:
            block = Mixed(channels, branches, halve=halve)
            self.add_module(name, block)
            channels = block.out_channels
        self.fc = nn.Linear(POOLED, CLASSES)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pooled features (n, 2048) of RGB pictures (n, 3, h, w) on the 0..255 scale, any h and w."""
        x = resize_like_tensorflow(pictures.float(), SIDE)  # (n, 3, 299, 299)
        x = (x - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, stride=2)  # (n, 64, 73, 73)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = F.max_pool2d(x, 3, stride=2)  # (n, 192, 35, 35)
        for name in self._names:
            x = self.get_submodule(name)(x)
        return x.float().mean(dim=(2, 3))

    def logits(self, pooled: Tensor, *, bias: bool = True) -> Tensor:
        """Class scores (n, 1008) of pooled features; the inception score's authors leave the bias out."""
        return F.linear(pooled, self.fc.weight, self.fc.bias if bias else None)


def resize_like_tensorflow(x: Tensor, side: int) -> Tensor:
    """Bilinear resize of (n, c, h, w) to (n, c, side, side) as TensorFlow 1 does it.

    Output pixel i reads position i * h / side: the picture is shifted up and left by up to half a pixel, and
    nothing is averaged when it shrinks. Part of published FIDs (Parmar et al., CVPR 2022, on what it does to them).
    """
    if x.shape[-2:] == (side, side):
        return x
    for dim in (3, 2):
        length = x.shape[dim]
        position = torch.arange(side, dtype=torch.float32, device=x.device) * (length / side)
        low = position.long()
        high = (low + 1).clamp_max(length - 1)
        share = (position - low).view([-1 if d == dim else 1 for d in range(4)])
        below = x.index_select(dim, low)
        x = below + (x.index_select(dim, high) - below) * share
    return x
