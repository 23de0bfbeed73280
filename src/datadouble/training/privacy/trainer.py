"""DP-SGD and DP-Adam, one record a patient, in the one training loop (Abadi et al., CCS 2016).

A step: take each patient with the same chance; cut each one's gradient to the norm `clip`; add up; add Gaussian noise;
divide by the expected number of patients; let AdamW do the rest. A step that took nobody adds its noise all the same.
The run folder is that of any run, but `metrics.jsonl` holds only what may be known; losses go to `state/inside.jsonl`.
"""

import json
import math
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.errors import DataDoubleError
from datadouble.networks.lora import merged_state
from datadouble.randomness import seed_for, torch_generator_for
from datadouble.training.loop import Task, Trainer, TrainingOptions, learning_rate
from datadouble.training.privacy.noise import add_noise
from datadouble.training.privacy.options import PrivacyOptions, PrivacyPlan, make_plan
from datadouble.training.privacy.per_sample import (
    Engine,
    add_clipped,
    check_per_sample_gradients,
    choose_engine,
)
from datadouble.training.privacy.sampling import PatientSampler
from datadouble.training.processes import Processes

KNOWN = ("images_seen", "steps", "learning_rate", "epsilon", "delta", "noise_multiplier", "clip")
"""What `metrics.jsonl` of a private run holds: nothing that was not either chosen or computed from choices."""


class PrivateTask(Task, Protocol):
    """A `Task` that can also train privately.

    No sample's loss may depend on another sample, nor on how many there are: no times stratified over the batch, no
    statistics of the batch.
    """

    def patients(self) -> np.ndarray:
        """Return each training row's patient (n,), as strings."""

    def private_batch(self, rows: np.ndarray, times: Tensor, random: torch.Generator) -> tuple[Tensor, ...]:
        """Return the network's inputs and targets for `rows` (b,): tensors of b samples each, on the CPU.

        `times` (b,) float64 in [0, 1) choose the diffusion times; everything else random comes from `random`, drawn
        for each row alike and apart.
        """

    def private_losses(self, network: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        """Return per-sample losses (b,) of a batch, on the network's device; ``"loss"`` is minimised."""


def open_plan(
    run: Path, options: PrivacyOptions, images: int, patients: np.ndarray
) -> tuple[PrivacyPlan, int]:
    """Return the plan of a run and its secret; both are made once and kept in ``state/private.json``.

    The secret seeds sampling and noise. Whoever knows it can take the noise away again: the file is readable by its
    owner only and never leaves with a model.

    Raises
    ------
    DataDoubleError
        As `make_plan`; or when the run was begun with other patients.
    """
    path = run / "state" / "private.json"
    if not path.is_file():
        plan = make_plan(options, images, patients)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, json.dumps({"secret": secrets.token_hex(16), "plan": asdict(plan)}))
        os.chmod(path, 0o600)
    values = json.loads(path.read_text())
    plan = PrivacyPlan(**values["plan"])
    if plan.patients != len(PatientSampler(patients, 1, 1, 1, 0).groups):
        raise DataDoubleError(
            "the run was begun with another number of patients", where=f"{run.name}/state/private.json"
        )
    return plan, int(values["secret"], 16)


