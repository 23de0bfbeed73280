"""The one training loop.

Images seen are the only clock. Whatever is random in a step is drawn from (seed, images seen), for the whole batch at
once, and every process takes its share: so a killed run continues bit for bit, and two processes train on what
one would have.
"""

import contextlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.errors import DataDoubleError
from datadouble.networks.weights import load_tensors, save_tensors
from datadouble.progress import Bar
from datadouble.randomness import generator_for, torch_seeded
from datadouble.training.checkpoints import below_prefix, pack_optimiser, unpack_optimiser, with_prefix
from datadouble.training.ema import WeightAverage
from datadouble.training.processes import Processes


@dataclass(frozen=True)
class TrainingOptions:
    """How any network is trained; the section ``[training]`` of a preset."""

    images: int = 100_000  # images to see in all: the length of the run
    batch: int = 64  # over all processes
    micro_batch: int = 0  # images a process takes at a time, to save memory; 0: all of its share
    learning_rate: float = 1e-4
    warm_up: int = 0  # images over which the learning rate rises from 0
    decay: str = "constant"  # or "cosine", to zero at the end
    weight_decay: float = 0.0
    betas: tuple[float, ...] = (0.9, 0.999)
    clip: float = 1.0  # greatest norm of the gradient
    ema_half_life: float = 50_000.0  # images
    ema_ramp_up: float = 0.09
    precision: str = "bf16"  # or "fp32"
    compile: bool = False
    seed: int = 0
    checkpoint_every: int = 5_000  # images
    validate_every: int = 10_000
    sheet_every: int = 25_000
    early_at: float = 0.25  # share of the run after which the weak network of autoguidance is kept


class Task(Protocol):
    """What a recipe gives the loop."""

    network: nn.Module

    def dataset_size(self) -> int:
        """Return how many training images there are."""

    def losses(
        self, network: nn.Module, rows: np.ndarray, images_seen: int, places: slice
    ) -> dict[str, Tensor]:
        """Return per-image losses (b,) for the training images `rows` of this step's whole batch at `places`.

        The entry ``"loss"`` is minimised, the others are noted. Random numbers come from (seed, images_seen).
        """

    def image_ids(self, rows: np.ndarray) -> list[str]:
        """Return what the training images are called, for the report of a failure."""

    def validate(self, network: nn.Module) -> dict[str, Any]:
        """Return figures to note; the entry ``"validation_loss"`` chooses the best checkpoint."""

    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        """Write sample sheets."""


@runtime_checkable
class ChoosesRows(Protocol):
    """A task that says itself which images come next, for instance so that classes take turns."""

    def choose_rows(self, images_seen: int, batch: int) -> np.ndarray:
        """Return the rows (batch,) that follow `images_seen` images, a function of both and of the seed alone."""


def batch_rows(seed: int, size: int, images_seen: int, batch: int) -> np.ndarray:
    """Return the rows (batch,) that follow `images_seen` images in an endless row of shuffled passes."""
    places = np.arange(images_seen, images_seen + batch)
    rows = np.empty(batch, dtype=np.int64)
    for epoch in np.unique(places // size):
        inside = places // size == epoch
        rows[inside] = generator_for(seed, "epoch", int(epoch)).permutation(size)[places[inside] % size]
    return rows


def learning_rate(options: TrainingOptions, images_seen: int) -> float:
    """Return the learning rate of the step that begins after `images_seen` images."""
    rate = options.learning_rate
    if options.warm_up:
        rate *= min(1.0, (images_seen + options.batch) / options.warm_up)
    if options.decay == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * images_seen / options.images))
    return rate


