"""Training pictures that a recipe needs again when it draws, and which of them each number of a class comes from."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datadouble import files
from datadouble.cohort.volumes import volume_rows
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for, seed_for
from datadouble.recipes.doubles import GeneratorFacts
from datadouble.recipes.drawing import ModelFacts
from datadouble.recipes.runs import Material, software
from datadouble.training.augmentation import AugmentOptions, draw_transforms, joint_augment

LESION_KEPT = 0.5  # least share of a lesion that a transform may leave
_TRIES = 16


@dataclass(frozen=True)
class Sources:
    """Whose the training pictures are: numbers in place of names, one entry a picture.

    Attributes
    ----------
    labels
        Index of the class.
    patients
        Number of the patient.
    volumes, slices
        Number of the volume, and which of its slices; empty where pictures stand alone.
    spacings
        Millimetres (z, y, x) of the stored pictures, an entry a volume.
    """

    labels: tuple[int, ...]
    patients: tuple[int, ...]
    volumes: tuple[int, ...] = ()
    slices: tuple[int, ...] = ()
    spacings: tuple[tuple[float, float, float], ...] = ()


def sources_of(material: Material, size: int, *, as_volumes: bool = False) -> Sources:
    """Return whose the training pictures are.

    Parameters
    ----------
    size
        Side of the stored pictures in pixels, for the spacing.
    as_volumes
        Each is a slice of a volume.

    Raises
    ------
    DataDoubleError
        Where a picture is in no volume, or volumes cannot be put together.
    """
    train = material.train
    names = [str(name) for name in train.table["patient_id"]]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    sources = Sources(tuple(material.label_indices(train).tolist()), tuple(number[name] for name in names))
    if not as_volumes:
        return sources
    volumes, slices = np.full(len(train), -1), np.zeros(len(train), dtype=int)
    spacings = []
    for i, volume in enumerate(volume_rows(train, gaps="keep")):
        places = np.flatnonzero(volume.rows >= 0)
        rows = volume.rows[places]
        volumes[rows], slices[rows] = i, places + volume.first
        height, width = train.image(int(rows[0])).shape[:2]
        z, y, x = volume.spacing
        spacings.append((z, y * height / size, x * width / size))
    alone = int((volumes < 0).sum())
    if alone:
        raise DataDoubleError(
            f"{alone} of {len(train)} pictures are in no volume",
            where="metadata.csv, volume_id",
            remedy="fill the column, or fit with data.volumes=never",
        )
    return replace(
        sources, volumes=tuple(volumes.tolist()), slices=tuple(slices.tolist()), spacings=tuple(spacings)
    )


class SourceOrder:
    """An endless row of a class's training pictures that visits its patients evenly.

    In each round every patient has one turn, in an order of chance, and shows its next picture, or its next volume
    slice by slice; a patient's pictures come in shuffled passes. What a place holds follows from (sources, class,
    seed, place) alone.
    """

    def __init__(self, sources: Sources, label: int, seed: int) -> None:
        self._sources, self._label, self._seed = sources, label, seed
        rows = np.flatnonzero(np.array(sources.labels) == label)
        patients = np.array(sources.patients)[rows]
        self._units = {int(p): self._units_of(rows[patients == p]) for p in np.unique(patients)}
        self._found: list[tuple[int, int]] = []
        self._rounds = 0

    def _units_of(self, rows: np.ndarray) -> list[list[int]]:
        """Return what a patient shows at one turn: each of its pictures, or of its volumes in the slices' order."""
        if not self._sources.volumes:
            return [[int(row)] for row in rows]
        volumes, slices = np.array(self._sources.volumes)[rows], np.array(self._sources.slices)[rows]
        ordered = rows[np.lexsort((slices, volumes))]
        of = np.array(self._sources.volumes)[ordered]
        return [ordered[of == volume].tolist() for volume in np.unique(of)]

    def at(self, number: int) -> tuple[int, int]:
        """Return the row of place `number`, and how often its picture or volume was shown before."""
        while len(self._found) <= number:
            self._next_round()
        return self._found[number]

    def _next_round(self) -> None:
        random = generator_for(self._seed, "sources", self._label, self._rounds)
        order = random.permutation(list(self._units))
        for patient in order.tolist():
            units = self._units[patient]
            before, place = divmod(self._rounds, len(units))
            random = generator_for(self._seed, "sources", self._label, "of", patient, before)
            self._found += [(row, before) for row in units[random.permutation(len(units))[place]]]
        self._rounds += 1


