"""The private step in the one loop, on a task so small that the truth is known: fitting a line."""

import json
import math
import stat
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from datadouble.errors import DataDoubleError
from datadouble.networks.weights import load_tensors
from datadouble.training.loop import TrainingOptions
from datadouble.training.privacy import trainer as module
from datadouble.training.privacy.options import PrivacyOptions, PrivacyPlan, make_plan
from datadouble.training.privacy.trainer import KNOWN, PrivateTrainer, open_plan
from datadouble.training.processes import Processes

OPTIONS = TrainingOptions(
    images=640,
    learning_rate=0.05,
    precision="fp32",
    checkpoint_every=32,
    validate_every=160,
    sheet_every=320,
    ema_half_life=50,
)
PLAN = PrivacyPlan(8.0, 1e-3, 7.9, 7.9, 0.1, 0.3, 0.16, 80, 50, 8, 1, 2, 1.0, "full", 0)
SECRET = 2**90 + 1


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


class Line:
    """Learn y = 3 x - 1, a point a patient. Dies at a step; or is right at once, so that only noise moves it."""

    def __init__(self, dies_at: float = math.inf, *, right: bool = False) -> None:
        self.network: nn.Module = nn.Linear(1, 1)
        nn.init.constant_(self.network.weight, 3.0 if right else 0.0)
        nn.init.constant_(self.network.bias, -1.0 if right else 0.0)
        self.dies_at, self.batches = dies_at, 0

    def dataset_size(self) -> int:
        return 50

    def patients(self) -> np.ndarray:
        return np.array([f"p{row}" for row in range(50)])

    def image_ids(self, rows: np.ndarray) -> list[str]:
        return [str(row) for row in rows]

    def private_batch(self, rows: np.ndarray, times: Tensor, random: torch.Generator) -> tuple[Tensor, ...]:
        self.batches += 1
        if self.batches > self.dies_at:
            raise Killed
        return torch.from_numpy(rows).float()[:, None] / 25 - 1, 0 * torch.randn(
            len(rows), 1, generator=random
        )

    def private_losses(self, network: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        x, noise = batch
        return {"loss": (network(x) - (3 * x - 1 + noise)).square().mean(1)}

    def losses(
        self, network: nn.Module, rows: np.ndarray, images_seen: int, places: slice
    ) -> dict[str, Tensor]:
        raise AssertionError("a private run must not take the plain path")

    def validate(self, network: nn.Module) -> dict[str, Any]:
        return {"validation_loss": float(network.weight.square())}  # type: ignore[operator,union-attr]

    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        return None


@pytest.fixture(autouse=True)
def quick_accounting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The accountant is tested elsewhere."""
    monkeypatch.setattr(PrivacyPlan, "spent", lambda plan, steps: steps / plan.steps * plan.epsilon)


def train(run: Path, task: Line, plan: PrivacyPlan = PLAN, secret: int = SECRET) -> dict[str, Tensor]:
    run.mkdir(exist_ok=True)
    PrivateTrainer(task, OPTIONS, plan, secret, run, Processes()).train()
    return load_tensors(run / "state" / "state.safetensors")[0]


def test_it_learns_the_line_and_says_what_it_spent(tmp_path: Path) -> None:
    train(tmp_path, Line())
    weights, _ = load_tensors(tmp_path / "model" / "last.safetensors")
    assert weights["weight"].item() > 1.5
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert lines[-1]["epsilon"] == 8.0 and lines[-1]["steps"] == 80
    assert lines[0]["epsilon"] == 2.0
    # Nothing of the patients, such as a loss, is in the figures that a report may show.
    assert {key for line in lines for key in line} <= set(KNOWN)
    inside = [json.loads(line) for line in (tmp_path / "state" / "inside.jsonl").open()]
    assert inside[-1]["loss"] < inside[0]["loss"]
    best, last = ((tmp_path / "model" / f"{n}.safetensors").read_bytes() for n in ("best", "last"))
    assert best == last  # validation patients choose nothing


def test_a_run_killed_anywhere_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", Line())
    for dies_at in (3, 22, 41):  # the gate takes one batch each time
        with pytest.raises(Killed):
            train(tmp_path / "cut", Line(dies_at))
    cut = train(tmp_path / "cut", Line())
    assert set(cut) == set(whole)
    assert all(torch.equal(cut[name], whole[name]) for name in whole)
    facts = [load_tensors(tmp_path / run / "state" / "state.safetensors")[1] for run in ("whole", "cut")]
    assert facts[0] == facts[1] and facts[0]["accountant"] == [0.3, 0.16, 80]
    for name in ("metrics.jsonl", "model/last.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    with pytest.raises(DataDoubleError, match="other noise"):
        train(tmp_path / "cut", Line(), replace(PLAN, noise_multiplier=0.1))


def test_the_noise_is_as_strong_as_it_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every gradient is zero, what AdamW is handed is noise: N(0, noise x clip / patients a step)."""
    seen: list[float] = []
    plan = replace(PLAN, noise_multiplier=4.0, clip=0.5)
    task = Line(right=True)
    tmp_path.mkdir(exist_ok=True)
    trainer = PrivateTrainer(
        task, replace(OPTIONS, images=2400, learning_rate=0.0), plan, SECRET, tmp_path, Processes()
    )
    step = trainer._optimiser.step

    def spy() -> None:
        seen.extend(float(p.grad) for p in task.network.parameters() if p.grad is not None)
        step()

    monkeypatch.setattr(trainer._optimiser, "step", spy)
    trainer.train()
    assert len(seen) == 600
    assert np.std(seen) == pytest.approx(4.0 * 0.5 / 8, rel=0.1)
    assert abs(np.mean(seen)) < 4 * 0.25 / math.sqrt(600)


def test_a_step_that_takes_nobody_adds_its_noise_all_the_same(tmp_path: Path) -> None:
    plan = replace(PLAN, patients_per_step=1, sample_rate=0.02)
    tmp_path.mkdir(exist_ok=True)
    trainer = PrivateTrainer(Line(), replace(OPTIONS, images=60), plan, SECRET, tmp_path, Processes())
    empty = [step for step in range(60) if not len(trainer._sampler.choose(step).patients)]
    assert len(empty) > 10
    before = trainer._network.weight.clone()  # type: ignore[operator,union-attr]
    trainer._images_seen = empty[0]
    figures = trainer._step(trainer._network)
    assert figures["patients"] == 0 and math.isnan(figures["loss"])
    assert not torch.equal(before, trainer._network.weight)  # type: ignore[arg-type]


def test_the_gate_stands_before_the_first_step(tmp_path: Path) -> None:
    task = Line()
    task.network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    with pytest.raises(DataDoubleError, match="batch norm"):
        train(tmp_path, task)

    class Mixing(Line):
        def private_losses(self, network: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
            loss = super().private_losses(network, *batch)["loss"]
            return {"loss": loss * loss.mean()}

    with pytest.raises(DataDoubleError, match="protect nothing"):
        train(tmp_path, Mixing())
    assert not (tmp_path / "metrics.jsonl").exists()


def test_the_plan_and_its_secret_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "make_plan", lambda *_: PLAN)
    patients = Line().patients()
    plan, secret = open_plan(tmp_path, PrivacyOptions(epsilon=8), 640, patients)
    assert (plan, secret) == open_plan(tmp_path, PrivacyOptions(epsilon=8), 640, patients)
    path = tmp_path / "state" / "private.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"{secret:x}" not in json.dumps(plan.facts())
    assert open_plan(tmp_path / "other", PrivacyOptions(epsilon=8), 640, patients)[1] != secret
    with pytest.raises(DataDoubleError, match="another number of patients"):
        open_plan(tmp_path, PrivacyOptions(epsilon=8), 640, patients[:-1])


def test_a_plan_that_cannot_be_is_refused() -> None:
    patients = Line().patients()
    for options, words in (
        (PrivacyOptions(epsilon=8, patients_per_step=51), "cannot take that many"),
        (PrivacyOptions(epsilon=8, patients_per_step=8, delta=0.03), "smaller than 1 / patients"),
        (PrivacyOptions(epsilon=-1, patients_per_step=8), "no noise can reach"),
        (PrivacyOptions(epsilon=0.05, patients_per_step=8), "the class shares take all"),
        (PrivacyOptions(epsilon=8, patients_per_step=8, trainable="most"), "parameters to train"),
        (PrivacyOptions(epsilon=8, patients_per_step=8, clip=0), "clipping norm"),
        (PrivacyOptions(epsilon=8, patients_per_step=8, draws=0), "must be positive"),
    ):
        with pytest.raises(DataDoubleError, match=words):
            make_plan(options, 640, patients)


def test_a_plan_spends_what_is_allowed_and_a_second_accountant_agrees() -> None:
    plan = make_plan(PrivacyOptions(epsilon=8, patients_per_step=8), 640, Line().patients())
    assert 7.9 < plan.epsilon <= 8 and plan.delta == pytest.approx(1 / 500)
    assert plan.epsilon == pytest.approx(plan.epsilon_training + 0.1)
    assert plan.epsilon_checked == pytest.approx(plan.epsilon_training, rel=0.01)
    facts = plan.facts(["declared: more"])
    assert facts["unit"] == "patient" and facts["declared"][-1] == "declared: more"
    assert asdict(plan)["steps"] == 80
