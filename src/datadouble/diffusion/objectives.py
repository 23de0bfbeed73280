"""Training objectives: what the network is asked to predict, and what a wrong answer costs.

An objective draws nothing at random. The caller hands in one uniform number and one noise array a picture, so
that training can be reseeded by picture and a held-out loss is the same number each time it is measured.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from datadouble.diffusion.schedules import FlowPath, NoiseSchedule, at, make_schedule
from datadouble.errors import DataDoubleError, suggest

ModelFunction = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x (b, c, h, w), timesteps (b,), labels (b,)) -> (b, c or 2 c, h, w)."""


@dataclass
class LossTerms:
    """Loss of each picture.

    Attributes
    ----------
    total : (b,) what training minimises the mean of.
    by_name : (b,) each, before weighting: "mse", and "vb" for the hybrid objective (bits a dimension).
    """

    total: Tensor
    by_name: dict[str, Tensor] = field(default_factory=dict)


class Objective(ABC):
    """What a network is trained for; `path` tells samplers how to undo it."""

    name: str
    path: NoiseSchedule | FlowPath
    learn_sigma: bool = False

    @abstractmethod
    def loss(
        self, model_fn: ModelFunction, latents: Tensor, labels: Tensor, t_uniform: Tensor, noise: Tensor
    ) -> LossTerms:
        """Loss of each picture.

        Parameters
        ----------
        model_fn : the network, (x, timesteps, labels) -> prediction.
        latents : (b, c, h, w) scaled to about unit variance.
        labels : (b,) int64, the null label where the caller dropped the class.
        t_uniform : (b,) uniform numbers in [0, 1) that choose the times.
        noise : like `latents`, standard normal.
        """

    def as_trained(self, model_fn: ModelFunction) -> ModelFunction:
        """The function that predicts what `path` says, where the network itself was trained for part of it."""
        return model_fn


class EpsilonObjective(Objective):
    """Mean squared error of the predicted noise, Ho et al. 2020 eq. 14; or the hybrid with a learned
    variance.

    Parameters
    ----------
    schedule : the noise schedule.
    learn_variance : adds the variational bound of Nichol and Dhariwal 2021 (section 3.1), its gradient on
        the mean stopped. Their L_hybrid = L_simple + 0.001 L_vlb, and L_vlb sums T terms: one term drawn at
        random enters with weight 0.001 T (1 for T = 1000). Terms are means over dimensions, in bits. At t =
        0, where they use a discretised pixel likelihood, stands the Gaussian density's, since latents are
        not discrete.
    min_snr_gamma : weight min(SNR, gamma) / SNR on the squared error, Hang et al. 2023 (they use 5).
    """

    def __init__(
        self, schedule: NoiseSchedule, learn_variance: bool = False, min_snr_gamma: float | None = None
    ) -> None:
        self.name = "hybrid" if learn_variance else "mse"
        self.path, self.learn_sigma, self.min_snr_gamma = schedule, learn_variance, min_snr_gamma

    def loss(
        self, model_fn: ModelFunction, latents: Tensor, labels: Tensor, t_uniform: Tensor, noise: Tensor
    ) -> LossTerms:
        schedule = self.path
        assert isinstance(schedule, NoiseSchedule)
        total = schedule.num_timesteps
        timesteps, noisy, cumulative = _diffused(schedule, latents, t_uniform, noise)
        told = at(schedule.network_timesteps, timesteps, latents).flatten()
        output = model_fn(noisy, told, labels).float()
        channels = latents.shape[1]
        check_channels(output, channels, self.learn_sigma)
        predicted = output[:, :channels]
        mse = _mean_by_picture((predicted - noise) ** 2)
        weighted = mse
        if self.min_snr_gamma is not None:
            snr = (cumulative / (1 - cumulative)).flatten()
            weighted = mse * snr.clamp(max=self.min_snr_gamma) / snr
        if not self.learn_sigma:
            return LossTerms(weighted, {"mse": mse})
        vb = self._variational_bound(predicted.detach() - noise, output[:, channels:], timesteps)
        return LossTerms(weighted + 0.001 * total * vb, {"mse": mse, "vb": vb})

    def _variational_bound(self, error: Tensor, fraction: Tensor, timesteps: Tensor) -> Tensor:
        """(b,) bits a dimension: KL(q(x_{t-1} | x_t, x_0) || p), at t = 0 -log p(x_0 | x_1)."""
        schedule = self.path
        assert isinstance(schedule, NoiseSchedule)
        cumulative = at(schedule.alphas_cumprod, timesteps, error)
        beta = at(schedule.betas, timesteps, error)
        posterior = at(schedule.posterior_variance, timesteps, error)
        mean_error = error * beta / ((1 - cumulative) * (1 - beta)).sqrt()  # Ho et al. eq. 11
        log_variance = interpolated_log_variance(fraction, beta, posterior)
        squared = mean_error**2 / log_variance.exp()
        kl = 0.5 * (log_variance - posterior.log() - 1 + (posterior.log() - log_variance).exp() + squared)
        likelihood = 0.5 * (math.log(2 * math.pi) + log_variance + squared)
        first = (timesteps == 0).view_as(beta)
        return _mean_by_picture(torch.where(first, likelihood, kl)) / math.log(2.0)


