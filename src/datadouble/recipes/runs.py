"""The run folder, and what of a cohort a run may learn from."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from datadouble import files
from datadouble.cohort import Cohort
from datadouble.cohort.split import units_of
from datadouble.errors import DataDoubleError
from datadouble.recipes.config import build, read_config, read_preset, to_toml

C = TypeVar("C")

MINIMUM_PER_CLASS = 3


def resolve_config(run: Path, recipe: str, kind: type[C], preset: str, overrides: Sequence[str]) -> C:
    """Return the configuration of `run`: its own where it was begun, else the preset's with the overrides.

    Raises
    ------
    DataDoubleError
        When the run is of another recipe, or was begun with another configuration.
    """
    begun = (run / "config.toml").is_file()
    if not begun:
        if run.exists() and any(run.iterdir()):
            raise DataDoubleError(
                "the folder is not empty and is no run", where=run.name, remedy="choose another one"
            )
        values = read_preset(recipe, preset) if preset else {}
        return build(kind, values, overrides)
    values = read_config(run / "config.toml")
    found = values.pop("recipe", "")
    if found != recipe:
        raise DataDoubleError(
            "the run is of another recipe",
            where=run.name,
            found=f"{found}, not {recipe}",
            remedy="choose another folder",
        )
    before = build(kind, values)
    asked = build(kind, read_preset(recipe, preset) if preset else values, overrides)
    if asked != before:
        old, new = to_toml(before).splitlines(), to_toml(asked).splitlines()
        changed = [line for line in new if line not in old]
        raise DataDoubleError(
            "the run was begun with another configuration",
            where=f"{run.name}/config.toml",
            found="now " + ", ".join(changed[:4]),
            remedy="leave out --preset and --set to go on with it, or choose another folder",
        )
    return before


def read_recipe(run: Path) -> str:
    """Return the recipe of a run."""
    return str(read_config(run / "config.toml").get("recipe", ""))


def begin_run(run: Path, recipe: str, config: Any, provenance: dict[str, Any]) -> None:
    """Make the run folder with `config.toml` and `provenance.json`, unless they are there.

    Raises
    ------
    DataDoubleError
        When the run was begun on other training images.
    """
    run.mkdir(parents=True, exist_ok=True)
    if (run / "provenance.json").is_file():
        before = json.loads((run / "provenance.json").read_text())
        if before.get("train_fingerprint") != provenance["train_fingerprint"]:
            raise DataDoubleError(
                "the run was begun on other training images",
                where=run.name,
                found=f"{before.get('train_images')} before, {provenance['train_images']} now",
                remedy="give the cohort that it was begun with, or choose another folder",
            )
    else:
        files.write_json(run / "provenance.json", provenance | {"software": software()})
    if not (run / "config.toml").is_file():
        files.write_text(run / "config.toml", f'recipe = "{recipe}"\n' + to_toml(config))


def software() -> dict[str, str]:
    """Return the versions that made a run."""
    names = ("datadouble", "torch", "numpy", "diffusers")
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Material:
    """What a run learns from, and the validation tenth that it does not."""

    train: Cohort
    validation: Cohort
    classes: tuple[str, ...]

    @property
    def shares(self) -> list[float]:
        """Share of each class in the training images."""
        counts = np.array([(self.train.table["label"] == name).sum() for name in self.classes])
        return (counts / counts.sum()).round(6).tolist()

    def label_indices(self, cohort: Cohort) -> np.ndarray:
        """Return each row's index in `classes`, int64 (n,)."""
        index = {name: i for i, name in enumerate(self.classes)}
        return np.array([index[str(label)] for label in cohort.table["label"]], dtype=np.int64)


def choose_material(cohort: Cohort, classes: Sequence[str], validation_share: float, seed: int) -> Material:
    """Take the train split and carve the validation patients from it.

    Parameters
    ----------
    classes
        Those to learn; empty for all of the cohort.
    validation_share
        Of the images, taken by whole patients and look-alike groups. Holdout and test stay untouched.

    Raises
    ------
    DataDoubleError
        When a real cohort has no splits, or a class has too few images to learn.
    """
    if cohort.has_splits:
        train = cohort.filter(split="train")
    elif cohort.info.origin == "synthetic":
        train = cohort
    else:
        raise DataDoubleError(
            "the cohort has no splits", where=cohort.info.name, remedy="run `datadouble split` first"
        )
    chosen = tuple(classes) or cohort.info.classes
    unknown = sorted(set(chosen) - set(cohort.info.classes))
    if unknown:
        known = ", ".join(cohort.info.classes)
        raise DataDoubleError(
            "unknown classes", where="data.classes", found=", ".join(unknown), remedy=f"use {known}"
        )
    train = train.filter(label=chosen)
    counts = {name: int((train.table["label"] == name).sum()) for name in chosen}
    few = [f"'{name}' has {count}" for name, count in counts.items() if count < MINIMUM_PER_CLASS]
    if few:
        enough = [name for name, count in counts.items() if count >= MINIMUM_PER_CLASS]
        listed = ", ".join(f'"{name}"' for name in enough)
        raise DataDoubleError(
            f"a class needs at least {MINIMUM_PER_CLASS} training images",
            where=cohort.info.name,
            found=", ".join(few),
            remedy=f"leave it out with --set 'data.classes=[{listed}]', or merge it with another",
        )
    held_out = _validation_rows(train, validation_share, seed)
    return Material(train.where(~held_out), train.where(held_out), chosen)


def _validation_rows(train: Cohort, share: float, seed: int) -> np.ndarray:
    """Choose whole patients (and look-alike groups) up to `share` of the images; never a whole class."""
    labels, ids = train.table["label"].to_numpy(), [str(image_id) for image_id in train.table["image_id"]]
    # In the order of a hash of the unit's first image: the same patients whatever the order of the rows.
    units = sorted(
        units_of(train.table), key=lambda rows: files.fingerprint(str(seed), min(ids[row] for row in rows))
    )
    held_out, wanted = np.zeros(len(train), dtype=bool), round(share * len(train))
    for unit in units:
        if held_out.sum() + len(unit) > wanted:
            continue
        left = ~held_out
        left[unit] = False
        if all((labels[left] == name).sum() >= MINIMUM_PER_CLASS for name in set(labels[unit])):
            held_out[unit] = True
        if held_out.sum() >= wanted:
            break
    return held_out


def without_masks(material: Material) -> tuple[str, ...]:
    """Return the classes of which no training picture has a mask: normal controls."""
    table = material.train.table
    masked = set(table["label"][table["mask_file_name"] != ""])
    return tuple(name for name in material.classes if name not in masked)
