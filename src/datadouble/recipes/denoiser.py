"""A trained network as an attacker of its weights sees it: a denoiser over times from 0 (clean) to 1 (noise)."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.diffusion.objectives import Objective
from datadouble.diffusion.schedules import NoiseSchedule
from datadouble.progress import track
from datadouble.randomness import torch_generator_for


class Denoiser:
    """A network behind one interface, whatever it was trained to predict: noise, velocity or the clean picture.

    Parameters
    ----------
    objective
        That it was trained for.
    null_label, class_dropout
        The label of "no class", and the share of images that it learned with it: with 1 it knows no classes, and is
        never given one.
    precision
        ``"bf16"`` (autocast, as in training) or ``"fp32"``.

    Attributes
    ----------
    fingerprint, device, has_unconditional
        Of weights and precision; where the network is; whether it learned to do without a class as well as with.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        device: torch.device,
        *,
        null_label: int,
        class_dropout: float,
        fingerprint: str = "",
        precision: str = "bf16",
    ) -> None:
        self.network, self.objective, self.device = network.to(device).eval(), objective, device
        self._null_label, self._class_dropout = null_label, class_dropout
        self._half = precision == "bf16"
        self.fingerprint = files.fingerprint(fingerprint, precision)
        self.has_unconditional = 0 < class_dropout < 1

    def _place(self, time: float) -> float:
        """The path's own time: a whole timestep of a noise schedule, or the share of noise itself."""
        path = self.objective.path
        if isinstance(path, NoiseSchedule):
            return float(min(int(time * path.num_timesteps), path.num_timesteps - 1))
        return time

    def alpha_sigma(self, time: float) -> tuple[float, float]:
        """Share of the picture and of the noise."""
        return self.objective.path.alpha_sigma(self._place(time))

    def loss_weight(self, time: float) -> float:
        """What makes the squared error of the noise that of what was predicted.

        1 for the noise itself; for the velocity v = n - x_0, (v' - v)^2 = (n' - n)^2 / (1 - t)^2; for the clean picture
        (x_0' - x_0)^2 = (n' - n)^2 sigma^2 / alpha^2.
        """
        alpha, sigma = self.alpha_sigma(time)
        kind = self.objective.path.prediction
        return 1.0 if kind == "epsilon" else (sigma / alpha) ** 2 if kind == "clean" else 1.0 / alpha**2

    @torch.no_grad()
    def predict_noise(self, noisy: Tensor, time: float, labels: Tensor | None) -> Tensor:
        """Noise (b, c, h, w), float32, in `noisy`; without labels the null class is asked."""
        return self._noise_in(noisy, time, labels)

    def _labels(self, labels: Tensor | None, count: int) -> Tensor:
        if labels is None or self._class_dropout >= 1:
            return torch.full((count,), self._null_label, device=self.device)
        return labels

    def _noise_in(self, noisy: Tensor, time: float, labels: Tensor | None) -> Tensor:
        path, place = self.objective.path, self._place(time)
        timesteps = torch.full((len(noisy),), path.network_timestep(place), device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
            network = self.objective.as_trained(self.network)
            output = network(noisy, timesteps, self._labels(labels, len(noisy)))
        predicted = output.float()[:, : noisy.shape[1]]
        if path.prediction == "epsilon":
            return predicted
        alpha, sigma = path.alpha_sigma(place)
        if path.prediction == "clean":
            return (noisy - alpha * predicted) / sigma
        return noisy + alpha * predicted  # x_t = x_0 + t v and n = x_0 + v

    @torch.enable_grad()
    def gradient_norms(self, noisy: Tensor, time: float, labels: Tensor, noise: Tensor) -> Tensor:
        """Norm (b,) of the gradient of each picture's squared error in all weights, one picture after another."""
        norms, weight = [], self.loss_weight(time)
        self.network.requires_grad_(True)
        parameters = list(self.network.parameters())
        for i in range(len(noisy)):
            seen = self._noise_in(noisy[i : i + 1], time, labels[i : i + 1])
            loss = weight * (seen - noise[i % len(noise)]).pow(2).mean()
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            squares = [g.float().pow(2).sum() for g in gradients if g is not None]
            norms.append(torch.stack(squares).sum().sqrt())
        self.network.requires_grad_(False)
        return torch.stack(norms)

    @torch.enable_grad()
    def overfitted(
        self,
        latents: np.ndarray,
        labels: np.ndarray,
        *,
        images: int,
        seed: int,
        batch: int = 8,
        learning_rate: float = 5e-4,
    ) -> Denoiser:
        """Return a copy trained on these latents (n, c, h, w) alone until it has seen `images` of them."""
        network = copy.deepcopy(self.network).train().requires_grad_(True)
        optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0.0, fused=True)
        clean = torch.from_numpy(np.asarray(latents, dtype=np.float32)).to(self.device)
        classes = torch.from_numpy(np.asarray(labels, dtype=np.int64)).to(self.device)
        classes = self._labels(classes, len(classes))
        batch = min(batch, len(clean))
        random = torch_generator_for(seed, "overfit")
        for _ in track(range(max(1, images // batch)), "overfitting a copy"):
            rows = torch.randperm(len(clean), generator=random)[:batch]
            times = (torch.randperm(batch, generator=random) + torch.rand(batch, generator=random)) / batch
            noise = torch.randn(batch, *clean.shape[1:], generator=random)
            rows, times, noise = rows.to(self.device), times.to(self.device), noise.to(self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._half):
                loss = self.objective.loss(network, clean[rows], classes[rows], times, noise).total.mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
        weights = b"".join(p.detach().float().cpu().numpy().tobytes() for p in network.parameters())
        return Denoiser(
            network.requires_grad_(False),
            self.objective,
            self.device,
            null_label=self._null_label,
            class_dropout=self._class_dropout,
            fingerprint=files.fingerprint(weights),
            precision="bf16" if self._half else "fp32",
        )
