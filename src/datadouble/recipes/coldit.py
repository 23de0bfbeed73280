"""CoLDiT: a latent diffusion transformer conditioned on the class (Xu et al., Research 2024;7:0532).

The configuration, the fit, and what the training loop asks of it. Drawing lives in `coldit_generator`.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.cohort import Cohort
from datadouble.diffusion.objectives import Objective, denoising_loss_by_timestep, make_objective
from datadouble.encoders import load_encoder, seen_images
from datadouble.encoders.base import Encoder
from datadouble.errors import DataDoubleError
from datadouble.networks.dit import DIT_SIZES, DiT, DiTConfig
from datadouble.randomness import torch_generator_for
from datadouble.recipes.coldit_attack import attack_material
from datadouble.recipes.coldit_generator import ColditGenerator, ColditModel, SamplingOptions, load_generator
from datadouble.recipes.runs import Material, begin_run, choose_material
from datadouble.recipes.sheets import draw_progress_sheets
from datadouble.training.latents import LatentCache, encode_cohort
from datadouble.training.loop import Trainer, TrainingOptions
from datadouble.training.processes import start_processes

__all__ = ["CONFIG", "ColditConfig", "attack_material", "fit_run", "load_generator"]


@dataclass(frozen=True)
class DataOptions:
    """Section ``[data]``."""

    size: int = 128  # pixels; the whole picture is brought to a square
    encoder: str = "tiny-16"
    encoder_path: str = ""  # of kl: a folder or hub name
    encoder_images: int = 60_000  # crops that an encoder of one's own is trained on
    flips: bool = True  # left to right; never up and down
    classes: tuple[str, ...] = ()  # empty: all
    validation_share: float = 0.1  # of the train images, by patient


@dataclass(frozen=True)
class ModelOptions:
    """Section ``[model]``: a named size, or depth, width, heads and patch where `size` is empty."""

    size: str = ""
    depth: int = 12
    width: int = 384
    heads: int = 6
    patch: int = 2


@dataclass(frozen=True)
class DiffusionOptions:
    """Section ``[diffusion]``."""

    objective: str = "hybrid"  # mse, hybrid or flow
    schedule: str = "linear"  # of mse and hybrid
    timesteps: int = 1000
    min_snr_gamma: float = 0.0  # 0: off
    class_dropout: float = 0.1


@dataclass(frozen=True)
class ColditConfig:
    """All of a CoLDiT run."""

    data: DataOptions = field(default_factory=DataOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    diffusion: DiffusionOptions = field(default_factory=DiffusionOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)


CONFIG = ColditConfig

VALIDATION_IMAGES = 64  # at most, on each side
VALIDATION_TIMES = tuple((i + 0.5) / 8 for i in range(8))


def build_objective(options: DiffusionOptions) -> Objective:
    """Return the objective of a run."""
    return make_objective(
        options.objective,
        schedule=options.schedule,
        num_timesteps=options.timesteps,
        min_snr_gamma=options.min_snr_gamma or None,
    )


def build_network_config(config: ColditConfig, encoder: Encoder, classes: int) -> DiTConfig:
    """Return the network's shape for an encoder and a number of classes."""
    m = config.model
    if m.size and m.size not in DIT_SIZES:
        from datadouble.errors import suggest

        raise DataDoubleError(
            f"there is no size '{m.size}'", where="model.size", remedy=suggest(m.size, list(DIT_SIZES))
        )
    depth, width, heads, patch = DIT_SIZES[m.size] if m.size else (m.depth, m.width, m.heads, m.patch)
    return DiTConfig(
        input_size=encoder.latent_side(config.data.size),
        in_channels=encoder.latent_channels,
        num_classes=classes,
        patch_size=patch,
        depth=depth,
        width=width,
        heads=heads,
        learn_sigma=config.diffusion.objective == "hybrid",
        class_dropout=config.diffusion.class_dropout,
    )


