"""TransUNet for segmentation (Chen et al., arXiv:2102.04306): CNN encoder, transformer on its last map, U-Net decoder.

The hybrid of the paper ("R50-ViT"): a residual network halves the side four times, its last map is read as tokens by a
vision transformer, and a cascade of upsampling steps joins the encoder's maps again. Group norm throughout where the
paper has it in the encoder and batch norm in the decoder: no statistics over a batch, so that it may also be trained
with differential privacy. Any side works: pictures are padded to a multiple of the encoder's stride and cut again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class TransUNetConfig:
    """The shape of a `TransUNet`; the defaults are the paper's R50-ViT-B/16."""

    width: int = 64  # channels of the stem at half the side
    blocks: tuple[int, ...] = (3, 4, 9)  # residual blocks at 1/4, 1/8, 1/16 of the side
    vit_width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int = 3072
    decoder: tuple[int, ...] = (256, 128, 64, 16)  # channels after each doubling of the side
    neck: int = 512  # channels between transformer and decoder
    dropout: float = 0.1
    grid: int = 14  # side of the learned table of positions: 224 px / 16; other sides resize it

    @property
    def stride(self) -> int:
        """Pixels a token covers along a side."""
        return int(2 ** (len(self.blocks) + 1))


def _norm(channels: int) -> nn.GroupNorm:
    groups = next(g for g in (32, 16, 8, 4, 2, 1) if channels % g == 0 and channels // g >= min(channels, 2))
    return nn.GroupNorm(groups, channels)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 convolutions around a shortcut (He et al., CVPR 2016)."""

    def __init__(self, channels: int, middle: int, stride: int = 1) -> None:
        super().__init__()
        out = 4 * middle
        self.body = nn.Sequential(
            nn.Conv2d(channels, middle, 1, bias=False),
            _norm(middle),
            nn.ReLU(),
            nn.Conv2d(middle, middle, 3, stride, 1, bias=False),
            _norm(middle),
            nn.ReLU(),
            nn.Conv2d(middle, out, 1, bias=False),
            _norm(out),
        )
        same = stride == 1 and channels == out
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), _norm(out))
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class Positions(nn.Module):
    """Adds a learned table of positions, resized to the grid of the tokens (b, c, h, w)."""

    def __init__(self, width: int, grid: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, width, grid, grid) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        table: Tensor = self.table
        if table.shape[2:] != x.shape[2:]:
            table = F.interpolate(table, x.shape[2:], mode="bicubic", align_corners=False)
        return x + table


class TransformerBlock(nn.Module):
    """Attention and perceptron, each behind a layer norm (Dosovitskiy et al., ICLR 2021)."""

    def __init__(self, width: int, heads: int, mlp_width: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp_width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp_width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:  # (batch, tokens, width)
        b, n, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v)  # (batch, heads, tokens, dim)
        x = x + self.out(seen.transpose(1, 2).reshape(b, n, width))
        return x + self.mlp(self.norm2(x))


def _step(channels: int, out: int) -> nn.Sequential:
    """Two 3x3 convolutions after the join."""
    parts: list[nn.Module] = []
    for source in (channels, out):
        parts += [nn.Conv2d(source, out, 3, padding=1, bias=False), _norm(out), nn.ReLU()]
    return nn.Sequential(*parts)


class TransUNet(nn.Module):
    """Scores before softmax (b, classes, h, w) of grey pictures (b, 1, h, w) of any side.

    Raises
    ------
    ValueError
        Where the decoder has not one step more than the encoder has stages, or the heads do not divide the width.
    """

    def __init__(self, config: TransUNetConfig, classes: int = 1) -> None:
        super().__init__()
        if len(config.decoder) != len(config.blocks) + 1:
            raise ValueError(
                f"decoder needs {len(config.blocks) + 1} entries, one more than blocks: found {len(config.decoder)}"
            )
        if config.vit_width % config.heads:
            raise ValueError(f"heads ({config.heads}) must divide vit_width ({config.vit_width})")
        self.config = config
        self.stem = nn.Sequential(
            nn.Conv2d(1, config.width, 7, 2, 3, bias=False), _norm(config.width), nn.ReLU()
        )
        self.pool = nn.MaxPool2d(3, 2, 1)
        stages, channels, skips = [], config.width, [config.width]
        for level, count in enumerate(config.blocks):
            middle = config.width * 2**level
            blocks: list[nn.Module] = [Bottleneck(channels, middle, 2 if level else 1)]
            blocks += [Bottleneck(4 * middle, middle) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
            channels = 4 * middle
            skips.append(channels)
        self.stages = nn.ModuleList(stages)
        self.embed = nn.Conv2d(channels, config.vit_width, 1)
        self.positions = Positions(config.vit_width, config.grid)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(config.vit_width, config.heads, config.mlp_width, config.dropout)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.vit_width, eps=1e-6)
        self.neck = nn.Sequential(
            nn.Conv2d(config.vit_width, config.neck, 3, padding=1, bias=False), _norm(config.neck), nn.ReLU()
        )
        joined = [*reversed(skips[:-1]), 0]  # the last doubling has nothing to join
        widths = [config.neck, *config.decoder]
        self.steps = nn.ModuleList(
            _step(widths[i] + joined[i], widths[i + 1]) for i in range(len(config.decoder))
        )
        self.head = nn.Conv2d(config.decoder[-1], classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        stride = self.config.stride
        down, right = -height % stride, -width % stride
        if down or right:
            x = F.pad(x, (0, right, 0, down), mode="replicate")
        x = self.stem(x)
        skips = [x]
        for level, stage in enumerate(self.stages):
            x = stage(x if level else self.pool(x))
            skips.append(x)
        x = self.positions(self.embed(x))
        shape = x.shape
        tokens = self.drop(x.flatten(2).transpose(1, 2))  # (batch, tokens, width)
        for block in self.blocks:
            tokens = block(tokens)
        x = self.neck(self.norm(tokens).transpose(1, 2).reshape(shape))
        joins = [*reversed(skips[:-1]), None]
        for step, skip in zip(self.steps, joins, strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = step(x if skip is None else torch.cat([x, skip], dim=1))
        return self.head(x)[..., :height, :width]
