"""Training a small autoencoder on grey scans: squared error first, then features and an adversary.

Squared error alone gives a good PSNR and soft speckle. The second part of the training adds a distance between
features of a network that is never used to judge (Johnson et al., ECCV 2016; Zhang et al., CVPR 2018) and a patch
discriminator with the hinge loss (Esser et al., CVPR 2021, without the vector quantisation).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datadouble.cohort.pixels import fit_square, to_unit
from datadouble.networks.autoencoder import TinyAutoencoder, kl_divergence, sample_moments
from datadouble.randomness import generator_for, torch_generator_for

Perceptual = Callable[[Tensor], list[Tensor]]
"""Images (b, 1, h, w) in [-1, 1] → feature maps, each (b, c, h', w')."""


@dataclass(frozen=True)
class AutoencoderTraining:
    """How a `TinyAutoencoder` is trained."""

    images: int = 60_000  # crops seen in all
    batch: int = 16
    crop: int = 128
    sizes: tuple[int, ...] = (
        128,
        160,
        192,
        224,
        256,
        288,
    )  # whole pictures are brought to one of these, then cropped
    learning_rate: float = 1e-3
    warm_up: int = 3_000  # images
    final_share: float = 0.02  # of the learning rate, at the end of its cosine
    kl_weight: float = 1e-5  # per latent number; just enough to keep the latents bounded
    perceptual_weight: float = 0.0
    adversarial_weight: float = 0.0
    decoder_only: bool = False  # leaves the latents as they are: generators trained on them stay valid
    ema_images: float = 2_000.0  # half-life of the averaged weights; ramps up as in EDM2
    seed: int = 0


class CropSampler:
    """Random crops of whole pictures at several sizes, flipped and with their gain and gamma changed.

    Crop `i` of `seed` is always the same. Flips are horizontal only: in ultrasound up and down differ.
    """

    def __init__(self, pictures: Sequence[np.ndarray], options: AutoencoderTraining) -> None:
        self._options = options
        self._resized = [
            np.stack([(to_unit(fit_square(p, size)) * 255).round().astype(np.uint8) for p in pictures])
            for size in options.sizes
        ]

    def batch(self, images_seen: int) -> Tensor:
        """Return the batch (b, 1, crop, crop) in [-1, 1] that comes after `images_seen` images."""
        crops = [self._crop(images_seen + i) for i in range(self._options.batch)]
        return torch.from_numpy(np.stack(crops))[:, None] * 2 - 1

    def _crop(self, index: int) -> np.ndarray:
        random, crop = generator_for(self._options.seed, "crop", index), self._options.crop
        pictures = self._resized[random.integers(len(self._resized))]
        picture = pictures[random.integers(len(pictures))]
        top, left = random.integers(picture.shape[0] - crop + 1, size=2)
        unit = picture[top : top + crop, left : left + crop].astype(np.float32) / 255
        if random.random() < 0.5:
            unit = unit[:, ::-1]
        gamma, gain = np.exp(random.uniform(-0.2, 0.2, size=2))
        return np.clip(unit**gamma * gain, 0, 1).astype(np.float32)


class PatchDiscriminator(nn.Module):
    """Three strided convolutions that judge patches of about 30 pixels: (b, 1, h, w) → (b, 1, h/8, w/8)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [1, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [
                nn.utils.parametrizations.spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1)),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def feature_distance(features: list[Tensor], targets: list[Tensor]) -> Tensor:
    """Mean squared distance of channel-normalised features, averaged over places and layers (LPIPS, unweighted)."""
    distances = []
    for feature, target in zip(features, targets, strict=True):
        normalised = F.normalize(feature.float(), dim=1) - F.normalize(target.float(), dim=1)
        distances.append(normalised.square().sum(1).mean())
    return torch.stack(distances).mean()


class AutoencoderTrainer:
    """Train a `TinyAutoencoder` step by step; `average` holds the weights to keep.

    Parameters
    ----------
    network
        Trained in place.
    perceptual
        Frozen features; needed where ``perceptual_weight`` is above zero.
    """

    def __init__(
        self,
        network: TinyAutoencoder,
        sampler: CropSampler,
        options: AutoencoderTraining,
        perceptual: Perceptual | None = None,
    ) -> None:
        self.network, self.options = network, options
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._sampler, self._perceptual = sampler, perceptual
        self.images_seen = 0
        trained = network.decoder if options.decoder_only else network
        network.encoder.requires_grad_(not options.decoder_only)
        self._optimiser = torch.optim.AdamW(
            trained.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=1e-4, fused=True
        )
        self.average = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self._adversary = PatchDiscriminator()
        self._adversary.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._adversary_optimiser = torch.optim.AdamW(self._adversary.parameters(), lr=2e-4, betas=(0.5, 0.9))

    def _learning_rate(self) -> float:
        o = self.options
        cosine = 0.5 * (1 + math.cos(math.pi * min(self.images_seen / o.images, 1)))
        return (
            o.learning_rate
            * min(1, (self.images_seen + o.batch) / o.warm_up)
            * (o.final_share + (1 - o.final_share) * cosine)
        )

    def steps(self) -> Iterator[dict[str, float]]:
        """Train to the end; yield the losses of every step."""
        while self.images_seen < self.options.images:
            yield self.step()

    def step(self) -> dict[str, float]:
        """Train on one batch and return its losses."""
        o = self.options
        images = self._sampler.batch(self.images_seen).contiguous(memory_format=torch.channels_last)
        side, channels = o.crop // self.network.factor, self.network.config.latent_channels
        random = torch_generator_for(o.seed, "latent-noise", self.images_seen)
        noise = torch.randn(len(images), channels, side, side, generator=random)
        with torch.autocast("cpu", torch.bfloat16):
            moments = self.network.encode(images).float()
            decoded = self.network.decode(sample_moments(moments, noise)).float()
            squared = F.mse_loss(decoded, images)
            losses = {"squared": squared, "kl": kl_divergence(moments)}
            loss = squared + o.kl_weight * losses["kl"]
            if o.perceptual_weight:
                assert self._perceptual is not None
                with torch.no_grad():
                    targets = self._perceptual(images)
                losses["perceptual"] = feature_distance(self._perceptual(decoded), targets)
                loss = loss + o.perceptual_weight * losses["perceptual"]
            if o.adversarial_weight:
                losses["adversarial"] = -self._adversary(decoded).float().mean()
                loss = loss + o.adversarial_weight * losses["adversarial"]
        for group in self._optimiser.param_groups:
            group["lr"] = self._learning_rate()
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimiser.step()
        if o.adversarial_weight:
            losses["discriminator"] = self._train_adversary(images, decoded.detach())
        self.images_seen += o.batch
        self._update_average()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _train_adversary(self, images: Tensor, decoded: Tensor) -> Tensor:
        """One step of the hinge loss (Lim and Ye, 2017)."""
        self._adversary_optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            real, fake = self._adversary(images).float(), self._adversary(decoded).float()
        loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        loss.backward()
        self._adversary_optimiser.step()
        return loss.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        half_life = min(self.options.ema_images, 0.1 * self.images_seen)
        decay = 0.5 ** (self.options.batch / max(half_life, 1e-8))
        trained = self.network.decoder if self.options.decoder_only else self.network
        prefix = "decoder." if self.options.decoder_only else ""  # the rest stays, to the bit
        for name, value in trained.state_dict(prefix=prefix).items():
            self.average[name].lerp_(value, 1 - decay)
