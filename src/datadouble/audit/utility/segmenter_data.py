"""What the segmenters are trained and tested on: pictures or whole volumes, by patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from datadouble.audit.utility.inputs import resized
from datadouble.audit.utility.mask_classes import classify_from_masks, typed_masks
from datadouble.audit.utility.runs import digest
from datadouble.errors import DataDoubleError

if TYPE_CHECKING:
    from datadouble.audit.pictures import Pictures
    from datadouble.cohort.cohort import Cohort


@dataclass(frozen=True)
class Cases:
    """Cases with masks.

    ``images`` and ``masks`` are (n, s, s) uint8, or lists of n volumes (d, s, s); ``patients`` (n,) are whose they are,
    ``spacings`` mm (z, y, x) of each volume, None for pictures.
    """

    images: np.ndarray | list[np.ndarray]
    masks: np.ndarray | list[np.ndarray]
    patients: np.ndarray
    spacings: list[tuple[float, float, float]] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def are_volumes(self) -> bool:
        """Whether each case is a volume."""
        return self.spacings is not None

    @property
    def fingerprint(self) -> str:
        """Stands for pixels, masks and patients."""
        if isinstance(self.images, np.ndarray) and isinstance(self.masks, np.ndarray):
            return digest(self.images, self.masks, self.patients)
        parts = [digest(np.asarray(i), np.asarray(m)) for i, m in zip(self.images, self.masks, strict=True)]
        return digest(np.array(parts), self.patients)

    @property
    def lesion_volumes(self) -> np.ndarray:
        """(n,) lesion size of each case: square pixels, or mm³."""
        sizes = np.array([float((np.asarray(mask) > 0).sum()) for mask in self.masks])
        return sizes if self.spacings is None else sizes * [float(np.prod(s)) for s in self.spacings]

    def types(self, classes: int) -> np.ndarray:
        """(n,) type of each case by its true mask; 0: normal."""
        return classify_from_masks(self.masks, classes)

    def slices(self) -> Cases:
        """The slices of volumes as pictures of their own; pictures as they are."""
        if not self.are_volumes:
            return self
        counts = [len(image) for image in self.images]
        return Cases(
            np.concatenate(list(self.images)),
            np.concatenate(list(self.masks)),
            np.repeat(self.patients, counts),
        )

    def only(self, keep: np.ndarray) -> Cases:
        """The cases that a boolean array or an array of indices picks."""
        rows = np.flatnonzero(keep) if np.asarray(keep).dtype == bool else np.asarray(keep)
        if isinstance(self.images, np.ndarray) and isinstance(self.masks, np.ndarray):
            return Cases(self.images[rows], self.masks[rows], self.patients[rows])
        spacings = None if self.spacings is None else [self.spacings[i] for i in rows]
        return Cases(
            [self.images[i] for i in rows], [self.masks[i] for i in rows], self.patients[rows], spacings
        )


def cases_of(pictures: Pictures, size: int, *, types: Mapping[str, int] | None = None) -> Cases:
    """The pictures that have a mask, at the side ``size``.

    Parameters
    ----------
    types : mapping, optional
        Class id of each label: the lesion of a picture takes that of its label. For cohorts whose masks outline a
        lesion without its type. Pictures of other labels are left out.

    Raises
    ------
    DataDoubleError
        Where no picture has a mask.
    """
    keep = np.asarray(pictures.has_mask).copy()
    if types is not None:
        keep &= np.isin(pictures.labels, list(types))
    if pictures.masks is None or not keep.any():
        raise DataDoubleError(
            "no picture has a mask" if types is None else "no picture with a mask has one of the labels",
            where="mask_file_name",
            found="none",
            remedy="segmenters need masks: import them, or choose another cohort",
        )
    chosen = pictures.where(keep)
    assert chosen.masks is not None
    masks = resized(np.asarray(chosen.masks), size, masks=True)
    if types is not None:
        masks = typed_masks(masks, np.array([types[str(label)] for label in chosen.labels]))
    return Cases(resized(np.asarray(chosen.array), size), masks, chosen.groups)


def volumes_of(cohort: Cohort, size: int) -> Cases:
    """The volumes of a cohort, slices at the side ``size``; 16-bit grey levels become 8-bit.

    Raises
    ------
    DataDoubleError
        Where the cohort has no volumes, or one has no mask.
    """
    from datadouble.cohort.volumes import volumes

    images: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    patients, spacings = [], []
    for volume in volumes(cohort, at_size=size):
        image = volume.image
        if image.dtype != np.uint8:
            image = np.round(image.astype(np.float32) * (255 / np.iinfo(image.dtype).max)).astype(np.uint8)
        images.append(image)
        masks.append(np.zeros(image.shape, np.uint8) if volume.mask is None else volume.mask)
        patients.append(volume.patient_id or f"volume:{volume.volume_id}")
        spacings.append(volume.spacing)
    return Cases(images, masks, np.array(patients), spacings)


def check_tests(train: Cases, tests: Mapping[str, Cases], classes: int) -> list[str]:
    """Refuse tests that share patients with the training set or are too small; say what they lack.

    Returns
    -------
    list of str
        Notes: training classes that a test does not show.

    Raises
    ------
    DataDoubleError
        For shared patients, and a test of a single patient: no interval over patients exists.
    """
    notes = []
    known = set(np.unique(train.types(classes))) - {0}
    for name, cases in tests.items():
        shared = len(set(train.patients) & set(cases.patients))
        if shared:
            raise DataDoubleError(
                f"training and {name} test share patients",
                where="patient_id",
                found=f"{shared} in both",
                remedy="split by patient with `datadouble split`, external sites left out of training",
            )
        patients = len(np.unique(cases.patients))
        if patients < 2:
            raise DataDoubleError(
                f"the {name} test has too few patients for an interval",
                where="patient_id",
                found=str(patients),
                remedy="test on sites with at least 2 patients together",
            )
        types = set(np.unique(cases.types(classes))) - {0}
        if not types:
            raise DataDoubleError(
                f"no mask of the {name} test shows a lesion", where="masks", remedy="use another test set"
            )
        missing = sorted(known - types)
        if missing:
            notes.append(
                f"The {name} test shows no case of class {', '.join(map(str, missing))}: its macro F1 is over the "
                "types that it has."
            )
    return notes
