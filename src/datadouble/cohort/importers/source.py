"""What an importer is asked, and what it answers: a list of pictures with all that is known of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from datadouble.cohort.importers.volume_options import VolumeOptions
from datadouble.cohort.pixels import read_image
from datadouble.errors import DataDoubleError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm")


@dataclass(frozen=True)
class FolderColumns:
    """Which column of a CSV holds what (kind `folder`).

    A name that differs from its default must be in the table; `image` and `label` always. Paths in the table
    are relative to its folder.

    Parameters
    ----------
    image, label, mask, patient, site, device, split
        Column names.
    extra
        Further columns to keep. They are copied as they are: name none that identifies a person.
    """

    image: str = "image"
    label: str = "label"
    mask: str = "mask"
    patient: str = "patient"
    site: str = "site"
    device: str = "device"
    split: str = "split"
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """What `import_cohort` asks of an importer; see there for the meaning of each."""

    kind: str
    path: Path
    label: str | None = None
    columns: FolderColumns | None = None
    classes: tuple[str, ...] | None = None
    mask_classes: tuple[str, ...] | None = None
    patient_pattern: str = ""
    modality: str = ""
    skip_broken: bool = False
    volumes: VolumeOptions = field(default_factory=VolumeOptions)

    def labelled_by(self, *choices: str) -> str:
        """Return the chosen meaning of the label, the first choice by default.

        Raises
        ------
        DataDoubleError
            When the source has no such labels.
        """
        label = self.label or choices[0]
        if label not in choices:
            raise DataDoubleError(
                f"kind {self.kind} has no such label",
                found=repr(label),
                remedy="choose one of " + ", ".join(choices),
            )
        return label


class PictureReader(Protocol):
    """Reads a picture that is no file of its own: a slice of a volume, a frame. Small, for it goes to processes."""

    def read(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the picture, uint8 (H, W), uint8 (H, W, 3) or uint16 (H, W), and its mask of class ids or None."""
        ...


@dataclass(frozen=True)
class Item:
    """One picture of a source, not yet read.

    Attributes
    ----------
    key : str
        Names the picture within its source: the image id of a public data set; for a user's own pictures what
        the image id is hashed from.
    where : str
        The file (or array and index) to name in errors.
    patient : str
        The source's patient id, ``""`` where it knows none.
    masks : tuple of (Path, int)
        Mask files and the class id that each stands for; an id of 0 means that the file holds class ids
        itself.
    blank_mask : bool
        The source says that there is no lesion: without mask files the mask is all background.
    array : numpy.ndarray or None
        The picture itself, where the source is no folder of files.
    reader : PictureReader or None
        What reads picture and mask, where they are neither a file nor an array.
    volume : str
        The source's name of the volume that the picture is a slice of, ``""`` where there is none.
    """

    key: str
    where: str
    label: str
    patient: str = ""
    image: Path | None = None
    masks: tuple[tuple[Path, int], ...] = ()
    blank_mask: bool = False
    array: np.ndarray | None = None
    reader: PictureReader | None = None
    volume: str = ""
    split: str = ""
    site: str = ""
    device: str = ""
    extra: dict[str, str] = field(default_factory=dict)

    def read(self, mask_classes: int = 2) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the picture as stored and its mask of class ids, or None.

        Raises
        ------
        DataDoubleError
            When a file cannot be read, pixels are no 8- or 16-bit integers, or mask and picture do not fit.
        """
        if self.array is not None:
            return check_pixels(self.array, self.where), None
        if self.reader is not None:
            image, mask = self.reader.read()
            return check_pixels(image, self.where), mask
        assert self.image is not None
        image = check_pixels(read_image(self.image, name=self.where), self.where)
        if not self.masks:
            return image, np.zeros(image.shape[:2], np.uint8) if self.blank_mask else None
        return image, self._merged_mask(image.shape[:2], mask_classes)

    def _merged_mask(self, shape: tuple[int, ...], classes: int) -> np.ndarray:
        """Return the union of the masks; where they overlap, the first one's class stands."""
        merged = np.zeros(shape, np.uint8)
        for path, class_id in self.masks:
            mask = read_image(path, name=path.name)
            mask = mask.max(axis=2) if mask.ndim == 3 else mask
            if mask.shape != shape:
                raise DataDoubleError(
                    f"mask is {mask.shape[1]}x{mask.shape[0]}, image is {shape[1]}x{shape[0]}",
                    where=path.name,
                    remedy="resize the mask or drop the row",
                )
            ids = _class_ids(mask, class_id, classes, path.name)
            merged = np.where(merged == 0, ids, merged)
        return merged


