"""The pixels of a cohort at one size, for the measurements that need more than features."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from datadouble import files
from datadouble.audit.parts import cohort_fingerprint
from datadouble.cohort.pixels import fit_square
from datadouble.errors import DataDoubleError
from datadouble.progress import track

if TYPE_CHECKING:
    from datadouble.cohort.cohort import Cohort


@dataclass
class Pictures:
    """Grey pictures of one size, with what identifies each.

    Parameters
    ----------
    array : ndarray
        (n, s, s) uint8; mapped from a file where a cache folder was given.
    masks : ndarray or None
        (n, s, s) uint8 class ids, zeros where a row has no mask; None where no row has one.
    has_mask : ndarray of bool
        (n,).
    image_ids, patients, labels : ndarray of str
        (n,); ``""`` where unknown.
    rows : ndarray of int
        (n,): position in the cohort.
    broken : list of (image id, reason)
        Pictures that could not be read, left out above.
    """

    array: np.ndarray
    masks: np.ndarray | None
    has_mask: np.ndarray
    image_ids: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    broken: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.array)

    @property
    def groups(self) -> np.ndarray:
        """Patient of each row; a picture without a patient is a patient of its own (str, (n,))."""
        alone = np.array([f"image:{i}" for i in self.image_ids], dtype=object)
        return np.where(self.patients == "", alone, self.patients).astype(str)

    def where(self, keep: np.ndarray) -> Pictures:
        """The rows picked by a boolean mask or an index array; ``broken`` stays with the whole set."""
        return Pictures(
            self.array[keep],
            None if self.masks is None else self.masks[keep],
            self.has_mask[keep],
            self.image_ids[keep],
            self.patients[keep],
            self.labels[keep],
            self.rows[keep],
        )


def read_pictures(cohort: Cohort, at_size: int, *, cache_dir: Path | None = None) -> Pictures:
    """Every readable picture of a cohort, and its mask, brought to one size.

    Parameters
    ----------
    cohort : Cohort
        Or a view of one.
    at_size : int
        Side in pixels.
    cache_dir : Path, optional
        Folder for the resized pixels, which are then mapped instead of held: memory does not grow with the cohort.

    Raises
    ------
    DataDoubleError
        Where no picture is readable.
    """
    table = cohort.table
    stored = (
        None if cache_dir is None else Path(cache_dir) / f"pictures-{at_size}-{cohort_fingerprint(cohort)}"
    )
    with_masks = bool((table["mask_file_name"] != "").any())
    if stored is None or not stored.with_suffix(".json").is_file():
        array, masks, reasons = _read(cohort, at_size, with_masks, stored)
    else:
        reasons = {
            int(row): str(why) for row, why in json.loads(stored.with_suffix(".json").read_text()).items()
        }
        array, masks = _mapped(stored, "images"), _mapped(stored, "masks") if with_masks else None
    names = [str(name) for name in table["image_id"]]
    broken = [(names[row], why) for row, why in sorted(reasons.items())]
    good = np.array([row for row in range(len(table)) if row not in reasons], dtype=np.int64)
    if len(good) == 0:
        raise DataDoubleError(
            "no readable picture",
            where=broken[0][0] if broken else cohort.path.name,
            found=broken[0][1] if broken else "none",
            remedy="run `datadouble check` on the cohort",
        )
    whole = len(good) == len(table)
    columns = {key: table[key].astype(str).to_numpy(dtype=object).astype(str) for key in _COLUMNS}
    return Pictures(
        array if whole else array[good],
        masks if whole or masks is None else masks[good],
        (columns["mask_file_name"] != "")[good],
        columns["image_id"][good],
        columns["patient_id"][good],
        columns["label"][good],
        good,
        broken,
    )


_COLUMNS = ("image_id", "patient_id", "label", "mask_file_name")


def _read(
    cohort: Cohort, size: int, with_masks: bool, stored: Path | None
) -> tuple[np.ndarray, np.ndarray | None, dict[int, str]]:
    shape = (len(cohort), size, size)
    with _Arrays(stored) as arrays:
        array = arrays.new("images", shape)
        masks = arrays.new("masks", shape) if with_masks else None
        reasons = _fill(cohort, size, array, masks)
        arrays.keep()
    if stored is not None:
        files.write_json(stored.with_suffix(".json"), {str(row): why for row, why in reasons.items()})
    return array, masks, reasons


def _fill(cohort: Cohort, size: int, array: np.ndarray, masks: np.ndarray | None) -> dict[int, str]:
    """Write all pictures into the arrays; rows that cannot be read, and why, are returned."""
    reasons: dict[int, str] = {}
    for row in track(range(len(cohort)), "pictures"):
        try:
            image, mask = cohort.image(row), None if masks is None else cohort.mask(row)
            if mask is not None and mask.shape[:2] != image.shape[:2]:
                raise DataDoubleError(
                    "the mask has another size than the picture",
                    where=str(cohort.table["image_id"].iloc[row]),
                    found=f"{mask.shape[1]}x{mask.shape[0]} beside {image.shape[1]}x{image.shape[0]}",
                    remedy="resize the mask or drop the row",
                )
        except DataDoubleError as error:
            reasons[row] = str(error)
            continue
        grey = fit_square(image, size)
        if grey.dtype != np.uint8:
            grey = np.round(grey.astype(np.float32) * (255.0 / np.iinfo(grey.dtype).max)).astype(np.uint8)
        array[row] = grey
        if masks is not None and mask is not None:
            masks[row] = fit_square(mask, size, mask=True)
    return reasons


class _Arrays:
    """Arrays of zeros, in files where `stored` is given; those get their names at the end, and only with `keep`.

    A process writes files of its own: another that reads or makes the same cache has those mapped that are there.
    """

    def __init__(self, stored: Path | None) -> None:
        self._stored = stored
        self._made: list[tuple[Path, Path, np.memmap]] = []

    def __enter__(self) -> Self:
        return self

    def new(self, part: str, shape: tuple[int, ...]) -> np.ndarray:
        if self._stored is None:
            return np.zeros(shape, np.uint8)
        final = _array_path(self._stored, part)
        own = final.with_name(f".{final.name}-{os.getpid()}.part")
        final.parent.mkdir(parents=True, exist_ok=True)
        array = np.lib.format.open_memmap(own, mode="w+", dtype=np.uint8, shape=shape)
        self._made.append((own, final, array))
        return array

    def keep(self) -> None:
        for own, final, array in self._made:
            array.flush()
            os.replace(own, final)

    def __exit__(self, *error: object) -> None:
        for own, _, _ in self._made:
            own.unlink(missing_ok=True)


def _array_path(stored: Path, part: str) -> Path:
    return stored.with_name(f"{stored.name}-{part}.npy")


def _mapped(stored: Path, part: str) -> np.ndarray:
    return np.load(_array_path(stored, part), mmap_mode="r", allow_pickle=False)
