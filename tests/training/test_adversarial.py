"""The adversarial loop, on pictures of one number: the generator finds the level that is real."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datadouble.errors import DataDoubleError
from datadouble.networks.weights import load_tensors
from datadouble.randomness import torch_generator_for
from datadouble.training.adversarial import AdversarialTrainer
from datadouble.training.loop import TrainingOptions
from datadouble.training.processes import Processes

OPTIONS = TrainingOptions(
    images=480, batch=16, learning_rate=0.02, precision="fp32", checkpoint_every=48, validate_every=160,
    sheet_every=480, ema_half_life=100, betas=(0.5, 0.99), clip=100.0,
)  # fmt: skip


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class Numbers:
    """Real numbers are 2 on average; the generator adds a constant to noise."""

    def __init__(self, dies_at: float = float("inf"), poison: bool = False) -> None:
        torch.manual_seed(0)
        self.network: nn.Module = nn.Linear(1, 1)
        nn.init.zeros_(self.network.bias)
        nn.init.ones_(self.network.weight)
        self.critics = nn.ModuleList([nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))])
        self.dies_at, self.poison = dies_at, poison

    def dataset_size(self) -> int:
        return 40

    def image_ids(self, rows: np.ndarray) -> list[str]:
        return [f"image-{row}" for row in rows]

    def losses(self, *_: Any) -> dict[str, Tensor]:
        raise AssertionError

    def real_batch(self, rows: np.ndarray, images_seen: int) -> tuple[Tensor, Tensor]:
        if images_seen >= self.dies_at:
            raise Killed
        random = torch_generator_for(0, images_seen)
        real, noise = torch.randn(2, len(rows), 1, generator=random)
        return 2 + 0.5 * real, 0.5 * noise

    def draw_batch(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return network(batch[1]) * (torch.nan if self.poison else 1)

    def critic_losses(self, batch: tuple[Tensor, Tensor], drawn: Tensor) -> dict[str, Tensor]:
        assert not drawn.requires_grad
        says = self.critics[0]
        loss = F.softplus(-says(batch[0])).mean() + F.softplus(says(drawn)).mean()
        return {"critic_loss": loss}

    def generator_losses(self, batch: tuple[Tensor, Tensor], drawn: Tensor) -> dict[str, Tensor]:
        assert not any(p.requires_grad for p in self.critics.parameters())
        return {"loss": F.softplus(-self.critics[0](drawn)).mean()}

    def validate(self, network: nn.Module) -> dict[str, Any]:
        return {"validation_loss": abs(float(network.bias) - 2)}  # type: ignore[arg-type]

    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        pass


def train(run: Path, task: Numbers, options: TrainingOptions = OPTIONS) -> dict[str, Tensor]:
    run.mkdir(exist_ok=True)
    AdversarialTrainer(task, options, run, Processes()).train()
    return load_tensors(run / "state/state.safetensors")[0]


def test_the_generator_learns_from_its_critic(tmp_path: Path) -> None:
    task = Numbers()
    train(tmp_path / "run", task, replace(OPTIONS, images=3200))
    assert abs(float(task.network.bias.detach()) - 2) < 0.8  # type: ignore[operator]  # it began at 0


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", Numbers())
    for dies_at in (100, 250):
        with pytest.raises(Killed):
            train(tmp_path / "cut", Numbers(dies_at=dies_at))
    cut = train(tmp_path / "cut", Numbers())
    assert {name.split("/")[0] for name in whole} == {
        "network", "average", "optimiser", "critics", "critic_optimiser",
    }  # fmt: skip
    assert whole.keys() == cut.keys() and all(torch.equal(whole[name], cut[name]) for name in whole)
    for name in ("best", "last"):
        files = [(tmp_path / run / f"model/{name}.safetensors").read_bytes() for run in ("whole", "cut")]
        assert files[0] == files[1]
    lines = [json.loads(line) for line in (tmp_path / "cut/metrics.jsonl").read_text().splitlines()]
    assert [line["images_seen"] for line in lines] == [160, 320, 480]
    assert {"loss", "critic_loss", "gradient_norm", "critic_gradient_norm"} <= lines[-1].keys()


def test_what_is_no_number_stops_the_run_and_names_the_images(tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match="no longer a number"):
        train(tmp_path / "run", Numbers(poison=True))
    assert len(json.loads((tmp_path / "run/nan.json").read_text())["image_ids"]) == 16


def test_what_it_cannot_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match="one process"):
        AdversarialTrainer(Numbers(), OPTIONS, tmp_path, Processes(0, 2))
    with pytest.raises(DataDoubleError, match="micro-batches"):
        AdversarialTrainer(Numbers(), replace(OPTIONS, micro_batch=4), tmp_path, Processes())
