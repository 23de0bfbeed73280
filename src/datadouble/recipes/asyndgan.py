"""AsynDGAN: one generator of pictures from masks, and a critic in each hospital (Chang et al., CVPR 2020).

The pictures of a site only ever meet that site's critic; the generator learns from the critics' gradients, weighted
with the sites' shares of the pictures. The paper's third loss compares features of a VGG network trained on
ImageNet; it is left out, since its weights would have to be downloaded. Here all sites train in one place: a baseline
of what the method draws, not a network between hospitals. Drawing lives in `asyndgan_generator`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datadouble.cohort import Cohort
from datadouble.cohort.structure import check_structure, choose_rule, drawn_classes
from datadouble.diffusion.mask_codes import make_mask_code
from datadouble.errors import DataDoubleError
from datadouble.networks.mask_to_image import MaskToImageConfig, build_critic, build_mask_to_image
from datadouble.randomness import torch_generator_for
from datadouble.recipes.asyndgan_generator import (
    MASKS,
    AsyndganGenerator,
    AsyndganModel,
    SamplingOptions,
    load_generator,
)
from datadouble.recipes.config import to_toml
from datadouble.recipes.drawing import facts_of
from datadouble.recipes.learning import VALIDATION_IMAGES, announce, provenance_of
from datadouble.recipes.pair_sheets import draw_pair_sheets
from datadouble.recipes.runs import Material, begin_run, choose_material, without_masks
from datadouble.recipes.sites import Sites, site_rows, sites_of
from datadouble.recipes.sources import fingerprint_of, save_masks, sources_of
from datadouble.training.adversarial import AdversarialTrainer, check_adversarial
from datadouble.training.augmentation import (
    AugmentOptions,
    check_augmentation,
    draw_transforms,
    joint_augment,
)
from datadouble.training.loop import TrainingOptions as LoopOptions
from datadouble.training.pixels import PixelStore, check_masks
from datadouble.training.processes import start_processes

__all__ = ["CONFIG", "AsyndganConfig", "fit_run", "load_generator"]

_TIMED_STEPS = 3


@dataclass(frozen=True)
class DataOptions:
    """Section ``[data]``."""

    size: int = 256  # pixels; the whole picture is brought to a square
    structure: str = "auto"  # the rule that finds body or tissue, as of diffguard
    conditional: bool = True  # false, the paper's: the class is known by the mask alone
    classes: tuple[str, ...] = ()  # empty: all
    validation_share: float = 0.1  # of the train images, by patient


@dataclass(frozen=True)
class ModelOptions:
    """Section ``[model]``; see `datadouble.networks.mask_to_image.MaskToImageConfig`."""

    width: int = 64
    blocks: int = 9
    halvings: int = 2
    critic_width: int = 64
    critic_layers: int = 3


@dataclass(frozen=True)
class LossOptions:
    """Section ``[losses]``."""

    adversarial: float = 1.0  # weight of the critics' word
    distance: float = 100.0  # weight of the L1 distance to the real picture of the mask
    kind: str = "cross_entropy"  # of the critics, or "least_squares"


@dataclass(frozen=True)
class TrainingOptions(LoopOptions):
    """Section ``[training]``; of generator and critics alike."""

    batch: int = 16
    learning_rate: float = 2e-4
    betas: tuple[float, ...] = (0.5, 0.999)
    clip: float = 1000.0  # the paper has none


@dataclass(frozen=True)
class AsyndganConfig:
    """All of an AsynDGAN run."""

    data: DataOptions = field(default_factory=DataOptions)
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    losses: LossOptions = field(default_factory=LossOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)


CONFIG = AsyndganConfig


class Batch(NamedTuple):
    """Pictures (b, 1, s, s) and coded masks (b, c, s, s) in [-1, 1], classes (b,), and sites (b,)."""

    images: Tensor
    masks: Tensor
    labels: Tensor
    sites: Tensor


def fit_run(
    config: AsyndganConfig, cohort: Cohort, run: Path, *, dry_run: bool, say: Callable[[str], None]
) -> None:
    """Train on `cohort` in the folder `run`; see `datadouble.recipes.fit`."""
    for options in (config.augment, config.sampling):
        check_augmentation(options, cohort.info.modality)
    if config.losses.kind not in ("cross_entropy", "least_squares"):
        raise DataDoubleError(
            "losses.kind is cross_entropy or least_squares", where="config", found=config.losses.kind
        )
    rule = choose_rule(cohort.info) if config.data.structure == "auto" else config.data.structure
    material = choose_material(
        cohort, config.data.classes, config.data.validation_share, config.training.seed
    )
    announce(material, say)
    sites = sites_of(material, config.training.batch)
    counts = ", ".join(f"{name or 'all'}: {(sites.of == i).sum()}" for i, name in enumerate(sites.names))
    say(f"{len(sites.names)} sites ({counts}), each with a critic of its own")
    ids = [*material.train.table["image_id"], *material.validation.table["image_id"]]
    taken = cohort.filter(image_id=ids)
    check_structure(taken, rule)
    check_masks(taken, without_masks(material))
    processes = start_processes()
    check_adversarial(config.training, processes)
    network = network_config(config, len(drawn_classes(cohort.info.mask_classes, rule)), material)
    if dry_run:
        _say_cost(config, network, processes.device, say)
        return
    begin_run(run, "asyndgan", config, provenance_of(material))
    for folder in ("cache", "model"):
        (run / folder).mkdir(exist_ok=True)
    task = AsyndganTask(config, material, sites, rule, run, processes.device)
    trainer = AdversarialTrainer(task, config.training, run, processes)
    save_masks(run / "model" / MASKS, task.masks)
    task.model.save(run / "model")
    parameters, of_critic = (
        sum(p.numel() for p in one.parameters()) for one in (task.network, task.critics[0])
    )
    say(
        f"{parameters:,} parameters and {of_critic:,} of each critic, pictures {config.data.size}x"
        f"{config.data.size} of masks of {', '.join(task.model.drawn_classes)}, "
        f"{config.training.images:,} images to see"
    )
    trainer.train()


def network_config(config: AsyndganConfig, drawn: int, material: Material) -> MaskToImageConfig:
    """Return the shape of the networks for masks of `drawn` classes."""
    model = config.model
    return MaskToImageConfig(
        size=config.data.size,
        mask_channels=make_mask_code("onehot", drawn).channels,
        num_classes=len(material.classes) if config.data.conditional else 0,
        width=model.width,
        blocks=model.blocks,
        halvings=model.halvings,
        critic_width=model.critic_width,
        critic_layers=model.critic_layers,
    )


class AsyndganTask:
    """What the training loop needs: pictures with coded masks, site by site, and sheets."""

    def __init__(
        self,
        config: AsyndganConfig,
        material: Material,
        sites: Sites,
        rule: str,
        run: Path,
        device: torch.device,
    ) -> None:
        self.material, self.sites, self.device = material, sites, device
        self._config, self._run, self._seed = config, run, config.training.seed
        parts = {"train": material.train, "validation": material.validation}
        normal = without_masks(material)
        size = config.data.size
        self._stores = {
            name: PixelStore.build(part, size, run / "cache" / name, structure=rule, without_lesion=normal)
            for name, part in parts.items()
            if len(part)
        }
        self._labels = {name: torch.from_numpy(material.label_indices(part)) for name, part in parts.items()}
        store = self._stores["train"]
        _check_empty(store, material)
        self._code = make_mask_code("onehot", len(store.classes))
        shape = network_config(config, len(store.classes), material)
        self._weights = [float((sites.of == i).mean()) for i in range(len(sites.names))]
        self.network: nn.Module = build_mask_to_image(shape, torch_generator_for(self._seed, "weights"))
        self.critics = nn.ModuleList(
            build_critic(shape, torch_generator_for(self._seed, "critic", i)) for i in range(len(sites.names))
        )
        self.model = AsyndganModel(
            size=size,
            network=shape,
            structure=rule,
            drawn_classes=store.classes,
            mask_classes=material.train.info.mask_classes,
            sites=len(sites.names),
            sources=sources_of(material, size),
            masks=fingerprint_of(store.masks),
            **facts_of(material),
        )

    @property
    def masks(self) -> np.ndarray:
        """The drawn masks of the training images, uint8 (n, s, s)."""
        return self._stores["train"].masks

    def dataset_size(self) -> int:
        """Return the number of training images."""
        return len(self.material.train)

    def image_ids(self, rows: np.ndarray) -> list[str]:
        """Return the ids of training images."""
        return [str(self.material.train.table["image_id"].iloc[row]) for row in rows]

    def choose_rows(self, images_seen: int, batch: int) -> np.ndarray:
        """Return the next rows: sites take turns."""
        return site_rows(self.sites, self._seed, images_seen, batch)

    def losses(
        self, network: nn.Module, rows: np.ndarray, images_seen: int, places: slice
    ) -> dict[str, Tensor]:
        """Return the per-image distance (b,) to the real picture: what is left without critics."""
        batch = self.real_batch(rows[places], images_seen)
        distance = (self.draw_batch(network, batch) - batch.images).abs().mean((1, 2, 3))
        return {"loss": self._config.losses.distance * distance}

    def real_batch(self, rows: np.ndarray, images_seen: int) -> Batch:
        """Return pictures and coded masks, changed together."""
        images, masks = self._stores["train"].batch(rows)
        options = self._config.augment
        transforms = draw_transforms(len(rows), options, self._seed, images_seen)
        images, masks = joint_augment(images, masks, transforms, interpolation=options.interpolation)
        return self._batch(images, masks, self._labels["train"][rows], torch.from_numpy(self.sites.of[rows]))

    def _batch(self, images: Tensor, masks: Tensor, labels: Tensor, sites: Tensor) -> Batch:
        return Batch(*(x.to(self.device) for x in (images, self._code.encode(masks), labels, sites)))

    def draw_batch(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return a picture of each mask, (b, 1, s, s)."""
        return network(batch.masks, batch.labels)

    def _by_site(self, batch: Batch) -> list[tuple[int, Tensor]]:
        """Return each site that the batch holds, with its places."""
        places = [(i, torch.nonzero(batch.sites == i).flatten()) for i in range(len(self.critics))]
        return [(i, here) for i, here in places if len(here)]

    def _says(self, site: int, batch: Batch, images: Tensor, here: Tensor) -> Tensor:
        return self.critics[site](batch.masks[here], images[here], batch.labels[here]).float()

    def _against(self, logits: Tensor, real: bool) -> Tensor:
        """Return the mean loss of logits that should say real, or drawn."""
        wanted = torch.full_like(logits, float(real))
        if self._config.losses.kind == "least_squares":
            return F.mse_loss(logits, wanted)
        return F.binary_cross_entropy_with_logits(logits, wanted)

    def critic_losses(self, batch: Batch, drawn: Tensor) -> dict[str, Tensor]:
        """Return the critics' losses, each on its own site's pictures alone, summed, and how often they are right."""
        total, right = torch.zeros((), device=self.device), []
        middle = 0.5 if self._config.losses.kind == "least_squares" else 0.0
        for site, here in self._by_site(batch):
            real, false = (self._says(site, batch, images, here) for images in (batch.images, drawn))
            total = total + 0.5 * (self._against(real, True) + self._against(false, False))
            right += [(real > middle).float().mean(), (false <= middle).float().mean()]
        return {"critic_loss": total, "critic_accuracy": torch.stack(right).mean()}

    def generator_losses(self, batch: Batch, drawn: Tensor) -> dict[str, Tensor]:
        """Return the adversarial and the L1 loss, means of the sites weighted with their shares of the images."""
        adversarial, l1 = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for site, here in self._by_site(batch):
            weight = self._weights[site]
            adversarial = adversarial + weight * self._against(self._says(site, batch, drawn, here), True)
            l1 = l1 + weight * F.l1_loss(drawn[here].float(), batch.images[here])
        losses = self._config.losses
        return {
            "loss": losses.adversarial * adversarial + losses.distance * l1,
            "adversarial": adversarial,
            "l1": l1,
        }

    def validate(self, network: nn.Module) -> dict[str, Any]:
        """Return the L1 distance to the real picture of a mask, on held-out patients and on as many training images."""
        train = self._distance(network, "train")
        held_out = self._distance(network, "validation") if "validation" in self._stores else train
        return {"training_loss": train, "validation_loss": held_out}

    def _distance(self, network: nn.Module, part: str) -> float:
        count = len(self._stores[part])
        rows = np.linspace(0, count - 1, min(VALIDATION_IMAGES, count)).astype(int)
        labels = self._labels[part][rows]
        batch = self._batch(*self._stores[part].batch(rows), labels, torch.zeros_like(labels))
        distance = F.l1_loss(self.draw_batch(network, batch).float(), batch.images)
        return round(float(distance.detach()), 6)

    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        """Write a sheet of drawn and real pictures with their masks, and one of the nearest training images."""
        generator = AsyndganGenerator(self.model, network, self.masks, self._config.sampling, self.device)
        draw_pair_sheets(generator, self.material, self._stores["train"], self._run / "samples", images_seen)


