"""Reading NIfTI volumes in one orientation, and one slice of them."""

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from datadouble.cohort.hounsfield import to_grey_levels
from datadouble.errors import DataDoubleError

_DAMAGED = (OSError, EOFError, ValueError, zlib.error)


@dataclass(frozen=True)
class Header:
    """Shape (z, h, w) and spacing in mm (z, y, x) in the orientation of the pictures, and where the volume lies."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    affine: np.ndarray
    turned: float


def open_volume(path: Path, where: str) -> tuple[Any, Header]:
    """Open a volume in the nearest patient axes, without its values.

    Raises
    ------
    DataDoubleError
        When the file is missing or no NIfTI volume, or has a time or channel axis.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        volume = nibabel.squeeze_image(nibabel.load(path)) if path.is_file() else None
    except (ImageFileError, *_DAMAGED) as error:
        raise _unreadable(path, where, error) from error
    if volume is None:
        raise DataDoubleError("the file is missing", where=where, remedy="put it back or drop its row")
    shape = (*volume.shape, 1) if len(volume.shape) == 2 else volume.shape
    if len(shape) != 3:
        raise DataDoubleError(
            "the volume has more than three axes",
            where=where,
            found=" x ".join(map(str, volume.shape)),
            remedy="split it into its channels or times, one file each",
        )
    try:
        if len(volume.shape) == 2:
            data = np.asanyarray(volume.dataobj)[..., None]
            volume = type(volume)(data, volume.affine, volume.header)
        canonical = nibabel.as_closest_canonical(volume)  # reads the values, where axes must change
    except _DAMAGED as error:
        raise _unreadable(path, where, error) from error
    x, y, z = (float(value) for value in np.sqrt((canonical.affine[:3, :3] ** 2).sum(0)))
    w, h, depth = canonical.shape
    directions = canonical.affine[:3, :3] / np.array([x, y, z]).clip(1e-9)
    turned = float(np.degrees(np.arccos(np.clip(np.diag(directions).min(), -1, 1))))
    return canonical, Header((depth, h, w), (z, y, x), canonical.affine, turned)


def values_of(canonical: Any, where: str) -> np.ndarray:
    """Return a volume's values (z, h, w): the front above, the patient's right on the left, the lowest slice first.

    Raises
    ------
    DataDoubleError
        When the file is truncated.
    """
    try:
        data = np.asanyarray(canonical.dataobj)
    except _DAMAGED as error:
        raise _unreadable(Path(where), where, error) from error
    data = data.astype(np.float32) if data.dtype.kind == "f" else data
    return data[::-1, ::-1].T  # (x to the right, y to the front, z) -> (z, y to the back, x to the left)


@lru_cache(maxsize=2)
def _cached(path: Path, where: str) -> np.ndarray:
    """Return a volume's values; kept while its slices follow one another, with its label volume."""
    return values_of(open_volume(path, where)[0], where)


@dataclass(frozen=True)
class NiftiSlice:
    """Reads one slice; see `PictureReader`.

    Attributes
    ----------
    number : int
        The slice, from the lowest.
    limits : tuple
        Values of the least and the greatest grey level.
    crop : tuple
        First row and column, and the ones after the last.
    """

    image: Path
    where: str
    number: int
    limits: tuple[float, float]
    depth: int
    rescale: tuple[float, float]
    crop: tuple[int, int, int, int]
    mask: Path | None = None

    def read(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the slice and its mask."""
        top, left, bottom, right = self.crop
        values = _cached(self.image, self.where)[self.number, top:bottom, left:right]
        slope, intercept = self.rescale
        image = to_grey_levels(values.astype(np.float32) * slope + intercept, *self.limits, self.depth)
        if self.mask is None:
            return image, None
        mask = _cached(self.mask, self.mask.name)[self.number, top:bottom, left:right]
        return image, np.ascontiguousarray(mask.astype(np.uint8))


def _unreadable(path: Path, where: str, error: BaseException) -> DataDoubleError:
    found = f"{type(error).__name__}: {error}".replace(str(path), path.name)[:120]
    return DataDoubleError(
        "the volume cannot be read",
        where=where,
        found=found,
        remedy="it is truncated or no NIfTI: copy it again",
    )
