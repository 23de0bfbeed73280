"""A diffusion transformer between convolutions: for patches of pixels.

A transformer whose tokens are squares of pixels draws blocks until it has seen some hundred thousand pictures. Here
convolutions at full and at half size look across the tokens' borders, and pass what they saw round the transformer
(skips as in a U-Net; compare Bao et al., CVPR 2023, arXiv:2209.12152); layout, class and descriptor are the
transformer's, and so are the linear layers that low-rank adapters change.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datadouble.errors import DataDoubleError
from datadouble.networks.dit import DiT, DiTConfig

GROUPS = 8


@dataclass(frozen=True)
class PatchDenoiserConfig:
    """Everything that fixes the architecture.

    Attributes
    ----------
    size : side of the patch in pixels.
    num_classes : number of labels; label `num_classes` is the null label.
    token : side of the square of pixels that is one token, even.
    conditions : width of the vector beside the class.
    detail : channels at full size; at half size twice as many. A multiple of 8.
    """

    size: int
    num_classes: int
    conditions: int
    in_channels: int = 2
    token: int = 4
    depth: int = 6
    width: int = 192
    heads: int = 6
    detail: int = 32

    def __post_init__(self) -> None:
        if self.token % 2 or self.size % self.token or self.detail % GROUPS or self.detail < GROUPS:
            raise DataDoubleError(
                "the patch must divide into tokens of an even side, and the detail into groups of 8",
                where="PatchDenoiserConfig",
                found=f"size {self.size}, token {self.token}, detail {self.detail}",
                remedy="for example size 48, token 4, detail 32",
            )

    @property
    def null_label(self) -> int:
        return self.num_classes

    @property
    def transformer(self) -> DiTConfig:
        """The transformer's, over feature maps of half the side."""
        return DiTConfig(
            input_size=self.size // 2,
            in_channels=2 * self.detail,
            num_classes=self.num_classes,
            patch_size=self.token // 2,
            depth=self.depth,
            width=self.width,
            heads=self.heads,
            learn_sigma=False,
            conditions=self.conditions,
        )


class Residual(nn.Module):
    """Two convolutions, the second behind a norm that is shifted and scaled by what is told; added back."""

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        self.norm_in, self.norm_out = nn.GroupNorm(GROUPS, channels), nn.GroupNorm(GROUPS, channels)
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        self.steer = nn.Linear(told, 2 * channels)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        h = self.conv_in(F.silu(self.norm_in(x)))
        scale, shift = self.steer(F.silu(told))[:, :, None, None].chunk(2, dim=1)  # each (b, c, 1, 1)
        return x + self.conv_out(F.silu(self.norm_out(h) * (1 + scale) + shift))


class PatchDenoiser(nn.Module):
    """Patch with mask, timestep, class and descriptor in; the prediction of the same shape out.

    Parameters
    ----------
    config : the architecture.
    generator : source of the initial weights; None takes torch's global one.
    """

    def __init__(self, config: PatchDenoiserConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        fine, coarse = config.detail, 2 * config.detail
        self.transformer = DiT(config.transformer, generator)
        self.stem = nn.Conv2d(config.in_channels, fine, 3, padding=1)
        self.fine_in = Residual(fine, config.width)
        self.shrink = nn.Conv2d(fine, coarse, 3, stride=2, padding=1)
        self.coarse_in = Residual(coarse, config.width)
        self.join_coarse = nn.Conv2d(2 * coarse, coarse, 1)
        self.coarse_out = Residual(coarse, config.width)
        self.grow = nn.Conv2d(coarse, fine, 3, padding=1)
        self.join_fine = nn.Conv2d(2 * fine, fine, 1)
        self.fine_out = Residual(fine, config.width)
        self.last_norm = nn.GroupNorm(GROUPS, fine)
        self.last = nn.Conv2d(fine, config.in_channels, 3, padding=1)
        self.initialise(generator)

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw the convolutions' weights (He et al. 2015); zero where a branch is to begin as nothing."""
        transformer = set(self.transformer.modules())
        for module in self.modules():
            if module in transformer or not isinstance(module, nn.Conv2d | nn.Linear):
                continue
            nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, Residual):
                for weight in (module.conv_out.weight, module.steer.weight):
                    nn.init.zeros_(weight)
        nn.init.zeros_(self.last.weight)
        # Unlike alone, the transformer must not be silent at first: its features are joined, not added.
        nn.init.xavier_uniform_(self.transformer.final.weight, generator=generator)

    def parameter_count(self) -> int:
        """Trained parameters."""
        return sum(p.numel() for p in self.parameters())

    def forward(
        self, x: Tensor, timesteps: Tensor, labels: Tensor, conditions: Tensor | None = None
    ) -> Tensor:
        """Predict what the objective asks for.

        Parameters
        ----------
        x : (b, c, size, size) noisy patches with their masks.
        timesteps, labels, conditions : as of `DiT.forward`.

        Returns
        -------
        (b, c, size, size).
        """
        told = self.transformer.conditioning(timesteps, labels, conditions)  # (b, width)
        modulations = self.transformer.modulation(F.silu(told).to(self.transformer.modulation.weight.dtype))
        fine = self.fine_in(self.stem(x), told)  # (b, detail, size, size)
        coarse = self.coarse_in(self.shrink(fine), told)  # (b, 2 detail, size / 2, size / 2)
        seen = self.transformer.denoise(coarse, modulations)
        h = self.coarse_out(self.join_coarse(torch.cat([coarse, seen.to(coarse.dtype)], dim=1)), told)
        h = self.grow(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        h = self.fine_out(self.join_fine(torch.cat([fine, h], dim=1)), told)
        return self.last(F.silu(self.last_norm(h)))