class CleanObjective(Objective):
    """Squared error of the predicted clean picture, weighted by min(SNR + 1, gamma).

    With weight SNR = alpha^2 / sigma^2 it is the error of the noise, with SNR + 1 that of the velocity (Salimans and Ho
    2022, arXiv:2202.00512); the cut is Hang et al.'s (2023, arXiv:2303.09556). A network that predicts the noise must
    bring all of it through to its output; one that predicts the picture may be narrow, and the 1 makes it learn the
    whole layout, which is decided where there is hardly any signal. In short training both decide.

    A narrow network blurs what does not fit through it. With `detail_std` d the picture is

        x_0 = c x / alpha + (1 - c) F,  c = d^2 / (s^2 + d^2),  s = sigma / alpha,

    F the network's. If F is x_0 without its detail, of standard deviation d, this adds the best linear estimate of
    the detail (Wiener's); the skip of Karras et al. 2022 (arXiv:2206.00364, table 1) with d that of the detail, not of
    the whole picture, so that the network is not asked for the noise where there is much of it.

    Parameters
    ----------
    schedule : the noise schedule.
    gamma : greatest weight; 5 is theirs.
    detail_std : d; 0: the network predicts all.
    """

    name = "clean"

    def __init__(self, schedule: NoiseSchedule, gamma: float = 5.0, detail_std: float = 0.0) -> None:
        if detail_std < 0:
            raise DataDoubleError(
                "the detail's standard deviation cannot be negative",
                where="detail_std",
                found=str(detail_std),
                remedy="0 for none, or some hundredths of the pictures' range",
            )
        self.path, self.gamma, self.detail_std = replace(schedule, prediction="clean"), gamma, detail_std

    def as_trained(self, model_fn: ModelFunction) -> ModelFunction:
        if not self.detail_std:
            return model_fn
        schedule = self.path
        assert isinstance(schedule, NoiseSchedule)

        def clean(x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
            if schedule.conditioning == "timestep":
                cumulative = at(schedule.alphas_cumprod, timesteps.round(), x)
            else:
                cumulative = (1 - (timesteps.float() / 1000) ** 2).view(-1, *[1] * (x.dim() - 1))
            signal = self.detail_std**2 * cumulative
            share = signal / (1 - cumulative + signal)
            return share * x / cumulative.sqrt() + (1 - share) * model_fn(x, timesteps, labels).float()

        return clean

    def loss(
        self, model_fn: ModelFunction, latents: Tensor, labels: Tensor, t_uniform: Tensor, noise: Tensor
    ) -> LossTerms:
        schedule = self.path
        assert isinstance(schedule, NoiseSchedule)
        timesteps, noisy, cumulative = _diffused(schedule, latents, t_uniform, noise)
        told = at(schedule.network_timesteps, timesteps, latents).flatten()
        output = self.as_trained(model_fn)(noisy, told, labels).float()
        check_channels(output, latents.shape[1], False)
        mse = _mean_by_picture((output[:, : latents.shape[1]] - latents) ** 2)
        snr = (cumulative / (1 - cumulative)).flatten()
        return LossTerms(mse * (snr + 1).clamp(max=self.gamma), {"mse": mse})


class FlowObjective(Objective):
    """Mean squared error of the velocity n - x_0 of rectified flow (Liu et al. 2023).

    Parameters
    ----------
    time_sampling : "uniform", or "logit_normal": t = sigmoid(mean + std z) (Esser et al. 2024, section 3.1).
    min_snr_gamma : weight min(SNR, gamma) t^2 with SNR = ((1 - t) / t)^2: Hang et al.'s min(SNR, gamma) on
        the error of x_0, which is t times the velocity's.
    """

    name = "flow"

    def __init__(
        self,
        time_sampling: str = "logit_normal",
        mean: float = 0.0,
        std: float = 1.0,
        min_snr_gamma: float | None = None,
        shift: float = 1.0,
    ) -> None:
        known = ["uniform", "logit_normal"]
        if time_sampling not in known:
            raise DataDoubleError(
                "unknown time sampling", found=time_sampling, remedy=suggest(time_sampling, known)
            )
        self.path = FlowPath(shift)
        self.time_sampling, self.mean, self.std, self.min_snr_gamma = time_sampling, mean, std, min_snr_gamma

    def times(self, t_uniform: Tensor) -> Tensor:
        """Times in (0, 1) at the quantiles `t_uniform`."""
        if self.time_sampling == "uniform":
            return t_uniform.float()
        z = torch.special.ndtri(t_uniform.double().clamp(1e-7, 1 - 1e-7))
        return torch.sigmoid(self.mean + self.std * z).float()

    def loss(
        self, model_fn: ModelFunction, latents: Tensor, labels: Tensor, t_uniform: Tensor, noise: Tensor
    ) -> LossTerms:
        times = self.times(t_uniform)
        t = times.view(-1, *[1] * (latents.dim() - 1))
        output = model_fn((1 - t) * latents + t * noise, 1000.0 * times, labels).float()
        check_channels(output, latents.shape[1], False)
        mse = _mean_by_picture((output[:, : latents.shape[1]] - (noise - latents)) ** 2)
        if self.min_snr_gamma is None:
            return LossTerms(mse, {"mse": mse})
        weight = torch.minimum((1 - times) ** 2, self.min_snr_gamma * times**2)
        return LossTerms(weight * mse, {"mse": mse})


def make_objective(
    name: str, *, schedule: str = "linear", num_timesteps: int = 1000, min_snr_gamma: float | None = None
) -> Objective:
    """Objective by its name in a run's configuration: "mse", "hybrid" or "flow" (which needs no schedule)."""
    if name in ("mse", "hybrid"):
        return EpsilonObjective(make_schedule(schedule, num_timesteps), name == "hybrid", min_snr_gamma)
    if name == "flow":
        return FlowObjective(min_snr_gamma=min_snr_gamma)
    raise DataDoubleError("unknown objective", found=name, remedy=suggest(name, ["mse", "hybrid", "flow"]))


def interpolated_log_variance(fraction: Tensor, beta: Tensor | float, posterior: Tensor | float) -> Tensor:
    """Log variance between its bounds, Nichol and Dhariwal 2021 eq. 15; `fraction` -1 is the posterior's."""
    v = (fraction + 1) / 2
    return v * torch.as_tensor(beta).log() + (1 - v) * torch.as_tensor(posterior).log()


@torch.no_grad()
def denoising_loss_by_timestep(
    objective: Objective,
    model_fn: ModelFunction,
    latents: Tensor,
    labels: Tensor,
    noise: Tensor,
    t_uniform: Sequence[float],
) -> Tensor:
    """Unweighted squared error of each picture at each of some times: the early alarm for memorisation.

    Parameters
    ----------
    objective, model_fn, latents, labels : as in `Objective.loss`.
    noise : (k, b, c, h, w), or (b, c, h, w) used at every time.
    t_uniform : k numbers in [0, 1), for instance (i + 0.5) / k.

    Returns
    -------
    (k, b) on the latents' device.
    """
    rows = []
    for i, u in enumerate(t_uniform):
        uniform = torch.full((len(latents),), float(u), device=latents.device, dtype=torch.float64)
        terms = objective.loss(
            model_fn, latents, labels, uniform, noise[i] if noise.dim() > latents.dim() else noise
        )
        rows.append(terms.by_name["mse"])
    return torch.stack(rows)


def check_channels(output: Tensor, channels: int, learned_variance: bool) -> None:
    """Raise `DataDoubleError` unless a network's output has the channels that the objective reads."""
    if output.shape[1] != 2 * channels and (learned_variance or output.shape[1] != channels):
        raise DataDoubleError(
            "the network's output does not fit the objective",
            found=f"{output.shape[1]} output channels for {channels} latent channels",
            remedy=f"build it with learn_sigma={'true' if learned_variance else 'false'}",
        )


def _diffused(
    schedule: NoiseSchedule, latents: Tensor, t_uniform: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Timesteps (b,) at the quantiles `t_uniform`, noisy latents there, and alphas_cumprod (b, 1, 1, 1)."""
    total = schedule.num_timesteps
    timesteps = (t_uniform.double() * total).long().clamp(0, total - 1)
    cumulative = at(schedule.alphas_cumprod, timesteps, latents)
    return timesteps, cumulative.sqrt() * latents + (1 - cumulative).sqrt() * noise, cumulative


def _mean_by_picture(x: Tensor) -> Tensor:
    return x.flatten(1).mean(1)
