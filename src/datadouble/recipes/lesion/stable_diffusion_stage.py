"""Fine-tuning Stable Diffusion on lesions, and drawing patches with it; see `stable_diffusion` for what it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.cohort.pixels import fit_square
from datadouble.cohort.sheets import picture_sheet
from datadouble.diffusion.objectives import EpsilonObjective
from datadouble.errors import DataDoubleError
from datadouble.networks.segmentation import SegmentationConfig
from datadouble.networks.weights import load_tensors
from datadouble.progress import track
from datadouble.randomness import torch_generator_for
from datadouble.recipes.lesion.adapters import (
    AdapterFacts,
    adapter_folder,
    is_saved,
    load_adapter,
    save_adapter,
)
from datadouble.recipes.lesion.crops import LesionPatch, box_of, cut_window, window_of
from datadouble.recipes.lesion.descriptors import Descriptor, DescriptorBank, describe, largest_lesion
from datadouble.recipes.lesion.lesion_drawer import BANK, SamplingOptions
from datadouble.recipes.lesion.material import LesionMaterial, Pictures
from datadouble.recipes.lesion.segmenter import Segmenter, SegmenterPictures, fit_segmenter, training_of
from datadouble.recipes.lesion.stable_diffusion import (
    PromptedUNet,
    StableDiffusion,
    StableDiffusionOptions,
    adapted,
    draw_crops,
    read_stable_diffusion,
)
from datadouble.training.loop import Trainer, TrainingOptions
from datadouble.training.processes import start_processes

ADAPTER = "lesions"
_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
_SHEET = 4  # of each class


def lesion_crops(pictures: Pictures, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return crops of all lesions, uint8 (n, side, side), their masks bool and their labels int64 (n,)."""
    rows = pictures.lesions
    patches = [
        cut_window(pictures.images[row], pictures.masks[row], window_of(pictures.masks[row]), side)
        for row in rows
    ]
    if not patches:
        return np.zeros((0, side, side), np.uint8), np.zeros((0, side, side), bool), np.zeros(0, np.int64)
    return np.stack([p.image for p in patches]), np.stack([p.mask for p in patches]), pictures.labels[rows]


class CropTask:
    """What the training loop needs: latents of crops and of their mirror images, with prompts by class."""

    def __init__(
        self,
        network: PromptedUNet,
        model: StableDiffusion,
        material: LesionMaterial,
        options: StableDiffusionOptions,
        device: torch.device,
        folder: Path,
    ) -> None:
        self.network: nn.Module = network
        self._model, self._options, self._device, self._folder = model, options, device, folder
        self._objective = EpsilonObjective(model.schedule)
        self._null, self._classes = len(material.classes), material.classes
        self._ids = [material.train.ids[row] for row in material.train.lesions]
        self._latents, self._labels = self._encode(material.train)
        held = self._encode(material.validation)
        self._held = held if len(held[1]) else (self._latents, self._labels)

    def _encode(self, pictures: Pictures) -> tuple[Tensor, Tensor]:
        """Latents (n, 2, 2, c, h, w): plain and mirrored (an encoder does not commute with flips), mean and spread."""
        images, _, labels = lesion_crops(pictures, self._options.side)
        found = [
            torch.stack([self._model.encode(one[None])[0], self._model.encode(one[None, :, ::-1].copy())[0]])
            for one in track(images, "encoding lesions")
        ]
        return torch.stack(found) if found else torch.zeros(0), torch.from_numpy(labels)

    def dataset_size(self) -> int:
        """Return the number of training lesions."""
        return len(self._labels)

    def image_ids(self, rows: np.ndarray) -> list[str]:
        """Return the ids of training pictures."""
        return [self._ids[row] for row in rows]

    def losses(
        self, network: nn.Module, rows: np.ndarray, images_seen: int, places: slice
    ) -> dict[str, Tensor]:
        """Return the squared error of the noise; all that is random comes from (seed, images seen)."""
        random = torch_generator_for(self._options.seed, "stable-diffusion", images_seen)
        count, shape = len(rows), self._latents.shape[3:]
        noise, spread = torch.randn(2, count, *shape, generator=random)
        times = (torch.randperm(count, generator=random) + torch.rand(count, generator=random)) / count
        dropped = torch.rand(count, generator=random) < self._options.class_dropout
        mirrored = (torch.rand(count, generator=random) < 0.5).long()
        labels = torch.where(dropped, self._null, self._labels[rows])
        moments = self._latents[torch.from_numpy(rows), mirrored]
        latents = moments[:, 0] + moments[:, 1] * spread
        chosen = [x[places].to(self._device) for x in (latents, labels, times.double(), noise)]
        terms = self._objective.loss(network, *chosen)
        return {"loss": terms.total}

    def validate(self, network: nn.Module) -> dict[str, Any]:
        """Return the error at a few times on held-out lesions, noise fixed."""
        moments, labels = self._held
        count = min(16, len(labels))
        clean = moments[:count, 0, 0].to(self._device)
        random = torch_generator_for(self._options.seed, "stable-diffusion-validation")
        noise = torch.randn(clean.shape, generator=random).to(self._device)
        losses = []
        for time in _TIMES:
            times = torch.full((count,), time, dtype=torch.float64, device=self._device)
            terms = self._objective.loss(network, clean, labels[:count].to(self._device), times, noise)
            losses.append(round(float(terms.total.mean()), 6))
        return {"validation_loss": float(np.mean(losses)), "validation_loss_by_time": losses}

    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        """Write `<images seen>-sheet.png`: lesions of each class."""
        rows = []
        for label, name in enumerate(self._classes):
            labels = np.full(_SHEET, label)
            images = draw_crops(self._model, network, labels, range(_SHEET), self._options, self._device)
            rows.append((name, list(images)))
        files.save_png(self._folder / "samples" / f"{images_seen:09d}-sheet.png", picture_sheet(rows))