class SourceOrders:
    """The orders of all classes, each made once."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._made: dict[tuple[int, int], SourceOrder] = {}

    def of(self, label: int, seed: int) -> SourceOrder:
        """Return the order of a class."""
        if (label, seed) not in self._made:
            self._made[label, seed] = SourceOrder(self._sources, label, seed)
        return self._made[label, seed]


def moved_masks(
    masks: Tensor, structure: bool, options: AugmentOptions, seed: int, keys: Sequence[str]
) -> Tensor:
    """Draw a transform for each mask that leaves at least half of its lesion in the picture.

    Parameters
    ----------
    masks
        Drawn masks int64 (b, s, s).
    structure
        Whether class 1 is a structure.
    keys
        Of each picture: with `seed`, all that its transform follows from.

    Returns
    -------
    torch.Tensor
        (b, 2, 3) as from `draw_transforms`; the geometry is kept where none of sixteen does.
    """
    floor = 1 if structure else 0  # ids above are lesions
    result = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).repeat(len(masks), 1, 1)
    left = list(range(len(masks)))
    for attempt in range(_TRIES):
        if not left:
            break
        drawn = torch.cat(
            [draw_transforms(1, options, seed_for(seed, keys[i]), attempt, key="sources") for i in left]
        )
        lesions = masks[left] > floor
        moved = joint_augment(torch.zeros(len(left), 1, *masks.shape[1:]), lesions.long(), drawn)[1]
        # A window of side a shows what it holds 1 / a squared as large.
        shown = moved.sum((1, 2)) * torch.linalg.det(drawn[:, :, :2]).abs()
        kept = shown >= LESION_KEPT * lesions.sum((1, 2))
        for place, i in enumerate(left):
            if kept[place]:
                result[i] = drawn[place]
        left = [i for place, i in enumerate(left) if not kept[place]]
    return result


def fingerprint_of(*arrays: np.ndarray) -> str:
    """Fingerprint arrays of pictures, one picture in memory at a time."""
    return files.fingerprint(*(files.fingerprint(one.tobytes()) for array in arrays for one in array))


def sources_from(values: dict[str, Any]) -> Sources:
    """Return the sources of a `model.json`."""
    return Sources(**values)


def plain_facts(
    recipe: str,
    model: ModelFacts,
    fingerprint: dict[str, Any],
    options: Any,
    batch: int,
    mask_classes: tuple[str, ...],
    *,
    contains_real_pixels: bool,
) -> GeneratorFacts:
    """Return what a double says of a generator that is no diffusion model; `options` is a section or more of them."""
    return GeneratorFacts(
        name=model.name,
        modality=model.modality,
        classes=model.classes,
        shares=model.shares,
        batch=batch,
        intensity=model.intensity,
        mask_classes=mask_classes,
        contains_real_pixels=contains_real_pixels,
        fingerprint={
            "recipe": recipe,
            **fingerprint,
            "masks_from_real": bool(mask_classes),
            **json.loads(json.dumps(asdict(options))),
            "software": software(),
        },
    )


def refuse_sampler(
    recipe: str, *, steps: int, guidance_weight: float | None, sampler: str, autoguidance: bool
) -> None:
    """Refuse what only a diffusion model has.

    Raises
    ------
    DataDoubleError
    """
    given = {
        "--steps": steps,
        "--guidance": guidance_weight is not None,
        "--sampler": sampler,
        "--autoguidance": autoguidance,
    }
    named = [name for name, value in given.items() if value]
    if named:
        raise DataDoubleError(
            f"recipe {recipe} draws a picture in one step",
            where="generate",
            found=", ".join(named),
            remedy="leave these out",
        )


def save_masks(path: Path, masks: np.ndarray) -> None:
    """Write masks uint8 (n, s, s), whole or not at all."""
    files.write_with(path, lambda file: np.save(file, np.ascontiguousarray(masks), allow_pickle=False))


def mapped(path: Path) -> np.ndarray:
    """Return an array mapped from its file.

    Raises
    ------
    DataDoubleError
        When it is missing or damaged.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataDoubleError(
            "the run's pictures cannot be read",
            where=path.name,
            found=str(error).replace(str(path), path.name)[:80],
            remedy="run the same `datadouble fit` again",
        ) from error
