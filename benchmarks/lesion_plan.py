"""What lesion_folds.py and lesion_table.py share: the plan, how patients are dealt to folds, and reading them back."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from datadouble import files
from datadouble.audit.pictures import Pictures, read_pictures
from datadouble.audit.utility.inputs import resized
from datadouble.audit.utility.segmenter_data import Cases
from datadouble.cohort import Cohort
from datadouble.cohort.split import counted_units, deal, units_of
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for, seed_for
from datadouble.recipes.drawing import with_tuples
from datadouble.recipes.lesion.backgrounds import people_of

ABLATIONS = {"no-placement": ("placement",), "no-repair": ("repair",)}
ON_REAL = "real"  # and what begins so: lesions in real healthy scans
# The last three train no segmenter: they are for the discriminator, which tells synthetic scans from real ones whatever
# lies in them.
LESION_DOUBLES = (
    "synthetic",
    *ABLATIONS,
    "no-lora",
    ON_REAL,
    *(f"{ON_REAL}-{name}" for name in (*ABLATIONS, "no-lora")),
)
SCAN_RECIPES = ("coldit", "diffguard")
PLAN, COST = "plan.json", "cost.json"  # in OUT; in each fold


@dataclass(frozen=True)
class Plan:
    """What an OUT folder was made with; `cohort` and `backgrounds` are fingerprints, or the recipe's name."""

    cohort: str
    name: str
    folds: int
    seed: int
    preset: str
    overrides: tuple[str, ...]
    healthy: str
    classes: tuple[str, ...]
    size: int
    backgrounds: str
    scan_preset: str
    scan_overrides: tuple[str, ...]
    scans: int
    per_class: int
    fractions: tuple[float, ...]


def folder_of(out: Path, fold: int) -> Path:
    """The folder of a fold."""
    return out / f"fold-{fold}"


def part_name(name: str, fraction: float) -> str:
    """The name of what is made of a share of a fold's train patients."""
    return name if fraction == 1 else f"{name}-{100 * fraction:g}"


def read_plan(out: Path) -> Plan:
    """Read what an OUT folder was made with.

    Raises
    ------
    DataDoubleError
        Where there is no plan.
    """
    if not (out / PLAN).is_file():
        raise DataDoubleError(
            "there are no folds", where=out.name, remedy="make them with benchmarks/lesion_folds.py"
        )
    values = json.loads((out / PLAN).read_text())
    return Plan(**with_tuples(values))


def rows_fingerprint(table: pd.DataFrame) -> str:
    """Stands for the pictures' ids, labels, patients and look-alike groups."""
    return files.fingerprint(
        *(
            table[column].str.cat(sep="\n")
            for column in ("image_id", "label", "patient_id", "duplicate_group")
        )
    )


def folds_of(table: pd.DataFrame, folds: int, seed: int) -> np.ndarray:
    """Deal units (rows linked by patient or look-alike group) to folds, the classes balanced: int (n,).

    Raises
    ------
    DataDoubleError
        Where a class has fewer units than there are folds.
    """
    units = counted_units(table)
    counts = np.array([unit.counts for unit in units])  # (units, classes + 1)
    names, having = sorted(set(table["label"])), (counts > 0).sum(axis=0)
    few = [f"'{name}' has {n}" for name, n in zip(names, having) if n < folds]
    if folds < 2 or few:
        raise DataDoubleError(
            "a class has fewer patients than there are folds" if few else "two folds are the least",
            where="--folds",
            found=", ".join(few) or str(folds),
            remedy="ask for fewer folds, or leave the class out of the cohort" if few else "ask for more",
        )
    order = sorted(units, key=lambda unit: (-len(unit.rows), seed_for(seed, "fold", unit.name)))
    place = np.empty(len(table), np.int64)
    for unit, fold in zip(order, deal(order, np.tile(counts.sum(axis=0) / folds, (folds, 1))), strict=True):
        place[list(unit.rows)] = fold
    return place


