"""A small segmenter of real scans, trained by the one loop: what the verification asks where a lesion is."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datadouble import files
from datadouble.cohort.sheets import outlined, picture_sheet
from datadouble.errors import DataDoubleError
from datadouble.networks.segmentation import SegmentationConfig, SegmentationUNet
from datadouble.networks.weights import load_tensors
from datadouble.randomness import torch_generator_for, torch_seeded
from datadouble.training.augmentation import AugmentOptions, draw_transforms, joint_augment
from datadouble.training.loop import Trainer, TrainingOptions
from datadouble.training.processes import start_processes

_AUGMENTATION = AugmentOptions(rotation=10.0, scale=0.7, share=0.8, interpolation="bilinear")
_CHUNK = 32
_COLUMNS = 8


@dataclass(frozen=True)
class SegmenterPictures:
    """Pictures with masks to learn from.

    Attributes
    ----------
    images, masks
        uint8 (n, s, s), bool (n, s, s).
    ids
        What they are called, for the report of a failure.
    """

    images: np.ndarray
    masks: np.ndarray
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


def dice_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the Dice overlap of bool (n, h, w) masks, float64 (n,); 1 where both are empty."""
    both = (first & second).sum(axis=(1, 2), dtype=np.float64)
    total = first.sum(axis=(1, 2)) + second.sum(axis=(1, 2), dtype=np.float64)
    return np.where(total > 0, 2 * both / np.maximum(total, 1), 1.0)


class Segmenter:
    """Says where lesions are.

    Attributes
    ----------
    size : int
        Side of the pictures it takes: a multiple of 2**(levels - 1).
    """

    def __init__(self, network: nn.Module, size: int, device: torch.device) -> None:
        self.size, self._network, self._device = size, network.to(device).eval(), device

    @staticmethod
    def paths(folder: Path) -> tuple[Path, Path]:
        """Return where its weights and its shape are kept."""
        return folder / "model" / "last.safetensors", folder / "model.json"

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> "Segmenter":
        """Load what `fit_segmenter` trained.

        Raises
        ------
        DataDoubleError
            When the training is not finished.
        """
        path, facts_path = cls.paths(folder)
        if not path.is_file() or not facts_path.is_file():
            raise DataDoubleError(
                "the training of the segmenter is not finished",
                where=folder.name,
                remedy="run the same `datadouble fit` again; it goes on",
            )
        facts = json.loads(facts_path.read_text())
        network = SegmentationUNet(SegmentationConfig(**facts["network"]))
        network.load_state_dict(load_tensors(path)[0])
        return cls(network, facts["size"], device)

    @torch.no_grad()
    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the probability of lesion at each pixel of uint8 (n, s, s): float32 (n, s, s)."""
        found = []
        for start in range(0, len(images), _CHUNK):
            x = to_input(images[start : start + _CHUNK]).to(self._device)
            found.append(torch.sigmoid(self._network(x).float())[:, 0].cpu().numpy())
        return np.concatenate(found) if found else np.zeros(images.shape, np.float32)

    def segment(self, images: np.ndarray) -> np.ndarray:
        """Return where lesions are in uint8 (n, s, s): bool (n, s, s)."""
        return self.probabilities(images) > 0.5


def to_input(images: np.ndarray) -> Tensor:
    """Return uint8 (n, s, s) as float32 (n, 1, s, s) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[:, None] / 127.5 - 1


