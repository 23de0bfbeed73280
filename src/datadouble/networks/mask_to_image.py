"""From a mask to a picture, and a critic of the two together: the networks of AsynDGAN.

The generator is the encoder and decoder with residual blocks of Johnson et al. (ECCV 2016), the critic a PatchGAN
(Isola et al., CVPR 2017), as Chang et al. (CVPR 2020) use them. Norms are of each picture alone where the paper's are
of the batch: at a batch of a few pictures of several hospitals no picture depends on another. Such a norm takes away
what is equal all over a picture, so a class enters as a gain and a bias behind each norm.
"""

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from datadouble.errors import DataDoubleError

N = TypeVar("N", bound=nn.Module)

_LEAST = 4  # pixels of the smallest side inside either network


@dataclass(frozen=True)
class MaskToImageConfig:
    """Shape of the generator and of its critics.

    Attributes
    ----------
    size : int
        Side of the pictures in pixels.
    mask_channels : int
        Of the coded mask.
    num_classes : int
        Classes that both networks are told; 0: none.
    width, blocks, halvings : int
        Channels of the first layer, residual blocks, and how often the side is halved before them.
    critic_width, critic_layers : int
        Channels of the critic's first layer, and its layers of stride 2.

    Raises
    ------
    DataDoubleError
        When the size does not fit.
    """

    size: int = 256
    mask_channels: int = 2
    num_classes: int = 0
    width: int = 64
    blocks: int = 9
    halvings: int = 2
    critic_width: int = 64
    critic_layers: int = 3

    def __post_init__(self) -> None:
        for key in ("halvings", "critic_layers"):
            inner, rest = divmod(self.size, 2 ** getattr(self, key))
            if rest or inner < _LEAST:
                raise DataDoubleError(
                    f"pictures of {self.size} pixels cannot be halved {getattr(self, key)} times",
                    where=f"model.{key}",
                    found=f"{self.size / 2 ** getattr(self, key):g} pixels inside",
                    remedy=f"use fewer, or a size that leaves {_LEAST} pixels or more",
                )


class ClassNorm(nn.Module):
    """Instance norm, then a gain and a bias of each class."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels)
        self.gain = nn.Embedding(max(num_classes, 1), channels)
        self.bias = nn.Embedding(max(num_classes, 1), channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return (b, c, h, w)."""
        return self.norm(x) * self.gain(labels)[:, :, None, None] + self.bias(labels)[:, :, None, None]


class Layer(nn.Module):
    """Convolution (or a transposed one that doubles the side), norm and, unless it ends a block, ReLU."""

    def __init__(
        self, from_channels: int, to_channels: int, classes: int, *, kernel: int = 3, stride: int = 1,
        doubles: bool = False, active: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv: nn.Module
        if doubles:
            self.conv = nn.ConvTranspose2d(
                from_channels, to_channels, 3, stride=2, padding=1, output_padding=1, bias=False
            )
        else:
            self.conv = nn.Conv2d(
                from_channels,
                to_channels,
                kernel,
                stride=stride,
                padding=kernel // 2,
                padding_mode="reflect",
                bias=False,
            )
        self.norm = ClassNorm(to_channels, classes)
        self.active = active

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return (b, to_channels, h', w')."""
        x = self.norm(self.conv(x), labels)
        return x.relu() if self.active else x


class Block(nn.Module):
    """Two layers whose result is added to what came in."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.first = Layer(channels, channels, classes)
        self.second = Layer(channels, channels, classes, active=False)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return (b, channels, h, w)."""
        return x + self.second(self.first(x, labels), labels)


class MaskToImage(nn.Module):
    """The generator."""

    def __init__(self, config: MaskToImageConfig) -> None:
        super().__init__()
        self.config = config
        width, classes = config.width, config.num_classes
        widths = [width * 2**i for i in range(config.halvings + 1)]
        self.down = nn.ModuleList([Layer(config.mask_channels, width, classes, kernel=7)])
        for narrow, wide in zip(widths, widths[1:], strict=False):
            self.down.append(Layer(narrow, wide, classes, stride=2))
        self.blocks = nn.ModuleList(Block(widths[-1], classes) for _ in range(config.blocks))
        self.up = nn.ModuleList(
            Layer(wide, narrow, classes, doubles=True)
            for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.last = nn.Conv2d(width, 1, 7, padding=3, padding_mode="reflect")

    def forward(self, mask: Tensor, labels: Tensor) -> Tensor:
        """Return pictures.

        Parameters
        ----------
        mask
            float (b, mask_channels, size, size) in [-1, 1].
        labels
            int64 (b,); where no class is told, they change nothing.

        Returns
        -------
        torch.Tensor
            (b, 1, size, size) in [-1, 1].
        """
        labels = labels if self.config.num_classes else torch.zeros_like(labels)
        x = mask
        for layer in self.down:
            x = layer(x, labels)
        for block in self.blocks:
            x = block(x, labels)
        for layer in self.up:
            x = layer(x, labels)
        return self.last(x).tanh()


class PatchCritic(nn.Module):
    """Tells real pictures of a mask from drawn ones, patch by patch."""

    def __init__(self, config: MaskToImageConfig) -> None:
        super().__init__()
        self.config = config
        width = config.critic_width
        layers: list[nn.Module] = [
            nn.Conv2d(config.mask_channels + 1 + config.num_classes, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        ]
        for i in range(1, config.critic_layers + 1):
            wider = config.critic_width * min(2**i, 8)
            stride = 2 if i < config.critic_layers else 1
            layers += [
                nn.Conv2d(width, wider, 4, stride=stride, padding=1, bias=False),
                nn.InstanceNorm2d(wider, affine=True),
                nn.LeakyReLU(0.2),
            ]
            width = wider
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 4, padding=1))

    def forward(self, mask: Tensor, image: Tensor, labels: Tensor) -> Tensor:
        """Return a logit for each patch (b, 1, h', w'): above 0 stands for real."""
        parts = [mask, image]
        if self.config.num_classes:
            bits = nn.functional.one_hot(labels, self.config.num_classes).to(image.dtype)
            parts.append(bits[:, :, None, None].expand(-1, -1, *image.shape[-2:]))
        return self.layers(torch.cat(parts, dim=1))


def build_mask_to_image(config: MaskToImageConfig, random: torch.Generator | None = None) -> MaskToImage:
    """Return the generator, its weights drawn from `random` where it is given."""
    return _drawn(MaskToImage(config), random)


def build_critic(config: MaskToImageConfig, random: torch.Generator | None = None) -> PatchCritic:
    """Return a critic, its weights drawn from `random` where it is given."""
    return _drawn(PatchCritic(config), random)


def _drawn(network: N, random: torch.Generator | None) -> N:
    """Draw the convolutions' weights with a standard deviation of 0.02, as pix2pix does."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02, generator=random)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
