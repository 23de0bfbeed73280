"""Drawing pictures with masks with a trained DiffGuard."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from datadouble.cohort.structure import lesions_of
from datadouble.diffusion.guidance import Guidance
from datadouble.diffusion.mask_codes import make_mask_code
from datadouble.diffusion.objectives import (
    CleanObjective,
    EpsilonObjective,
    ModelFunction,
    Objective,
    make_objective,
)
from datadouble.diffusion.schedules import linear_schedule, make_schedule
from datadouble.errors import DataDoubleError
from datadouble.networks.unet import UNet, UNetConfig, build_unet
from datadouble.recipes.doubles import Drawn
from datadouble.recipes.drawing import (
    ModelFacts,
    check_finished,
    config_of,
    draw_from_noise,
    generator_facts,
    load_weights,
    read_model,
    with_changes,
)
from datadouble.recipes.drawing import SamplingOptions as DrawingOptions
from datadouble.recipes.filter_fitting import load_filters
from datadouble.recipes.filters import FilterBank
from datadouble.recipes.mask_labels import NO_CLASS, read_labels
from datadouble.training.processes import start_processes

FILTERS = "filters"  # folder beside the model
CLASS_FILTER: dict[str, Any] = {
    "name": "class",
    "meaning": "1 where the leading lesion stands for no class",
    "cut": 0.0,
}


@dataclass(frozen=True)
class SamplingOptions(DrawingOptions):
    """Section ``[sampling]``: how `generate` draws unless told otherwise."""

    steps: int = 20
    guidance_weight: float = 0.0  # the paper has none


@dataclass(frozen=True, kw_only=True)
class DiffguardModel(ModelFacts):
    """All but weights that drawing needs; `model.json` of a run.

    Attributes
    ----------
    structure
        Rule of the structure mask, or ``"none"``.
    drawn_classes, mask_classes
        Of the masks that the network draws, and of those that a double holds: without the structure.
    mask_labels
        Class of each lesion type where classes are read from masks (see `mask_labels.labels_by_mask`); empty where a
        class is asked for.
    """

    network: UNetConfig
    mask_code: str
    structure: str
    drawn_classes: tuple[str, ...]
    mask_classes: tuple[str, ...]
    mask_labels: tuple[int, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> "DiffguardModel":
        """Read `model.json`.

        Raises
        ------
        DataDoubleError
            When it is not there.
        """
        values = read_model(folder)
        values["network"] = UNetConfig(**values["network"])
        return cls(**values)


def objective_for(diffusion: Mapping[str, Any], *, drawing: bool = False) -> Objective:
    """Return the objective of ``[diffusion]``, with the sampler's schedule where `drawing` and it has its own."""
    kind, gamma = diffusion["objective"], diffusion["min_snr_gamma"] or None
    if kind not in ("mse", "hybrid", "clean"):
        return make_objective(kind, min_snr_gamma=gamma)
    prefix = "drawing_" if drawing and diffusion["drawing_timesteps"] else ""
    steps = diffusion[f"{prefix}timesteps"]
    schedule = (
        linear_schedule(steps, diffusion[f"{prefix}beta_start"], diffusion[f"{prefix}beta_end"])
        if diffusion["schedule"] == "linear"
        else make_schedule(diffusion["schedule"], steps)
    )
    schedule = replace(schedule, conditioning=diffusion["conditioning"])
    if kind == "clean":
        return CleanObjective(schedule, gamma or 5.0, diffusion.get("detail_std", 0.0))
    return EpsilonObjective(schedule, kind == "hybrid", gamma)


class Pairs(NamedTuple):
    """Pictures uint8 (b, s, s), drawn masks uint8 (b, s, s) and each pixel's ambiguity float32 (b, s, s)."""

    images: np.ndarray
    drawn: np.ndarray
    ambiguity: np.ndarray


