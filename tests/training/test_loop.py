"""The training loop, on a task so small that the truth is known: fitting a line."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from datadouble.errors import DataDoubleError
from datadouble.networks.weights import load_tensors
from datadouble.randomness import torch_generator_for
from datadouble.training.loop import Trainer, TrainingOptions, batch_rows, learning_rate
from datadouble.training.processes import Processes

OPTIONS = TrainingOptions(
    images=1280,
    batch=16,
    learning_rate=0.3,
    precision="fp32",
    checkpoint_every=48,
    validate_every=160,
    sheet_every=320,
    ema_half_life=100,
)


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class Line:
    """Learn y = 3 x - 1 from noisy points; dies when it has seen `dies_at` images."""

    def __init__(self, dies_at: float = float("inf"), poison: int | None = None) -> None:
        self.network: nn.Module = nn.Linear(1, 1)
        nn.init.zeros_(self.network.weight)
        nn.init.zeros_(self.network.bias)
        self.dies_at, self.poison = dies_at, poison
        self.sheets: list[int] = []

    def dataset_size(self) -> int:
        return 50

    def losses(
        self, network: nn.Module, rows: np.ndarray, images_seen: int, places: slice
    ) -> dict[str, Tensor]:
        if images_seen >= self.dies_at:
            raise Killed
        noise = torch.randn(len(rows), 1, generator=torch_generator_for(0, images_seen))[places]
        x = torch.from_numpy(rows[places]).float()[:, None] / 25 - 1
        loss = (network(x) - (3 * x - 1 + 0.01 * noise)).square().mean(1)
        if self.poison is not None and self.poison in rows[places]:
            loss = loss * torch.nan
        return {"loss": loss}

    def image_ids(self, rows: np.ndarray) -> list[str]:
        return [f"image-{row}" for row in rows]

    def validate(self, network: nn.Module) -> dict[str, Any]:
        return {"validation_loss": float((network.weight - 3).square())}  # type: ignore[operator]

    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        self.sheets.append(images_seen)


def train(run: Path, task: Line, options: TrainingOptions = OPTIONS) -> dict[str, Tensor]:
    run.mkdir(exist_ok=True)
    Trainer(task, options, run, Processes()).train()
    return load_tensors(run / "state" / "state.safetensors")[0]


def test_it_learns_the_line(tmp_path: Path) -> None:
    task = Line()
    train(tmp_path, task)
    weights, facts = load_tensors(tmp_path / "model" / "last.safetensors")
    assert abs(weights["weight"].item() - 3) < 0.1 and abs(weights["bias"].item() + 1) < 0.1
    assert facts["images_seen"] == 1280
    assert task.sheets == [320, 640, 960, 1280]
    assert load_tensors(tmp_path / "model" / "early.safetensors")[1]["images_seen"] == 320


def test_a_run_killed_anywhere_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", Line())
    for dies_at in (16, 112, 336, 352, 608):
        with pytest.raises(Killed):
            train(tmp_path / "cut", Line(dies_at))
    cut = train(tmp_path / "cut", Line())
    assert set(cut) == set(whole)
    assert all(torch.equal(cut[name], whole[name]) for name in whole)
    for name in ("best", "last", "early"):
        left, right = (tmp_path / run / "model" / f"{name}.safetensors" for run in ("whole", "cut"))
        assert left.read_bytes() == right.read_bytes()
    seen = [
        [json.loads(line)["images_seen"] for line in (tmp_path / run / "metrics.jsonl").open()]
        for run in ("whole", "cut")
    ]
    assert seen[0] == seen[1]  # no figure twice, none missing


class Dropping(Line):
    """Leaves out half of its inputs, as dropout does: by the global generator."""

    def losses(
        self, network: nn.Module, rows: np.ndarray, images_seen: int, places: slice
    ) -> dict[str, Tensor]:
        return super().losses(nn.Sequential(nn.Dropout(0.5), network), rows, images_seen, places)


def test_dropout_too_goes_on_bit_for_bit_and_the_global_generator_is_left_alone(tmp_path: Path) -> None:
    task = Dropping()
    torch.manual_seed(1)
    whole = train(tmp_path / "whole", task)
    after = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(3))
    for dies_at in (112, 336):
        with pytest.raises(Killed):
            train(tmp_path / "cut", Dropping(dies_at))
    cut = train(tmp_path / "cut", Dropping())
    assert all(torch.equal(cut[name], whole[name]) for name in whole)
    plain = train(tmp_path / "plain", Line())
    assert not torch.equal(plain["network/weight"], whole["network/weight"])


def test_micro_batches_change_nothing_but_memory(tmp_path: Path) -> None:
    from dataclasses import replace

    whole = train(tmp_path / "a", Line())
    parts = train(tmp_path / "b", Line(), replace(OPTIONS, micro_batch=4))
    torch.testing.assert_close(whole["network/weight"], parts["network/weight"])


def test_nan_stops_the_run_and_names_the_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match="no longer a number"):
        train(tmp_path, Line(poison=17))
    assert "image-17" in json.loads((tmp_path / "nan.json").read_text())["image_ids"]


def test_every_pass_shows_every_picture_once() -> None:
    rows = np.concatenate([batch_rows(5, 10, seen, 4) for seen in range(0, 40, 4)])
    for epoch in range(4):
        assert sorted(rows[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert not np.array_equal(rows[:10], rows[10:20])


def test_the_learning_rate_rises_and_falls_to_zero() -> None:
    options = TrainingOptions(images=1000, batch=10, learning_rate=1.0, warm_up=100, decay="cosine")
    assert learning_rate(options, 0) == pytest.approx(0.1)
    assert learning_rate(options, 500) == pytest.approx(0.5)
    assert learning_rate(options, 1000) == pytest.approx(0.0)
    flat = TrainingOptions(images=1000, batch=10, learning_rate=1.0)
    assert learning_rate(flat, 999) == 1.0


def test_a_task_may_choose_its_rows(tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    class Choosy(Line):
        def choose_rows(self, images_seen: int, batch: int) -> np.ndarray:
            asked.append((images_seen, batch))
            return np.full(batch, 7)

        def losses(
            self, network: nn.Module, rows: np.ndarray, images_seen: int, places: slice
        ) -> dict[str, Tensor]:
            assert (rows == 7).all()
            return super().losses(network, rows, images_seen, places)

    train(tmp_path, Choosy(), replace(OPTIONS, images=48))
    assert asked == [(0, 16), (16, 16), (32, 16)]
