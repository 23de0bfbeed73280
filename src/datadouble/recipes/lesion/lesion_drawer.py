"""Drawing lesion patches with a trained stage 1."""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.diffusion.guidance import Guidance
from datadouble.diffusion.objectives import CleanObjective, ModelFunction, Objective, make_objective
from datadouble.diffusion.samplers import sample
from datadouble.diffusion.schedules import make_schedule
from datadouble.errors import DataDoubleError
from datadouble.networks.lora import merge_lora
from datadouble.networks.patch_denoiser import PatchDenoiser, PatchDenoiserConfig
from datadouble.randomness import torch_generator_for
from datadouble.recipes.drawing import SamplingOptions as DrawingOptions
from datadouble.recipes.drawing import check_finished, load_weights, noise_from, read_model
from datadouble.recipes.lesion.adapters import adapter_folder, is_saved, load_adapter
from datadouble.recipes.lesion.crops import LesionPatch, box_of
from datadouble.recipes.lesion.descriptors import (
    MINIMUM_AREA,
    Descriptor,
    DescriptorBank,
    conditions_of,
    largest_lesion,
)
from datadouble.recipes.lesion.lesion_crops import Standard

BANK = "descriptors.json"  # in the stage's model folder


@dataclass(frozen=True)
class SamplingOptions(DrawingOptions):
    """Section ``[sampling]``: how `generate` draws lesion patches, and how many pictures it makes at a time."""

    sampler: str = "dpmpp"
    steps: int = 20
    guidance_weight: float = 0.0
    batch: int = 16
    precision: str = "bf16"


@dataclass(frozen=True, kw_only=True)
class LesionModel:
    """All but weights that drawing needs; `model.json` of the stage.

    Attributes
    ----------
    classes
        Lesion classes; the network's label behind them is tissue without a lesion.
    size, patch
        Sides of picture and patch in pixels.
    diffusion
        Objective, schedule, timesteps, gamma and detail_std.
    adapters
        Whether each class gets one: without it a class is not drawn.
    """

    network: PatchDenoiserConfig
    classes: tuple[str, ...]
    size: int
    patch: int
    standard: Standard
    diffusion: dict[str, Any]
    adapters: bool = False

    def save(self, folder: Path) -> None:
        """Write `model.json`."""
        files.write_json(folder / "model.json", asdict(self) | {"standard": self.standard._asdict()})

    @classmethod
    def load(cls, folder: Path) -> "LesionModel":
        """Read `model.json`.

        Raises
        ------
        DataDoubleError
            When it is not there.
        """
        values = read_model(folder)
        values["network"] = PatchDenoiserConfig(**values["network"])
        values["standard"] = Standard(**values["standard"])
        return cls(**values)


def patch_objective(diffusion: dict[str, Any]) -> Objective:
    """Return the objective of a model's ``diffusion``."""
    kind, gamma = diffusion["objective"], diffusion["gamma"]
    if kind == "clean":
        schedule = make_schedule(diffusion["schedule"], diffusion["timesteps"])
        return CleanObjective(schedule, gamma or 5.0, diffusion.get("detail_std", 0.0))
    return make_objective(
        kind,
        schedule=diffusion["schedule"],
        num_timesteps=diffusion["timesteps"],
        min_snr_gamma=gamma or None,
    )