class DiffguardGenerator:
    """Draws pictures with masks; the noise of each comes from (seed, class, number) alone.

    Attributes
    ----------
    options : SamplingOptions
    model : DiffguardModel
    size : int
        Side of the pictures in pixels.
    facts : GeneratorFacts
    """

    def __init__(
        self,
        model: DiffguardModel,
        network: nn.Module,
        options: DrawingOptions,
        device: torch.device,
        *,
        weak: nn.Module | None = None,
        fingerprint: str = "",
        filters: FilterBank | None = None,
    ) -> None:
        self.model, self.options, self.size = model, options, model.size
        self._filters = filters or FilterBank()
        self._device, self._fingerprint = device, fingerprint
        self._source, self._weak = network, weak
        self._code = make_mask_code(model.mask_code, len(model.drawn_classes))
        self._objective = objective_for(model.diffusion, drawing=True)
        self._network = _cast(network, options, device)
        interval = options.guidance_interval
        self._guidance = Guidance(
            options.guidance_weight,
            model.network.null_label,
            (interval[0], interval[1]) if interval else None,
            None if weak is None else _cast(weak, options, device),
        )
        facts = generator_facts(
            "diffguard",
            model,
            options,
            {"weights": fingerprint, "mask_code": model.mask_code, "autoguidance": weak is not None},
            model.mask_classes,
        )
        reads_class = bool(model.mask_labels)
        cuts = (*self._filters.facts(), *((CLASS_FILTER,) if reads_class else ()))
        self.facts = replace(facts, draws_any_class=reads_class, filters=cuts)

    def with_options(self, options: DrawingOptions) -> "DiffguardGenerator":
        """Return the same generator with other settings of the sampler."""
        return DiffguardGenerator(
            self.model,
            self._source,
            options,
            self._device,
            weak=self._weak,
            fingerprint=self._fingerprint,
            filters=self._filters,
        )

    def draw(self, label: int, numbers: range, seed: int) -> Drawn:
        """Draw the pictures `numbers` of a class with their lesion masks, uint8 (b, size, size), and filter them."""
        pairs = self.draw_pairs(label, numbers, seed)
        lesions = lesions_of(pairs.drawn, self.model.structure)
        if not self.model.mask_labels:
            rejected = self._filters.rejected(*pairs, self.model.classes[label])
            return Drawn(pairs.images, lesions, rejected=rejected)
        labels = read_labels(lesions, self.model.mask_labels)
        names = ["" if index == NO_CLASS else self.model.classes[index] for index in labels]
        rejected = self._filters.rejected(*pairs, names) | {CLASS_FILTER["name"]: labels == NO_CLASS}
        return Drawn(pairs.images, lesions, labels, rejected)

    @torch.no_grad()
    def draw_pairs(self, label: int, numbers: range, seed: int) -> Pairs:
        """Draw pictures with masks that hold the structure too, before any filter."""
        shape = self.model.network
        x = draw_from_noise(
            self._network,
            self._objective,
            self.options,
            shape=(shape.in_channels, shape.size, shape.size),
            labels=shape.null_label if self.facts.draws_any_class else label,
            key=self.facts.kinds[label],
            numbers=numbers,
            seed=seed,
            device=self._device,
            guidance=self._guidance,
            clamp=1.0,
        )
        decoded = self._code.decode(x[:, 1:])
        grey = ((x[:, 0] + 1) * 127.5).round().clamp(0, 255)
        return Pairs(
            grey.to(torch.uint8).cpu().numpy(),
            decoded.mask.to(torch.uint8).cpu().numpy(),
            decoded.ambiguity.cpu().numpy(),
        )


def _cast(network: nn.Module, options: DrawingOptions, device: torch.device) -> ModelFunction:
    """Return the network as a function in eval mode, in bf16 where asked for."""
    network = network.to(device).eval()
    half = options.precision == "bf16"

    def predict(x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            return network(x, timesteps, labels)

    return predict


def load_generator(
    run: Path,
    *,
    checkpoint: str = "best",
    steps: int = 0,
    guidance_weight: float | None = None,
    sampler: str = "",
    autoguidance: bool = False,
) -> DiffguardGenerator:
    """Load a trained run; zeros and empty values stand for the run's own settings.

    Raises
    ------
    DataDoubleError
        When the run is not finished, or guidance is asked of a generator without classes.
    """
    from datadouble.recipes.diffguard import DiffguardConfig

    options = with_changes(
        config_of(run, DiffguardConfig).sampling,
        steps=steps,
        guidance_weight=guidance_weight,
        sampler=sampler,
    )
    model = DiffguardModel.load(run / "model")
    check_finished(run)
    if model.mask_labels and options.guidance_weight and not autoguidance:
        raise DataDoubleError(
            "guidance needs classes, and this generator was trained without",
            where="--guidance",
            remedy="leave it out, or pass --autoguidance",
        )
    network, fingerprint = load_network(model, run / "model" / f"{checkpoint}.safetensors")
    weak = load_network(model, run / "model" / "early.safetensors")[0] if autoguidance else None
    device = start_processes().device
    filters = load_filters(run / "model" / FILTERS, device=device)
    return DiffguardGenerator(
        model, network, options, device, weak=weak, fingerprint=fingerprint, filters=filters
    )


def load_network(model: DiffguardModel, path: Path) -> tuple[UNet, str]:
    """Return the network with the weights of a checkpoint, and their fingerprint."""
    return load_weights(build_unet(model.network), path)