def _check_empty(store: PixelStore, material: Material) -> None:
    """Refuse classes whose masks hold nothing: of such a mask only one picture can be drawn.

    Raises
    ------
    DataDoubleError
    """
    filled = np.array([bool((mask != mask[0, 0]).any()) for mask in store.masks])
    labels = material.label_indices(material.train)
    empty = [name for i, name in enumerate(material.classes) if not filled[labels == i].any()]
    if empty:
        raise DataDoubleError(
            "all masks of a class are empty: the same picture would be drawn of each",
            where="masks as drawn",
            found=", ".join(empty),
            remedy="set data.structure to a rule, or leave the class out with data.classes",
        )


def _say_cost(
    config: AsyndganConfig, shape: MaskToImageConfig, device: torch.device, say: Callable[[str], None]
) -> None:
    """Say the resolved configuration, the number of parameters, and the time the training will take here."""
    say(to_toml(config))
    network, critic = build_mask_to_image(shape).to(device), build_critic(shape).to(device)
    batch = min(config.training.batch, 16)
    mask = torch.randn(batch, shape.mask_channels, shape.size, shape.size, device=device)
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    started = 0.0
    for step in range(_TIMED_STEPS + 1):
        if step == 1:  # the first one warms up
            started = time.perf_counter()
        half = config.training.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            drawn = network(mask, labels)
            for images in (drawn.detach(), drawn.detach(), drawn):  # critic on real and drawn, generator
                critic(mask, images, labels).float().mean().backward()
    rate = _TIMED_STEPS * batch / (time.perf_counter() - started)
    parameters = sum(p.numel() for p in network.parameters())
    say(
        f"{parameters:,} parameters; about {rate:.0f} images a second on this {device.type}: "
        f"{config.training.images / rate / 3600:.1f} hours to train"
    )
