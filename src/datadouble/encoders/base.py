"""What every encoder offers: pictures to moments, latents to pictures."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from datadouble.errors import DataDoubleError


class Encoder(ABC):
    """Pictures (b, 1, h, w) in [-1, 1] to moments (b, 2c, h/f, w/f), and latents (b, c, h/f, w/f) back.

    Attributes
    ----------
    name : str
        As in the configuration: ``tiny-4``, ``tiny-16``, ``kl``, ``own`` or ``pixels``.
    latent_channels, factor : int
        c and f.
    fingerprint, decoder_fingerprint : str
        Of the weights that make latents and of those that make pictures. A run is tied to the first; a better
        decoder may come later.
    network : torch.nn.Module or None
        What a device is chosen for.
    """

    name: str
    latent_channels: int
    factor: int
    fingerprint: str
    decoder_fingerprint: str
    network: nn.Module | None = None

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Return the moments, float32: mean and log variance side by side."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures (b, 1, h, w), float32, clipped to [-1, 1]."""

    def to(self, device: torch.device) -> "Encoder":
        """Move to a device."""
        if self.network is not None:
            self.network.to(device)
        return self

    def latent_side(self, size: int) -> int:
        """Return the side of the latents of pictures of `size`.

        Raises
        ------
        DataDoubleError
            When the size is no multiple of the factor.
        """
        if size % self.factor:
            raise DataDoubleError(
                f"the encoder {self.name} needs a multiple of {self.factor}",
                where="data.size",
                found=str(size),
            )
        return size // self.factor


class Pixels(Encoder):
    """No encoder: the latents are the pixels."""

    name, latent_channels, factor = "pixels", 1, 1
    fingerprint = decoder_fingerprint = "pixels"

    def encode(self, images: Tensor) -> Tensor:
        return torch.cat([images, torch.full_like(images, -30.0)], dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        return latents.float().clamp(-1, 1)
