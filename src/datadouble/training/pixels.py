"""Pictures and drawn masks at one size, made once and mapped: what a generator in pixel space trains on.

Two NumPy files: constant memory, no pickle, and a making that was cut off goes on where it stopped.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datadouble import files
from datadouble.cohort import Cohort
from datadouble.cohort.pixels import fit_square, to_unit
from datadouble.cohort.structure import (
    FILE_COLUMN,
    check_structure,
    compose_drawn,
    drawn_classes,
    listed,
    structure_of,
)
from datadouble.errors import DataDoubleError
from datadouble.progress import Bar
from datadouble.randomness import generator_for

FORMAT = "datadouble pixels 1"
_NOTE_EVERY = 64  # images between two notes of how far the making is


@dataclass(frozen=True)
class PixelStore:
    """Images and drawn masks of a cohort's rows, in their order.

    Attributes
    ----------
    images
        uint8 (n, s, s), mapped from the file.
    masks
        uint8 (n, s, s), ids of `classes`, mapped from the file.
    classes
        Names of the drawn mask's ids: background, the structure where there is one, the lesion types.
    structure
        The rule that found the structure; ``"none"`` without one.
    key
        Stands for all that the pixels depend on.
    """

    images: np.ndarray
    masks: np.ndarray
    classes: tuple[str, ...]
    structure: str
    key: str

    @classmethod
    def build(
        cls,
        cohort: Cohort,
        size: int,
        path: Path,
        *,
        structure: str = "none",
        without_lesion: Sequence[str] = ("normal",),
    ) -> "PixelStore":
        """Return the store in the folder `path`, made or taken as it stands.

        What stands there from another cohort, size or rule, or from pictures that have changed since, is made anew.

        Parameters
        ----------
        structure
            A rule of `datadouble.cohort.structure`.
        without_lesion
            Labels whose pictures may lack a mask: they have no lesion. Of any other label each needs one, unless the
            cohort has no masks at all.

        Raises
        ------
        DataDoubleError
            When a picture cannot be read; and, all images named together, when masks or structure files are
            missing, of another size than their picture, or hold ids that are no class.
        """
        check_structure(cohort, structure)
        check_masks(cohort, without_lesion)
        classes = drawn_classes(cohort.info.mask_classes, structure)
        key = _key(cohort, size, structure, classes)
        if _noted(path) != {"format": FORMAT, "key": key, "done": len(cohort), "images": len(cohort)}:
            _make(cohort, size, path, structure, key)
        images, masks = (np.load(path / name, mmap_mode="r", allow_pickle=False) for name in _FILES)
        return cls(images, masks, classes, structure, key)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """Side in pixels."""
        return int(self.images.shape[1])

    def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return the images `rows` (b,), float32 (b, 1, s, s) in [-1, 1], and their drawn masks, int64 (b, s, s)."""
        images = torch.from_numpy(self.images[rows].astype(np.float32))[:, None] / 127.5 - 1
        return images, torch.from_numpy(self.masks[rows].astype(np.int64))

    def presence(self) -> np.ndarray:
        """Return which classes each mask holds: bool (n, classes)."""
        found = np.zeros((len(self), len(self.classes)), dtype=bool)
        for row in range(len(self)):
            found[row, np.unique(self.masks[row])] = True
        return found


_FILES = ("images.npy", "masks.npy")
_NOTE = "pixels.json"


def _noted(path: Path) -> dict:
    try:
        return dict(json.loads((path / _NOTE).read_text()))
    except (OSError, ValueError):
        return {}


def _key(cohort: Cohort, size: int, structure: str, classes: tuple[str, ...]) -> str:
    """Fingerprint all that decides the pixels; of the files their length and time of writing."""
    parts = [
        FORMAT,
        str(size),
        structure,
        json.dumps(classes),
        json.dumps(cohort.info.to_json(), sort_keys=True),
    ]
    columns = ["file_name", "mask_file_name", *([FILE_COLUMN] if structure == "file" else [])]
    for image_id, *names in zip(
        cohort.table["image_id"], *(cohort.table[column] for column in columns), strict=True
    ):
        parts.append(str(image_id))
        parts += [f"{name}:{_state(cohort.path / str(name))}" if name else "-" for name in names]
    return files.fingerprint(*parts)


