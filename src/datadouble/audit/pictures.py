"""The pixels of a cohort at one size, for the measurements that need more than features."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

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
    array = _new(stored, "images", shape)
    masks = _new(stored, "masks", shape) if with_masks else None
    reasons: dict[int, str] = {}
    for row in track(range(len(cohort)), "pictures"):
        try:
            image, mask = cohort.image(row), cohort.mask(row) if with_masks else None
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
    if stored is not None:
        for mapped in (array, masks):
            if isinstance(mapped, np.memmap):
                mapped.flush()
        files.write_json(stored.with_suffix(".json"), {str(row): why for row, why in reasons.items()})
    return array, masks, reasons


def _new(stored: Path | None, part: str, shape: tuple[int, ...]) -> np.ndarray:
    if stored is None:
        return np.zeros(shape, np.uint8)
    stored.parent.mkdir(parents=True, exist_ok=True)
    return np.lib.format.open_memmap(f"{stored}-{part}.npy", mode="w+", dtype=np.uint8, shape=shape)


def _mapped(stored: Path, part: str) -> np.ndarray:
    return np.load(f"{stored}-{part}.npy", mmap_mode="r", allow_pickle=False)
