"""DiffGuard: a pixel diffusion model that draws picture and mask together (Zhou et al., npj Digit Med 2024).

The configuration, the fit, and what the training loop asks of it. Drawing lives in `diffguard_generator`.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from datadouble.cohort import Cohort
from datadouble.cohort.structure import check_structure, choose_rule
from datadouble.diffusion.mask_codes import make_mask_code
from datadouble.errors import DataDoubleError
from datadouble.networks.unet import UNetConfig, build_unet
from datadouble.randomness import torch_generator_for
from datadouble.recipes.diffguard_attack import attack_material
from datadouble.recipes.diffguard_generator import (
    FILTERS,
    DiffguardGenerator,
    DiffguardModel,
    SamplingOptions,
    load_generator,
    objective_for,
)
from datadouble.recipes.diffguard_private import TRAINED_WHOLE, check_private_choices, declared_of
from datadouble.recipes.drawing import facts_of
from datadouble.recipes.filter_fitting import FilterOptions, fit_filters, keep_rules
from datadouble.recipes.learning import DenoisingTask, announce, provenance_of
from datadouble.recipes.learning import DiffusionOptions as LearningOptions
from datadouble.recipes.mask_labels import labels_by_mask, labels_by_name
from datadouble.recipes.pair_sheets import draw_pair_sheets
from datadouble.recipes.private import Private, check_private, open_private, prepare_network
from datadouble.recipes.runs import Material, begin_run, choose_material, without_masks
from datadouble.training.augmentation import (
    AugmentOptions,
    check_augmentation,
    draw_transforms,
    joint_augment,
)
from datadouble.training.loop import Trainer, TrainingOptions, batch_rows
from datadouble.training.pixels import PixelStore, balanced_rows, check_masks
from datadouble.training.privacy.options import PrivacyOptions
from datadouble.training.privacy.trainer import PrivateTrainer
from datadouble.training.processes import start_processes

__all__ = ["CONFIG", "DiffguardConfig", "attack_material", "fit_run", "load_generator"]


@dataclass(frozen=True)
class DataOptions:
    """Section ``[data]``."""

    size: int = 256  # pixels; the whole picture is brought to a square
    structure: str = (
        "auto"  # the rule that finds body or tissue: auto, none, hounsfield, sector, tissue or file
    )
    mask_code: str = "ladder"  # the paper's single channel, or onehot
    conditional: bool = True  # false: no class is given, it is read from the mask that was drawn
    balance: bool = False  # classes take turns
    classes: tuple[str, ...] = ()  # empty: all
    validation_share: float = 0.1  # of the train images, by patient


@dataclass(frozen=True)
class ModelOptions:
    """Section ``[model]``; see `datadouble.networks.unet.UNetConfig`."""

    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 4, 8)
    blocks: int = 2
    attention: tuple[int, ...] = ()
    head_width: int = 32
    dropout: float = 0.0
    resampling: str = "residual"
    patch: int = 1
    coordinates: bool = False
    detail: int = 0


@dataclass(frozen=True)
class DiffusionOptions(LearningOptions):
    """Section ``[diffusion]``; what begins with ``drawing_`` is the sampler's where it differs from training's."""

    objective: str = "mse"  # of the noise; or clean, hybrid, flow
    detail_std: float = 0.0  # of clean: what texture the network leaves to a skip; 0: no skip
    beta_start: float = 1e-4  # of the linear schedule
    beta_end: float = 0.02
    conditioning: str = "timestep"  # or noise_level: what the network is told
    drawing_timesteps: int = 0  # 0: as in training
    drawing_beta_start: float = 0.0
    drawing_beta_end: float = 0.0


@dataclass(frozen=True)
class DiffguardConfig:
    """All of a DiffGuard run."""

    data: DataOptions = field(default_factory=DataOptions)
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    diffusion: DiffusionOptions = field(default_factory=DiffusionOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    filters: FilterOptions = field(default_factory=FilterOptions)
    privacy: PrivacyOptions = field(default_factory=PrivacyOptions)


CONFIG = DiffguardConfig


def build_network_config(config: DiffguardConfig, mask_channels: int, classes: int) -> UNetConfig:
    """Return the network's shape for a mask code and a number of classes."""
    return UNetConfig(
        size=config.data.size,
        in_channels=1 + mask_channels,
        num_classes=classes,
        learn_sigma=config.diffusion.objective == "hybrid",
        **asdict(config.model),
    )


