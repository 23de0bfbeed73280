"""Samplers against data whose best denoiser is known, and step by step against diffusers' schedulers."""

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from datadouble.diffusion.objectives import CleanObjective, EpsilonObjective, FlowObjective, Objective
from datadouble.diffusion.samplers import SAMPLERS, sample
from datadouble.diffusion.schedules import cosine_schedule, linear_schedule
from datadouble.errors import DataDoubleError

MEANS = torch.tensor([[1.0, -2.0], [0.5, 0.5]])
COVARIANCE = torch.tensor([[0.8, 0.3], [0.3, 0.4]])


def objective_for(kind: str) -> Objective:
    if kind == "clean":
        return CleanObjective(linear_schedule())
    return FlowObjective() if kind == "flow" else EpsilonObjective(linear_schedule())


@pytest.mark.parametrize(
    ("kind", "sampler", "steps", "tolerance"),
    [
        ("linear", "ddim", 250, 0.02),
        ("linear", "dpmpp", 10, 0.05),
        ("linear", "dpmpp", 25, 0.01),
        ("clean", "ddim", 250, 0.02),
        ("clean", "dpmpp", 25, 0.01),
        ("flow", "ddim", 250, 0.01),
        ("flow", "dpmpp", 25, 0.01),
        ("flow", "euler", 250, 0.01),
        ("flow", "heun", 20, 0.01),
        ("flow", "ab2", 30, 0.01),
    ],
)
def test_gaussian_data_come_out_with_their_mean_and_covariance(
    analytic: ModuleType, kind: str, sampler: str, steps: int, tolerance: float
) -> None:
    objective = objective_for(kind)
    noise = analytic.exact_noise(200, 2)  # the samplers are affine here: moments are exact, not statistical
    labels = torch.zeros(200, dtype=torch.long)
    model = analytic.gaussian_model(objective.path, MEANS, COVARIANCE)
    x = sample(model, noise, labels, objective=objective, sampler=sampler, steps=steps)
    assert x.shape == noise.shape and x.dtype == torch.float32
    mean, covariance = analytic.moments(x)
    torch.testing.assert_close(mean, MEANS[0].double(), atol=tolerance, rtol=0)
    torch.testing.assert_close(covariance, COVARIANCE.double(), atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("sampler", "eta", "steps"),
    [("ddpm", 0.0, 1000), ("ddim", 1.0, 1000), ("ddim", 0.5, 1000), ("sde", 0.0, 60)],
)
def test_stochastic_samplers(analytic: ModuleType, sampler: str, eta: float, steps: int) -> None:
    objective = objective_for("linear")
    noise = analytic.exact_noise(2000, 2)
    x = sample(
        analytic.gaussian_model(objective.path, MEANS, COVARIANCE),
        noise,
        torch.ones(2000, dtype=torch.long),
        objective=objective,
        sampler=sampler,
        steps=steps,
        eta=eta,
        step_noise=lambda i: analytic.exact_noise(2000, 2, seed=1 + i),
    )
    mean, covariance = analytic.moments(x)
    torch.testing.assert_close(mean, MEANS[1].double(), atol=0.02, rtol=0)
    torch.testing.assert_close(covariance, COVARIANCE.double(), atol=0.04, rtol=0)


def test_second_order_beats_first_at_equal_cost(analytic: ModuleType) -> None:
    def error(sampler: str, steps: int) -> float:
        objective = FlowObjective()
        model = analytic.mixture_model(objective.path, MEANS, 0.3)
        noise, labels = analytic.exact_noise(300, 2), torch.full((300,), 2)
        truth = sample(model, noise, labels, objective=objective, sampler="heun", steps=400)
        return float(
            (sample(model, noise, labels, objective=objective, sampler=sampler, steps=steps) - truth)
            .abs()
            .mean()
        )

    euler = error("euler", 20)
    assert error("ab2", 20) < 0.6 * euler
    assert error("dpmpp", 20) < 0.6 * euler
    assert error("heun", 10) < 0.8 * euler  # 19 calls


