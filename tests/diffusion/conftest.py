"""Data whose best denoiser is known in closed form: Gaussians over the channels of 1x1 pictures."""

import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

from datadouble.diffusion.schedules import Path


@pytest.fixture
def analytic() -> ModuleType:
    """The functions of this file: tests are not a package, so they cannot import it."""
    return sys.modules[__name__]


Model = Callable[[Tensor, Tensor, Tensor], Tensor]


def time_of(path: Path, timesteps: Tensor) -> float:
    """Undo `network_timestep`: all pictures of a sampler's batch share it."""
    scale = 1000.0 if path.prediction == "velocity" else 1.0
    return float(timesteps[0]) / scale


def gaussian_model(path: Path, means: Tensor, covariance: Tensor) -> Model:
    """The optimal prediction for class k ~ N(means[k], covariance); means (classes, d), covariance (d, d)."""

    def model(x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        alpha, sigma = path.alpha_sigma(time_of(path, timesteps))
        flat, mean = x.flatten(1).double(), means[labels].double()
        spread = alpha**2 * covariance.double() + sigma**2 * torch.eye(flat.shape[1], dtype=torch.float64)
        whitened = torch.linalg.solve(spread, (flat - alpha * mean).T).T
        noise = sigma * whitened  # E[n | x_t]
        clean = mean + alpha * whitened @ covariance.double()  # E[x_0 | x_t]
        answer = {"velocity": noise - clean, "clean": clean, "epsilon": noise}[path.prediction]
        return answer.view_as(x).float()

    return model


def mixture_model(path: Path, means: Tensor, std: float) -> Model:
    """Class k ~ N(means[k], std^2 I); the label len(means) is their equal mixture, the true unconditional."""

    def model(x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        alpha, sigma = path.alpha_sigma(time_of(path, timesteps))
        flat = x.flatten(1).double()
        variance = alpha**2 * std**2 + sigma**2
        distance = flat[:, None] - alpha * means.double()[None]  # (b, classes, d)
        weights = torch.softmax(-(distance**2).sum(-1) / (2 * variance), dim=1)
        known = labels < len(means)
        weights[known] = torch.nn.functional.one_hot(labels[known], len(means)).double()
        distance = (weights[..., None] * distance).sum(1)
        mean = (weights[..., None] * means.double()).sum(1)
        noise, clean = sigma * distance / variance, mean + alpha * std**2 * distance / variance
        return (noise - clean if path.prediction == "velocity" else noise).view_as(x).float()

    return model


def exact_noise(count: int, channels: int, seed: int = 0) -> Tensor:
    """(count, channels, 1, 1) normal noise, adjusted to mean exactly 0 and covariance exactly I."""
    noise = torch.randn(count, channels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    noise -= noise.mean(0)
    factor = torch.linalg.cholesky(noise.T @ noise / count)
    return torch.linalg.solve_triangular(factor, noise.T, upper=False).T.float()[:, :, None, None]


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d) over the first axis."""
    flat = x.flatten(1).double()
    centred = flat - flat.mean(0)
    return flat.mean(0), centred.T @ centred / len(flat)
