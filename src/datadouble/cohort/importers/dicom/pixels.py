"""One DICOM picture: decoded, turned into HU or grey levels, its annotations drawn, cropped."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datadouble.cohort.hounsfield import to_grey_levels
from datadouble.cohort.importers.dicom.headers import Picture
from datadouble.errors import DataDoubleError

Box = tuple[int, int, int, int]  # x0, y0, x1, y1; the last two exclusive


@dataclass(frozen=True)
class Mark:
    """One annotation of one picture.

    Attributes
    ----------
    contours : tuple of tuple
        Closed outlines as (row, column) pairs in pixels, counted from the middle of the first pixel; a contour
        within another is a hole.
    box : tuple or None
        In pixels of the picture as stored.
    frame : tuple or None
        File and frame of a DICOM segmentation, and the value from which on a pixel belongs to it.
    """

    name: str
    contours: tuple[tuple[tuple[float, float], ...], ...] = ()
    box: Box | None = None
    frame: tuple[Path, int, float] | None = None

    def draw(self, shape: tuple[int, int], where: str) -> np.ndarray:
        """Return the annotation as bool (H, W).

        Raises
        ------
        DataDoubleError
            When the segmentation cannot be read or is of another size.
        """
        drawn = np.zeros(shape, bool)
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            drawn[max(y0, 0) : y1, max(x0, 0) : x1] = True
        if self.contours:
            from skimage.draw import polygon

            for contour in self.contours:
                points = np.array(contour)
                rows, columns = polygon(points[:, 0], points[:, 1], shape)
                drawn[rows, columns] ^= True
        if self.frame is not None:
            path, frame, least = self.frame
            pixels = decode(path, frame, f"segmentation of {where}")
            if pixels.shape != shape:
                raise DataDoubleError(
                    f"segmentation is {pixels.shape[1]}x{pixels.shape[0]}, image is {shape[1]}x{shape[0]}",
                    where=where,
                    remedy="have it drawn on the pictures themselves",
                )
            drawn |= pixels >= least
        return drawn


@dataclass(frozen=True)
class DicomPicture:
    """Reads one picture; see `PictureReader`.

    Attributes
    ----------
    limits : tuple or None
        HU of the least and greatest grey level; None for pictures that are no CT.
    mask_names : tuple of str or None
        The structure of each class id from 1 on; None where the picture has no mask.
    crop : tuple or None
        In pixels of the picture as stored.
    flips : tuple of bool
        Whether rows, and columns, are turned round.
    """

    picture: Picture
    limits: tuple[float, float] | None
    depth: int
    rescale: tuple[float, float] | None
    marks: tuple[Mark, ...] = ()
    mask_names: tuple[str, ...] | None = None
    crop: Box | None = None
    flips: tuple[bool, bool] = (False, False)

    def read(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the picture and its mask.

        Raises
        ------
        DataDoubleError
            When the file is truncated, or an annotation does not fit.
        """
        if self.limits is not None:
            image = to_grey_levels(self.hounsfield(), *self.limits, self.depth)
        else:
            image = _grey(self.picture)
        mask = None
        if self.mask_names is not None:
            mask = np.zeros(self.picture.shape, np.uint8)
            for class_id, name in enumerate(self.mask_names, start=1):
                for mark in self.marks:
                    if mark.name == name:
                        mask[mark.draw(mask.shape, self.picture.where) & (mask == 0)] = class_id
        return self._place(image), None if mask is None else self._place(mask)

    def hounsfield(self) -> np.ndarray:
        """Return the whole picture in HU, float32 (H, W), as it lies in the file."""
        stored = decode(self.picture.path, self.picture.frame, self.picture.where)
        if stored.ndim != 2:
            raise DataDoubleError("a CT slice has colours", where=self.picture.where, remedy="leave it out")
        slope, intercept = self.rescale or (1.0, 0.0)
        return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)

    def _place(self, pixels: np.ndarray) -> np.ndarray:
        x0, y0, x1, y1 = self.crop or (0, 0, pixels.shape[1], pixels.shape[0])
        pixels = pixels[y0:y1, x0:x1]
        pixels = pixels[::-1] if self.flips[0] else pixels
        return np.ascontiguousarray(pixels[:, ::-1] if self.flips[1] else pixels)

    def place_box(self, box: Box) -> list[int] | None:
        """Return a box of the stored picture as [x, y, width, height] in the cropped one, None where none is left."""
        height, width = self.picture.shape
        left, top, right, bottom = self.crop or (0, 0, width, height)
        x0, y0 = max(box[0], left) - left, max(box[1], top) - top
        x1, y1 = min(box[2], right) - left, min(box[3], bottom) - top
        if self.flips[0]:
            y0, y1 = bottom - top - y1, bottom - top - y0
        if self.flips[1]:
            x0, x1 = right - left - x1, right - left - x0
        return [x0, y0, x1 - x0, y1 - y0] if x1 > x0 and y1 > y0 else None


