"""Classification read from masks, and how predicted volumes are cleaned before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datadouble.errors import DataDoubleError

LEAST_SLICES = 3


def classify_from_masks(masks: Sequence[np.ndarray] | np.ndarray, classes: int) -> np.ndarray:
    """The type of each case: the class that most voxels outside the background have; 0, normal, where none is drawn.

    Parameters
    ----------
    masks : sequence of ndarray, or ndarray
        One mask of class ids for each case, (h, w) or (d, h, w).
    classes : int
        With the background.

    Returns
    -------
    ndarray
        (cases,) int64. Of classes with equally many voxels the lowest.
    """
    found = np.zeros(len(masks), np.int64)
    for case, mask in enumerate(masks):
        counts = voxel_counts(mask, classes)[1:]
        found[case] = 1 + int(np.argmax(counts)) if counts.any() else 0
    return found


def voxel_counts(mask: np.ndarray, classes: int) -> np.ndarray:
    """(classes,): voxels of each class.

    Raises
    ------
    DataDoubleError
        Where an id is not below ``classes``.
    """
    counts = np.bincount(np.asarray(mask).ravel(), minlength=classes)
    if len(counts) > classes:
        raise DataDoubleError(
            "a mask has a class that was not declared",
            where="masks",
            found=f"id {len(counts) - 1} of {classes} classes",
            remedy="declare every class, background first",
        )
    return counts


def clean_volume(mask: np.ndarray, *, least_slices: int = LEAST_SLICES) -> np.ndarray:
    """The paper's post-processing of a predicted volume: one lesion of one type, or none.

    Lesion voxels of any type are joined into components (26 neighbours); those on fewer slices are dropped, the one
    with the most voxels is kept, and all of it takes the type of most of its voxels.

    Parameters
    ----------
    mask : ndarray
        (d, h, w) class ids.
    least_slices : int
        Slices on which a component must be; a volume of fewer slices asks for all of its own.
    """
    from scipy.ndimage import find_objects, label

    if mask.ndim != 3:
        raise DataDoubleError(
            "post-processing needs volumes",
            where="masks",
            found=f"shape {mask.shape}",
            remedy="stack the slices",
        )
    parts, count = label(mask > 0, np.ones((3, 3, 3), int))
    cleaned = np.zeros_like(mask)
    if count == 0:
        return cleaned
    needed = min(least_slices, mask.shape[0])
    tall = [place[0].stop - place[0].start >= needed for place in find_objects(parts)]
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:] * np.array(tall)
    if not sizes.any():
        return cleaned
    kept = parts == 1 + int(np.argmax(sizes))
    types = np.bincount(mask[kept])
    types[0] = 0
    cleaned[kept] = int(np.argmax(types))
    return cleaned


def typed_masks(masks: np.ndarray, types: np.ndarray) -> np.ndarray:
    """Lesion masks (n, h, w) whose lesion takes the class id of its picture's type (n,): one label for each lesion.

    For cohorts such as BUS-BRA, which outline a lesion and grade it, but do not say so in the mask.
    """
    return (np.asarray(masks) > 0).astype(np.uint8) * np.asarray(types, np.uint8)[:, None, None]