def fit_run(
    config: ColditConfig, cohort: Cohort, run: Path, *, dry_run: bool, say: Callable[[str], None]
) -> None:
    """Train on `cohort` in the folder `run`; see `datadouble.recipes.fit`."""
    seed = config.training.seed
    material = choose_material(cohort, config.data.classes, config.data.validation_share, seed)
    counts = ", ".join(
        f"{name}: {(material.train.table['label'] == name).sum()}" for name in material.classes
    )
    say(f"{len(material.train)} training images ({counts}), {len(material.validation)} for validation")
    processes = start_processes()
    if dry_run:
        from datadouble.recipes.coldit_cost import say_cost

        say_cost(config, len(material.classes), processes.device, say)
        return
    if processes.is_main:
        begin_run(run, "coldit", config, _provenance(material, cohort))
        (run / "cache").mkdir(exist_ok=True)
        (run / "model").mkdir(exist_ok=True)
    processes.wait()
    encoder = _encoder(config, material, run, processes.is_main, say).to(processes.device)
    processes.wait()
    if processes.is_main:
        for name, part in (("train", material.train), ("validation", material.validation)):
            if len(part):
                encode_cohort(
                    part, encoder, config.data.size, run / "cache" / f"{name}.npy", flips=config.data.flips
                )
    processes.wait()
    task = ColditTask(config, material, encoder, run, processes.device)
    if processes.is_main:
        task.model.save(run / "model")
    parameters = sum(p.numel() for p in task.network.parameters())
    shape = task.model.network
    say(
        f"{parameters:,} parameters, latents {shape.input_size}x{shape.input_size}x{shape.in_channels}, "
        f"{config.training.images:,} images to see"
    )
    Trainer(task, config.training, run, processes).train()


def _encoder(
    config: ColditConfig, material: Material, run: Path, train: bool, say: Callable[[str], None]
) -> Encoder:
    """Return the run's encoder; one of its own is trained first."""
    if config.data.encoder != "own":
        return load_encoder(config.data.encoder, config.data.encoder_path)
    path = run / "model" / "encoder.safetensors"
    if not path.is_file() and train:
        from datadouble.encoders.own import train_own_encoder

        say("training an autoencoder on the cohort's train split")
        train_own_encoder(material.train, path, images=config.data.encoder_images, seed=config.training.seed)
    return load_encoder("own", str(path))


def _provenance(material: Material, cohort: Cohort) -> dict[str, Any]:
    """Say what was learned from, without a name or a path."""
    table = material.train.table
    ids = "\n".join(sorted(table["image_id"]))
    learned = set(table["image_id"]) | set(material.validation.table["image_id"])
    return {
        "cohort": material.train.info.name,
        "origin": material.train.info.origin,
        "train_images": len(table),
        "train_patients": int(table["patient_id"].nunique()),
        "validation_images": len(material.validation),
        "train_fingerprint": files.fingerprint(ids),
        "classes": list(material.classes),
        # Whatever any part of a generator has seen counts as training data in an audit.
        "encoder_saw_outside_train": len(seen_images(cohort) - learned),
    }


