"""Augment: real pictures, a little turned and cut. The baseline of no generator at all; its doubles are never released.

In two dimensions a picture is turned by up to 2 degrees, cut at random and brought back to its size; slices of volumes
are turned by up to 5 degrees and scaled by 0.9 to 1.1, all slices of a volume alike (Zhou et al., npj Digit Med 2024).
Nothing is trained: the run holds the training pictures.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for
from datadouble.recipes.doubles import Drawn
from datadouble.recipes.drawing import ModelFacts, config_of, facts_of, read_model
from datadouble.recipes.learning import announce, provenance_of
from datadouble.recipes.runs import Material, begin_run, choose_material, without_masks
from datadouble.recipes.sources import (
    SourceOrders,
    Sources,
    fingerprint_of,
    mapped,
    moved_masks,
    plain_facts,
    refuse_sampler,
    sources_from,
    sources_of,
)
from datadouble.training.augmentation import AugmentOptions, check_augmentation, joint_augment
from datadouble.training.pixels import PixelStore
from datadouble.training.processes import start_processes

__all__ = ["CONFIG", "AugmentConfig", "fit_run", "load_generator"]

STORE = "pictures"  # folder beside model.json


@dataclass(frozen=True)
class DataOptions:
    """Section ``[data]``."""

    size: int = 256  # pixels; the whole picture is brought to a square
    volumes: str = "auto"  # auto: where the cohort has volumes; always or never
    classes: tuple[str, ...] = ()  # empty: all


@dataclass(frozen=True)
class ChangeOptions:
    """Section ``[augment]``."""

    rotation: float = 2.0  # degrees, at most, to either side
    crop: float = 0.9  # least side of the window cut out, as a share of the picture's
    volume_rotation: float = 5.0
    volume_scale: float = 0.1  # volumes are scaled by 1 - this to 1 + this
    interpolation: str = "bicubic"


@dataclass(frozen=True)
class SamplingOptions:
    """Section ``[sampling]``."""

    batch: int = 64  # images made at a time


@dataclass(frozen=True)
class AugmentConfig:
    """All of an `augment` run."""

    data: DataOptions = field(default_factory=DataOptions)
    augment: ChangeOptions = field(default_factory=ChangeOptions)
    sampling: SamplingOptions = field(default_factory=SamplingOptions)


CONFIG = AugmentConfig


@dataclass(frozen=True, kw_only=True)
class AugmentModel(ModelFacts):
    """`model.json` of a run; `pixels` stands for the pictures beside it."""

    mask_classes: tuple[str, ...]
    sources: Sources
    pixels: str
    diffusion: dict[str, Any] = field(default_factory=dict)


def fit_run(
    config: AugmentConfig, cohort: Cohort, run: Path, *, dry_run: bool, say: Callable[[str], None]
) -> None:
    """Store what is needed of `cohort` in the folder `run`; see `datadouble.recipes.fit`."""
    _check(config)
    material = choose_material(cohort, config.data.classes, 0.0, 0)
    announce(material, say)
    as_volumes = _has_volumes(config.data.volumes, material)
    sources = sources_of(material, config.data.size, as_volumes=as_volumes)
    kind = f"slices of {len(sources.spacings)} volumes" if as_volumes else "pictures"
    say(
        f"nothing is trained: {kind} are changed a little; a double of them holds real pixels, never release it"
    )
    if dry_run or not start_processes().is_main:
        return
    begin_run(run, "augment", config, provenance_of(material))
    store = PixelStore.build(
        material.train, config.data.size, run / "model" / STORE, without_lesion=without_masks(material)
    )
    AugmentModel(
        size=config.data.size,
        mask_classes=material.train.info.mask_classes,
        sources=sources,
        pixels=fingerprint_of(store.images, store.masks),
        **facts_of(material),
    ).save(run / "model")


def _check(config: AugmentConfig) -> None:
    """Refuse options that are out of range.

    Raises
    ------
    DataDoubleError
    """
    check_augmentation(_flat(config.augment), "")
    faults = []
    if config.data.volumes not in ("auto", "always", "never"):
        faults.append(f"data.volumes is '{config.data.volumes}'; use auto, always or never")
    if not 0 <= config.augment.volume_rotation <= 45:
        faults.append(f"augment.volume_rotation is {config.augment.volume_rotation:g} degrees; use 0 to 45")
    if not 0 <= config.augment.volume_scale < 1:
        faults.append(f"augment.volume_scale is {config.augment.volume_scale:g}; use 0 to below 1")
    if faults:
        raise DataDoubleError("the pictures cannot be changed so", where="config", found="; ".join(faults))


def _has_volumes(wanted: str, material: Material) -> bool:
    if wanted != "auto":
        return wanted == "always"
    table = material.train.table
    return "volume_id" in table.columns and bool((table["volume_id"] != "").all())


def _flat(options: ChangeOptions) -> AugmentOptions:
    """Return how a picture that stands alone is changed."""
    return AugmentOptions(
        flip=False,
        rotation=options.rotation,
        scale=options.crop,
        share=1.0,
        interpolation=options.interpolation,
    )


class AugmentGenerator:
    """Changes real pictures: number n of a class always gives the same one.

    Attributes
    ----------
    options : SamplingOptions
    model : AugmentModel
    size : int
    facts : GeneratorFacts
    """

    def __init__(
        self, model: AugmentModel, config: AugmentConfig, images: np.ndarray, masks: np.ndarray
    ) -> None:
        self.model, self.size, self.options = model, model.size, config.sampling
        self._changes, self._images, self._masks = config.augment, images, masks
        self._orders = SourceOrders(model.sources)
        self.facts = plain_facts(
            "augment",
            model,
            {"pixels": model.pixels},
            config.augment,
            config.sampling.batch,
            model.mask_classes,
            contains_real_pixels=True,
        )

    def draw(self, label: int, numbers: range, seed: int) -> Drawn:
        """Return the pictures `numbers` of a class, uint8 (b, size, size), with their masks."""
        order = self._orders.of(label, seed)
        found = [order.at(number) for number in numbers]
        rows = np.array([row for row, _ in found])
        images = torch.from_numpy(self._images[rows].astype(np.float32))[:, None] / 127.5 - 1
        masks = torch.from_numpy(self._masks[rows].astype(np.int64))
        patients: tuple[str, ...] | None = None
        columns: tuple[dict[str, str], ...] | None = None
        if self.model.sources.volumes:
            turns = [self._volume_turn(row, before, seed) for row, before in found]
            images, masks = self._turn(images, masks, turns)
            columns = tuple(
                self._columns(row, before, scale)
                for (row, before), (_, scale) in zip(found, turns, strict=True)
            )
            patients = tuple(of["volume_id"] for of in columns)
        else:
            keys = [f"{self.model.classes[label]} {number}" for number in numbers]
            transforms = moved_masks(masks, False, _flat(self._changes), seed, keys)
            images, masks = joint_augment(
                images, masks, transforms, interpolation=self._changes.interpolation
            )
        grey = ((images[:, 0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
        ids = masks.to(torch.uint8).numpy() if self.model.mask_classes else None
        return Drawn(grey, ids, patients=patients, columns=columns)

    def _volume_turn(self, row: int, before: int, seed: int) -> tuple[float, float]:
        """Return the angle in radians and the scale of a volume, the same for all its slices of whatever class."""
        random = generator_for(seed, "volume", self.model.sources.volumes[row], before)
        angle, scale = random.uniform(-1, 1, 2)
        return math.radians(self._changes.volume_rotation * angle), 1 + self._changes.volume_scale * scale

    def _turn(self, images: Tensor, masks: Tensor, turns: list[tuple[float, float]]) -> tuple[Tensor, Tensor]:
        """Turn and scale about the middle; what comes in from beyond the border is black, and background."""
        reach = max((math.cos(a) + abs(math.sin(a))) / scale for a, scale in turns)
        margin = max(0, math.ceil((reach - 1) / 2 * self.size)) + 2
        around = (margin,) * 4
        matrices = torch.tensor(
            [
                [
                    [math.cos(a) / scale, -math.sin(a) / scale, 0],
                    [math.sin(a) / scale, math.cos(a) / scale, 0],
                ]
                for a, scale in turns
            ]
        )
        images, masks = joint_augment(
            F.pad(images, around, value=-1.0),
            F.pad(masks, around),
            matrices,
            interpolation=self._changes.interpolation,
        )
        inside = slice(margin, -margin)
        return images[..., inside, inside], masks[..., inside, inside]

    def _columns(self, row: int, before: int, scale: float) -> dict[str, str]:
        """Return where a slice stands; the distance between slices is scaled with the rest."""
        sources = self.model.sources
        z, y, x = sources.spacings[sources.volumes[row]]
        return {
            "volume_id": f"volume-{sources.volumes[row]:04d}-{before:03d}",
            "slice": str(sources.slices[row]),
            "spacing_mm": f"[{z * scale:.6g}, {y:.6g}, {x:.6g}]",
        }


def load_generator(
    run: Path,
    *,
    checkpoint: str = "best",
    steps: int = 0,
    guidance_weight: float | None = None,
    sampler: str = "",
    autoguidance: bool = False,
) -> AugmentGenerator:
    """Load a run; there are no checkpoints to choose from.

    Raises
    ------
    DataDoubleError
        When the run is not finished, or something is asked that only a diffusion model has.
    """
    refuse_sampler(
        "augment", steps=steps, guidance_weight=guidance_weight, sampler=sampler, autoguidance=autoguidance
    )
    values = read_model(run / "model")
    values["sources"] = sources_from(values["sources"])
    folder = run / "model" / STORE
    images, masks = mapped(folder / "images.npy"), mapped(folder / "masks.npy")
    return AugmentGenerator(AugmentModel(**values), config_of(run, AugmentConfig), images, masks)