def fit_stable_diffusion(
    options: StableDiffusionOptions,
    material: LesionMaterial,
    folder: Path,
    patch: int,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Fine-tune on the lesions of the train split in `folder`, and train the segmenter that finds the masks.

    Both go on where an earlier call was cut off.

    Parameters
    ----------
    patch
        Side of the patches that are handed on to placement; the segmenter works at this size.

    Raises
    ------
    DataDoubleError
        As of `read_stable_diffusion`; and when the U-Net lacks some of `options.targets` (it says which it has).
    """
    processes = start_processes()
    model = read_stable_diffusion(options, material.classes)
    network = adapted(model, options)
    model.vae.to(processes.device)
    if processes.is_main:
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"options": asdict(options), "classes": list(material.classes), "patch": patch}
        files.write_json(folder / "model.json", facts)
    processes.wait()
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    say(f"Stable Diffusion: {trained:,} trained parameters, {options.images:,} crops to see")
    task = CropTask(network, model, material, options, processes.device, folder)
    Trainer(task, training_of(options), folder, processes).train()
    place = adapter_folder(folder, ADAPTER)
    if processes.is_main and not is_saved(place):
        network.load_state_dict(load_tensors(folder / "model" / "last.safetensors")[0])
        kept = AdapterFacts(
            name=ADAPTER,
            stage="lesion",
            base=model.fingerprint,
            kind="lora",
            rank=options.rank,
            scaling=1.0,
            targets=options.targets,
            parameters=trained,
            notes={"lesions": task.dataset_size(), "crops_seen": options.images},
        )
        save_adapter(place, kept, network.unet)
    processes.wait()
    training = TrainingOptions(
        images=options.segmenter_images,
        batch=options.batch,
        learning_rate=1e-3,
        seed=options.seed,
        precision=options.precision,
        ema_half_life=500.0,
        checkpoint_every=2_000,
        validate_every=2_000,
        sheet_every=options.segmenter_images,
    )
    shape = SegmentationConfig(options.segmenter_width, options.segmenter_levels)
    if processes.is_main:
        _keep_bank(material, folder)
    train, held = (_segmenter_pictures(part, patch) for part in (material.train, material.validation))
    fit_segmenter(training, shape, train, held, folder / "segmenter", say)


def _keep_bank(material: LesionMaterial, folder: Path) -> None:
    """Keep what real lesions are like: placement asks for it, whoever draws."""
    train = material.train
    rows = train.lesions
    found = [describe(train.images[row], train.masks[row]) for row in rows]
    names = [material.classes[label] for label in train.labels[rows]]
    bank = DescriptorBank.fit(found, names, material.classes, train.images.shape[1])
    bank.save(folder / "model" / BANK)


def _segmenter_pictures(pictures: Pictures, patch: int) -> SegmenterPictures:
    images, masks, _ = lesion_crops(pictures, patch)
    return SegmenterPictures(images, masks, tuple(pictures.ids[row] for row in pictures.lesions))


class StableDiffusionDrawer:
    """Draws lesion patches with Stable Diffusion, and finds their masks; takes the place of `LesionDrawer`.

    Attributes
    ----------
    bank : DescriptorBank
        Of real lesions.
    fingerprint : str
        Of base, adapter and segmenter.
    """

    def __init__(
        self,
        model: StableDiffusion,
        network: PromptedUNet,
        segmenter: Segmenter,
        options: StableDiffusionOptions,
        patch: int,
        bank: DescriptorBank,
        device: torch.device,
        fingerprint: str = "",
    ) -> None:
        self.fingerprint, self.bank, self._options, self._patch = fingerprint, bank, options, patch
        self._model, self._segmenter, self._device = model, segmenter, device
        self._network = network.to(device).eval()
        model.vae.to(device)

    @classmethod
    def load(
        cls, folder: Path, device: torch.device, sampling: SamplingOptions | None = None
    ) -> StableDiffusionDrawer:
        """Load what `fit_stable_diffusion` trained; the base comes from the folder that was named then.

        Parameters
        ----------
        sampling
            Sampler, steps and guidance in place of those that it was trained with.

        Raises
        ------
        DataDoubleError
            When the training is not finished, or the folder holds another base now.
        """
        place = adapter_folder(folder, ADAPTER)
        if not (folder / "model.json").is_file() or not is_saved(place):
            raise DataDoubleError(
                "the training is not finished",
                where=folder.name,
                remedy="run the same `datadouble fit` again; it goes on",
            )
        facts = json.loads((folder / "model.json").read_text())
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in facts["options"].items()
        }
        options = StableDiffusionOptions(**values)
        if sampling is not None:
            changes = {name: getattr(sampling, name) for name in ("sampler", "steps", "guidance_weight")}
            options = replace(options, **changes)
        model = read_stable_diffusion(options, facts["classes"])
        load_adapter(model.unet, place, model.fingerprint)
        segmenter = Segmenter.load(folder / "segmenter", device)
        weights = (place / "adapter.safetensors", folder / "segmenter" / "model" / "last.safetensors")
        fingerprint = files.fingerprint(model.fingerprint, *(path.read_bytes() for path in weights))
        network = PromptedUNet(model.unet, model.prompts)
        bank = DescriptorBank.load(folder / "model" / BANK)
        return cls(model, network, segmenter, options, facts["patch"], bank, device, fingerprint)

    def draw(
        self, labels: np.ndarray, descriptors: Sequence[Descriptor], seeds: Sequence[int]
    ) -> list[LesionPatch]:
        """Draw a patch for each label; a mask may be empty, see `lesion_drawer.is_usable`.

        Parameters
        ----------
        labels
            int (n,), indices of the classes.
        descriptors
            Not seen by the model: size and angle are what placement makes of the patch.
        seeds
            Of each patch.
        """
        crops = draw_crops(self._model, self._network, labels, seeds, self._options, self._device)
        images = np.stack([np.round(fit_square(crop, self._patch)).astype(np.uint8) for crop in crops])
        patches = []
        for image, found in zip(images, self._segmenter.segment(images), strict=True):
            lesion = largest_lesion(found)
            longest = max(box_of(lesion)[2:]) if lesion.any() else 0
            patches.append(LesionPatch(image, lesion, len(image) / longest if longest else 0.0))
        return patches
