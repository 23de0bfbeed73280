"""The healthy scans that lesions are drawn into: real ones or synthetic ones, and never confused."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from datadouble import files
from datadouble.cohort import Cohort
from datadouble.cohort.pixels import fit_square, to_unit
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for

ENLARGED = 2.0  # times, at most: a lesion's texture in tissue that is blurred further gives it away


@dataclass(frozen=True)
class Backgrounds:
    """Healthy scans at one size.

    Attributes
    ----------
    images
        uint8 (n, s, s).
    ids
        Of each.
    synthetic
        Whether no pixel of them is a patient's: the cohort's origin is ``"synthetic"`` and it does not say otherwise.
    name
        Of the cohort.
    people
        Numbers, one a patient (of a synthetic scan, an invented one), in no order: pictures drawn into scans of one
        patient belong together.
    """

    images: np.ndarray
    ids: tuple[str, ...]
    synthetic: bool
    name: str
    people: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def fingerprint(self) -> str:
        """Of all pixels, in their order."""
        return files.fingerprint(*(image.tobytes() for image in self.images))

    def choose(self, place: int, seed: int) -> int:
        """Return the scan of place `place` in an endless row of shuffled passes: all are used equally often."""
        turn, inside = divmod(place, len(self))
        return int(generator_for(seed, "backgrounds", turn).permutation(len(self))[inside])


def read_backgrounds(cohort: Cohort, *, healthy: str, size: int, modality: str) -> Backgrounds:
    """Read the healthy scans of a cohort.

    Of a real cohort with splits the train split is taken: scans of the holdout and test patients in a double would
    make its audit and its use worthless.

    Every scan is brought to `size`, as the lesions were, so that none is smaller than a lesion (whether its tissue has
    room for one is another question, see `room`); but a small one is enlarged, and holds no detail.

    Parameters
    ----------
    healthy
        The class without lesions.
    size
        Side of the pictures as drawn, pixels.
    modality
        That lesions were learned from.

    Raises
    ------
    DataDoubleError
        When there is no healthy scan, one would be enlarged more than `ENLARGED` times, or the modality is another.
    """
    info = cohort.info
    if info.modality != modality:
        raise DataDoubleError(
            "the healthy scans are of another modality",
            where=info.name,
            found=f"{info.modality}, lesions of {modality}",
            remedy="give a cohort of the modality that the run was fitted on",
        )
    chosen = cohort.filter(split="train") if cohort.has_splits else cohort
    rows = np.flatnonzero((chosen.table["label"] == healthy).to_numpy())
    if not len(rows):
        raise DataDoubleError(
            f"there are no healthy scans of class '{healthy}'",
            where=info.name + (", split train" if cohort.has_splits else ""),
            found=f"classes {', '.join(info.classes)}",
            remedy="give another cohort with --backgrounds, or fit with data.healthy set to the name of the class",
        )
    images, small = np.empty((len(rows), size, size), dtype=np.uint8), []
    ids = tuple(str(chosen.table["image_id"].iloc[row]) for row in rows)
    for i, row in enumerate(rows):
        image = chosen.image(int(row))
        if ENLARGED * min(image.shape[:2]) < size:
            small.append(f"{ids[i]} ({image.shape[1]}x{image.shape[0]})")
        images[i] = np.round(to_unit(fit_square(image, size)) * 255).astype(np.uint8)
    if small:
        raise DataDoubleError(
            f"{len(small)} healthy scans are too small for the lesions: enlarged more than {ENLARGED:g} times, they "
            "are blurred and the lesions are not",
            where=info.name,
            found=", ".join(small[:5]) + f"; pictures are drawn at {size}x{size}",
            remedy=f"give scans of at least {int(np.ceil(size / ENLARGED))} pixels a side, or drop these rows",
        )
    synthetic = info.origin == "synthetic" and not info.contains_real_pixels
    patients = chosen.table["patient_id"].to_numpy()[rows].astype(str)
    return Backgrounds(images, ids, synthetic, info.name, people_of(patients, ids))


def people_of(patients: Sequence[str], ids: Sequence[str]) -> tuple[int, ...]:
    """Return a number for each patient, shuffled; a scan without a patient is its own."""
    names = [patient or f"scan {one}" for patient, one in zip(patients, ids, strict=True)]
    distinct, codes = np.unique(names, return_inverse=True)
    order = generator_for(0, "people").permutation(len(distinct))
    return tuple(int(order[code]) for code in codes)


def refuse_without(healthy: str) -> NoReturn:
    """Say both ways to give healthy scans.

    Raises
    ------
    DataDoubleError
        Always.
    """
    raise DataDoubleError(
        "say which healthy scans the lesions are drawn into",
        where="generate",
        found="no --backgrounds",
        remedy=(
            f"--backgrounds DOUBLE, a synthetic cohort with class '{healthy}' such as a CoLDiT double, makes a double "
            "that can be released; --backgrounds COHORT, real scans, one for your own training set that the release "
            "gate refuses, for it holds patients' pixels"
        ),
    )
