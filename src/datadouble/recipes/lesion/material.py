"""What the stages of recipe ``lesion`` learn from: all pictures at one size, each with its lesion."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datadouble.cohort import Cohort, CohortInfo
from datadouble.cohort.pixels import fit_square, to_unit
from datadouble.cohort.split import units_of
from datadouble.errors import DataDoubleError
from datadouble.recipes.lesion.descriptors import MINIMUM_AREA, largest_lesion
from datadouble.recipes.runs import MINIMUM_PER_CLASS, Material, choose_material

HEALTHY = -1  # label of a picture without a lesion
MINIMUM_LESIONS = 4  # a class with fewer is no distribution


@dataclass(frozen=True)
class DataOptions:
    """Section ``[data]``."""

    size: int = 128  # pixels; the whole picture is brought to a square
    patch: int = 48  # side of a lesion's crop as it is drawn, in pixels
    healthy: str = "normal"  # the class without a lesion
    classes: tuple[str, ...] = ()  # lesion classes to learn; empty: all but the healthy one
    validation_share: float = 0.1  # of the train images, by patient
    stages: tuple[str, ...] = ("lesion", "placement", "repair", "verify")  # which are trained
    seed: int = 0  # of the validation patients


@dataclass(frozen=True)
class Pictures:
    """Pictures at one size.

    Attributes
    ----------
    images
        uint8 (n, s, s).
    masks
        bool (n, s, s): the largest lesion; empty where a picture is healthy.
    others
        bool (n, s, s): whatever else the cohort's mask marks, smaller lesions and specks: tissue that is not healthy.
    labels
        int64 (n,): index of the lesion class, or `HEALTHY`.
    ids, patients
        Of each picture.
    units
        Of each picture: what must not be divided, a patient with those whose pictures look alike. Empty: the patients.
    """

    images: np.ndarray
    masks: np.ndarray
    others: np.ndarray
    labels: np.ndarray
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.units:
            object.__setattr__(self, "units", self.patients)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def lesions(self) -> np.ndarray:
        """Rows with a lesion, int64."""
        return np.flatnonzero(self.labels != HEALTHY)

    @property
    def healthy(self) -> np.ndarray:
        """Rows without one, int64."""
        return np.flatnonzero(self.labels == HEALTHY)

    def take(self, rows: np.ndarray) -> "Pictures":
        """Return some rows."""
        return Pictures(
            self.images[rows],
            self.masks[rows],
            self.others[rows],
            self.labels[rows],
            tuple(self.ids[row] for row in rows),
            tuple(self.patients[row] for row in rows),
            tuple(self.units[row] for row in rows),
        )


@dataclass(frozen=True)
class LesionMaterial:
    """What a run learns from.

    Attributes
    ----------
    train, validation
        Patients of the train split; a validation tenth of them is not learned from.
    classes
        Lesion classes, in the cohort's order; `Pictures.labels` are their indices.
    mask_ids
        Of each class, the id that its lesions have in the cohort's masks.
    shares
        Of the healthy class and then of each lesion class in the training pictures.
    chosen
        The same as a part of the cohort, for provenance.
    """

    train: Pictures
    validation: Pictures
    classes: tuple[str, ...]
    mask_ids: tuple[int, ...]
    shares: tuple[float, ...]
    healthy: str
    info: CohortInfo
    chosen: Material


def read_material(cohort: Cohort, data: DataOptions) -> LesionMaterial:
    """Read the train split of a cohort at `data.size`; splits, classes and masks are checked first.

    Raises
    ------
    DataDoubleError
        When the cohort has no lesion class or no masks, a lesion has no mask or one of a few pixels, a class has too
        few lesions, or `data.healthy` is among `data.classes`.
    """
    classes = tuple(data.classes) or tuple(name for name in cohort.info.classes if name != data.healthy)
    if not classes or data.healthy in classes:
        raise DataDoubleError(
            "there is no lesion class to learn"
            if not classes
            else f"'{data.healthy}' is the healthy class: no lesion can be drawn of it",
            where="data.classes",
            found=", ".join(cohort.info.classes),
            remedy="name the lesion classes in data.classes and the healthy one in data.healthy",
        )
    _check_counts(cohort, classes)
    wanted = learned_classes(cohort, data, classes)
    material = choose_material(cohort, wanted, data.validation_share, data.seed)
    _check_masks(material, classes)
    learned, ids = _read(material.train, classes, data)
    validation, _ = _read(material.validation, classes, data)
    _refuse_small(learned, cohort.info.name)
    _refuse_small(validation, cohort.info.name)
    healthy = (learned.labels == HEALTHY).mean()
    shares = [healthy, *((learned.labels == i).mean() for i in range(len(classes)))]
    return LesionMaterial(
        learned,
        validation,
        classes,
        ids,
        tuple(round(float(share), 6) for share in shares),
        data.healthy,
        cohort.info,
        material,
    )


def learned_classes(cohort: Cohort, data: DataOptions, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the lesion classes, before them the healthy one where there are enough scans of it."""
    train = cohort.filter(split="train") if cohort.has_splits else cohort
    # One or two healthy scans teach nothing, and a cohort with none is welcome.
    has_healthy = (train.table["label"] == data.healthy).sum() >= MINIMUM_PER_CLASS
    return ((data.healthy,) if has_healthy else ()) + classes


