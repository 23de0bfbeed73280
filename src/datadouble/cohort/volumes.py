"""From a cohort's slices back to volumes, for scores in three dimensions.

Importers of volumes write three columns: `volume_id` (a pseudonym), `slice` (counted from 0 along the normal, from
the feet to the head where slices are axial) and `spacing_mm`, ``[z, y, x]``: the distance from slice to slice, from
row to row and from column to column. A slice that is not there leaves its number out.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from datadouble.cohort.cohort import Cohort
from datadouble.cohort.pixels import fit_square
from datadouble.errors import DataDoubleError, Problem

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("volume_id", "slice", "spacing_mm")
_SHOWN = 20


@dataclass(frozen=True)
class VolumeRows:
    """Which rows of a cohort make a volume.

    Attributes
    ----------
    rows : numpy.ndarray
        int64 (z,): the row of each slice, -1 where the slice is not there.
    first : int
        The `slice` number of the lowest one.
    spacing : tuple of float
        Millimetres (z, y, x).
    """

    volume_id: str
    patient_id: str
    rows: np.ndarray
    first: int
    spacing: tuple[float, float, float]

    @property
    def gaps(self) -> tuple[int, ...]:
        """The `slice` numbers that are not there."""
        return tuple(int(place) + self.first for place in np.flatnonzero(self.rows < 0))


@dataclass(frozen=True)
class Volume:
    """A volume: `image` (z, h, w) as stored, `mask` (z, h, w) uint8 of class ids or None, `spacing` in mm (z, y, x).

    Slices that are not there are 0; `gaps` names their numbers.
    """

    volume_id: str
    patient_id: str
    image: np.ndarray
    mask: np.ndarray | None
    spacing: tuple[float, float, float]
    rows: np.ndarray
    gaps: tuple[int, ...]


def volume_rows(cohort: Cohort, *, gaps: str = "refuse") -> list[VolumeRows]:
    """Return which rows make which volume, in the order of their ids.

    Rows without a `volume_id` are left out.

    Parameters
    ----------
    gaps
        ``"refuse"`` volumes with slices that are not there, or ``"keep"`` them.

    Raises
    ------
    DataDoubleError
        When the cohort has no volumes; naming every volume with two slices of one number, spacings that differ,
        two patients, or gaps.
    """
    missing = [column for column in COLUMNS if column not in cohort.table.columns]
    if missing or not (cohort.table["volume_id"] != "").any():
        raise DataDoubleError(
            "the cohort has no volumes",
            where="metadata.csv",
            found=", ".join(missing) + " absent" if missing else "volume_id empty in every row",
            remedy="import it with kind dicom or nifti, or add " + ", ".join(COLUMNS),
        )
    table = cohort.table.assign(row=np.arange(len(cohort)))
    problems: list[Problem] = []
    found = []
    for name, part in table[table["volume_id"] != ""].groupby("volume_id", sort=True):
        volume = _one(str(name), part, problems)
        if volume is None:
            continue
        if volume.gaps and gaps == "refuse":
            problems.append(
                Problem(
                    "slices are missing",
                    f"volume {name}",
                    f"no slice {_some(volume.gaps)} of {volume.first} to {volume.first + len(volume.rows) - 1}",
                    "import the volume whole, drop its rows, or pass gaps='keep'",
                )
            )
        found.append(volume)
    if problems:
        shown = [str(problem) for problem in problems[:_SHOWN]]
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise DataDoubleError(
            "volumes cannot be put together:\n  " + "\n  ".join(shown + more) + "\n", where="metadata.csv"
        )
    return found


def volumes(
    cohort: Cohort,
    *,
    masks: Mapping[str, np.ndarray] | None = None,
    at_size: int | None = None,
    gaps: str = "refuse",
) -> Iterator[Volume]:
    """Yield the volumes of a cohort, one at a time in memory.

    Parameters
    ----------
    masks
        Masks by image id to use instead of the cohort's, for example predicted ones: uint8 (h, w) of the
        picture's size, or of ``(at_size, at_size)``. Slices without one are background.
    at_size
        Bring every slice to ``(at_size, at_size)`` by `fit_square`; the spacing follows.
    gaps
        As in `volume_rows`.

    Raises
    ------
    DataDoubleError
        As `volume_rows`; when slices of one volume, or a mask and its picture, differ in size.
    """
    for volume in volume_rows(cohort, gaps=gaps):
        there = np.flatnonzero(volume.rows >= 0)
        native = cohort.image(int(volume.rows[there[0]])).shape[:2]
        shape = native if at_size is None else (at_size, at_size)
        image: np.ndarray | None = None
        stack: np.ndarray | None = None if masks is None else np.zeros((len(volume.rows), *shape), np.uint8)
        for place in there:
            row = int(volume.rows[place])
            picture = cohort.image(row)
            image_id = str(cohort.table["image_id"].iloc[row])
            if picture.shape[:2] != native:
                raise _sizes(image_id, "slices of one volume differ", picture.shape, native)
            if image is None:
                image = np.zeros((len(volume.rows), *shape), picture.dtype)
            image[place] = picture if at_size is None else fit_square(picture, at_size)
            mask = cohort.mask(row) if masks is None else masks.get(image_id)
            if mask is None:
                continue
            if mask.shape not in (native, shape):
                raise _sizes(image_id, "mask and picture differ", mask.shape, native)
            stack = np.zeros((len(volume.rows), *shape), np.uint8) if stack is None else stack
            stack[place] = mask if mask.shape == shape else fit_square(mask, shape[0], mask=True)
        assert image is not None
        scale = (native[0] / shape[0], native[1] / shape[1])
        spacing = (volume.spacing[0], volume.spacing[1] * scale[0], volume.spacing[2] * scale[1])
        yield Volume(volume.volume_id, volume.patient_id, image, stack, spacing, volume.rows, volume.gaps)


def spacing_of(text: str, where: str) -> tuple[float, float, float]:
    """Read the column `spacing_mm`: three lengths above 0 in mm, (z, y, x).

    Raises
    ------
    DataDoubleError
        When `text` is something else.
    """
    try:
        z, y, x = (float(value) for value in json.loads(text))
        if not (min(z, y, x) > 0 and np.isfinite([z, y, x]).all()):
            raise ValueError(text)
    except (ValueError, TypeError) as error:
        raise DataDoubleError(
            "this is no spacing", where=where, found=repr(text), remedy="write [z, y, x] in mm, all above 0"
        ) from error
    return z, y, x


def _one(name: str, part: "pd.DataFrame", problems: list[Problem]) -> VolumeRows | None:
    """Return the rows of one volume in the order of their slices, or None after noting what is wrong."""
    where = f"volume {name}"
    try:
        numbers = [int(value) for value in part["slice"]]
        spacings = {spacing_of(str(text), where) for text in part["spacing_mm"]}
    except ValueError:
        remedy = "number the slices from 0"
        problems.append(Problem("slices have no number", where, _some(sorted(set(part["slice"]))), remedy))
        return None
    except DataDoubleError as error:
        problems.append(Problem(error.what, where, error.found, error.remedy))
        return None
    patients = sorted(set(part["patient_id"]))
    twice = (
        sorted({number for number in numbers if numbers.count(number) > 1})
        if len(set(numbers)) < len(numbers)
        else []
    )
    if twice:
        problems.append(Problem("two slices have one number", where, _some(twice), "correct or drop a row"))
    if len(spacings) > 1:
        found = "; ".join(str(spacing) for spacing in sorted(spacings)[:3])
        problems.append(Problem("slices differ in their spacing", where, found, "import the volume again"))
    if len(patients) > 1:
        problems.append(Problem("one volume has two patients", where, ", ".join(patients), "correct a row"))
    if twice or len(spacings) > 1 or len(patients) > 1:
        return None
    first = min(numbers)
    rows = np.full(max(numbers) - first + 1, -1, np.int64)
    rows[np.array(numbers) - first] = part["row"].to_numpy()
    return VolumeRows(name, patients[0], rows, first, next(iter(spacings)))


def _sizes(where: str, what: str, one: tuple[int, ...], other: tuple[int, ...]) -> DataDoubleError:
    found = f"{one[1]}x{one[0]} and {other[1]}x{other[0]}"
    return DataDoubleError(what + " in size", where=where, found=found, remedy="import the volume again")


def _some(values: "list | tuple") -> str:
    shown = ", ".join(str(value) for value in values[:8])
    return shown + (f" and {len(values) - 8} more" if len(values) > 8 else "")