def fake_network(channels: int) -> Any:
    """Not a denoiser, but smooth in x and t, so that any slip in a scheduler shows."""

    def model(x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        t = (timesteps / 1000).view(-1, 1, 1, 1)
        first = torch.tanh(x * (1 + t)) + 0.1 * torch.roll(x, 1, dims=-1)
        return first if channels == 1 else torch.cat([first, torch.sin(3 * x)], 1)

    return model


def follow(scheduler: Any, model: Any, noise: Tensor, steps: int, arguments: dict[str, Any]) -> list[Tensor]:
    """The pictures that diffusers' scheduler shows the network, and its result."""
    scheduler.set_timesteps(steps)
    x, path = noise, []
    for t in scheduler.timesteps:
        path.append(x)
        x = scheduler.step(model(x, t.expand(len(x)).float(), None), t, x, **arguments).prev_sample
    return [*path, x]


def record(model: Any, path: list[Tensor]) -> Any:
    def recorded(x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        path.append(x)
        return model(x, timesteps, labels)

    return recorded


@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("steps", [10, 50])
def test_ddim_equals_diffusers_step_by_step(make: Any, spacing: str, steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    schedule = make()
    theirs = diffusers.DDIMScheduler(
        trained_betas=schedule.betas, timestep_spacing=spacing, clip_sample=False
    )
    noise = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = follow(theirs, fake_network(1), noise, steps, {"eta": 0.0})
    path: list[Tensor] = []
    objective = EpsilonObjective(schedule)
    labels = torch.zeros(3, dtype=torch.long)
    model = record(fake_network(1), path)
    result = sample(model, noise, labels, objective=objective, sampler="ddim", steps=steps, spacing=spacing)
    compare([*path, result], expected)


@pytest.mark.parametrize(
    ("sampler", "algorithm", "steps"),
    [*(("dpmpp", "dpmsolver++", n) for n in (5, 10, 20)), *(("sde", "sde-dpmsolver++", n) for n in (5, 20))],
)
def test_multistep_equals_diffusers_step_by_step(sampler: str, algorithm: str, steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    schedule = linear_schedule()
    theirs = diffusers.DPMSolverMultistepScheduler(
        trained_betas=schedule.betas, timestep_spacing="trailing", algorithm_type=algorithm
    )
    noise = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    generator, again = (torch.Generator().manual_seed(1) for _ in range(2))
    expected = follow(theirs, fake_network(1), noise, steps, {"generator": generator})
    path: list[Tensor] = []
    result = sample(
        record(fake_network(1), path),
        noise,
        torch.zeros(3, dtype=torch.long),
        objective=EpsilonObjective(schedule),
        sampler=sampler,
        steps=steps,
        spacing="trailing",
        step_noise=lambda i: torch.randn(3, 2, 4, 4, generator=again),
    )
    compare([*path, result], expected)


@pytest.mark.parametrize(("kind", "channels"), [("fixed_small", 1), ("learned_range", 2)])
def test_ddpm_equals_diffusers_step_by_step(kind: str, channels: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    schedule = linear_schedule()
    theirs = diffusers.DDPMScheduler(
        trained_betas=schedule.betas, timestep_spacing="trailing", clip_sample=False, variance_type=kind
    )
    noise = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    expected = follow(theirs, fake_network(channels), noise, 20, {"generator": generator})
    again = torch.Generator().manual_seed(1)
    path: list[Tensor] = []
    sample(
        record(fake_network(channels), path),
        noise,
        torch.zeros(3, dtype=torch.long),
        objective=EpsilonObjective(schedule, learn_variance=channels == 2),
        sampler="ddpm",
        steps=20,
        step_noise=lambda i: torch.randn(3, 2, 4, 4, generator=again),
    )
    compare(path, expected[:-1])  # theirs adds a trace of noise after the last step


def test_flow_euler_equals_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.FlowMatchEulerDiscreteScheduler()
    noise = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    theirs.set_timesteps(sigmas=[1 - i / 12 for i in range(12)])
    x = noise
    for t in theirs.timesteps:
        x = theirs.step(fake_network(1)(x, t.expand(3), None), t, x).prev_sample
    labels = torch.zeros(3, dtype=torch.long)
    ours = sample(fake_network(1), noise, labels, objective=FlowObjective(), sampler="euler", steps=12)
    torch.testing.assert_close(ours, x, atol=1e-4, rtol=1e-4)


def compare(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4, msg=lambda text, i=i: f"step {i}: {text}")


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp", "euler", "heun", "ab2"])
def test_same_noise_same_picture_and_the_global_generator_is_left_alone(sampler: str) -> None:
    objective = FlowObjective() if "epsilon" not in SAMPLERS[sampler] else EpsilonObjective(linear_schedule())
    noise, labels = torch.randn(4, 2, 4, 4), torch.zeros(4, dtype=torch.long)
    state = torch.get_rng_state()
    first = sample(fake_network(1), noise, labels, objective=objective, sampler=sampler, steps=6)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(
        first, sample(fake_network(1), noise, labels, objective=objective, sampler=sampler, steps=6)
    )
    alone = sample(fake_network(1), noise[2:3], labels[:1], objective=objective, sampler=sampler, steps=6)
    torch.testing.assert_close(first[2:3], alone)


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp", "euler", "heun"])
def test_clamp_bounds_the_clean_picture(sampler: str) -> None:
    objective = FlowObjective() if "epsilon" not in SAMPLERS[sampler] else EpsilonObjective(linear_schedule())
    noise, labels = torch.randn(4, 2, 4, 4), torch.zeros(4, dtype=torch.long)
    x = sample(lambda x, t, y: -x, noise, labels, objective=objective, sampler=sampler, steps=8, clamp=1.0)
    assert x.abs().max() <= 1.0 + 1e-5


def test_errors() -> None:
    noise, labels = torch.randn(1, 2, 4, 4), torch.zeros(1, dtype=torch.long)
    with pytest.raises(DataDoubleError, match="predicts epsilon"):
        sample(fake_network(1), noise, labels, objective=objective_for("linear"), sampler="heun")
    with pytest.raises(DataDoubleError, match="did you mean"):
        sample(fake_network(1), noise, labels, objective=objective_for("linear"), sampler="dpmp")
    with pytest.raises(DataDoubleError, match="step_noise"):
        sample(fake_network(1), noise, labels, objective=objective_for("linear"), sampler="ddpm", steps=5)
