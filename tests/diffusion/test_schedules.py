"""Schedules against the papers' figures and against diffusers'."""

import numpy as np
import pytest
import torch

from datadouble.diffusion.schedules import (
    FlowPath,
    NoiseSchedule,
    at,
    cosine_schedule,
    linear_schedule,
    make_schedule,
)
from datadouble.errors import DataDoubleError


def test_linear_schedule_by_hand() -> None:
    schedule = linear_schedule()
    assert schedule.num_timesteps == 1000
    assert (schedule.betas[0], schedule.betas[-1]) == (1e-4, 0.02)
    assert schedule.alphas_cumprod[1] == pytest.approx((1 - 1e-4) * (1 - 1e-4 - 0.0199 / 999), rel=1e-12)
    assert schedule.alphas_cumprod[-1] == pytest.approx(
        4.0358e-5, rel=1e-3
    )  # Ho et al.: almost no signal left


def test_schedules_equal_those_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    for ours, name in ((linear_schedule(), "linear"), (cosine_schedule(), "squaredcos_cap_v2")):
        theirs = diffusers.DDPMScheduler(beta_schedule=name)
        np.testing.assert_allclose(ours.betas, theirs.betas.numpy(), rtol=2e-4, atol=1e-6)
        np.testing.assert_allclose(ours.alphas_cumprod, theirs.alphas_cumprod.numpy(), rtol=2e-3, atol=1e-6)


def test_posterior_variance_is_that_of_the_gaussian_product() -> None:
    schedule = linear_schedule(50)
    t = 20  # q(x_{t-1} | x_t, x_0) is a product of two Gaussians: precisions add
    alpha, before = 1 - schedule.betas[t], schedule.alphas_cumprod[t - 1]
    precision = alpha / schedule.betas[t] + 1 / (1 - before)
    assert schedule.posterior_variance[t] == pytest.approx(1 / precision)
    assert schedule.posterior_variance[0] == schedule.posterior_variance[1] > 0


@pytest.mark.parametrize("spacing", ["trailing", "leading", "quadratic", "logsnr"])
@pytest.mark.parametrize("steps", [1, 2, 7, 10, 25, 250, 999, 1000])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_times_fall_and_are_whole(spacing: str, steps: int, name: str) -> None:
    times = np.array(make_schedule(name).times(steps, spacing))
    assert len(times) == steps
    assert (np.diff(times) < 0).all()
    assert (times == np.round(times)).all() and times.min() >= 0 and times.max() <= 999
    if spacing != "leading":
        assert times[0] == 999  # a sampler that starts below shows the network a noise it never saw


def test_logsnr_strides_are_equal() -> None:
    schedule = linear_schedule()
    levels = [-np.log(schedule.noise_level(t)) for t in schedule.times(10, "logsnr")]
    strides = np.diff(levels)
    assert strides.max() / strides.min() < 1.35  # whole timesteps are coarse at the clean end


def test_flow_times_and_shift() -> None:
    assert FlowPath().times(4) == [1.0, 0.75, 0.5, 0.25]
    assert FlowPath(shift=3.0).times(2) == [1.0, 0.75]  # 3 * 0.5 / (1 + 2 * 0.5)
    assert FlowPath().alpha_sigma(0.25) == (0.75, 0.25)
    assert FlowPath().noise_level(1.0) == float("inf")


def test_table_lookup_takes_the_shape_of_pictures() -> None:
    found = at(np.arange(5.0), torch.tensor([4, 2]), torch.zeros(2, 3, 4, 4))
    assert found.shape == (2, 1, 1, 1)
    assert found.flatten().tolist() == [4.0, 2.0]


def test_errors() -> None:
    with pytest.raises(DataDoubleError, match="cosine"):
        make_schedule("cosin")
    with pytest.raises(DataDoubleError, match="1 to 1000"):
        linear_schedule().times(1001)
    with pytest.raises(DataDoubleError, match="trailing"):
        linear_schedule().times(10, "trail")
    with pytest.raises(DataDoubleError, match="between 0 and 1"):
        NoiseSchedule("own", np.array([0.1, 1.2]))
