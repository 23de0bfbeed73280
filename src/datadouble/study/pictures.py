"""One path for every image of a study, real or synthetic: one size, one window, 8-bit grey, one encoding.

What a reader can reach besides the pixels is the same for all of them: the PNG is written here, with a header, one
data chunk and an end, and it is *not compressed*. A synthetic image is often smoother than a scan and packs smaller;
stored flat, every file of a study has the same number of bytes.
"""

import json
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datadouble import files
from datadouble.cohort import Cohort
from datadouble.cohort.hounsfield import to_grey_levels, to_hounsfield
from datadouble.cohort.pixels import fit_square, to_grey, to_unit
from datadouble.errors import DataDoubleError

FILE_TIME = 946_684_800  # 2000-01-01 UTC
"""Time of last change that every image file is given."""
BOX_COLUMN = "bbox"
"""Column with a lesion's box ``[x, y, width, height]`` in stored pixels, where a cohort has no masks."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode_png(image: np.ndarray) -> bytes:
    """Return a grey image (H, W) uint8 as PNG: IHDR, one IDAT, stored without compression, IEND.

    The number of bytes depends on H and W alone.
    """
    height, width = image.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # each row starts with its filter: 0, none
    rows[:, 1:] = image
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 0)), (b"IEND", b""))
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write a grey image in one atomic step, with the file time that all have."""
    files.write_bytes(path, encode_png(image))
    os.utime(path, (FILE_TIME, FILE_TIME))


def to_eight_bits(image: np.ndarray, intensity: Mapping[str, Any], window: Sequence[float]) -> np.ndarray:
    """Return a cohort's picture as grey levels uint8 (H, W).

    Parameters
    ----------
    image
        As stored: uint8 or uint16, grey or colour.
    intensity
        Of the picture's cohort.
    window
        The least and greatest HU to show; empty: grey levels as they are.
    """
    image = to_grey(image)
    if window:
        return to_grey_levels(to_hounsfield(image, intensity), window[0], window[1])
    return image if image.dtype == np.uint8 else np.round(to_unit(image) * 255).astype(np.uint8)


def common_window(real: Cohort, double: Cohort, wanted: Sequence[float]) -> tuple[float, ...]:
    """Return the window in HU by which both cohorts are shown, () where they are not in HU.

    Raises
    ------
    DataDoubleError
        When one cohort is in HU and the other is not, or a window is wanted where there are no HU.
    """
    units = [
        "HU" if c.info.intensity.get("unit") == "HU" and {"low", "high"} <= set(c.info.intensity) else "grey"
        for c in (real, double)
    ]
    if units[0] != units[1]:
        raise DataDoubleError(
            "one cohort is in HU and the other is not: readers would tell them apart by the window",
            where="cohort.json",
            found=f"real {units[0]}, double {units[1]}",
            remedy="import or generate both with the same window",
        )
    if units[0] == "grey":
        if wanted:
            raise DataDoubleError(
                "the protocol has a window in HU, and the cohorts hold grey levels",
                where="protocol",
                remedy="leave out `window`",
            )
        return ()
    if wanted:
        return tuple(wanted)
    lows, highs = zip(
        *((float(c.info.intensity["low"]), float(c.info.intensity["high"])) for c in (real, double))
    )
    # The widest window both can fill: outside of it one of them is clipped and the other is not.
    low, high = max(lows), min(highs)
    if low >= high:
        raise DataDoubleError(
            "the windows of the cohorts do not overlap",
            where="cohort.json",
            found=f"{lows[0]:g} to {highs[0]:g} HU, and {lows[1]:g} to {highs[1]:g} HU",
            remedy="import or generate both with the same window",
        )
    return low, high


def lesion_ids(cohort: Cohort) -> tuple[int, ...]:
    """Return the mask's class ids that are lesions: `lesion` where there is such a class, else all but background."""
    names = cohort.info.mask_classes
    if "lesion" in names:
        return (names.index("lesion"),)
    return tuple(range(1, len(names)))