class LesionDrawer:
    """Draws lesion patches: the base with each class's adapter folded in.

    Attributes
    ----------
    model : LesionModel
    bank : DescriptorBank
    fingerprint : str
        Of all weights.
    """

    def __init__(
        self,
        model: LesionModel,
        networks: Sequence[nn.Module],
        bank: DescriptorBank,
        options: DrawingOptions,
        device: torch.device,
        fingerprint: str = "",
    ) -> None:
        self.model, self.bank, self.fingerprint = model, bank, fingerprint
        self._options, self._device = options, device
        self._networks = [network.to(device).eval() for network in networks]
        self._objective = patch_objective(model.diffusion)

    @classmethod
    def load(
        cls, folder: Path, device: torch.device, options: DrawingOptions | None = None
    ) -> "LesionDrawer":
        """Load the stage in `folder`.

        Raises
        ------
        DataDoubleError
            When it is not finished, or an adapter is another base's.
        """
        model = LesionModel.load(folder / "model")
        check_finished(folder)
        networks, fingerprint = load_networks(folder, model)
        bank = DescriptorBank.load(folder / "model" / BANK)
        return cls(model, networks[:-1], bank, options or SamplingOptions(), device, fingerprint)

    @torch.no_grad()
    def draw(
        self, labels: np.ndarray, descriptors: Sequence[Descriptor], seeds: Sequence[int]
    ) -> list[LesionPatch]:
        """Draw a patch for each descriptor.

        Parameters
        ----------
        labels
            int (n,), indices of `model.classes`.
        descriptors
            What the lesions are to be like.
        seeds
            Of each patch: all that its noise follows from.

        Returns
        -------
        list of LesionPatch
            The largest piece of each drawn mask, its holes filled; a mask may be empty: see `is_usable`.
        """
        shape = self.model.network
        told = torch.from_numpy(self.model.standard.apply(conditions_of(descriptors, self.model.size)))
        result: dict[int, LesionPatch] = {}
        for label in np.unique(labels):
            places = np.flatnonzero(labels == label)
            noise, step_noise = noise_from(
                [torch_generator_for(seeds[int(place)], "patch") for place in places],
                (shape.in_channels, shape.size, shape.size),
                self._options.sampler,
            )
            drawn = sample(
                self._told(self._networks[int(label)], told[places].to(self._device)),
                noise.to(self._device),
                torch.full((len(places),), int(label), device=self._device),
                objective=self._objective,
                sampler=self._options.sampler,
                steps=self._options.steps,
                guidance=Guidance(self._options.guidance_weight, shape.null_label),
                clamp=1.0,
                step_noise=step_noise,
            )
            result |= dict(zip(places.tolist(), patches_of(drawn), strict=True))
        return [result[place] for place in range(len(labels))]

    def _told(self, network: nn.Module, conditions: Tensor) -> ModelFunction:
        """Return a network that knows the conditions; guidance asks of twice as many pictures, the second half null."""
        half = self._options.precision == "bf16"

        def predict(x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
            each = conditions.repeat(len(x) // len(conditions), 1)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
                return network(x, timesteps, labels, each)

        return predict


def load_networks(folder: Path, model: LesionModel) -> tuple[list[nn.Module], str]:
    """Return each class's network, its adapter folded in, and behind them the base; and the fingerprint of all.

    Raises
    ------
    DataDoubleError
        When an adapter is not there yet, or is another base's.
    """
    base, fingerprint = load_weights(PatchDenoiser(model.network), folder / "model" / "best.safetensors")
    networks: list[nn.Module] = []
    parts = [fingerprint]
    for name in model.classes:
        network, adapter = base, adapter_folder(folder, name)
        if model.adapters and not is_saved(adapter):
            raise DataDoubleError(
                "the training is not finished: a class has no adapter yet",
                where=folder.name,
                found=name,
                remedy="run the same `datadouble fit` again; it goes on",
            )
        if is_saved(adapter):
            network = copy.deepcopy(base)
            load_adapter(network, adapter, fingerprint)
            merge_lora(network)
            parts.append(files.fingerprint((adapter / "adapter.safetensors").read_bytes()))
        networks.append(network)
    return [*networks, base], files.fingerprint(*parts)


def patches_of(drawn: Tensor) -> list[LesionPatch]:
    """Return patches of grey and mask in [-1, 1], (b, 2, p, p)."""
    grey = ((drawn[:, 0].float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    masks = (drawn[:, 1] > 0).cpu().numpy()
    found = []
    for image, mask in zip(grey, masks, strict=True):
        lesion = largest_lesion(mask)
        longest = max(box_of(lesion)[2:]) if lesion.any() else 0
        found.append(LesionPatch(image, lesion, len(image) / longest if longest else 0.0))
    return found


def is_usable(patch: LesionPatch) -> bool:
    """Whether a patch holds a lesion that lies inside it: of some pixels, its outline hardly cut by the border."""
    side = len(patch.mask)
    if patch.mask.sum() < max(MINIMUM_AREA, 0.02 * side**2):
        return False
    edge = np.concatenate([patch.mask[0], patch.mask[-1], patch.mask[:, 0], patch.mask[:, -1]])
    return bool(edge.mean() < 0.05)


def refuse_checkpoint(checkpoint: str) -> None:
    """Refuse any checkpoint but the best: adapters belong to that base.

    Raises
    ------
    DataDoubleError
    """
    if checkpoint != "best":
        raise DataDoubleError(
            "recipe lesion keeps the best checkpoint of each stage: adapters belong to that base",
            where="--checkpoint",
            found=checkpoint,
            remedy="leave it out",
        )