def _state(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return "missing"
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def check_masks(cohort: Cohort, without_lesion: Sequence[str]) -> None:
    """Name every image that needs a mask and has none."""
    if len(cohort.info.mask_classes) < 2:
        return
    table = cohort.table
    lacking = table[(table["mask_file_name"] == "") & ~table["label"].isin(list(without_lesion))]
    if len(lacking):
        raise DataDoubleError(
            f"{len(lacking)} of {len(table)} images have no mask",
            where="metadata.csv, mask_file_name",
            found=listed([str(image_id) for image_id in lacking["image_id"]]),
            remedy="add the masks (all 0 where there is no lesion) or drop these rows",
        )


def _make(cohort: Cohort, size: int, path: Path, structure: str, key: str) -> None:
    """Make both files under other names, noting how far it is; only whole ones get their final names."""
    path.mkdir(parents=True, exist_ok=True)
    shape = (len(cohort), size, size)
    parts = [path / f".{name}.part" for name in _FILES]
    noted = _noted(path)
    before = {"format": FORMAT, "key": key, "images": len(cohort)}
    done = 0
    if all(part.is_file() for part in parts) and all(
        noted.get(name) == value for name, value in before.items()
    ):
        done = int(noted.get("done", 0))
    else:
        (path / _NOTE).unlink(missing_ok=True)
        for name in _FILES:
            (path / name).unlink(missing_ok=True)
    try:
        arrays = [_open(part, None if done else shape) for part in parts]
    except OSError as error:
        raise DataDoubleError(
            "the pixel store cannot be made",
            where=path.name,
            found=str(error)[:80],
            remedy="free some disk space",
        ) from error
    wrong: list[str] = []
    with Bar("reading pictures", len(cohort), done) as bar:
        for row in range(done, len(cohort)):
            image, mask, fault = _read(cohort, row, size, structure)
            if fault:
                wrong.append(fault)
            arrays[0][row], arrays[1][row] = image, mask
            if not wrong and ((row + 1) % _NOTE_EVERY == 0):
                for array in arrays:
                    array.flush()
                files.write_json(path / _NOTE, before | {"done": row + 1})
            bar.advance()
    if wrong:
        raise DataDoubleError(f"{len(wrong)} masks do not fit", where=path.name, found=listed(wrong))
    for array in arrays:
        array.flush()
    del arrays
    for part, name in zip(parts, _FILES, strict=True):
        os.replace(part, path / name)
    files.write_json(path / _NOTE, before | {"done": len(cohort)})


def _open(path: Path, shape: tuple[int, ...] | None) -> np.memmap:
    """Open a file to write on, made anew where a shape is given, its blocks reserved: a full disk is told at once."""
    if shape is None:
        return np.lib.format.open_memmap(path, mode="r+")
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, file.seek(0, os.SEEK_END))
    return array


def _read(cohort: Cohort, row: int, size: int, structure: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the image and the drawn mask of a row, uint8 (size, size), and what is wrong with its mask."""
    image, lesions = cohort.image(row), cohort.mask(row)
    where, fault = str(cohort.table["image_id"].iloc[row]), ""
    if lesions is not None and lesions.shape != image.shape[:2]:
        fault = f"{where}: {lesions.shape[1]}x{lesions.shape[0]} beside {image.shape[1]}x{image.shape[0]}"
    elif lesions is not None and lesions.max(initial=0) >= max(len(cohort.info.mask_classes), 1):
        fault = f"{where}: id {lesions.max()} of {len(cohort.info.mask_classes)} classes"
    if fault or lesions is None:
        lesions = np.zeros(image.shape[:2], dtype=np.uint8)
    grey = np.round(to_unit(fit_square(image, size)) * 255).astype(np.uint8)
    found = None if structure == "none" else structure_of(cohort, row, structure, size)
    return grey, compose_drawn(fit_square(lesions, size, mask=True), found), fault


def balanced_rows(labels: np.ndarray, seed: int, images_seen: int, batch: int) -> np.ndarray:
    """Return the rows (batch,) that follow `images_seen` images in an endless stream in which classes take turns.

    Of every k consecutive places, k the number of classes, each class has one, in an order of chance. Within a class
    the stream is one of shuffled passes: after any number of visits no image of a class has had more than one more
    than another. A function of its arguments alone.

    Parameters
    ----------
    labels
        int (n,), the class of each row; classes without a row are left out.
    """
    classes, members = np.unique(labels), {}
    for label in classes:
        members[int(label)] = np.flatnonzero(labels == label)
    places = np.arange(images_seen, images_seen + batch)
    rounds, turns = places // len(classes), places % len(classes)
    rows = np.empty(batch, dtype=np.int64)
    orders = {int(r): generator_for(seed, "balance", int(r)).permutation(classes) for r in np.unique(rounds)}
    passes: dict[tuple[int, int], np.ndarray] = {}
    for place, (turn, visit) in enumerate(zip(turns, rounds, strict=True)):
        label = int(orders[int(visit)][turn])
        size = len(members[label])
        epoch = (label, int(visit) // size)
        if epoch not in passes:
            passes[epoch] = generator_for(seed, "balanced-epoch", *epoch).permutation(size)
        rows[place] = members[label][passes[epoch][int(visit) % size]]
    return rows