class ColditTask:
    """What the training loop needs: losses, validation and sheets."""

    def __init__(
        self, config: ColditConfig, material: Material, encoder: Encoder, run: Path, device: torch.device
    ) -> None:
        self._config, self._material, self._run, self._device = config, material, run, device
        self._encoder, self._objective = encoder, build_objective(config.diffusion)
        self._latents = LatentCache(run / "cache" / "train.npy")
        scale = self._latents.measure_scale()
        self._scale = scale
        self._labels = torch.from_numpy(material.label_indices(material.train))
        shape = build_network_config(config, encoder, len(material.classes))
        info = material.train.info
        self.model = ColditModel(
            network=shape,
            scale=scale,
            encoder=config.data.encoder,
            encoder_path=config.data.encoder_path,
            encoder_fingerprint=encoder.fingerprint,
            size=config.data.size,
            diffusion=asdict(config.diffusion),
            classes=material.classes,
            shares=tuple(material.shares),
            name=info.name,
            modality=info.modality,
            intensity=info.intensity,
        )
        self.network: nn.Module = DiT(shape, torch_generator_for(config.training.seed, "weights"))

    def dataset_size(self) -> int:
        """Return the number of training images."""
        return len(self._latents)

    def image_ids(self, rows: np.ndarray) -> list[str]:
        """Return the ids of training images."""
        return [str(self._material.train.table["image_id"].iloc[row]) for row in rows]

    def losses(
        self, network: nn.Module, rows: np.ndarray, images_seen: int, places: slice
    ) -> dict[str, Tensor]:
        """Return the objective's per-image terms; noise, times and dropped classes come from (seed, images seen)."""
        c, count = self.model.network, len(rows)
        random = torch_generator_for(self._config.training.seed, "step", images_seen)
        side = c.input_size
        noise, spread = torch.randn(2, count, c.in_channels, side, side, generator=random)
        # One time in each of `count` equal strata: the same distribution, less variance from step to step.
        strata = torch.randperm(count, generator=random)
        times = (strata + torch.rand(count, generator=random, dtype=torch.float64)) / count
        dropped = torch.rand(count, generator=random) < self._config.diffusion.class_dropout
        views = torch.randint(self._latents.views, (count,), generator=random)
        mine = rows[places]
        latents = self._scale.normalise(self._latents.latents(mine, views[places].numpy(), spread[places]))
        labels = torch.where(dropped[places], c.null_label, self._labels[mine])
        inputs = [value.to(self._device) for value in (latents, labels, times[places], noise[places])]
        terms = self._objective.loss(network, *inputs)
        return {"loss": terms.total, **{name: value.detach() for name, value in terms.by_name.items()}}

    def validate(self, network: nn.Module) -> dict[str, Any]:
        """Return the denoising loss by timestep on held-out patients and on as many training images.

        Noise is fixed, so that figures of different times can be compared. A held-out loss that rises while the
        training loss falls is the early alarm for memorisation.
        """
        train = self._loss_by_time(network, self._latents, self._material.train)
        figures = {
            "times": list(VALIDATION_TIMES),
            "training_loss_by_time": train,
            "training_loss": float(np.mean(train)),
        }
        path = self._run / "cache" / "validation.npy"
        if not path.is_file():  # nothing could be held out
            return figures | {"validation_loss": figures["training_loss"]}
        held_out = self._loss_by_time(network, LatentCache(path), self._material.validation)
        return figures | {"validation_loss_by_time": held_out, "validation_loss": float(np.mean(held_out))}

    def _loss_by_time(self, network: nn.Module, cache: LatentCache, cohort: Cohort) -> list[float]:
        rows = np.linspace(0, len(cache) - 1, min(VALIDATION_IMAGES, len(cache))).astype(int)
        random = torch_generator_for(self._config.training.seed, "validation")
        shape = (len(rows), *cache.moments.shape[3:])
        channels = self.model.network.in_channels
        noise = torch.randn(2, len(rows), channels, *shape[1:], generator=random)
        latents = self._scale.normalise(cache.latents(rows, np.zeros(len(rows), dtype=int), noise[0]))
        labels = torch.from_numpy(self._material.label_indices(cohort))[rows]
        latents, labels, fixed = (value.to(self._device) for value in (latents, labels, noise[1]))
        losses = denoising_loss_by_timestep(
            self._objective, network, latents, labels, fixed, VALIDATION_TIMES
        )
        return [round(float(value), 6) for value in losses.float().mean(dim=1)]

    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        """Write a sample sheet by class and a sheet of the nearest training images."""
        generator = ColditGenerator(self.model, network, self._encoder, self._config.sampling, self._device)
        draw_progress_sheets(generator, self._material, self.model.size, self._run / "samples", images_seen)
