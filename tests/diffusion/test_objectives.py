"""Losses against hand-worked values, and the bound against Gaussians from torch.distributions."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from datadouble.diffusion.objectives import (
    CleanObjective,
    EpsilonObjective,
    FlowObjective,
    LossTerms,
    denoising_loss_by_timestep,
    make_objective,
)
from datadouble.diffusion.samplers import sample
from datadouble.diffusion.schedules import cosine_schedule, linear_schedule
from datadouble.errors import DataDoubleError


def batch(count: int = 5, channels: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(count, channels, 4, 4, generator=generator)
    noise = torch.randn(count, channels, 4, 4, generator=generator)
    uniform = torch.linspace(0, 0.9995, count, dtype=torch.float64)
    return latents, torch.zeros(count, dtype=torch.long), uniform, noise


def test_mse_of_a_perfect_and_of_an_empty_answer() -> None:
    latents, labels, uniform, noise = batch()
    objective = make_objective("mse")
    assert objective.loss(lambda x, t, y: noise, latents, labels, uniform, noise).total.abs().max() == 0
    terms = objective.loss(lambda x, t, y: torch.zeros_like(x), latents, labels, uniform, noise)
    torch.testing.assert_close(terms.total, (noise**2).mean((1, 2, 3)))


def test_the_network_sees_the_noisy_picture_of_ho_et_al() -> None:
    latents, labels, uniform, noise = batch()
    seen: dict[str, Tensor] = {}

    def model(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        seen.update(x=x, t=t)
        return x

    objective = EpsilonObjective(linear_schedule())
    objective.loss(model, latents, labels, uniform, noise)
    assert seen["t"].tolist() == [0, 249, 499, 749, 999]
    cumulative = float(np.prod(1 - np.linspace(1e-4, 0.02, 1000)[:500]))
    torch.testing.assert_close(
        seen["x"][2], math.sqrt(cumulative) * latents[2] + math.sqrt(1 - cumulative) * noise[2]
    )


@pytest.mark.parametrize("t", [1, 30, 99])
def test_bound_is_the_divergence_of_the_two_gaussians(t: int) -> None:
    latents, labels, _, noise = batch(1)
    generator = torch.Generator().manual_seed(3)
    answer, fraction = torch.randn(2, 1, 2, 4, 4, generator=generator)
    schedule = linear_schedule(100)
    beta, alpha = schedule.betas[t], 1 - schedule.betas[t]
    now, before = schedule.alphas_cumprod[t], schedule.alphas_cumprod[t - 1]
    noisy = math.sqrt(now) * latents + math.sqrt(1 - now) * noise
    # Ho et al. eq. 7 for q, eq. 11 for the model's mean, Nichol and Dhariwal eq. 15 for its variance
    mean = (
        math.sqrt(before) * beta / (1 - now) * latents + math.sqrt(alpha) * (1 - before) / (1 - now) * noisy
    )
    posterior = beta * (1 - before) / (1 - now)
    q = Normal(mean, math.sqrt(posterior))
    v = (fraction + 1) / 2
    p = Normal(
        (noisy - beta / math.sqrt(1 - now) * answer) / math.sqrt(alpha),
        (0.5 * (v * math.log(beta) + (1 - v) * math.log(posterior))).exp(),
    )
    uniform = torch.tensor([(t + 0.5) / 100], dtype=torch.float64)
    objective = EpsilonObjective(schedule, learn_variance=True)
    terms = objective.loss(lambda *_: torch.cat([answer, fraction], 1), latents, labels, uniform, noise)
    expected = kl_divergence(q, p).mean() / math.log(2)
    torch.testing.assert_close(terms.by_name["vb"][0], expected, rtol=2e-3, atol=1e-5)
    # L_hybrid = L_simple + 0.001 L_vlb, L_vlb a sum of T terms
    torch.testing.assert_close(terms.total, terms.by_name["mse"] + 0.001 * 100 * terms.by_name["vb"])


def test_first_term_is_the_density_of_the_clean_picture() -> None:
    latents, labels, _, noise = batch(1)
    schedule = linear_schedule()
    beta = schedule.betas[0]
    answer = noise + 0.3
    noisy = math.sqrt(1 - beta) * latents + math.sqrt(beta) * noise
    density = Normal((noisy - math.sqrt(beta) * answer) / math.sqrt(1 - beta), math.sqrt(beta))
    output = torch.cat([answer, torch.ones_like(answer)], 1)  # fraction 1: variance beta
    objective = EpsilonObjective(schedule, learn_variance=True)
    terms = objective.loss(lambda *_: output, latents, labels, torch.zeros(1), noise)
    expected = -density.log_prob(latents).mean() / math.log(2)
    torch.testing.assert_close(terms.by_name["vb"][0], expected, rtol=1e-3, atol=1e-3)


def test_bound_trains_the_variance_alone() -> None:
    latents, labels, uniform, noise = batch()
    output = torch.randn(5, 4, 4, 4, requires_grad=True)
    hybrid, mse = make_objective("hybrid"), make_objective("mse")
    (from_hybrid,) = torch.autograd.grad(
        hybrid.loss(lambda *_: output, latents, labels, uniform, noise).total.sum(), output
    )
    (from_mse,) = torch.autograd.grad(
        mse.loss(lambda *_: output, latents, labels, uniform, noise).total.sum(), output
    )
    torch.testing.assert_close(from_hybrid[:, :2], from_mse[:, :2])
    assert torch.count_nonzero(from_mse[:, 2:]) == 0
    assert (from_hybrid[:, 2:].abs().amax((1, 2, 3)) > 0).all()


def test_bound_is_least_at_the_posterior_for_a_perfect_mean() -> None:
    latents, labels, _, noise = batch()
    uniform = torch.full((5,), 0.3)

    def bound(fraction: float) -> Tensor:
        output = torch.cat([noise, torch.full_like(noise, fraction)], 1)
        return make_objective("hybrid").loss(lambda *_: output, latents, labels, uniform, noise).by_name["vb"]

    assert bound(-1.0).abs().max() < 1e-6
    assert (bound(0.0) > bound(-1.0)).all()


def test_min_snr_weights_by_hand() -> None:
    latents, labels, uniform, noise = batch()
    empty = lambda x, t, y: torch.zeros_like(x)  # noqa: E731
    terms = make_objective("mse", min_snr_gamma=5.0).loss(empty, latents, labels, uniform, noise)
    snr = [linear_schedule().noise_level(t) ** -2 for t in (0, 249, 499, 749, 999)]
    weights = [min(s, 5) / s for s in snr]
    assert weights[0] < 0.001 and weights[-1] == 1
    torch.testing.assert_close(
        terms.total / terms.by_name["mse"], torch.tensor(weights), rtol=1e-3, atol=1e-6
    )
    flow = FlowObjective("uniform", min_snr_gamma=5.0)
    terms = flow.loss(empty, latents, labels, torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9]), noise)
    # min(((1 - t) / t)^2, 5) t^2: 5 * 0.01, 5 * 0.0625, 0.25, 0.0625, 0.01
    torch.testing.assert_close(
        terms.total / terms.by_name["mse"], torch.tensor([0.05, 0.3125, 0.25, 0.0625, 0.01])
    )


def test_flow_is_zero_for_the_true_velocity() -> None:
    latents, labels, uniform, noise = batch()
    objective = make_objective("flow")

    def model(x: Tensor, timesteps: Tensor, y: Tensor) -> Tensor:
        t = (timesteps / 1000).view(-1, 1, 1, 1)
        torch.testing.assert_close(x, (1 - t) * latents + t * noise)
        return noise - latents

    assert objective.loss(model, latents, labels, uniform, noise).total.abs().max() == 0


def test_logit_normal_times() -> None:
    objective = FlowObjective("logit_normal", mean=0.5, std=2.0)
    times = objective.times(torch.tensor([0.0, 0.5, 0.841344746, 1 - 1e-12], dtype=torch.float64))
    assert times[1].item() == pytest.approx(1 / (1 + math.exp(-0.5)))
    assert times[2].item() == pytest.approx(1 / (1 + math.exp(-2.5)))  # one standard deviation above
    assert 0 < times[0] < times[-1] < 1


def test_loss_by_timestep_is_the_same_each_time() -> None:
    latents, labels, _, noise = batch()
    objective = EpsilonObjective(linear_schedule(), min_snr_gamma=5.0)
    result = [
        denoising_loss_by_timestep(objective, lambda x, t, y: x, latents, labels, noise, [0.1, 0.5, 0.9])
        for _ in range(2)
    ]
    assert torch.equal(result[0], result[1])
    assert result[0].shape == (3, 5)
    each = noise[None].expand(3, *noise.shape)
    assert torch.equal(
        result[0],
        denoising_loss_by_timestep(objective, lambda x, t, y: x, latents, labels, each, [0.1, 0.5, 0.9]),
    )
    assert (result[0][0] > result[0][2]).all()  # x is all noise at the end: there the answer x is right


def test_errors() -> None:
    latents, labels, uniform, noise = batch()
    with pytest.raises(DataDoubleError, match="learn_sigma=true"):
        make_objective("hybrid").loss(lambda x, t, y: x, latents, labels, uniform, noise)
    with pytest.raises(DataDoubleError, match="hybrid"):
        make_objective("hybird")
    with pytest.raises(DataDoubleError, match="logit_normal"):
        FlowObjective("logit-normal")
    assert LossTerms(latents).by_name == {}


def test_the_clean_objective_is_the_velocitys_error_up_to_its_cut() -> None:
    """v = alpha n - sigma x_0 (Salimans and Ho); a wrong x_0 stands for a wrong v, off by the same over sigma."""
    latents, labels, uniform, noise = batch()
    objective, wrong = CleanObjective(linear_schedule(), gamma=5.0), torch.full_like(latents, 0.3)
    terms = objective.loss(lambda x, t, y: latents + wrong, latents, labels, uniform, noise)
    path = objective.path
    assert path.prediction == "clean"
    for i, u in enumerate(uniform.tolist()):
        sigma = path.alpha_sigma(int(u * 1000))[1]
        assert float(terms.total[i]) == pytest.approx(0.09 * min(5.0, 1 / sigma**2), rel=1e-4)
    assert terms.by_name["mse"].tolist() == pytest.approx([0.09] * 5)


def test_the_skip_adds_wieners_estimate_of_the_detail() -> None:
    """Pictures of a known mean and white detail of spread d: told the mean, the rest is the linear posterior mean."""
    d, schedule = 0.3, cosine_schedule()
    objective = CleanObjective(schedule, detail_std=d)
    random = torch.Generator().manual_seed(0)
    clean = 0.5 + d * torch.randn(64, 3, 16, 16, generator=random)
    noise = torch.randn(64, 3, 16, 16, generator=random)
    labels = torch.zeros(64, dtype=torch.long)

    def smooth(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return torch.full_like(x, 0.5)

    for u in (0.02, 0.2, 0.6):
        alpha, sigma = schedule.alpha_sigma(int(u * 1000))
        at_once = torch.full((64,), u, dtype=torch.float64)
        mse = objective.loss(smooth, clean, labels, at_once, noise).by_name["mse"].mean().item()
        least = 1 / (1 / d**2 + (alpha / sigma) ** 2)  # variance of a Gaussian's posterior
        assert mse == pytest.approx(least, rel=0.03)
        plain = (
            CleanObjective(schedule).loss(smooth, clean, labels, at_once, noise).by_name["mse"].mean().item()
        )
        assert plain == pytest.approx(d**2, rel=0.03)


def test_samplers_draw_the_detail() -> None:
    """Along the probability flow of a known mean with white detail, noise shrinks to d times itself."""
    objective = CleanObjective(cosine_schedule(), detail_std=0.3)
    noise = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(2, dtype=torch.long)
    for sampler, steps in (("ddim", 500), ("dpmpp", 60)):
        drawn = sample(
            lambda x, t, y: torch.full_like(x, 0.5),
            noise,
            labels,
            objective=objective,
            sampler=sampler,
            steps=steps,
        )
        assert torch.allclose(drawn, 0.5 + 0.3 * noise, atol=0.02), sampler


def test_the_skip_knows_the_noise_from_what_the_network_is_told() -> None:
    schedule = replace(cosine_schedule(), conditioning="noise_level")
    by_level, by_time = (
        CleanObjective(schedule, detail_std=0.3),
        CleanObjective(cosine_schedule(), detail_std=0.3),
    )
    x, labels = (
        torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)),
        torch.zeros(2, dtype=torch.long),
    )

    def half(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return 0.5 * x

    told = torch.full((2,), schedule.network_timestep(300.0))
    seen = by_level.as_trained(half)(x, told, labels)
    assert torch.allclose(seen, by_time.as_trained(half)(x, torch.full((2,), 300.0), labels), atol=1e-4)
    with pytest.raises(DataDoubleError, match="negative"):
        CleanObjective(schedule, detail_std=-0.1)