class PrivateTrainer(Trainer):
    """`Trainer` with a private step; `training.batch` gives way to the plan's pictures a step.

    Parameters
    ----------
    task
        Its network as it shall be trained: what is frozen has ``requires_grad`` false.
    plan, secret
        From `open_plan`.
    engine
        How patients' gradients are found.

    Raises
    ------
    DataDoubleError
        With more than one process; and, before the first step, where per-sample gradients are wrong.
    """

    def __init__(
        self,
        task: PrivateTask,
        options: TrainingOptions,
        plan: PrivacyPlan,
        secret: int,
        run: Path,
        processes: Processes,
        *,
        engine: Callable[[nn.Module], Engine] = choose_engine,
    ) -> None:
        if processes.count > 1:
            raise DataDoubleError(
                "private training runs in one process", where="torchrun", remedy="start it without torchrun"
            )
        super().__init__(task, replace(options, batch=plan.images_per_step, compile=False), run, processes)
        self._private_task, self._plan, self._secret = task, plan, secret
        self._sampler = PatientSampler(
            task.patients(), plan.patients_per_step, plan.images_per_patient, plan.draws, secret
        )
        self._make_engine, self._engine = engine, engine(self._network)
        self._trained = [p for p in self._network.parameters() if p.requires_grad]
        self._inside = run / "state" / "inside.jsonl"

    @property
    def steps(self) -> int:
        """Return the steps taken."""
        return self._images_seen // self._options.batch

    def train(self) -> None:
        """Check the gradients, then train to the end of the run."""
        if not (self._run / "model" / "last.safetensors").is_file():
            self.check()
        super().train()

    def check(self) -> float:
        """Compare patients' gradients with a loop over single samples; see `check_per_sample_gradients`."""
        rows = np.arange(min(3, self._task.dataset_size()))
        times = torch.linspace(0.1, 0.9, len(rows), dtype=torch.float64)
        random = torch_generator_for(self._secret, "check")
        batch = self._private_task.private_batch(rows, times, random)
        return check_per_sample_gradients(
            self._network,
            lambda network, *parts: self._private_task.private_losses(network, *parts)["loss"],
            tuple(part.to(self._device) for part in batch),
            engine=self._make_engine,
            bf16=self._options.precision == "bf16",
        )

    def _step(self, forward: nn.Module) -> dict[str, Any]:
        options, plan, step = self._options, self._plan, self.steps
        rate = learning_rate(options, self._images_seen)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        chosen = self._sampler.choose(step)
        count, views = len(chosen.patients), self._sampler.views
        sums: dict[str, Tensor] = {}
        norms: list[Tensor] = []
        if count:
            random = torch_generator_for(self._secret, "draws", step)
            batch = self._private_task.private_batch(chosen.rows, chosen.times, random)
            parts = max(1, round(count / self._patients_at_once()))
            edges = np.linspace(0, count, parts + 1).round().astype(int)
            for start, stop in zip(edges[:-1], edges[1:], strict=True):
                here = [part[start * views : stop * views].to(self._device) for part in batch]
                norms.append(self._add(here, int(stop - start), sums))
        found = torch.cat(norms) if norms else torch.zeros(0)
        losses = {name: float(value) / (count * views) for name, value in sums.items()}
        if not (bool(found.isfinite().all()) and all(map(math.isfinite, losses.values()))):
            self._stop_at_nan(chosen.rows, losses)
        add_noise(self._trained, plan, seed_for(self._secret, "noise", step))
        self._optimiser.step()
        self._images_seen += options.batch
        self._average.update(self._network, self._images_seen, options.batch)
        clipped = float((found > plan.clip).float().mean()) if count else 0.0
        return {
            "images_seen": self._images_seen,
            "steps": self.steps,
            "learning_rate": rate,
            "delta": plan.delta,
            "noise_multiplier": plan.noise_multiplier,
            "clip": plan.clip,
            "loss": losses.pop("loss", math.nan),
            **losses,
            "patients": count,
            "gradient_norm": float(found.mean()) if count else 0.0,
            "share_clipped": clipped,
        }

    def _add(self, batch: list[Tensor], patients: int, sums: dict[str, Tensor]) -> Tensor:
        """Add the clipped gradients of some patients; return their norms before."""

        def losses() -> Tensor:
            values = self._private_task.private_losses(self._network, *batch)
            for name, value in values.items():
                sums[name] = sums.get(name, torch.zeros(())) + value.detach().float().sum().cpu()
            return values["loss"]

        with self._autocast():
            gradients = self._engine.per_patient(losses, patients)
        return add_clipped(gradients, self._plan.clip).cpu()

    def _patients_at_once(self) -> int:
        """Return how many patients memory is meant for: `training.micro_batch` rows, or an expected step's."""
        rows = self._options.micro_batch or self._plan.patients_per_step * self._sampler.views
        return max(1, rows // self._sampler.views)

    def _choose_best(self, figures: dict[str, Any]) -> None:
        """Choose nothing: validation patients are private too. What is called best is the last."""

    def _save_model(self, name: str) -> None:
        if name == "last":
            super()._save_model("best")
        super()._save_model(name)

    def _note(self, figures: dict[str, Any]) -> None:
        """Write what may be known to `metrics.jsonl`, and all of it to `state/inside.jsonl`."""
        known = {key: figures[key] for key in KNOWN if key in figures}
        if "validation_loss" in figures:  # some seconds of accounting: not with every line
            known["epsilon"] = round(self._plan.spent(self.steps), 6)
        super()._note(known)
        inside = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in figures.items()}
        with open(self._inside, "a") as file:
            file.write(json.dumps(inside) + "\n")

    def _model_weights(self) -> dict[str, Tensor]:
        return merged_state(self._network, self._average.weights)

    def _facts(self) -> dict[str, Any]:
        return {"accountant": [self._plan.noise_multiplier, self._plan.sample_rate, self.steps]}

    def _take_facts(self, facts: dict[str, Any]) -> None:
        noted = facts.get("accountant", [None, None, 0])
        if noted[:2] != [self._plan.noise_multiplier, self._plan.sample_rate]:
            raise DataDoubleError(
                "the saved state was trained with other noise",
                where="state/state.safetensors",
                found=f"{noted[0]}, not {self._plan.noise_multiplier}",
                remedy="choose another folder: one run has one budget",
            )
        if noted[2] * self._options.batch != facts["images_seen"]:
            raise DataDoubleError(
                "the accountant's steps do not fit the images seen", where="state/state.safetensors"
            )

    def _resume(self) -> None:
        super()._resume()
        self._forget_after(self._inside)