def read_lesions(cohort: Cohort, classes: Sequence[str], data: DataOptions) -> tuple[Pictures, Cohort]:
    """Return the pictures of a cohort whose masks show a lesion, and the cohort of these alone."""
    pictures, _ = _read(cohort, classes, data)
    rows = (pictures.labels != HEALTHY) & (pictures.masks.sum(axis=(1, 2)) >= MINIMUM_AREA)
    return pictures.take(np.flatnonzero(rows)), cohort.where(rows)


def _check_counts(cohort: Cohort, classes: Sequence[str]) -> None:
    """Refuse unknown classes and those with too few training pictures."""
    unknown = sorted(set(classes) - set(cohort.info.classes))
    if unknown:
        raise DataDoubleError(
            "unknown classes",
            where="data.classes",
            found=", ".join(unknown),
            remedy=f"use {', '.join(cohort.info.classes)}",
        )
    train = cohort.filter(split="train") if cohort.has_splits else cohort
    _refuse_few({name: int((train.table["label"] == name).sum()) for name in classes}, cohort.info.name)


def _refuse_few(counts: dict[str, int], where: str) -> None:
    few = [f"'{name}' has {count}" for name, count in counts.items() if count < MINIMUM_LESIONS]
    if few:
        enough = [name for name, count in counts.items() if count >= MINIMUM_LESIONS]
        listed = ", ".join(f'"{name}"' for name in enough)
        raise DataDoubleError(
            f"a class needs at least {MINIMUM_LESIONS} lesions to learn from",
            where=where,
            found=", ".join(few),
            remedy=f"leave it out with --set 'data.classes=[{listed}]', or merge it with another",
        )


def _check_masks(material: Material, classes: Sequence[str]) -> None:
    """Name every lesion without a mask."""
    info = material.train.info
    lacking: list[str] = []
    for part in (material.train, material.validation):
        table = part.table
        without = table[table["label"].isin(list(classes)) & (table["mask_file_name"] == "")]
        lacking += [str(image_id) for image_id in without["image_id"]]
    if len(info.mask_classes) < 2 or lacking:
        listed = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
        raise DataDoubleError(
            "lesions have no masks: where they are cannot be learned",
            where=f"{info.name}, mask_file_name",
            found=listed or "no mask classes",
            remedy="add the masks, or drop these rows",
        )


def _read(cohort: Cohort, classes: Sequence[str], data: DataOptions) -> tuple[Pictures, tuple[int, ...]]:
    """Return the pictures of a part, and the mask id of each class: the one that most of its lesions' pixels have."""
    index = {name: i for i, name in enumerate(classes)}
    labels = np.array([index.get(str(label), HEALTHY) for label in cohort.table["label"]], dtype=np.int64)
    images, ids = (np.zeros((len(cohort), data.size, data.size), dtype=np.uint8) for _ in range(2))
    counts = np.zeros((len(classes), max(len(cohort.info.mask_classes), 2)), dtype=np.int64)
    for row in range(len(cohort)):
        images[row] = np.round(to_unit(fit_square(cohort.image(row), data.size)) * 255).astype(np.uint8)
        found = cohort.mask(row)
        if found is None:
            continue
        ids[row] = fit_square(found, data.size, mask=True)
        if labels[row] != HEALTHY:
            counts[labels[row]] += np.bincount(ids[row].ravel(), minlength=counts.shape[1])[: counts.shape[1]]
    mask_ids = tuple(int(row[1:].argmax()) + 1 for row in counts)
    masks = np.zeros(ids.shape, dtype=bool)
    for row in np.flatnonzero(labels != HEALTHY).tolist():
        own = ids[row] == mask_ids[labels[row]]
        masks[row] = largest_lesion(own if own.any() else ids[row] > 0)
    others = (ids > 0) & ~masks
    text = tuple(str(image_id) for image_id in cohort.table["image_id"])
    patients = tuple(
        str(patient) or f"picture {name}"
        for patient, name in zip(cohort.table["patient_id"], text, strict=True)
    )
    units = list(patients)
    for together in units_of(cohort.table):
        for row in together:
            units[row] = min(patients[one] for one in together)
    return Pictures(images, masks, others, labels, text, patients, tuple(units)), mask_ids


def _refuse_small(pictures: Pictures, where: str) -> None:
    """Name every lesion of hardly a pixel."""
    areas = pictures.masks.sum(axis=(1, 2))
    small = np.flatnonzero((pictures.labels != HEALTHY) & (areas < MINIMUM_AREA))
    if len(small):
        names = [f"{pictures.ids[row]} ({areas[row]} pixels)" for row in small[:5]]
        side = pictures.masks.shape[1]
        raise DataDoubleError(
            f"{len(small)} lesions have fewer than {MINIMUM_AREA} pixels at {side}x{side}",
            where=where,
            found=", ".join(names) + (f" and {len(small) - 5} more" if len(small) > 5 else ""),
            remedy="raise data.size, or drop these rows",
        )