def fit_segmenter(
    training: TrainingOptions,
    shape: SegmentationConfig,
    train: SegmenterPictures,
    validation: SegmenterPictures,
    folder: Path,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Train a segmenter in `folder`, or go on where an earlier call was cut off.

    Raises
    ------
    DataDoubleError
        When the pictures' side does not suit the network.
    """
    size, step = train.images.shape[-1], 2 ** (shape.levels - 1)
    if size % step:
        raise DataDoubleError(
            f"a segmenter of {shape.levels} levels needs pictures whose side is a multiple of {step}",
            where="verify.levels",
            found=str(size),
            remedy="use fewer levels",
        )
    processes = start_processes()
    if processes.is_main:
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / "model.json", {"size": size, "network": asdict(shape)})
    processes.wait()
    with torch_seeded(torch.device("cpu"), training.seed, "segmenter-weights"):
        network = SegmentationUNet(shape)
    say(f"segmenter: {training.images:,} pictures to see")
    task = SegmenterTask(network, train, validation, training.seed, processes.device, folder)
    Trainer(task, training, folder, processes).train()


class SegmenterTask:
    """What the training loop needs: cross-entropy and soft Dice, picture and mask changed together."""

    def __init__(
        self,
        network: nn.Module,
        train: SegmenterPictures,
        validation: SegmenterPictures,
        seed: int,
        device: torch.device,
        folder: Path,
    ) -> None:
        self.network = network
        self._train, self._held = train, validation if len(validation) else train
        self._seed, self._device, self._folder = seed, device, folder

    def dataset_size(self) -> int:
        """Return the number of training pictures."""
        return len(self._train)

    def image_ids(self, rows: np.ndarray) -> list[str]:
        """Return the ids of training pictures."""
        return [self._train.ids[row] for row in rows]

    def losses(
        self, network: nn.Module, rows: np.ndarray, images_seen: int, places: slice
    ) -> dict[str, Tensor]:
        """Return the loss of each picture; what changes it comes from (seed, images seen)."""
        transforms = draw_transforms(len(rows), _AUGMENTATION, self._seed, images_seen)[places]
        random = torch_generator_for(self._seed, "segmenter-grey", images_seen)
        gain, shift = torch.rand(2, len(rows), 1, 1, 1, generator=random)[:, places]
        images = to_input(self._train.images[rows[places]])
        masks = torch.from_numpy(self._train.masks[rows[places]].astype(np.int64))
        images, masks = joint_augment(images, masks, transforms, interpolation=_AUGMENTATION.interpolation)
        images = (images * (0.8 + 0.4 * gain) + 0.3 * (shift - 0.5)).clamp(-1, 1)
        loss = segmentation_loss(network(images.to(self._device)), masks.to(self._device))
        return {"loss": loss}

    def validate(self, network: nn.Module) -> dict[str, Any]:
        """Return one less the mean Dice of held-out lesions."""
        segmenter = Segmenter(network, self._held.images.shape[-1], self._device)
        with_lesion = self._held.masks.any(axis=(1, 2))
        dice = dice_of(segmenter.segment(self._held.images), self._held.masks)[with_lesion]
        mean = float(dice.mean()) if len(dice) else 0.0
        return {"validation_loss": 1 - mean, "validation_dice": mean}

    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        """Write `<images seen>-sheet.png`: held-out pictures with their mask and with what was found."""
        rows = np.flatnonzero(self._held.masks.any(axis=(1, 2)))[:_COLUMNS]
        images = self._held.images[rows]
        found = Segmenter(network, images.shape[-1], self._device).segment(images)
        sheet = [
            (name, [outlined(image, mask) for image, mask in zip(images, masks, strict=True)])
            for name, masks in (("mask", self._held.masks[rows]), ("found", found))
        ]
        path = self._folder / "samples" / f"{images_seen:09d}-sheet.png"
        files.save_png(path, picture_sheet(sheet, colour=True))


def segmentation_loss(scores: Tensor, masks: Tensor) -> Tensor:
    """Return cross-entropy and one less the soft Dice, of scores (b, 1, h, w) and masks (b, h, w): (b,)."""
    logits, truth = scores[:, 0].float(), masks.float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=(1, 2))
    probability = torch.sigmoid(logits)
    overlap = 2 * (probability * truth).sum(dim=(1, 2)) + 1
    return entropy + 1 - overlap / (probability.sum(dim=(1, 2)) + truth.sum(dim=(1, 2)) + 1)


def training_of(options: TrainingOptions) -> TrainingOptions:
    """Return the training options alone of a section that has more."""
    return TrainingOptions(**{item.name: getattr(options, item.name) for item in fields(TrainingOptions)})
