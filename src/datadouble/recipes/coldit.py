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

from datadouble.cohort import Cohort
from datadouble.encoders import load_encoder, seen_images
from datadouble.encoders.base import Encoder
from datadouble.errors import DataDoubleError
from datadouble.networks.dit import DIT_SIZES, DiT, DiTConfig
from datadouble.randomness import torch_generator_for
from datadouble.recipes.coldit_attack import attack_material
from datadouble.recipes.coldit_generator import ColditGenerator, ColditModel, load_generator
from datadouble.recipes.drawing import SamplingOptions, facts_of
from datadouble.recipes.learning import (
    DenoisingTask,
    DiffusionOptions,
    announce,
    objective_of,
    provenance_of,
)
from datadouble.recipes.private import Private, check_private, open_private, prepare_network
from datadouble.recipes.runs import Material, begin_run, choose_material
from datadouble.recipes.sheets import draw_progress_sheets
from datadouble.training.latents import LatentCache, encode_cohort
from datadouble.training.loop import Trainer, TrainingOptions
from datadouble.training.privacy.options import PrivacyOptions
from datadouble.training.privacy.trainer import PrivateTrainer
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
class ColditConfig:
    """All of a CoLDiT run."""

    data: DataOptions = field(default_factory=DataOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    diffusion: DiffusionOptions = field(default_factory=DiffusionOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    privacy: PrivacyOptions = field(default_factory=PrivacyOptions)


CONFIG = ColditConfig


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
    announce(material, say)
    processes = start_processes()
    chosen, privacy = config.data.encoder, config.privacy
    check_private(privacy, config.training, material, encoder=chosen, dry_run=dry_run, say=say)
    if dry_run:
        _say_cost(config, len(material.classes), processes.device, say)
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
    private = None
    if privacy.epsilon:
        private = open_private(privacy, config.training, material, run, encoder=chosen, say=say)
    task = ColditTask(config, material, encoder, run, processes.device, private)
    if processes.is_main:
        task.model.save(run / "model")
    parameters = sum(p.numel() for p in task.network.parameters() if p.requires_grad)
    shape = task.model.network
    say(
        f"{parameters:,} parameters, latents {shape.input_size}x{shape.input_size}x{shape.in_channels}, "
        f"{config.training.images:,} images to see"
    )
    if private is None:
        Trainer(task, config.training, run, processes).train()
    else:
        PrivateTrainer(task, config.training, private.plan, private.secret, run, processes).train()


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


def _say_cost(config: ColditConfig, classes: int, device: torch.device, say: Callable[[str], None]) -> None:
    from datadouble.recipes.cost import say_cost

    name = "tiny-16" if config.data.encoder == "own" else config.data.encoder
    shape = build_network_config(config, load_encoder(name, config.data.encoder_path), classes)
    latent = (shape.in_channels, shape.input_size, shape.input_size)
    say_cost(config, config.training, DiT(shape), objective_of(asdict(config.diffusion)), latent, device, say)


def _provenance(material: Material, cohort: Cohort) -> dict[str, Any]:
    learned = set(material.train.table["image_id"]) | set(material.validation.table["image_id"])
    # Whatever any part of a generator has seen counts as training data in an audit.
    return provenance_of(material) | {"encoder_saw_outside_train": len(seen_images(cohort) - learned)}


class ColditTask(DenoisingTask):
    """What the training loop needs: latents from the cache, and sheets."""

    arrays_of_noise = 2  # one to diffuse with, one to draw latents from their moments with

    def __init__(
        self,
        config: ColditConfig,
        material: Material,
        encoder: Encoder,
        run: Path,
        device: torch.device,
        private: Private | None = None,
    ) -> None:
        shape = build_network_config(config, encoder, len(material.classes))
        super().__init__(
            material,
            objective_of(asdict(config.diffusion)),
            shape=(shape.in_channels, shape.input_size, shape.input_size),
            null_label=shape.null_label,
            class_dropout=config.diffusion.class_dropout,
            seed=config.training.seed,
            device=device,
        )
        self._config, self._run, self._encoder = config, run, encoder
        self._caches = {
            part: LatentCache(path)
            for part in ("train", "validation")
            if (path := run / "cache" / f"{part}.npy").is_file()
        }
        scale = None if private is None else private.scale
        self._scale = self._caches["train"].measure_scale() if scale is None else scale
        self.model = ColditModel(
            network=shape,
            scale=self._scale,
            encoder=config.data.encoder,
            encoder_path=config.data.encoder_path,
            encoder_fingerprint=encoder.fingerprint,
            size=config.data.size,
            diffusion=asdict(config.diffusion),
            **facts_of(material, private),
        )
        weights = torch_generator_for(config.training.seed, "weights")
        self.network: nn.Module = DiT(shape, weights)
        if private is not None:
            prepare_network(self.network, config.privacy, material, weights)

    def clean(self, rows: np.ndarray, places: slice, noise: list[Tensor], random: torch.Generator) -> Tensor:
        """Return normalised latents of the pictures or of their mirror images."""
        cache = self._caches["train"]
        views = torch.randint(cache.views, (len(rows),), generator=random)[places].numpy()
        return self._scale.normalise(cache.latents(rows[places], views, noise[0][places]))

    def held(self, part: str, rows: np.ndarray, noise: list[Tensor]) -> Tensor:
        """Return normalised latents of the pictures."""
        cache = self._caches[part]
        return self._scale.normalise(cache.latents(rows, np.zeros(len(rows), dtype=int), noise[0]))

    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        """Write a sample sheet by class and a sheet of the nearest training images."""
        generator = ColditGenerator(self.model, network, self._encoder, self._config.sampling, self.device)
        draw_progress_sheets(generator, self.material, self.model.size, self._run / "samples", images_seen)
