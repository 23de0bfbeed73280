"""A small convolutional variational autoencoder for grey scans: one eighth of the size, 4 or 16 channels.

Small enough for a CPU: pixel (un)shuffle by four replaces the costly full-resolution layers of the Stable Diffusion
autoencoder, and nothing attends. Speckle lives in the decoder's residual blocks at a quarter of the size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class AutoencoderConfig:
    """The shape of a `TinyAutoencoder`."""

    latent_channels: int = 4
    image_channels: int = 1
    fine_width: int = 64  # channels at 1/4 of the size: texture
    coarse_width: int = 144  # channels at 1/8 of the size: structure
    encoder_blocks: tuple[int, int] = (2, 1)  # at 1/4, at 1/8
    decoder_blocks: tuple[int, int] = (3, 2)  # at 1/4, at 1/8


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip; the second starts at zero, so that a deep stack starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(width // 16, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(self.norm(x)))))


class TinyAutoencoder(nn.Module):
    """Encode (b, 1, h, w) in [-1, 1] to moments (b, 2c, h/8, w/8) and decode latents (b, c, h/8, w/8).

    The moments are the mean and the log variance of a diagonal Gaussian (Kingma and Welling, 2014), side by side.
    """

    factor = 8

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        fine, coarse, latent = config.fine_width, config.coarse_width, config.latent_channels
        patch = 16 * config.image_channels
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(patch, fine, 3, padding=1),
            *(ResidualBlock(fine) for _ in range(config.encoder_blocks[0])),
            nn.Conv2d(fine, coarse, 3, stride=2, padding=1),
            *(ResidualBlock(coarse) for _ in range(config.encoder_blocks[1])),
            nn.SiLU(),
            nn.Conv2d(coarse, 2 * latent, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent, coarse, 3, padding=1),
            *(ResidualBlock(coarse) for _ in range(config.decoder_blocks[1])),
            nn.Conv2d(coarse, 4 * fine, 1),
            nn.PixelShuffle(2),
            *(ResidualBlock(fine) for _ in range(config.decoder_blocks[0])),
            nn.SiLU(),
            nn.Conv2d(fine, patch, 3, padding=1),
            nn.PixelShuffle(4),
        )

    def encode(self, images: Tensor) -> Tensor:
        """Return the moments (b, 2c, h/8, w/8) of images (b, 1, h, w) in [-1, 1]."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return torch.cat([mean, log_variance.clamp(-20, 4)], dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        """Return images (b, 1, h, w), nominally in [-1, 1], for latents (b, c, h/8, w/8)."""
        return self.decoder(latents)


def sample_moments(moments: Tensor, noise: Tensor) -> Tensor:
    """Draw latents from moments (b, 2c, h, w) with unit Gaussian noise (b, c, h, w)."""
    mean, log_variance = moments.chunk(2, dim=1)
    return mean + (0.5 * log_variance).exp() * noise


def kl_divergence(moments: Tensor) -> Tensor:
    """Return the mean divergence from a unit Gaussian, in nats per latent number."""
    mean, log_variance = moments.chunk(2, dim=1)
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