def share_of(table: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """Boolean (n,): rows of a share of the units, of each class alike; larger shares hold smaller ones."""
    labels, ids = table["label"].astype(str).to_numpy(), table["image_id"].astype(str).to_numpy()
    keep = np.zeros(len(table), bool)
    first = {min(ids[row] for row in rows): rows for rows in units_of(table)}
    of = {name: labels[rows[0]] for name, rows in first.items()}
    for label in sorted(set(of.values())):
        names = sorted(name for name in first if of[name] == label)
        for name in generator_for(seed, "share", label).permutation(names)[: round(fraction * len(names))]:
            keep[first[str(name)]] = True
    return keep


class Arm(NamedTuple):
    """A row of the table: what joins the real pictures, and the share of train patients that they are of."""

    words: str
    double: str  # empty: nothing joins
    fraction: float = 1.0

    @property
    def name(self) -> str:
        """Safe as a file's name."""
        return part_name(f"real+{self.double}" if self.double else "real", self.fraction)


def arms_of(fractions: Sequence[float]) -> list[Arm]:
    """All trainings of a fold; the whole real set first."""
    arms = [
        arm
        for fraction in sorted(fractions, reverse=True)
        for arm in (
            Arm("real alone", "", fraction),
            Arm("real + classical augmentation", "augment", fraction),
            Arm("real + lesions on synthetic scans", "synthetic", fraction),
        )
    ]
    more = {"real": "real + lesions on real scans"} | {
        name: f"real + lesions on synthetic scans, {name.replace('-', ' ').replace('lora', 'LoRA')}"
        for name in (*ABLATIONS, "no-lora")
    }
    return arms + [Arm(words, double) for double, words in more.items()]


@dataclass(frozen=True)
class Fold:
    """A fold's pictures at the recipe's side: real ones (``patients`` are units), doubles' lesions, and shares."""

    number: int
    train: Pictures
    test: Pictures
    doubles: dict[str, Pictures]
    shares: dict[float, np.ndarray]


def read_fold(out: Path, plan: Plan, number: int, fractions: Sequence[float], cache: Path) -> Fold:
    """Read a fold and all its doubles.

    Raises
    ------
    DataDoubleError
        For a fold or double that is missing or another than its name says.
    """
    folder = folder_of(out, number)
    cohort = _open(folder / "cohort", number)
    pictures = read_pictures(cohort, plan.size, cache_dir=cache / "pictures")
    ids, unit = cohort.table["image_id"].to_numpy(), np.empty(len(cohort), dtype=object)
    for rows in units_of(cohort.table):
        unit[rows] = min(ids[row] for row in rows)
    pictures = replace(pictures, patients=unit[pictures.rows].astype(str))
    is_test = (cohort.table["split"] == "test").to_numpy()[pictures.rows]
    train = pictures.where(~is_test)
    shares, doubles = {}, {}
    for fraction in fractions:
        part = _open(folder / part_name("cohort", fraction), number)
        shares[fraction] = np.isin(train.image_ids, part.filter(split="train").table["image_id"])
        doubles[part_name("augment", fraction)] = "augment"
    for name in [*doubles, *LESION_DOUBLES]:
        double = _open(folder / name, number)
        _check_double(double, name, number)
        found = read_pictures(double.filter(label=plan.classes), plan.size, cache_dir=cache / "pictures")
        people = _people(found, cohort, plan, number, name)
        doubles[name] = replace(found, patients=people)
    return Fold(number, train, pictures.where(is_test), doubles, shares)


def _open(path: Path, number: int) -> Cohort:
    if not (path / "cohort.json").is_file():
        raise DataDoubleError(
            f"a fold has no '{path.name}', or it is not finished",
            where=f"fold {number}",
            remedy=f"run benchmarks/lesion_folds.py with --only-fold {number} again: it goes on",
        )
    return Cohort.open(path)


def _check_double(double: Cohort, name: str, number: int) -> None:
    facts = double.info.generator or {}
    expected = {"recipe": "lesion", "skipped": list(ABLATIONS.get(name.removeprefix(f"{ON_REAL}-"), ()))}
    expected["backgrounds_origin"] = "real" if name.startswith(ON_REAL) else "synthetic"
    if name.startswith("augment"):
        expected = {"recipe": "augment"}
    wrong = [f"{key} {facts.get(key)}" for key, value in expected.items() if facts.get(key) != value]
    if wrong:
        raise DataDoubleError(
            "a double is not what its name says",
            where=f"fold {number}, {name}",
            found=", ".join(wrong),
            remedy="remove it and make the fold again",
        )


def _people(double: Pictures, cohort: Cohort, plan: Plan, number: int, name: str) -> np.ndarray:
    """Whose scans a double shows, (n,): one name for one real patient, or shared scan, in all folds."""
    if name.startswith(ON_REAL):
        # As recipe lesion numbers them; a patient's scans are in the doubles of several folds.
        healthy = cohort.filter(split="train", label=plan.healthy).table
        patients, ids = healthy["patient_id"].astype(str).to_numpy(), healthy["image_id"].astype(str).tolist()
        numbers = people_of(patients, ids)
        of = {
            f"synthetic-scan-{person:05d}": patient or f"scan {one}"
            for person, patient, one in zip(numbers, patients, ids, strict=True)
        }
        return np.array([of[patient] for patient in double.patients])
    if name.startswith("augment") or plan.backgrounds in SCAN_RECIPES:
        return np.array([f"fold {number}: {patient}" for patient in double.patients])
    return double.patients


def check_folds(folds: Sequence[Fold], plan: Plan) -> None:
    """Refuse folds that test a picture twice or never, or whose training holds a test patient or picture.

    Raises
    ------
    DataDoubleError
    """
    tested = Counter(name for fold in folds for name in fold.test.image_ids)
    everything = {*folds[0].train.image_ids, *folds[0].test.image_ids}
    faults = []
    if len(folds) == plan.folds and (set(tested) != everything or set(tested.values()) != {1}):
        faults.append("the test folds do not hold each picture once")
    for fold in folds:
        if set(fold.train.patients) & set(fold.test.patients):
            faults.append(f"fold {fold.number}: patients in training and test")
        seen = {image.tobytes() for image in fold.test.array if np.ptp(image)}
        for name, pictures in {"train": fold.train, **fold.doubles}.items():
            copies = sum(image.tobytes() in seen for image in pictures.array)
            if copies:
                faults.append(f"fold {fold.number}: {copies} test pictures in {name}")
    if faults:
        raise DataDoubleError(
            "the folds leak",
            where="check of the folds",
            found="; ".join(faults),
            remedy="look for duplicates with `datadouble check` and make the folds again",
        )


def cases_of(pictures: Pictures, healthy: str, side: int) -> Cases:
    """Pictures with their lesions as class 1, healthy ones (with a mask or without) with none."""
    kept = pictures.where(pictures.has_mask | (pictures.labels == healthy))
    masks = np.zeros_like(kept.array) if kept.masks is None else np.asarray(kept.masks)
    # Where a cohort's ids are types, each is a lesion.
    lesions = (resized(masks, side, masks=True) > 0).astype(np.uint8)
    return Cases(resized(np.asarray(kept.array), side), lesions, kept.groups)


def training_of(fold: Fold, arm: Arm, healthy: str, side: int) -> Cases:
    """What an arm trains on in a fold."""
    parts = [cases_of(fold.train.where(fold.shares[arm.fraction]), healthy, side)]
    if arm.double:
        name = part_name("augment", arm.fraction) if arm.double == "augment" else arm.double
        parts.append(cases_of(fold.doubles[name], healthy, side))
    return Cases(
        *(np.concatenate([getattr(part, key) for part in parts]) for key in ("images", "masks", "patients"))
    )


def pooled(parts: Sequence[Pictures]) -> Pictures:
    """Pictures of several folds, one after the other."""
    columns = ("array", "has_mask", "image_ids", "patients", "labels", "rows")
    joined = {key: np.concatenate([getattr(part, key) for part in parts]) for key in columns}
    return Pictures(masks=None, **joined)
