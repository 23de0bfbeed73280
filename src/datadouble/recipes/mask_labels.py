"""The class of a picture, read from its lesion mask: how a generator without classes labels what it draws."""

from collections.abc import Sequence

import numpy as np

from datadouble.cohort.structure import lesions_of
from datadouble.errors import DataDoubleError
from datadouble.training.pixels import PixelStore

AGREEMENT = 0.95  # share of a lesion type's training images that must be of one class
NO_CLASS = -1


def leading_lesion(lesions: np.ndarray) -> np.ndarray:
    """Return the lesion id that covers most of each mask (b, h, w), int64 (b,); 0 where there is none."""
    most = int(lesions.max(initial=0)) + 1
    flat = lesions.reshape(len(lesions), -1).astype(np.int64)
    counts = np.bincount(
        (flat + most * np.arange(len(flat))[:, None]).ravel(), minlength=most * len(flat)
    ).reshape(len(flat), most)
    counts[:, 0] = 0
    return np.where(counts.any(axis=1), counts.argmax(axis=1), 0)


def labels_by_mask(store: PixelStore, labels: np.ndarray, classes: Sequence[str]) -> tuple[int, ...]:
    """Learn which class each leading lesion type stands for.

    Parameters
    ----------
    labels
        (n,) index of each training image's class.

    Returns
    -------
    tuple of int
        Index of the class for lesion ids 0 (none), 1, ...; -1 where no training image has it.

    Raises
    ------
    DataDoubleError
        Where the pictures of a lesion type are of several classes.
    """
    offset = 0 if store.structure == "none" else 1
    leading = np.concatenate(
        [
            leading_lesion(lesions_of(store.masks[start : start + 256], store.structure))
            for start in range(0, len(store), 256)
        ]
    )
    found, faults = [], []
    for lesion in range(len(store.classes) - offset):
        here = labels[leading == lesion]
        if not len(here):
            found.append(NO_CLASS)
            continue
        counts = np.bincount(here, minlength=len(classes))
        found.append(int(counts.argmax()))
        # A small lesion may vanish as its picture is made smaller, so an empty mask proves nothing alone.
        if counts.max() < AGREEMENT * len(here):
            name = store.classes[lesion + offset] if lesion else "no lesion"
            listed = ", ".join(f"{classes[i]}: {n}" for i, n in enumerate(counts) if n)
            faults.append(f"{name} ({listed})")
    if faults:
        raise DataDoubleError(
            "the class cannot be read from the mask",
            where="data.conditional",
            found="; ".join(faults),
            remedy="fit with data.conditional=true",
        )
    return tuple(found)


def labels_by_name(
    mask_classes: Sequence[str], classes: Sequence[str], known: Sequence[str]
) -> tuple[int, ...]:
    """Say which class each leading lesion type stands for by its name alone, as a private run must: no mask is asked.

    Parameters
    ----------
    mask_classes
        Of the cohort, ``"background"`` first.
    classes, known
        Those that are learned, and all of the cohort.

    Returns
    -------
    tuple of int
        As of `labels_by_mask`; no lesion stands for the one class that no lesion is named after.

    Raises
    ------
    DataDoubleError
        Where a lesion type has no class of its name, or several classes no lesion type.
    """
    names, lesions = [name.casefold() for name in classes], [name.casefold() for name in mask_classes[1:]]
    unknown = [name for name in lesions if name not in [one.casefold() for one in known]]
    bare = [i for i, name in enumerate(names) if name not in lesions]
    if unknown or len(bare) > 1:
        raise DataDoubleError(
            "the class cannot be told by the lesion's name, and a private run asks no mask",
            where="data.conditional",
            found=", ".join(unknown or [classes[i] for i in bare]),
            remedy="set data.conditional=true",
        )
    found = [names.index(name) if name in names else NO_CLASS for name in lesions]
    return (bare[0] if bare else NO_CLASS, *found)


def read_labels(lesions: np.ndarray, mask_labels: Sequence[int]) -> np.ndarray:
    """Return the class (b,) of each lesion mask (b, h, w) by its leading lesion; -1 where it stands for none."""
    return np.asarray(mask_labels, dtype=np.int64)[leading_lesion(lesions)]
