"""What recipes that learn to remove noise share: the objective, the step's random numbers, validation, provenance."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.diffusion.objectives import Objective, denoising_loss_by_timestep, make_objective
from datadouble.randomness import torch_generator_for
from datadouble.recipes.runs import Material
from datadouble.training.privacy.sampling import patients_of

VALIDATION_IMAGES = 64  # at most, on each side
VALIDATION_TIMES = tuple((i + 0.5) / 8 for i in range(8))


@dataclass(frozen=True)
class DiffusionOptions:
    """Section ``[diffusion]``."""

    objective: str = "hybrid"  # mse, hybrid or flow
    schedule: str = "linear"  # of mse and hybrid
    timesteps: int = 1000
    min_snr_gamma: float = 0.0  # 0: off
    class_dropout: float = 0.1


def objective_of(diffusion: Mapping[str, Any]) -> Objective:
    """Return the objective that `DiffusionOptions` as a mapping stand for."""
    return make_objective(
        diffusion["objective"],
        schedule=diffusion["schedule"],
        num_timesteps=diffusion["timesteps"],
        min_snr_gamma=diffusion["min_snr_gamma"] or None,
    )


def announce(material: Material, say: Callable[[str], None]) -> None:
    """Say how many images of each class are learned from."""
    counts = ", ".join(
        f"{name}: {(material.train.table['label'] == name).sum()}" for name in material.classes
    )
    say(f"{len(material.train)} training images ({counts}), {len(material.validation)} for validation")


def provenance_of(material: Material) -> dict[str, Any]:
    """Say what was learned from, without a name or a path."""
    table = material.train.table
    return {
        "cohort": material.train.info.name,
        "origin": material.train.info.origin,
        "train_images": len(table),
        "train_patients": int(table["patient_id"].nunique()),
        "validation_images": len(material.validation),
        "train_fingerprint": files.fingerprint("\n".join(sorted(table["image_id"]))),
        "classes": list(material.classes),
    }


def stratified_times(count: int, random: torch.Generator) -> Tensor:
    """Return times float64 (count,), one in each of as many equal strata of [0, 1), in no order.

    Each is evenly distributed, as if drawn alone; the loss varies less from step to step.
    """
    strata = torch.randperm(count, generator=random)
    return (strata + torch.rand(count, generator=random, dtype=torch.float64)) / count


class DenoisingTask(ABC):
    """What the training loop asks of a recipe that learns to remove noise.

    Parameters
    ----------
    shape
        (c, h, w) of what is learned.
    null_label
        Label of "no class"; a `class_dropout` of 1 shows the network nothing else.
    """

    network: nn.Module
    arrays_of_noise = 1  # drawn each step, the first for the objective, the others for `clean`

    def __init__(
        self,
        material: Material,
        objective: Objective,
        *,
        shape: tuple[int, int, int],
        null_label: int,
        class_dropout: float,
        seed: int,
        device: torch.device,
    ) -> None:
        self.material, self.objective, self.device = material, objective, device
        self._shape, self._null_label = shape, null_label
        self._class_dropout, self._seed = class_dropout, seed
        self._labels = {
            part: torch.from_numpy(material.label_indices(cohort))
            for part, cohort in (("train", material.train), ("validation", material.validation))
        }
        if class_dropout >= 1:
            self._labels = {part: torch.full_like(x, null_label) for part, x in self._labels.items()}

    def dataset_size(self) -> int:
        """Return the number of training images."""
        return len(self.material.train)

    def image_ids(self, rows: np.ndarray) -> list[str]:
        """Return the ids of training images."""
        return [str(self.material.train.table["image_id"].iloc[row]) for row in rows]

    @abstractmethod
    def clean(self, rows: np.ndarray, places: slice, noise: list[Tensor], random: torch.Generator) -> Tensor:
        """Return what the training images `rows` of a whole batch are at `places`: (b, c, h, w), about unit variance.

        Parameters
        ----------
        noise
            The step's further arrays, each (batch, c, h, w).
        random
            For whatever else is drawn, for the whole batch at once.
        """

    @abstractmethod
    def held(self, part: str, rows: np.ndarray, noise: list[Tensor]) -> Tensor:
        """Return images `rows` of ``"train"`` or ``"validation"`` as they are, (b, c, h, w)."""

    def losses(
        self, network: nn.Module, rows: np.ndarray, images_seen: int, places: slice
    ) -> dict[str, Tensor]:
        """Return the objective's per-image terms; noise, times and dropped classes come from (seed, images seen)."""
        count = len(rows)
        random = torch_generator_for(self._seed, "step", images_seen)
        noise, *more = torch.randn(self.arrays_of_noise, count, *self._shape, generator=random)
        times = stratified_times(count, random)
        dropped = torch.rand(count, generator=random) < self._class_dropout
        clean = self.clean(rows, places, more, random)
        labels = torch.where(dropped[places], self._null_label, self._labels["train"][rows[places]])
        inputs = [value.to(self.device) for value in (clean, labels, times[places], noise[places])]
        terms = self.objective.loss(network, *inputs)
        return {"loss": terms.total, **{name: value.detach() for name, value in terms.by_name.items()}}

    def patients(self) -> np.ndarray:
        """Return each training image's patient."""
        return patients_of(self.material.train.table)

    def private_batch(self, rows: np.ndarray, times: Tensor, random: torch.Generator) -> tuple[Tensor, ...]:
        """Return clean images, labels, times and noise for private training, each row's own."""
        noise, *more = torch.randn(self.arrays_of_noise, len(rows), *self._shape, generator=random)
        dropped = torch.rand(len(rows), generator=random) < self._class_dropout
        clean = self.clean(rows, slice(None), more, random)
        return clean, torch.where(dropped, self._null_label, self._labels["train"][rows]), times, noise

    def private_losses(self, network: nn.Module, *batch: Tensor) -> dict[str, Tensor]:
        """Return the objective's per-image terms of a `private_batch`."""
        terms = self.objective.loss(network, *batch)
        return {"loss": terms.total, **{name: value.detach() for name, value in terms.by_name.items()}}

    def validate(self, network: nn.Module) -> dict[str, Any]:
        """Return the denoising loss by timestep on held-out patients and on as many training images.

        Noise is fixed, so that figures of different times can be compared. A held-out loss that rises while the
        training loss falls is the early alarm for memorisation.
        """
        train = self._loss_by_time(network, "train")
        figures = {
            "times": list(VALIDATION_TIMES),
            "training_loss_by_time": train,
            "training_loss": float(np.mean(train)),
        }
        if not len(self.material.validation):  # nothing could be held out
            return figures | {"validation_loss": figures["training_loss"]}
        held_out = self._loss_by_time(network, "validation")
        return figures | {"validation_loss_by_time": held_out, "validation_loss": float(np.mean(held_out))}

    def _loss_by_time(self, network: nn.Module, part: str) -> list[float]:
        labels = self._labels[part]
        rows = np.linspace(0, len(labels) - 1, min(VALIDATION_IMAGES, len(labels))).astype(int)
        random = torch_generator_for(self._seed, "validation")
        *more, noise = torch.randn(self.arrays_of_noise, len(rows), *self._shape, generator=random)
        clean, labels, noise = (
            value.to(self.device) for value in (self.held(part, rows, more), labels[rows], noise)
        )
        losses = denoising_loss_by_timestep(self.objective, network, clean, labels, noise, VALIDATION_TIMES)
        return [round(float(value), 6) for value in losses.float().mean(dim=1)]

    @abstractmethod
    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        """Write sample sheets."""