def fit_run(
    config: DiffguardConfig, cohort: Cohort, run: Path, *, dry_run: bool, say: Callable[[str], None]
) -> None:
    """Train on `cohort` in the folder `run`; see `datadouble.recipes.fit`."""
    seed = config.training.seed
    check_augmentation(config.augment, cohort.info.modality)
    _check_choices(config)
    rule = choose_rule(cohort.info) if config.data.structure == "auto" else config.data.structure
    material = choose_material(cohort, config.data.classes, config.data.validation_share, seed)
    announce(material, say)
    _check_pictures(cohort, material, rule)
    privacy = config.privacy
    if privacy.epsilon:
        check_private_choices(config, material)
    check_private(privacy, config.training, material, dry_run=dry_run, say=say)
    processes = start_processes()
    if dry_run:
        _say_cost(config, material, rule, processes.device, say)
        return
    if processes.is_main:
        begin_run(run, "diffguard", config, provenance_of(material))
        for folder in ("cache", "model"):
            (run / folder).mkdir(exist_ok=True)
        _stores(config, material, rule, run)
    processes.wait()
    private = None
    if privacy.epsilon:
        declared = declared_of(config, rule, window=bool(cohort.info.intensity))
        private = open_private(privacy, config.training, material, run, declared=declared, say=say)
    task = DiffguardTask(config, material, rule, run, processes.device, private)
    if processes.is_main:
        task.model.save(run / "model")
        task.fit_filters(say)
    parameters = sum(p.numel() for p in task.network.parameters() if p.requires_grad)
    say(
        f"{parameters:,} parameters, pictures {config.data.size}x{config.data.size} with masks of "
        f"{', '.join(task.model.drawn_classes)} ({config.data.mask_code}), "
        f"{config.training.images:,} images to see"
    )
    if private is None:
        Trainer(task, config.training, run, processes).train()
    else:
        PrivateTrainer(task, config.training, private.plan, private.secret, run, processes).train()


def _check_choices(config: DiffguardConfig) -> None:
    """Refuse what would be ignored.

    Raises
    ------
    DataDoubleError
    """
    if not config.data.conditional and config.sampling.guidance_weight:
        raise DataDoubleError(
            "guidance needs classes",
            where="sampling.guidance_weight",
            found=f"{config.sampling.guidance_weight:g} with data.conditional=false",
            remedy="set it to 0",
        )


def _check_pictures(cohort: Cohort, material: Material, rule: str) -> None:
    """Refuse, before anything is written, structures and masks that are missing: of train and validation at once.

    Raises
    ------
    DataDoubleError
    """
    ids = [*material.train.table["image_id"], *material.validation.table["image_id"]]
    taken = cohort.filter(image_id=ids)
    check_structure(taken, rule)
    check_masks(taken, without_masks(material))


def _say_cost(
    config: DiffguardConfig, material: Material, rule: str, device: torch.device, say: Callable[[str], None]
) -> None:
    from datadouble.cohort.structure import drawn_classes
    from datadouble.recipes.cost import say_cost

    code = make_mask_code(config.data.mask_code, len(drawn_classes(material.train.info.mask_classes, rule)))
    network = build_network_config(config, code.channels, len(material.classes))
    shape = (network.in_channels, network.size, network.size)
    objective = objective_for(asdict(config.diffusion))
    say_cost(config, config.training, build_unet(network), objective, shape, device, say)


def _stores(config: DiffguardConfig, material: Material, rule: str, run: Path) -> dict[str, PixelStore]:
    """Return the pixels of both parts, made where they are not there."""
    parts = {"train": material.train, "validation": material.validation}
    return {
        name: PixelStore.build(
            cohort,
            config.data.size,
            run / "cache" / name,
            structure=rule,
            without_lesion=without_masks(material),
        )
        for name, cohort in parts.items()
        if len(cohort)
    }


def _check_seen(store: PixelStore, material: Material) -> None:
    """Refuse mask classes that no training image has, unless classes were left out.

    Raises
    ------
    DataDoubleError
    """
    seen = np.atleast_1d(store.presence().any(axis=0))
    absent = [f"{name} (id {i})" for i, name in enumerate(store.classes) if i and not seen[i]]
    if absent and len(material.classes) == len(material.train.info.classes):
        raise DataDoubleError(
            "mask classes occur in no training image: a generator cannot learn them",
            where=f"{material.train.info.name}, masks as drawn",
            found=", ".join(absent),
            remedy="number the ids of the masks without gaps and name only these in cohort.json, mask_classes",
        )


