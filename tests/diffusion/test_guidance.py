"""Guidance where its effect is known: between Gaussians of equal spread it moves the mean alone."""

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from datadouble.diffusion.guidance import Guidance, guided
from datadouble.diffusion.objectives import EpsilonObjective, FlowObjective, Objective
from datadouble.diffusion.samplers import sample
from datadouble.diffusion.schedules import linear_schedule
from datadouble.errors import DataDoubleError

OBJECTIVES = [EpsilonObjective(linear_schedule()), FlowObjective()]
CLASS_MEAN, NULL_MEAN = torch.tensor([1.0, -0.5]), torch.tensor([0.25, 0.5])
MEANS = torch.stack([CLASS_MEAN, NULL_MEAN])  # label 1 is the null label
COVARIANCE = torch.tensor([[0.5, 0.2], [0.2, 0.3]])


@pytest.mark.parametrize("objective", OBJECTIVES, ids=["epsilon", "flow"])
def test_guided_gaussian_has_the_extrapolated_mean(analytic: ModuleType, objective: Objective) -> None:
    model = analytic.gaussian_model(objective.path, MEANS, COVARIANCE)
    noise, labels = analytic.exact_noise(200, 2), torch.zeros(200, dtype=torch.long)
    guidance = Guidance(weight=0.8, null_label=1)
    # both halves of the batch have their own mean: the model is called with rows of two classes
    x = sample(model, noise, labels, objective=objective, steps=40, guidance=guidance)
    mean, covariance = analytic.moments(x)
    torch.testing.assert_close(mean, (1.8 * CLASS_MEAN - 0.8 * NULL_MEAN).double(), atol=0.01, rtol=0)
    torch.testing.assert_close(covariance, COVARIANCE.double(), atol=0.01, rtol=0)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=["epsilon", "flow"])
def test_autoguidance_takes_the_weak_model_in_the_place_of_the_null_label(
    analytic: ModuleType, objective: Objective
) -> None:
    strong = analytic.gaussian_model(objective.path, MEANS, COVARIANCE)
    weak = analytic.gaussian_model(objective.path, MEANS.flip(0), COVARIANCE)
    noise, labels = analytic.exact_noise(200, 2), torch.zeros(200, dtype=torch.long)
    x = sample(strong, noise, labels, objective=objective, steps=40, guidance=Guidance(0.8, weak_model=weak))
    y = sample(strong, noise, labels, objective=objective, steps=40, guidance=Guidance(0.8, null_label=1))
    torch.testing.assert_close(x, y, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=["epsilon", "flow"])
def test_mixture_guided_by_its_class_leaves_the_other_alone(
    analytic: ModuleType, objective: Objective
) -> None:
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    model = analytic.mixture_model(objective.path, means, 0.9)
    noise = analytic.exact_noise(2000, 2)
    beyond = {}
    for weight in (0.0, 0.8, 2.0):
        labels = torch.ones(2000, dtype=torch.long)
        guidance = Guidance(weight, null_label=2)
        x = sample(model, noise, labels, objective=objective, steps=25, guidance=guidance)
        beyond[weight] = float((x[:, 0] < 0).double().mean())
    assert beyond[0.0] == pytest.approx(0.1333, abs=0.015)  # Phi(-1 / 0.9)
    assert beyond[2.0] < beyond[0.8] < 0.6 * beyond[0.0]


class Counting:
    """A network that remembers how it was called."""

    def __init__(self, channels: int = 4) -> None:
        self.batches: list[list[int]] = []
        self.channels = channels

    def __call__(self, x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        self.batches.append(labels.tolist())
        out = x * (1 + labels.view(-1, 1, 1, 1))
        return torch.cat([out, labels.view(-1, 1, 1, 1) + torch.zeros_like(x)], 1)[:, : self.channels]


def test_all_channels_are_guided_and_the_variance_is_not() -> None:
    model, path = Counting(8), EpsilonObjective(linear_schedule(), learn_variance=True).path
    x, labels = torch.randn(3, 4, 2, 2), torch.tensor([1, 1, 2])
    prediction, fraction = guided(model, path, labels, Guidance(0.5, null_label=3))(x, 10.0)
    assert model.batches == [[1, 1, 2, 3, 3, 3]]
    conditional = x * torch.tensor([2.0, 2.0, 3.0]).view(-1, 1, 1, 1)
    torch.testing.assert_close(
        prediction, 1.5 * conditional - 0.5 * 4 * x
    )  # (1 + w) e_c - w e_u, every channel
    assert fraction is not None and fraction[:, 0, 0, 0].tolist() == [1, 1, 2]


def test_outside_the_interval_the_network_runs_once() -> None:
    model, objective = Counting(), FlowObjective()
    noise, labels = torch.randn(2, 4, 2, 2), torch.tensor([0, 0])
    guidance = Guidance(1.0, null_label=2, interval=(0.4, 2.0))
    sample(model, noise, labels, objective=objective, sampler="euler", steps=5, guidance=guidance)
    # t = 1, 0.8, 0.6, 0.4, 0.2: t / (1 - t) = inf, 4, 1.5, 0.67, 0.25
    assert [len(batch) for batch in model.batches] == [2, 2, 4, 4, 2]


def test_no_weight_no_second_forward() -> None:
    for guidance in (None, Guidance(), Guidance(0.0, null_label=2)):
        model = Counting()
        noise = torch.randn(2, 4, 2, 2)
        labels = torch.tensor([0, 1])
        sample(model, noise, labels, objective=OBJECTIVES[0], steps=3, guidance=guidance)
        assert model.batches == [[0, 1]] * 3


@pytest.mark.parametrize("arguments", [{"weight": 1.0}, {"interval": (2.0, 1.0)}, {"interval": (-1.0, 1.0)}])
def test_errors(arguments: dict[str, Any]) -> None:
    with pytest.raises(DataDoubleError):
        Guidance(**arguments)