def lesion_box(cohort: Cohort, index: int, size: int) -> tuple[int, int, int, int] | None:
    """Return the lesion's box (top, left, bottom, right) after `fit_square` to `size`; ends excluded.

    The mask is asked first, then the column `bbox`. None where the image has neither, or an empty mask.

    Raises
    ------
    DataDoubleError
        When the column holds no box.
    """
    if cohort.info.mask_classes and (mask := cohort.mask(index)) is not None:
        lesion = np.isin(fit_square(mask, size, mask=True), lesion_ids(cohort))
        if not lesion.any():
            return None
        rows, columns = np.flatnonzero(lesion.any(1)), np.flatnonzero(lesion.any(0))
        return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
    text = str(cohort.table[BOX_COLUMN].iloc[index]) if BOX_COLUMN in cohort.table.columns else ""
    if not text:
        return None
    try:
        x, y, width, height = (float(value) for value in json.loads(text))
        if min(x, y) < 0 or min(width, height) <= 0:
            raise ValueError
    except (ValueError, TypeError) as error:
        raise DataDoubleError(
            "this is no box",
            where=f"metadata.csv, {BOX_COLUMN}",
            found=repr(text[:60]),
            remedy="write it as [x, y, width, height] in pixels from 0",
        ) from error
    stored = cohort.image(index).shape
    down, across = size / stored[0], size / stored[1]
    top, left = int(y * down), int(x * across)
    bottom, right = int(np.ceil((y + height) * down)), int(np.ceil((x + width) * across))
    return min(top, size - 1), min(left, size - 1), min(bottom, size), min(right, size)


def check_lesion_view(cohort: Cohort, name: str) -> None:
    """Refuse a cohort in which no lesion can be found.

    Raises
    ------
    DataDoubleError
        When it has neither masks nor boxes. Boxes predicted by a network are not made here: they would follow
        lesions of one origin better than those of the other.
    """
    has_masks = bool(cohort.info.mask_classes) and bool((cohort.table["mask_file_name"] != "").any())
    has_boxes = BOX_COLUMN in cohort.table.columns and bool((cohort.table[BOX_COLUMN] != "").any())
    if not has_masks and not has_boxes:
        raise DataDoubleError(
            f"the lesion view needs masks or a column `{BOX_COLUMN}`, and the {name} has neither",
            where=f"{cohort.path.name}/metadata.csv",
            remedy=f"draw a double with masks (recipe diffguard, or coldit with mask labels), add `{BOX_COLUMN}` as "
            "[x, y, width, height] drawn by someone who does not know the origin, or use a protocol without the "
            "lesion view",
        )


def lesion_square(box: tuple[int, int, int, int], margin: float, size: int) -> tuple[int, int, int]:
    """Return (top, left, side) of the square around a box: its longer side and `margin` of it on each side.

    The square is moved into the picture where it would stick out, and is never larger than it.
    """
    top, left, bottom, right = box
    longer = max(bottom - top, right - left)
    side = min(size, max(8, round(longer * (1 + 2 * margin))))
    y = round((top + bottom - side) / 2)
    x = round((left + right - side) / 2)
    return min(max(y, 0), size - side), min(max(x, 0), size - side), side


def picture_of(
    cohort: Cohort, index: int, *, view: str, size: int, window: Sequence[float], margin: float
) -> np.ndarray:
    """Return image `index` as it is shown, uint8 (size, size).

    The picture is windowed, then brought to `size`; only then is the lesion cut out and brought to `size` again, so
    that a scan stored larger than the double shows no more detail than the double can.

    Raises
    ------
    DataDoubleError
        When the picture cannot be read, or has no lesion in the lesion view.
    """
    image = fit_square(to_eight_bits(cohort.image(index), cohort.info.intensity, window), size)
    if view == "full":
        return image
    box = lesion_box(cohort, index, size)
    if box is None:
        raise DataDoubleError("the image has no lesion", where=str(cohort.table["file_name"].iloc[index]))
    top, left, side = lesion_square(box, margin, size)
    return fit_square(np.ascontiguousarray(image[top : top + side, left : left + side]), size)