class DiffguardTask(DenoisingTask):
    """What the training loop needs: pictures with coded masks, changed together, and sheets."""

    def __init__(
        self,
        config: DiffguardConfig,
        material: Material,
        rule: str,
        run: Path,
        device: torch.device,
        private: Private | None = None,
    ) -> None:
        self._stores = _stores(config, material, rule, run)
        store = self._stores["train"]
        _check_seen(store, material)
        self._code = make_mask_code(config.data.mask_code, len(store.classes))
        shape = build_network_config(config, self._code.channels, len(material.classes))
        super().__init__(
            material,
            objective_for(asdict(config.diffusion)),
            shape=(shape.in_channels, shape.size, shape.size),
            null_label=shape.null_label,
            class_dropout=config.diffusion.class_dropout if config.data.conditional else 1.0,
            seed=config.training.seed,
            device=device,
        )
        self._config, self._run, self._private = config, run, private
        self._balance = material.label_indices(material.train) if config.data.balance else None
        info = material.train.info
        mask_labels: tuple[int, ...] = ()
        if not config.data.conditional and private is not None:
            mask_labels = labels_by_name(info.mask_classes, material.classes, info.classes)
        elif not config.data.conditional:
            mask_labels = labels_by_mask(store, material.label_indices(material.train), material.classes)
        self.model = DiffguardModel(
            network=shape,
            mask_code=config.data.mask_code,
            structure=rule,
            drawn_classes=store.classes,
            mask_classes=info.mask_classes,
            mask_labels=mask_labels,
            size=config.data.size,
            diffusion=asdict(config.diffusion),
            **facts_of(material, private),
        )
        weights = torch_generator_for(config.training.seed, "weights")
        self.network: nn.Module = build_unet(shape, weights)
        if private is not None:
            prepare_network(self.network, config.privacy, material, weights, whole=TRAINED_WHOLE)

    def choose_rows(self, images_seen: int, batch: int) -> np.ndarray:
        """Return the next rows: in turns of the classes where they are balanced, else in shuffled passes."""
        if self._balance is not None:
            return balanced_rows(self._balance, self._seed, images_seen, batch)
        return batch_rows(self._seed, self.dataset_size(), images_seen, batch)

    def clean(self, rows: np.ndarray, places: slice, noise: list[Tensor], random: torch.Generator) -> Tensor:
        """Return pictures and coded masks in [-1, 1], changed together."""
        images, masks = self._stores["train"].batch(rows[places])
        seed = int(
            torch.randint(2**62, (1,), generator=random)
        )  # from (seed, images seen), as all of the step
        transforms = draw_transforms(len(rows), self._config.augment, seed, 0)[places]
        interpolation = self._config.augment.interpolation
        return self._coded(*joint_augment(images, masks, transforms, interpolation=interpolation))

    def held(self, part: str, rows: np.ndarray, noise: list[Tensor]) -> Tensor:
        """Return pictures and coded masks as they are."""
        return self._coded(*self._stores[part].batch(rows))

    def _coded(self, images: Tensor, masks: Tensor) -> Tensor:
        return torch.cat([images, self._code.encode(masks)], dim=1)

    def fit_filters(self, say: Callable[[str], None]) -> None:
        """Fit what `generate` filters by, and keep it with the model."""
        stores, material, options = self._stores, self.material, self._config.filters
        folder, info = self._run / "model" / FILTERS, material.train.info
        if self._private is not None:
            keep_rules(options, stores["train"].structure, info=info, folder=folder)
            return
        fit_filters(
            options,
            stores["train"],
            list(material.train.table["label"]),
            stores.get("validation"),
            list(material.validation.table["label"]),
            info=info,
            folder=folder,
            device=self.device,
            seed=self._seed,
            say=say,
        )

    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        """Write a sheet of drawn and real pictures with their masks, and one of the nearest training images."""
        generator = DiffguardGenerator(self.model, network, self._config.sampling, self.device)
        draw_pair_sheets(generator, self.material, self._stores["train"], self._run / "samples", images_seen)
