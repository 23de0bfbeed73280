"""Private training of supervised networks: it learns, it is deterministic, and it refuses what is not private."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from datadouble.audit.utility.presets import UTILITY_PRESETS
from datadouble.audit.utility.private_training import train_with_privacy
from datadouble.audit.utility.training import Pool, classification_loss, predict
from datadouble.errors import DataDoubleError
from datadouble.training.privacy.options import PrivacyOptions, PrivacyPlan
from datadouble.training.privacy.supervised import train_privately

PLAN = PrivacyPlan(8.0, 1e-3, 8.0, 8.0, 0.0, 0.3, 0.25, 40, 64, 16, 1, 1, 1.0, "full", 0)
OPTIONS = PrivacyOptions(epsilon=8, patients_per_step=16, draws=1)
PATIENTS = np.array([f"p{row // 2}" for row in range(128)])


def points(rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Two classes on either side of a line, two points a patient."""
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(128, 2)).astype(np.float32))[rows]
    return x, (x[:, 0] + x[:, 1] > 0).float()


def logistic(scores: Tensor, truth: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(scores[:, 0], truth, reduction="none")


def fitted(secret: int = 5, plan: PrivacyPlan = PLAN) -> nn.Linear:
    network = nn.Linear(2, 1)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.2)
    train_privately(
        network, points, logistic, PATIENTS, OPTIONS, steps=40, optimiser=optimiser, secret=secret, plan=plan
    )
    return network


def test_it_learns_and_gives_the_same_again() -> None:
    network, again, other = fitted(), fitted(), fitted(6)
    x, y = points(np.arange(128))
    assert ((network(x)[:, 0] > 0) == (y > 0)).float().mean() > 0.9
    assert torch.equal(network.weight, again.weight) and not torch.equal(network.weight, other.weight)
    drowned = fitted(plan=replace(PLAN, noise_multiplier=1e3))
    assert (drowned.weight - network.weight).norm() > 0.5


def test_a_plan_of_another_training_is_refused() -> None:
    with pytest.raises(DataDoubleError, match="another training"):
        fitted(plan=replace(PLAN, steps=41))
    with pytest.raises(DataDoubleError, match="another training"):
        fitted(plan=replace(PLAN, patients=128))


def test_a_classifier_of_the_usefulness_test_trains_on_a_double_privately() -> None:
    """Bright pictures against dark ones, batch norm replaced; a double's pictures are records of their own."""
    preset = UTILITY_PRESETS["demo"]
    labels = np.arange(64) % 2
    random = np.random.default_rng(0)
    pictures = (random.integers(0, 60, (64, 32, 32)) + 150 * labels[:, None, None]).astype(np.uint8)
    plan = replace(PLAN, steps=12, patients=64)
    network, done = train_with_privacy(
        preset,
        Pool([pictures]),
        Pool([labels]),
        np.arange(64),
        12,
        loss=classification_loss,
        patients=np.array([""] * 64),
        privacy=OPTIONS,
        seed=0,
        secret=3,
        plan=plan,
    )
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert done.gradient_error < 1e-4 and done.to_json()["epsilon"] == 8.0
    chances = predict(preset, network, pictures)
    assert chances[labels == 1].mean() > chances[labels == 0].mean()
    with pytest.raises(DataDoubleError, match="not private"):
        train_with_privacy(
            UTILITY_PRESETS["features"],
            Pool([pictures]),
            Pool([labels]),
            np.arange(64),
            12,
            loss=classification_loss,
            patients=np.array([""] * 64),
            privacy=OPTIONS,
            seed=0,
            secret=3,
        )
