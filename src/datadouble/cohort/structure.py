"""The structure mask: where the body, or what was imaged of it, is.

DiffGuard draws it together with picture and lesion, so that a lesion has something to lie in (Zhou et al., npj Digit
Med 2024). It is found by a rule in the very picture that a network sees, real or drawn, or read from a file.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from datadouble.cohort.cohort import Cohort, CohortInfo
from datadouble.cohort.hounsfield import to_hounsfield
from datadouble.cohort.pixels import fit_square, read_image, to_grey
from datadouble.cohort.sector import sector_mask
from datadouble.errors import DataDoubleError, suggest

NAMES = {
    "none": "",
    "hounsfield": "soft tissue",
    "sector": "imaged sector",
    "tissue": "tissue",
    "file": "structure",
}
"""The rules, and what each calls its class in a drawn mask."""

FILE_COLUMN = "structure_file_name"
STRUCTURE_HU = -200.0
_LISTED = 10  # image ids in an error


def choose_rule(info: CohortInfo) -> str:
    """Return the rule that fits a cohort: by its Hounsfield window, else by its modality, else ``"tissue"``."""
    if info.intensity.get("unit") == "HU":
        return "hounsfield"
    return "sector" if "ultrasound" in info.modality.lower() else "tissue"


def structure_mask(image: np.ndarray, rule: str, *, intensity: dict[str, Any]) -> np.ndarray:
    """Find the structure in a picture.

    Parameters
    ----------
    image
        uint8 or uint16 (h, w), or uint8 (h, w, 3), which becomes grey.
    rule
        ``"hounsfield"``: above -200 HU. ``"sector"``: the imaged part of an ultrasound picture. ``"tissue"``: brighter
        than what is around, by Otsu's threshold, with its holes filled. ``"none"``: nothing.
    intensity
        The cohort's ``info.intensity``; `hounsfield` needs ``{"unit": "HU", "low": ..., "high": ...}``, the HU of
        value 0 and of the greatest value of the pixel's type.

    Returns
    -------
    numpy.ndarray
        bool (h, w).

    Raises
    ------
    DataDoubleError
        On an unknown rule, or a window that does not show -200 HU.
    """
    check_rule(rule)
    grey = to_grey(image)
    if rule == "none":
        return np.zeros(grey.shape, dtype=bool)
    if rule == "hounsfield":
        check_window(intensity)
        return to_hounsfield(grey, intensity) > STRUCTURE_HU
    if rule == "file":
        raise DataDoubleError(
            "the structure stands in files, not in the picture", where="structure", remedy="use structure_of"
        )
    eight = grey if grey.dtype == np.uint8 else np.round(grey / 257.0).astype(np.uint8)
    return sector_mask(eight) if rule == "sector" else tissue_mask(eight)


def check_rule(rule: str) -> None:
    """Refuse an unknown rule.

    Raises
    ------
    DataDoubleError
    """
    if rule not in NAMES:
        raise DataDoubleError(
            f"there is no rule '{rule}' for the structure",
            where="structure",
            remedy=suggest(rule, list(NAMES)),
        )


def check_window(intensity: dict[str, Any]) -> None:
    """Refuse grey levels in which -200 HU cannot be found.

    Raises
    ------
    DataDoubleError
        When the cohort has no window in HU, or one that does not reach down to -200.
    """
    low, high = intensity.get("low"), intensity.get("high")
    unit = str(intensity.get("unit", ""))
    if unit != "HU" or low is None or high is None:
        raise DataDoubleError(
            "the rule 'hounsfield' needs the window in HU",
            where="cohort.json, intensity",
            found=unit or "no unit",
            remedy='write {"unit": "HU", "low": ..., "high": ...}, or use another rule',
        )
    if not float(low) <= STRUCTURE_HU < float(high):
        raise DataDoubleError(
            f"the window does not show {STRUCTURE_HU:g} HU, where soft tissue begins",
            where="cohort.json, intensity",
            found=f"{low:g} to {high:g} HU",
            remedy="import with a window that begins at -200 HU or below, or use another rule",
        )


def tissue_mask(image: np.ndarray) -> np.ndarray:
    """Return what is brighter than the surroundings: bool (h, w) of a uint8 picture.

    Smoothed by a fiftieth of the side, cut by Otsu's threshold (IEEE Trans SMC 1979;9:62), pieces below a hundredth of
    the picture dropped and holes filled, so that a dark lesion in tissue lies in it. A constant picture has none.
    """
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    if image.min() == image.max():
        return np.zeros(image.shape, dtype=bool)
    smooth = ndimage.gaussian_filter(image.astype(np.float32), max(image.shape) / 50, mode="nearest")
    pieces, count = ndimage.label(smooth > threshold_otsu(smooth))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    keep = sizes >= image.size / 100
    keep[0] = False
    filled: np.ndarray = ndimage.binary_fill_holes(keep[pieces])
    return filled


def structure_of(cohort: Cohort, row: int, rule: str, size: int) -> np.ndarray:
    """Return the structure of image `row` at (size, size), bool: from the resized picture, or from its file.

    The rule sees the picture at the size at which it is learned and drawn, so that it says of a drawn one what it said
    of the real ones.

    Raises
    ------
    DataDoubleError
        Where the file is missing or of another size than the picture.
    """
    image = cohort.image(row)
    if rule != "file":
        return structure_mask(fit_square(image, size), rule, intensity=cohort.info.intensity)
    name = str(cohort.table[FILE_COLUMN].iloc[row])
    found = to_grey(read_image(cohort.path / name, name=name))
    if found.shape != image.shape[:2]:
        raise DataDoubleError(
            f"the structure is {found.shape[1]}x{found.shape[0]}, the image {image.shape[1]}x{image.shape[0]}",
            where=name,
            remedy="save it at the image's size",
        )
    return fit_square((found > 0).astype(np.uint8), size, mask=True) > 0


def check_structure(cohort: Cohort, rule: str) -> None:
    """Refuse what would fail later: an unknown rule, a window without -200 HU, structure files that are missing.

    Raises
    ------
    DataDoubleError
        Which names the images without a structure file, all together.
    """
    check_rule(rule)
    if rule == "hounsfield":
        check_window(cohort.info.intensity)
    if rule != "file":
        return
    if FILE_COLUMN not in cohort.table.columns:
        raise DataDoubleError(
            f"there is no column '{FILE_COLUMN}'",
            where="metadata.csv",
            remedy="add it with the path of each structure mask, or use another rule",
        )
    names = [str(name) for name in cohort.table[FILE_COLUMN]]
    ids = [str(image_id) for image_id in cohort.table["image_id"]]
    lacking = [
        i for i, name in zip(ids, names, strict=True) if not name or not (cohort.path / name).is_file()
    ]
    if lacking:
        raise DataDoubleError(
            f"{len(lacking)} of {len(ids)} images have no structure file",
            where=f"metadata.csv, {FILE_COLUMN}",
            found=listed(lacking),
            remedy="add the files, drop these rows, or use another rule",
        )


def drawn_classes(mask_classes: Sequence[str], rule: str) -> tuple[str, ...]:
    """Return the class names of a drawn mask: background, the structure where there is one, then the lesion types.

    Raises
    ------
    DataDoubleError
        When the cohort has a lesion type of the structure's name.
    """
    check_rule(rule)
    background, lesions = (mask_classes[0] if mask_classes else "background"), tuple(mask_classes[1:])
    if rule == "none":
        return (background, *lesions)
    if NAMES[rule] in lesions:
        raise DataDoubleError(
            "a mask class has the name of the structure", where="cohort.json, mask_classes", found=NAMES[rule]
        )
    return (background, NAMES[rule], *lesions)


def compose_drawn(lesions: np.ndarray, structure: np.ndarray | None) -> np.ndarray:
    """Return the drawn mask, uint8: the structure is 1 and every lesion id goes up by one; lesions lie on top.

    Parameters
    ----------
    lesions
        (..., h, w) ids of the cohort's mask classes.
    structure
        (..., h, w) bool; None: the drawn mask is the lesion mask.
    """
    if structure is None:
        return lesions.astype(np.uint8)
    return np.where(lesions > 0, lesions + 1, structure).astype(np.uint8)


def lesions_of(drawn: np.ndarray, rule: str) -> np.ndarray:
    """Return the lesion mask in a drawn mask, uint8: `compose_drawn` undone."""
    if rule == "none":
        return drawn.astype(np.uint8)
    return np.where(drawn > 1, drawn - 1, 0).astype(np.uint8)


def interior(lesion: np.ndarray) -> np.ndarray:
    """Return a lesion (h, w) without its outermost pixels, bool; all of it where nothing else would be left.

    A pixel at the border of a lesion in the lung is half air, the more so in small pictures: of where a lesion lies,
    its interior tells.
    """
    from scipy import ndimage

    inner: np.ndarray = ndimage.binary_erosion(lesion > 0, border_value=1)
    return inner if inner.any() else lesion > 0


def listed(names: Sequence[str]) -> str:
    """Return the first ten names, and how many more there are."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
