"""The training loop with critics: a generator and networks that learn to tell its pictures from real ones.

The same clock, files and exactness as `datadouble.training.loop`: only the step differs. In each, the critics learn
first and the generator then learns from them as they are now (Goodfellow et al., NeurIPS 2014; Isola et al., CVPR
2017).
"""

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from datadouble.errors import DataDoubleError
from datadouble.training.checkpoints import below_prefix, pack_optimiser, unpack_optimiser, with_prefix
from datadouble.training.loop import Task, Trainer, TrainingOptions, learning_rate
from datadouble.training.processes import Processes


class AdversarialTask(Task, Protocol):
    """What a recipe gives the loop; `network` is the generator, and `losses` is not used."""

    critics: nn.ModuleList

    def real_batch(self, rows: np.ndarray, images_seen: int) -> Any:
        """Return what the step of training images `rows` needs; random numbers come from (seed, images_seen)."""

    def draw_batch(self, network: nn.Module, batch: Any) -> Tensor:
        """Return what the generator draws for a batch."""

    def critic_losses(self, batch: Any, drawn: Tensor) -> dict[str, Tensor]:
        """Return scalars; ``"critic_loss"`` is minimised by the critics."""

    def generator_losses(self, batch: Any, drawn: Tensor) -> dict[str, Tensor]:
        """Return scalars; ``"loss"`` is minimised by the generator."""


def check_adversarial(options: TrainingOptions, processes: Processes) -> None:
    """Refuse what `AdversarialTrainer` cannot do, before anything is written.

    Raises
    ------
    DataDoubleError
        With more than one process, micro-batches or compilation.
    """
    if processes.count > 1:
        raise DataDoubleError(
            "adversarial training runs in one process",
            where="torchrun",
            remedy="start it without torchrun",
        )
    if options.micro_batch or options.compile:
        raise DataDoubleError(
            "adversarial training knows no micro-batches and no compilation",
            where="training.micro_batch, training.compile",
            found=f"{options.micro_batch}, {str(options.compile).lower()}",
            remedy="set them to 0 and false; lower training.batch to save memory",
        )


class AdversarialTrainer(Trainer):
    """`Trainer` of a generator and its critics, which have an optimiser of their own with the same settings.

    The model called best is the last one that was validated: no figure tells which generator draws best, and the
    held-out distance to the real picture, which is noted, likes blurred pictures.

    Raises
    ------
    DataDoubleError
        As `check_adversarial` and `Trainer`.
    """

    def __init__(
        self, task: AdversarialTask, options: TrainingOptions, run: Path, processes: Processes
    ) -> None:
        check_adversarial(options, processes)
        super().__init__(task, options, run, processes)
        self._adversarial, self._critics = task, task.critics.to(self._device)
        self._critic_optimiser = torch.optim.AdamW(
            self._critics.parameters(),
            lr=options.learning_rate,
            betas=(options.betas[0], options.betas[1]),
            weight_decay=options.weight_decay,
            fused=True,
        )

    def _step(self, forward: nn.Module) -> dict[str, Any]:
        options, task = self._options, self._adversarial
        rows = self._choose_rows()
        rate = learning_rate(options, self._images_seen)
        for optimiser in (self._optimiser, self._critic_optimiser):
            optimiser.zero_grad(set_to_none=True)
            for group in optimiser.param_groups:
                group["lr"] = rate
        with self._autocast():
            batch = task.real_batch(rows, self._images_seen)
            drawn = task.draw_batch(forward, batch)
            told = task.critic_losses(batch, drawn.detach())
        told["critic_loss"].backward()
        # Each by itself: what one critic saw does not change another's step.
        critic_norms = [nn.utils.clip_grad_norm_(one.parameters(), options.clip) for one in self._critics]
        figures = {name: float(value.detach()) for name, value in told.items()}
        figures["critic_gradient_norm"] = max(float(norm) for norm in critic_norms)
        if not all(map(math.isfinite, figures.values())):
            self._stop_at_nan(rows, figures)
        self._critic_optimiser.step()
        self._critics.requires_grad_(False)
        with self._autocast():
            losses = task.generator_losses(batch, drawn)
        losses["loss"].backward()
        self._critics.requires_grad_(True)
        norm = float(nn.utils.clip_grad_norm_(self._network.parameters(), options.clip))
        figures = {**{name: float(value.detach()) for name, value in losses.items()}, **figures}
        if not all(map(math.isfinite, (norm, *figures.values()))):
            self._stop_at_nan(rows, figures)
        self._optimiser.step()
        self._images_seen += options.batch
        self._average.update(self._network, self._images_seen, options.batch)
        return {"images_seen": self._images_seen, **figures, "gradient_norm": norm, "learning_rate": rate}

    def _choose_best(self, figures: dict[str, Any]) -> None:
        """Keep the newest."""
        self._best = figures.get("validation_loss", math.inf)
        self._save_model("best")

    def _more_tensors(self) -> dict[str, Tensor]:
        return {
            **with_prefix("critics", self._critics.state_dict()),
            **with_prefix("critic_optimiser", pack_optimiser(self._critic_optimiser)),
        }

    def _take_tensors(self, tensors: dict[str, Tensor]) -> None:
        self._critics.load_state_dict(below_prefix("critics", tensors))
        unpack_optimiser(self._critic_optimiser, below_prefix("critic_optimiser", tensors))