class Trainer:
    """Train a task's network in the folder `run`, or go on where an earlier call was cut off.

    Raises
    ------
    DataDoubleError
        When the loss is no number (the batch's image ids are saved beside), or the state is another run's.
    """

    def __init__(self, task: Task, options: TrainingOptions, run: Path, processes: Processes) -> None:
        if options.decay not in ("constant", "cosine") or options.precision not in ("bf16", "fp32"):
            raise DataDoubleError(
                "training.decay is constant or cosine, training.precision is bf16 or fp32",
                where="config",
                found=f"{options.decay}, {options.precision}",
            )
        self._task, self._options, self._run, self._processes = task, options, run, processes
        self._device = processes.device
        self._network = task.network.to(self._device)
        self._average = WeightAverage(self._network, options.ema_half_life, options.ema_ramp_up)
        self._optimiser = torch.optim.AdamW(
            self._network.parameters(),
            lr=options.learning_rate,
            betas=(options.betas[0], options.betas[1]),
            weight_decay=options.weight_decay,
            fused=True,
        )
        self._images_seen, self._best = 0, math.inf
        self._places = processes.share(options.batch)

    @property
    def _state_path(self) -> Path:
        return self._run / "state" / "state.safetensors"

    def train(self) -> None:
        """Train to the end of the run; returns at once where it was reached before."""
        for folder in ("state", "model", "samples"):
            (self._run / folder).mkdir(exist_ok=True)
        self._resume()
        options = self._options
        forward = self._processes.prepare(self._network)
        if options.compile:
            forward.compile()
        started, first = time.monotonic(), self._images_seen
        self._network.train()
        with Bar("training", options.images, self._images_seen) as bar:
            while self._images_seen < options.images:
                with torch_seeded(  # for dropout; each process has its own
                    self._device, options.seed, "step", self._images_seen, self._places.start
                ):
                    figures = self._step(forward)
                seconds = time.monotonic() - started
                figures["images_per_second"] = round((self._images_seen - first) / seconds, 2)
                self._after_step(figures)
                bar.advance(options.batch, f"loss {figures['loss']:.4f}")

    def _step(self, forward: nn.Module) -> dict[str, Any]:
        options = self._options
        rows = self._choose_rows()
        rate = learning_rate(options, self._images_seen)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        share = self._places.stop - self._places.start
        micro = options.micro_batch or share
        for start in range(self._places.start, self._places.stop, micro):
            places = slice(start, min(start + micro, self._places.stop))
            last = places.stop == self._places.stop
            with self._synchronised(forward, last), self._autocast():
                losses = self._task.losses(forward, rows, self._images_seen, places)
            (losses["loss"].sum() / share).backward()
            for name, value in losses.items():
                sums[name] = (
                    sums.get(name, torch.zeros((), device=self._device)) + value.detach().float().sum()
                )
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), options.clip)
        figures = {name: float(self._processes.mean(value / share)) for name, value in sums.items()}
        if not (math.isfinite(figures["loss"]) and math.isfinite(float(norm))):
            self._stop_at_nan(rows, figures)
        self._optimiser.step()
        self._images_seen += options.batch
        self._average.update(self._network, self._images_seen, options.batch)
        return {
            "images_seen": self._images_seen,
            **figures,
            "gradient_norm": float(norm),
            "learning_rate": rate,
        }

    def _choose_rows(self) -> np.ndarray:
        """Return the next batch's rows: the task's choice where it has one, else shuffled passes."""
        options = self._options
        if isinstance(self._task, ChoosesRows):
            return self._task.choose_rows(self._images_seen, options.batch)
        return batch_rows(options.seed, self._task.dataset_size(), self._images_seen, options.batch)

    def _autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._options.precision == "bf16")

    def _synchronised(self, forward: nn.Module, last: bool) -> contextlib.AbstractContextManager:
        """Average gradients over processes only with the last micro-batch."""
        no_sync = getattr(forward, "no_sync", None)
        return contextlib.nullcontext() if last or no_sync is None else no_sync()

    def _stop_at_nan(self, rows: np.ndarray, figures: dict[str, float]) -> None:
        if self._processes.is_main:
            report = {
                "images_seen": self._images_seen,
                "figures": {key: str(value) for key, value in figures.items()},
            }
            files.write_json(self._run / "nan.json", report | {"image_ids": self._task.image_ids(rows)})
        raise DataDoubleError(
            "the loss is no longer a number",
            where=f"after {self._images_seen} images",
            remedy="look at the pictures listed in nan.json; then lower training.learning_rate or use fp32",
        )

    def _after_step(self, figures: dict[str, Any]) -> None:
        """Validate, draw, note and save, each at its own interval of images."""
        options = self._options
        ended = self._images_seen >= options.images
        averaged = None
        if ended or self._due(options.validate_every) or self._due(options.sheet_every):
            averaged = self._averaged_network()
        if averaged is not None and (ended or self._due(options.validate_every)):
            with self._autocast(), torch.no_grad():
                figures |= self._task.validate(averaged)
            self._choose_best(figures)
        early = max(options.batch, int(options.early_at * options.images))
        if self._images_seen - options.batch < early <= self._images_seen:
            self._save_model("early")
        if averaged is not None and self._processes.is_main and (ended or self._due(options.sheet_every)):
            with self._autocast(), torch.no_grad():
                self._task.draw_sheets(averaged, self._images_seen)
        if self._processes.is_main and ("validation_loss" in figures or self._due(max(options.batch, 512))):
            self._note(figures)
        if ended:
            self._save_model("last")
        if ended or self._due(options.checkpoint_every):
            self._save_state()
        self._processes.wait()

    def _choose_best(self, figures: dict[str, Any]) -> None:
        """Keep the model of the lowest held-out loss."""
        if figures.get("validation_loss", math.inf) < self._best:
            self._best = figures["validation_loss"]
            self._save_model("best")

    def _note(self, figures: dict[str, Any]) -> None:
        """Write a line of figures."""
        with open(self._run / "metrics.jsonl", "a") as file:
            file.write(json.dumps(figures) + "\n")

    def _due(self, interval: int) -> bool:
        """Whether the last step passed a multiple of `interval` images."""
        return self._images_seen // interval > (self._images_seen - self._options.batch) // interval

    def _averaged_network(self) -> nn.Module:
        import copy

        network = copy.deepcopy(self._network).eval()
        self._average.copy_to(network)
        return network

    def _save_model(self, name: str) -> None:
        if self._processes.is_main:
            facts = {"images_seen": self._images_seen}
            save_tensors(self._run / "model" / f"{name}.safetensors", self._model_weights(), facts)

    def _model_weights(self) -> dict[str, Tensor]:
        """Return the weights that `generate` loads."""
        return self._average.weights

    def _facts(self) -> dict[str, Any]:
        """Return what else a resume needs, as JSON values."""
        return {}

    def _take_facts(self, facts: dict[str, Any]) -> None:
        """Put back, or check, what `_facts` returned."""

    def _more_tensors(self) -> dict[str, Tensor]:
        """Return the tensors of networks and optimisers besides the first, under prefixes of their own."""
        return {}

    def _take_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `_more_tensors` returned."""

    def _save_state(self) -> None:
        if not self._processes.is_main:
            return
        tensors = {
            **with_prefix("network", self._network.state_dict()),
            **with_prefix("average", self._average.weights),
            **with_prefix("optimiser", pack_optimiser(self._optimiser)),
            **self._more_tensors(),
        }
        best = None if math.isinf(self._best) else self._best
        facts = {"images_seen": self._images_seen, "best": best, **self._facts()}
        save_tensors(self._state_path, tensors, facts)

    def _resume(self) -> None:
        """Load the last state, and drop the figures that were noted after it: they will come again."""
        if self._state_path.is_file():
            tensors, facts = load_tensors(self._state_path)
            self._take_facts(facts)
            self._network.load_state_dict(below_prefix("network", tensors))
            self._average.load(below_prefix("average", tensors))
            unpack_optimiser(self._optimiser, below_prefix("optimiser", tensors))
            self._take_tensors(tensors)
            self._images_seen = facts["images_seen"]
            self._best = math.inf if facts["best"] is None else facts["best"]
        self._processes.wait()
        if self._processes.is_main:
            self._forget_after(self._run / "metrics.jsonl")

    def _forget_after(self, metrics: Path) -> None:
        """Drop the lines of later figures from a file of them."""
        if metrics.is_file():
            kept = [line for line in metrics.read_text().splitlines() if self._is_before(line)]
            files.write_text(metrics, "".join(line + "\n" for line in kept))

    def _is_before(self, line: str) -> bool:
        try:
            return json.loads(line)["images_seen"] <= self._images_seen
        except (json.JSONDecodeError, KeyError):
            return False  # cut off by a kill