@dataclass(frozen=True)
class Source:
    """A source: what its cohort is, and its pictures.

    Attributes
    ----------
    groups_are_patients : bool
        The source knows no patients, so that each group of look-alikes counts as one.
    intensity : dict
        What a pixel value means, as in ``CohortInfo.intensity``.
    remarks : tuple of str
        What the user should know: what was skipped, what was assumed.
    """

    name: str
    modality: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    mask_classes: tuple[str, ...] = ()
    description: str = ""
    licence: str = ""
    groups_are_patients: bool = False
    intensity: dict[str, Any] = field(default_factory=lambda: {"unit": "grey level"})
    remarks: tuple[str, ...] = ()


def check_pixels(image: np.ndarray, where: str) -> np.ndarray:
    """Return `image` if it is uint8 or uint16 of (H, W) or (H, W, 3).

    Raises
    ------
    DataDoubleError
        On other values (NaN is named as such) or shapes.
    """
    if np.issubdtype(image.dtype, np.floating):
        bad = int(np.count_nonzero(~np.isfinite(image)))
        raise DataDoubleError(
            "pixels are NaN or infinite" if bad else "pixels are floating-point numbers",
            where=where,
            found=f"{bad} of {image.size}" if bad else f"{image.dtype}, {image.min():g} to {image.max():g}",
            remedy="mend or drop the picture"
            if bad
            else "scale them to 8- or 16-bit integers before the import",
        )
    if image.dtype not in (np.uint8, np.uint16):
        raise DataDoubleError(
            "pixels are no 8- or 16-bit integers",
            where=where,
            found=str(image.dtype),
            remedy="store them as uint8 or uint16",
        )
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise DataDoubleError(
            "this is no grey or RGB picture",
            where=where,
            found=f"shape {image.shape}",
            remedy="export single pictures",
        )
    return image


def pictures_in(folder: Path) -> list[Path]:
    """Return the picture files directly in `folder`, hidden ones left out, in natural order."""
    found = (
        p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and not p.name.startswith(".")
    )
    return sorted((p for p in found if p.is_file()), key=lambda p: natural_key(p.name))


def natural_key(text: str) -> list[tuple[int, int | str]]:
    """Return a sort key by which 2 stands before 10."""
    import re

    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", text) if part]


def require_folder(folder: Path, what: str) -> Path:
    """Return `folder` if it is one.

    Raises
    ------
    DataDoubleError
        When it is not there.
    """
    if not folder.is_dir():
        raise DataDoubleError(
            "the folder is missing", where=str(folder), remedy=f"give the folder that holds {what}"
        )
    return folder


def require_columns(known: Iterable[str], wanted: Iterable[str], where: str) -> None:
    """Check that all of `wanted` are columns of the table.

    Raises
    ------
    DataDoubleError
        Naming every column that is missing, with the nearest known name.
    """
    from datadouble.errors import suggest

    names = list(known)
    missing = [column for column in wanted if column not in names]
    if missing:
        hints = "; ".join(f"{column}: {suggest(column, names)}" for column in missing)
        raise DataDoubleError(
            "columns are missing", where=where, found=", ".join(missing) + " absent", remedy=hints
        )


def _class_ids(mask: np.ndarray, class_id: int, classes: int, where: str) -> np.ndarray:
    values = np.unique(mask)
    if class_id:
        foreground = values[values > 0]
        if len(foreground) > 1:
            raise DataDoubleError(
                "the mask has more than one value beside 0",
                where=where,
                found=", ".join(map(str, foreground[:8])) + (" ..." if len(foreground) > 8 else ""),
                remedy="name the mask's classes if these are class ids; save it as PNG if JPEG blurred it",
            )
        return np.where(mask > 0, class_id, 0).astype(np.uint8)
    if values[-1] >= classes:
        raise DataDoubleError(
            "mask values are no class ids",
            where=where,
            found=f"greatest value {values[-1]}",
            remedy=f"use ids 0 to {classes - 1}, or name more classes",
        )
    return mask.astype(np.uint8)
