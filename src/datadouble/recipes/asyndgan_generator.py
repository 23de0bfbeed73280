"""Drawing pictures of real patients' masks with a trained AsynDGAN."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from datadouble.cohort.structure import lesions_of
from datadouble.diffusion.mask_codes import make_mask_code
from datadouble.networks.mask_to_image import MaskToImageConfig, build_mask_to_image
from datadouble.recipes.diffguard_generator import Pairs
from datadouble.recipes.doubles import Drawn
from datadouble.recipes.drawing import ModelFacts, check_finished, config_of, load_weights, read_model
from datadouble.recipes.sources import (
    SourceOrders,
    Sources,
    mapped,
    moved_masks,
    plain_facts,
    refuse_sampler,
    sources_from,
)
from datadouble.training.augmentation import AugmentOptions, joint_augment
from datadouble.training.processes import start_processes

MASKS = "masks.npy"  # beside the model: the training masks that doubles are drawn from


@dataclass(frozen=True)
class SamplingOptions(AugmentOptions):
    """Section ``[sampling]``: how real masks are changed before pictures are drawn of them, and how many at once."""

    rotation: float = 10.0
    scale: float = 0.8
    share: float = 1.0
    batch: int = 64
    precision: str = "fp32"


@dataclass(frozen=True, kw_only=True)
class AsyndganModel(ModelFacts):
    """All but weights and masks that drawing needs; `model.json` of a run.

    Attributes
    ----------
    drawn_classes, mask_classes
        Of the masks that the network is given, and of those that a double holds: without the structure.
    sites
        How many there were, each with a critic of its own.
    masks
        Fingerprint of the training masks.
    """

    network: MaskToImageConfig
    structure: str
    drawn_classes: tuple[str, ...]
    mask_classes: tuple[str, ...]
    sites: int
    sources: Sources
    masks: str
    diffusion: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "AsyndganModel":
        """Read `model.json`.

        Raises
        ------
        DataDoubleError
            When it is not there.
        """
        values = read_model(folder)
        values["network"] = MaskToImageConfig(**values["network"])
        values["sources"] = sources_from(values["sources"])
        return cls(**values)


class AsyndganGenerator:
    """Draws pictures of changed real masks; which mask and which change follow from (seed, class, number) alone.

    Attributes
    ----------
    options : SamplingOptions
    model : AsyndganModel
    size : int
        Side of the pictures in pixels.
    facts : GeneratorFacts
    """

    def __init__(
        self,
        model: AsyndganModel,
        network: nn.Module,
        masks: np.ndarray,
        options: SamplingOptions,
        device: torch.device,
        *,
        fingerprint: str = "",
    ) -> None:
        self.model, self.options, self.size = model, options, model.size
        self._network, self._masks, self._device = network.to(device).eval(), masks, device
        self._code = make_mask_code("onehot", len(model.drawn_classes))
        self._orders = SourceOrders(model.sources)
        self.facts = plain_facts(
            "asyndgan",
            model,
            {"weights": fingerprint, "masks": model.masks, "sites": model.sites},
            options,
            options.batch,
            model.mask_classes,
            contains_real_pixels=False,
        )

    def draw(self, label: int, numbers: range, seed: int) -> Drawn:
        """Draw the pictures `numbers` of a class with their lesion masks, uint8 (b, size, size)."""
        pairs = self.draw_pairs(label, numbers, seed)
        lesions = lesions_of(pairs.drawn, self.model.structure) if self.model.mask_classes else None
        return Drawn(pairs.images, lesions)

    @torch.no_grad()
    def draw_pairs(self, label: int, numbers: range, seed: int) -> Pairs:
        """Draw pictures with masks that hold the structure too."""
        order = self._orders.of(label, seed)
        rows = np.array([order.at(number)[0] for number in numbers])
        masks = torch.from_numpy(self._masks[rows].astype(np.int64))
        keys = [f"{self.model.classes[label]} {number}" for number in numbers]
        transforms = moved_masks(masks, self.model.structure != "none", self.options, seed, keys)
        masks = joint_augment(torch.zeros_like(masks[:, None]).float(), masks, transforms)[1]
        labels = torch.full((len(rows),), label, device=self._device)
        half = self.options.precision == "bf16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            images = self._network(self._code.encode(masks).to(self._device), labels)
        grey = ((images[:, 0].float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        return Pairs(grey, masks.to(torch.uint8).numpy(), np.zeros(masks.shape, dtype=np.float32))


def load_generator(
    run: Path,
    *,
    checkpoint: str = "best",
    steps: int = 0,
    guidance_weight: float | None = None,
    sampler: str = "",
    autoguidance: bool = False,
) -> AsyndganGenerator:
    """Load a trained run.

    Raises
    ------
    DataDoubleError
        When the run is not finished, or something is asked that only a diffusion model has.
    """
    from datadouble.recipes.asyndgan import AsyndganConfig

    refuse_sampler(
        "asyndgan", steps=steps, guidance_weight=guidance_weight, sampler=sampler, autoguidance=autoguidance
    )
    model = AsyndganModel.load(run / "model")
    check_finished(run)
    network, fingerprint = load_weights(
        build_mask_to_image(model.network), run / "model" / f"{checkpoint}.safetensors"
    )
    return AsyndganGenerator(
        model,
        network,
        mapped(run / "model" / MASKS),
        config_of(run, AsyndganConfig).sampling,
        start_processes().device,
        fingerprint=fingerprint,
    )