def decode(path: Path, frame: int, where: str) -> np.ndarray:
    """Return stored values (H, W), or colours (H, W, 3) as RGB whatever the file's colour space.

    Raises
    ------
    DataDoubleError
        When the pixels cannot be decoded.
    """
    from pydicom import dcmread
    from pydicom.pixels.utils import pixel_array

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                pixels = pixel_array(path, index=max(frame, 0))
            except AttributeError:  # pydicom 3.0 does not inflate a deflated file on this way
                pixels = pixel_array(dcmread(path), index=max(frame, 0))
    except Exception as error:  # each decoder raises exceptions of its own
        raise DataDoubleError(
            "the pixels cannot be decoded",
            where=where,
            found=f"{type(error).__name__}: {error}".replace(str(path), path.name)[:160],
            remedy="the file is truncated or damaged: export it again",
        ) from error
    return pixels


def _grey(picture: Picture) -> np.ndarray:
    """Return a picture that is no CT as uint8 (H, W) or (H, W, 3)."""
    stored = decode(picture.path, picture.frame, picture.where)
    if stored.ndim == 3:
        return _eight_bits(stored, picture.bits)
    if picture.photometric not in ("PALETTE COLOR", "MONOCHROME1") and stored.dtype == np.uint8:
        return stored
    from pydicom import dcmread
    from pydicom.pixels.processing import apply_color_lut, apply_voi

    header = dcmread(picture.path, stop_before_pixels=True)
    if picture.photometric == "PALETTE COLOR":
        colours = apply_color_lut(stored, header)
        return _eight_bits(colours, 8 * colours.dtype.itemsize)
    shown = _windowed(stored, header) if stored.dtype != np.uint8 else stored
    if "VOILUTSequence" in header:
        shown = apply_voi(stored, header)
        shown = (255 * (shown / max(float(shown.max()), 1.0))).astype(np.uint8)
    grey = _eight_bits(shown, picture.bits)
    return 255 - grey if picture.photometric == "MONOCHROME1" else grey


def _windowed(stored: np.ndarray, header: object) -> np.ndarray:
    """Return 16-bit values through the file's own window (DICOM PS3.3 C.11.2.1.2), uint8; as stored without one."""
    centre = getattr(header, "WindowCenter", None)
    width = getattr(header, "WindowWidth", None)
    if centre is None or width is None:
        return stored
    level, spread = (float(v if isinstance(v, str | float | int) else v[0]) for v in (centre, width))
    slope = float(getattr(header, "RescaleSlope", 1) or 1)
    values = stored.astype(np.float32) * slope + float(getattr(header, "RescaleIntercept", 0) or 0)
    unit = (values - (level - 0.5)) / max(spread - 1, 1) + 0.5
    return np.round(255 * np.clip(unit, 0, 1)).astype(np.uint8)


def _eight_bits(values: np.ndarray, bits: int) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    low = 0 if np.issubdtype(values.dtype, np.unsignedinteger) else -(2 ** (bits - 1))
    unit = (values.astype(np.float32) - low) / (2**bits - 1)
    return np.round(255 * np.clip(unit, 0, 1)).astype(np.uint8)
