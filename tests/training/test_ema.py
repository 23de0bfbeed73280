"""The averaged weights."""

import torch
from torch import nn

from datadouble.training.ema import WeightAverage


def constant(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def test_after_one_half_life_half_of_the_start_is_left() -> None:
    average = WeightAverage(constant(0.0), half_life=1000, ramp_up=1e9)
    moved = constant(1.0)
    for step in range(1, 11):
        average.update(moved, images_seen=100 * step, batch=100)
    torch.testing.assert_close(average.weights["weight"], torch.tensor([[0.5]]))


def test_early_in_a_run_the_first_weights_are_forgotten_quickly() -> None:
    slow = WeightAverage(constant(0.0), half_life=1e6, ramp_up=1e9)
    ramped = WeightAverage(constant(0.0), half_life=1e6, ramp_up=0.09)
    for step in range(1, 101):
        for average in (slow, ramped):
            average.update(constant(1.0), images_seen=64 * step, batch=64)
    assert slow.weights["weight"].item() < 0.01
    assert ramped.weights["weight"].item() > 0.99
