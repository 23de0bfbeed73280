"""How much of a picture and how much noise a noisy picture holds, as a function of time.

A *path* is x_t = alpha(t) x_0 + sigma(t) n with n ~ N(0, I). `NoiseSchedule` is the variance-preserving one
in T discrete steps (DDPM), `FlowPath` the straight one with t in [0, 1] (flow matching). Both serve
objectives, samplers and guidance through the same few methods.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from datadouble.errors import DataDoubleError, suggest

Prediction = Literal["epsilon", "velocity", "clean"]
CONDITIONINGS = ("timestep", "noise_level")


class Path(ABC):
    """What objectives, samplers and guidance know of a path. Times are numbers, noisier when larger."""

    prediction: Prediction

    @abstractmethod
    def alpha_sigma(self, time: float) -> tuple[float, float]:
        """Share of signal and of noise at `time`."""

    @abstractmethod
    def network_timestep(self, time: float) -> float:
        """The number that the network is told, 0 to 1000."""

    @abstractmethod
    def times(self, steps: int, spacing: str) -> list[float]:
        """Decreasing times at which a sampler calls the network; after the last comes the clean picture."""

    def noise_level(self, time: float) -> float:
        """sigma / alpha: the noise's standard deviation where the signal has its own scale (EDM's sigma)."""
        alpha, sigma = self.alpha_sigma(time)
        return sigma / alpha if alpha > 0 else math.inf


def _distinct(times: np.ndarray) -> np.ndarray:
    """Round falling times to whole ones >= 0, pushing equal ones apart from the noisy end on."""
    times = np.round(times)
    for i in range(1, len(times)):
        times[i] = min(times[i], times[i - 1] - 1)
    return np.maximum(times, np.arange(len(times))[::-1])


def _spacing_error(spacing: str, known: list[str]) -> DataDoubleError:
    return DataDoubleError("unknown spacing of timesteps", found=spacing, remedy=suggest(spacing, known))


def _steps_error(steps: int, limit: str) -> DataDoubleError:
    return DataDoubleError(
        "number of sampling steps out of range", found=str(steps), remedy=f"choose {limit}"
    )


@dataclass(frozen=True)
class NoiseSchedule(Path):
    """Variance-preserving schedule in discrete steps, Ho et al. 2020: alpha^2 = alphas_cumprod, sigma^2 = 1
    - it.

    Attributes
    ----------
    name : "linear" or "cosine", or the caller's own.
    betas : (T,) float64 in (0, 1).
    conditioning : what the network is told: "timestep", or "noise_level", 1000 sigma, which lets it be trained with
        one schedule and sampled with another (Chen et al. 2021, arXiv:2009.00713).
    prediction : what the network predicts, "epsilon" or "clean".
    """

    name: str
    betas: np.ndarray
    conditioning: str = "timestep"
    prediction: Prediction = "epsilon"

    def __post_init__(self) -> None:
        if self.betas.ndim != 1 or not ((self.betas > 0) & (self.betas < 1)).all():
            raise DataDoubleError(
                "betas must be one row of numbers between 0 and 1",
                where=f"schedule {self.name}",
                found=f"shape {self.betas.shape}",
                remedy="use linear_schedule or cosine_schedule",
            )
        if self.conditioning not in CONDITIONINGS:
            raise DataDoubleError(
                "unknown conditioning",
                found=self.conditioning,
                remedy=suggest(self.conditioning, list(CONDITIONINGS)),
            )

    @cached_property
    def alphas_cumprod(self) -> np.ndarray:
        """(T,) float64: product of (1 - beta) up to and including each step."""
        return np.cumprod(1.0 - self.betas)

    @property
    def num_timesteps(self) -> int:
        return len(self.betas)

    @cached_property
    def posterior_variance(self) -> np.ndarray:
        """(T,): variance of q(x_{t-1} | x_t, x_0), Ho et al. eq. 7; the first, 0, is set to the second."""
        before = np.append(1.0, self.alphas_cumprod[:-1])
        variance = self.betas * (1.0 - before) / (1.0 - self.alphas_cumprod)
        return np.append(variance[min(1, len(variance) - 1)], variance[1:])

    def alpha_sigma(self, time: float) -> tuple[float, float]:
        cumulative = float(self.alphas_cumprod[round(time)])
        return math.sqrt(cumulative), math.sqrt(1.0 - cumulative)

    @cached_property
    def network_timesteps(self) -> np.ndarray:
        """(T,) float64: what the network is told at each step."""
        if self.conditioning == "noise_level":
            return 1000.0 * np.sqrt(1.0 - self.alphas_cumprod)
        return np.arange(self.num_timesteps, dtype=np.float64)

    def network_timestep(self, time: float) -> float:
        return float(self.network_timesteps[round(time)])

    def times(self, steps: int, spacing: str = "trailing") -> list[float]:
        """Decreasing timesteps at which a sampler calls the network.

        Parameters
        ----------
        steps : 1 to T.
        spacing : "trailing", from T - 1 in equal strides (Lin et al. 2024, arXiv:2305.08891); "leading",
            which ends at 0 but starts below T - 1 (the DDIM paper's, the first DiT's); "quadratic", in strides
            that shrink towards the clean end (the DDIM paper's section D.2); "logsnr", in equal strides of
            log(alpha / sigma) (DPM-Solver). The last two are rounded to whole timesteps, all different.
        """
        total = self.num_timesteps
        if not 1 <= steps <= total:
            raise _steps_error(steps, f"1 to {total}")
        if spacing == "trailing":
            times = np.round(np.arange(total, 0, -total / steps)[:steps]) - 1
        elif spacing == "leading":
            times = (np.arange(steps) * (total // steps))[::-1]
        elif spacing == "quadratic":
            times = _distinct((total - 1) * (np.arange(steps, 0, -1) / steps) ** 2)
        elif spacing == "logsnr":
            lambdas = 0.5 * np.log(self.alphas_cumprod / (1.0 - self.alphas_cumprod))  # falls with time
            wanted = np.linspace(lambdas[-1], lambdas[0], steps)
            times = _distinct(np.interp(wanted, lambdas[::-1], np.arange(total)[::-1]))
        else:
            raise _spacing_error(spacing, ["trailing", "leading", "quadratic", "logsnr"])
        return [float(t) for t in times]


@dataclass(frozen=True)
class FlowPath(Path):
    """Straight path x_t = (1 - t) x_0 + t n of rectified flow (Liu et al. 2023); the network predicts n -
    x_0.

    Attributes
    ----------
    shift : stretches a sampler's times towards noise, t' = s t / (1 + (s - 1) t) (Esser et al. 2024, eq.
        23): above 1 for large latents.
    """

    shift: float = 1.0
    prediction: Prediction = "velocity"

    def alpha_sigma(self, time: float) -> tuple[float, float]:
        return 1.0 - time, time

    def network_timestep(self, time: float) -> float:
        return 1000.0 * time

    def times(self, steps: int, spacing: str = "uniform") -> list[float]:
        """`steps` decreasing times from 1, in equal strides before the shift; the sampler ends at 0."""
        if steps < 1:
            raise _steps_error(steps, "1 or more")
        if spacing != "uniform":
            raise _spacing_error(spacing, ["uniform"])
        times = 1.0 - np.arange(steps) / steps
        return [float(t) for t in self.shift * times / (1.0 + (self.shift - 1.0) * times)]


def linear_schedule(num_timesteps: int = 1000, start: float = 1e-4, end: float = 0.02) -> NoiseSchedule:
    """Betas in equal strides from `start` to `end` (Ho et al. 2020; DiT and CoLDiT keep it)."""
    return NoiseSchedule("linear", np.linspace(start, end, num_timesteps, dtype=np.float64))


def cosine_schedule(
    num_timesteps: int = 1000, offset: float = 0.008, max_beta: float = 0.999
) -> NoiseSchedule:
    """alphas_cumprod as a squared cosine (Nichol and Dhariwal 2021, eq. 17)."""
    t = np.arange(num_timesteps + 1, dtype=np.float64) / num_timesteps
    cumulative = np.cos((t + offset) / (1.0 + offset) * np.pi / 2) ** 2
    return NoiseSchedule("cosine", np.minimum(1.0 - cumulative[1:] / cumulative[:-1], max_beta))


def make_schedule(name: str, num_timesteps: int = 1000) -> NoiseSchedule:
    """Schedule by its name in a run's configuration: "linear" or "cosine"."""
    makers = {"linear": linear_schedule, "cosine": cosine_schedule}
    if name not in makers:
        raise DataDoubleError("unknown noise schedule", found=name, remedy=suggest(name, list(makers)))
    return makers[name](num_timesteps)


def at(table: np.ndarray, timesteps: Tensor, like: Tensor) -> Tensor:
    """Entries of `table` (T,) at whole `timesteps` (b,), shaped (b, 1, 1, ...) to multiply `like`."""
    values = torch.as_tensor(table, dtype=torch.float32, device=like.device)[timesteps.long()]
    return values.view(-1, *[1] * (like.dim() - 1))
