"""From noise to latents. A sampler is a deterministic function of its noise; it draws nothing itself.

| name    | for     | network calls | source                                                            |
|---------|---------|---------------|-------------------------------------------------------------------|
| `ddpm`  | DDPM    | steps         | Ho et al. 2020, with the learned variance of Nichol and Dhariwal  |
| `ddim`  | both    | steps         | Song et al. 2021 (arXiv:2010.02502), `eta` for noise in between   |
| `dpmpp` | both    | steps         | DPM-Solver++(2M), Lu et al. 2022 (arXiv:2211.01095), algorithm 2  |
| `sde`   | DDPM    | steps         | SDE-DPM-Solver++(2M), ibid., appendix A: with noise in between     |
| `euler` | flow    | steps         |                                                                   |
| `heun`  | flow    | 2 steps - 1   | Karras et al. 2022 (arXiv:2206.00364), algorithm 1                |
| `ab2`   | flow    | steps         | Adams-Bashforth of second order on the velocity, unequal strides  |

DDPM: for a noise schedule, whether the network predicts the noise or the clean picture. With guidance each call is one
batch of twice the size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from datadouble.diffusion.guidance import Guidance, Predictor, guided
from datadouble.diffusion.objectives import ModelFunction, Objective, interpolated_log_variance
from datadouble.diffusion.schedules import FlowPath, Path
from datadouble.errors import DataDoubleError, suggest

StepNoise = Callable[[int], Tensor]
"""Index of the step -> standard normal noise (b, c, h, w)."""

SAMPLERS: dict[str, tuple[str, ...]] = {
    "ddpm": ("epsilon", "clean"),
    "ddim": ("epsilon", "clean", "velocity"),
    "dpmpp": ("epsilon", "clean", "velocity"),
    "sde": ("epsilon", "clean"),
    "euler": ("velocity",),
    "heun": ("velocity",),
    "ab2": ("velocity",),
}
"""Samplers and the predictions they can undo."""

NOISY = ("ddpm", "sde")
"""Samplers that take noise at each step."""


@torch.no_grad()
def sample(
    model_fn: ModelFunction,
    noise: Tensor,
    labels: Tensor,
    *,
    objective: Objective,
    sampler: str = "dpmpp",
    steps: int = 20,
    guidance: Guidance | None = None,
    spacing: str | None = None,
    eta: float = 0.0,
    clamp: float | None = None,
    step_noise: StepNoise | None = None,
) -> Tensor:
    """Draw latents from noise.

    Parameters
    ----------
    model_fn : the network in eval mode, (x, timesteps, labels) -> prediction; wrap it in `ModulationCache`
        for speed and call `sample` under autocast for bf16 (the latents themselves stay float32).
    noise : (b, c, h, w) standard normal float32, drawn by the caller picture by picture.
    labels : (b,) int64; sorted by class, batches run faster.
    objective : what the network was trained for; its path says how the noise was added.
    sampler : see the table above.
    steps : number of steps.
    guidance : None for none.
    spacing : of the steps, see `NoiseSchedule.times`; None takes "quadratic" for `dpmpp` and `sde`, the most accurate
        on mixtures with a known answer, "trailing" for `ddpm` and `ddim`, "uniform" for flow (the only one).
    eta : noise of `ddim`: 0 none, 1 as much as DDPM's posterior.
    clamp : limit of the clean picture's absolute value at each step; None for latents, 1 for pixels in [-1,
        1].
    step_noise : noise of each step, for `ddpm`, `sde` and for `ddim` with eta > 0.

    Returns
    -------
    (b, c, h, w) float32.
    """
    path = objective.path
    if sampler not in SAMPLERS or path.prediction not in SAMPLERS[sampler]:
        able = [name for name, kinds in SAMPLERS.items() if path.prediction in kinds]
        raise DataDoubleError(
            f"no such sampler for an objective that predicts {path.prediction}",
            found=sampler,
            remedy=suggest(sampler, able),
        )
    if step_noise is None and (sampler in NOISY or eta > 0):
        raise DataDoubleError(
            "this sampler needs noise at each step", found=f"{sampler}, eta {eta}", remedy="pass step_noise"
        )
    if spacing is None:
        spacing = "quadratic" if sampler in ("dpmpp", "sde") else "trailing"
        if isinstance(path, FlowPath):
            spacing = "uniform"
    times = path.times(steps, spacing)
    if guidance is not None and guidance.weak_model is not None:
        guidance = replace(guidance, weak_model=objective.as_trained(guidance.weak_model))
    predict = guided(objective.as_trained(model_fn), path, labels, guidance)
    x = noise.float()
    if sampler in ("ddpm", "ddim"):
        return _ancestral(predict, path, x, times, sampler == "ddpm", eta, clamp, step_noise)
    if sampler in ("dpmpp", "sde"):
        return _dpmpp(predict, path, x, times, clamp, step_noise if sampler == "sde" else None)
    return _velocity(predict, x, times, sampler, clamp)


def clean_picture(path: Path, x: Tensor, prediction: Tensor, time: float) -> Tensor:
    """x_0 that a prediction at `time` stands for."""
    if path.prediction == "clean":
        return prediction
    alpha, sigma = path.alpha_sigma(time)
    if path.prediction == "velocity":
        return x - sigma * prediction  # alpha + sigma = 1
    return (x - sigma * prediction) / alpha


def _clamped(x: Tensor, clamp: float | None) -> Tensor:
    return x if clamp is None else x.clamp(-clamp, clamp)


def _ancestral(
    predict: Predictor,
    path: Path,
    x: Tensor,
    times: list[float],
    ddpm: bool,
    eta: float,
    clamp: float | None,
    step_noise: StepNoise | None,
) -> Tensor:
    """DDIM eq. 12; DDPM is its eta = 1, there with the variance the network learned, if it learned one."""
    for i, time in enumerate(times):
        alpha, sigma = path.alpha_sigma(time)
        alpha_next, sigma_next = path.alpha_sigma(times[i + 1]) if i + 1 < len(times) else (1.0, 0.0)
        prediction, fraction = predict(x, time)
        clean = _clamped(clean_picture(path, x, prediction, time), clamp)
        if sigma_next == 0.0:
            return clean
        noise = (x - alpha * clean) / sigma
        # variance of one (strided) DDPM step, beta = 1 - alpha^2 / alpha_next^2, and of its posterior
        beta = 1.0 - (alpha / alpha_next) ** 2
        posterior = (sigma_next / sigma) ** 2 * beta
        spread = math.sqrt(posterior) * (1.0 if ddpm else eta)
        x = alpha_next * clean + math.sqrt(max(sigma_next**2 - spread**2, 0.0)) * noise
        if step_noise is not None and spread > 0:
            scale: Tensor | float = spread
            if ddpm and fraction is not None:
                scale = (0.5 * interpolated_log_variance(fraction, beta, posterior)).exp()
            x = x + scale * step_noise(i).to(x)
    return x


def _dpmpp(
    predict: Predictor,
    path: Path,
    x: Tensor,
    times: list[float],
    clamp: float | None,
    step_noise: StepNoise | None,
) -> Tensor:
    """DPM-Solver++(2M); from alpha = 0 (flow at t = 1), where strides are infinite, the step is DDIM's.

    With noise it is SDE-DPM-Solver++(2M): what the picture keeps of its noise shrinks by exp(-h) once more, and as
    much is drawn anew. Errors of earlier steps shrink with it.
    """
    before: Tensor | None = None
    stride_before = 0.0
    for i, time in enumerate(times):
        clean = _clamped(clean_picture(path, x, predict(x, time)[0], time), clamp)
        if i + 1 == len(times):
            return clean  # to sigma = 0 the first-order step is x_0 itself
        alpha, sigma = path.alpha_sigma(time)
        alpha_next, sigma_next = path.alpha_sigma(times[i + 1])
        shrink = (sigma_next * alpha) / (alpha_next * sigma)  # exp(-h), h the stride in log(alpha / sigma)
        stride = -math.log(shrink) if shrink > 0 else math.inf
        direction = clean
        if before is not None and stride_before < math.inf:
            direction = clean + 0.5 * (stride / stride_before) * (clean - before)
        kept = 1.0 if step_noise is None else shrink
        x = (sigma_next / sigma) * kept * x + alpha_next * (1.0 - kept * shrink) * direction
        if step_noise is not None:
            x = x + sigma_next * math.sqrt(1.0 - shrink**2) * step_noise(i).to(x)
        before, stride_before = clean, stride
    return x


def _velocity(predict: Predictor, x: Tensor, times: list[float], sampler: str, clamp: float | None) -> Tensor:
    """Integrate dx/dt = v from t = 1 to 0 by Euler, Heun or Adams-Bashforth."""

    def velocity(x: Tensor, time: float) -> Tensor:
        v = predict(x, time)[0]
        return v if clamp is None else (x - _clamped(x - time * v, clamp)) / time

    before: Tensor | None = None
    stride_before = 1.0
    for i, time in enumerate(times):
        after = times[i + 1] if i + 1 < len(times) else 0.0
        stride = time - after
        v = velocity(x, time)
        slope = v
        if sampler == "heun" and after > 0:
            slope = 0.5 * (v + velocity(x - stride * v, after))
        elif sampler == "ab2" and before is not None:
            slope = v + 0.5 * (stride / stride_before) * (v - before)
        x = x - stride * slope
        before, stride_before = v, stride
    return x
