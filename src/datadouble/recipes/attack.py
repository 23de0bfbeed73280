"""Handing a finished run to an attack on its weights.

The attacks themselves live in the audit, which knows no recipes; they come in as `judge`. Here are the weights, the
pictures of the people whom the generator learned from and of others, and a control that the attack must catch.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from datadouble import files
from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for
from datadouble.recipes import recipe_module
from datadouble.recipes.drawing import check_finished
from datadouble.recipes.runs import Material, read_recipe

UNSEEN = ("holdout", "test")  # splits that no part of a fit looks at
CONTROL_PATIENTS = 32  # at most; half of them are planted
CONTROL_PASSES = 60  # over the planted pictures
CONTROL_AUC = 0.9  # from which on the control counts as caught


class Judge(Protocol):
    """What attacks: `datadouble.audit.privacy.model_access.audit_model_access`, or a partial of it."""

    def __call__(
        self,
        model: Any,
        latents: np.ndarray,
        labels: np.ndarray,
        members: np.ndarray,
        patients: np.ndarray,
        *,
        class_names: tuple[str, ...],
        reference: Any,
        seed: int,
        cache_dir: Path | None,
        say: Callable[[str], None] | None,
    ) -> Any:
        """Return what has a `to_json()`."""


class Pictures(NamedTuple):
    """Pictures as the attack sees them: normalised latents (n, c, h, w), classes, whether of members, of whom."""

    latents: np.ndarray
    labels: np.ndarray
    members: np.ndarray
    patients: np.ndarray


class Asked(NamedTuple):
    """What an attack asks a recipe for: see `attack_run`."""

    cache: Path
    seed: int
    checkpoint: str
    member_patients: int


@dataclass(frozen=True)
class AttackMaterial:
    """What a recipe gives.

    Attributes
    ----------
    model, reference
        `DenoisingModel`s; the reference may be None.
    pictures : Pictures
        Of members and others.
    posing : Pictures or None
        Validation patients in the members' place, against as many others: none of them was learned from.
    overfit : callable
        `overfit(latents, labels, images=, seed=)` returns a model trained on these latents alone.
    facts : dict
        For the record.
    """

    model: Any
    reference: Any
    pictures: Pictures
    posing: Pictures | None
    classes: tuple[str, ...]
    overfit: Callable[..., Any]
    facts: dict[str, Any]


class People(NamedTuple):
    """Pictures of members and of others: a view of the cohort, with whether (n,) and of whom (n,) each is."""

    cohort: Cohort
    members: np.ndarray
    patients: np.ndarray


def _silent(_: str) -> None:
    """Say nothing."""


def attack_run(
    run: Path,
    real: Cohort,
    judge: Judge,
    *,
    cache: Path,
    seed: int = 0,
    checkpoint: str = "best",
    member_patients: int = 0,
    control: bool = True,
    say: Callable[[str], None] = _silent,
) -> dict[str, Any]:
    """Attack the weights of a finished run.

    Parameters
    ----------
    run
        Folder of the run.
    real
        The cohort it was fitted on, with its splits. Members are its train split without the run's validation patients;
        others are holdout and test.
    judge
        `audit_model_access`; its settings are given with `functools.partial`.
    cache
        Folder for latents and probes: the same call again goes on where it was cut off.
    checkpoint
        ``"best"``, ``"last"`` or ``"early"``: the one that would be shared.
    member_patients
        Members drawn at random; 0 for as many as there are others, -1 for all.
    control
        Also attack a copy of the network overfitted to some unseen patients, which must be caught, and the run with its
        validation patients posing as members, which must be quiet.

    Returns
    -------
    dict
        The judge's JSON with ``run`` (facts), ``control_overfitted`` and ``control_posing`` beside it.

    Raises
    ------
    DataDoubleError
        When the run is not finished, was fitted on other pictures, or its recipe offers no attack.
    """
    module = recipe_module(read_recipe(run))
    if not hasattr(module, "attack_material"):
        raise DataDoubleError(f"recipe {read_recipe(run)} offers no attack on its weights", where=run.name)
    check_finished(run / getattr(module, "ATTACKED", ""))  # of a run in stages, the one that is attacked
    cache.mkdir(parents=True, exist_ok=True)
    asked = Asked(cache, seed, checkpoint, member_patients)
    material: AttackMaterial = module.attack_material(run, real, asked)
    found = _ask(judge, material, material.model, material.pictures, seed, cache, say)
    overfitted = overfitted_control(material, judge, cache=cache, seed=seed, say=say) if control else None
    posing = posing_control(material, judge, cache=cache, seed=seed, say=say) if control else None
    return {
        **found,
        "run": material.facts,
        "control_overfitted": overfitted,
        "control_posing": posing,
    }


def _ask(
    judge: Judge,
    material: AttackMaterial,
    model: Any,
    pictures: Pictures,
    seed: int,
    cache: Path | None,
    say: Callable[[str], None] | None,
) -> dict[str, Any]:
    found = judge(
        model,
        *pictures,
        class_names=material.classes,
        reference=material.reference,
        seed=seed,
        cache_dir=cache,
        say=say,
    )
    return dict(found.to_json())


def choose_people(
    real: Cohort, split: Material, member_patients: int, seed: int, *, posing: bool = False
) -> People:
    """Take the members and others of a run: whole patients, in the cohort's order.

    Parameters
    ----------
    posing
        Take the validation patients in the members' place, and no more others than these.

    Raises
    ------
    DataDoubleError
        When the cohort has no patients that the run never saw.
    """
    table = real.table
    owners, images = table["patient_id"].to_numpy().astype(str), table["image_id"].to_numpy().astype(str)
    learned = np.isin(images, list((split.validation if posing else split.train).table["image_id"]))
    seen = [*split.train.table["patient_id"], *split.validation.table["patient_id"]]
    unseen = (table["split"].isin(UNSEEN) & table["label"].isin(split.classes)).to_numpy()
    unseen = unseen & ~np.isin(owners, seen)
    if not unseen.any():
        raise DataDoubleError(
            "there are no patients that the run never saw",
            where=real.info.name,
            remedy="split the cohort with a holdout before fitting",
        )
    if posing:
        unseen = _some_patients(unseen, owners, len(np.unique(owners[learned])), seed, "posing")
    else:
        wanted = member_patients or len(np.unique(owners[unseen]))
        learned = _some_patients(learned, owners, wanted, seed, "member patients")
    chosen = learned | unseen
    return People(real.where(chosen), learned[chosen], owners[chosen])


def _some_patients(rows: np.ndarray, owners: np.ndarray, wanted: int, seed: int, key: str) -> np.ndarray:
    """Keep the rows (n,) bool of `wanted` patients, drawn at random; of all where -1 or more than there are."""
    names = np.unique(owners[rows])
    if not 0 <= wanted < len(names):
        return rows
    return rows & np.isin(owners, generator_for(seed, key).permutation(names)[:wanted])


def overfitted_control(
    material: AttackMaterial, judge: Judge, *, cache: Path, seed: int, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """Overfit a copy of the network to half of some unseen patients, one picture each, and attack it.

    Returns
    -------
    dict or None
        ``caught``: whether an attack on single patients reaches `CONTROL_AUC`. None where there are too few patients.
    """
    pictures = material.pictures
    others = np.flatnonzero(~pictures.members)
    _, first = np.unique(pictures.patients[others], return_index=True)
    rows = generator_for(seed, "control").permutation(others[first])[:CONTROL_PATIENTS]
    if len(rows) < CONTROL_PATIENTS // 2:
        return None
    planted = rows[: len(rows) // 2]
    images = CONTROL_PASSES * len(planted)
    key = files.fingerprint(material.model.fingerprint, repr((rows.tolist(), images, seed)))
    noted = cache / f"control-{key}.json"
    if noted.is_file():
        return dict(json.loads(noted.read_text()))
    say(
        f"control: a copy of the network learns {len(planted)} unseen pictures by heart ({images} images to see)"
    )
    model = material.overfit(pictures.latents[planted], pictures.labels[planted], images=images, seed=seed)
    posed = Pictures(
        pictures.latents[rows], pictures.labels[rows], np.isin(rows, planted), pictures.patients[rows]
    )
    found = _ask(judge, material, model, posed, seed, None, None)
    aucs = {attack["name"]: attack["auc"] for attack in found["attacks"]}
    best = max(aucs, key=lambda name: aucs[name]["value"])
    control = {
        "planted": len(planted),
        "others": len(rows) - len(planted),
        "images_seen": images,
        "strongest": best,
        "auc": aucs,
        "caught": bool(aucs[best]["value"] >= CONTROL_AUC),
        "dataset_inference_p": found["dataset_inference"]["p_value"],
    }
    files.write_json(noted, control)
    return control


def posing_control(
    material: AttackMaterial, judge: Judge, *, cache: Path, seed: int, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """Attack the run with its validation patients in the members' place: what is found is not membership.

    Validation patients come from the same split as the members and were never learned from (they chose the checkpoint).

    Returns
    -------
    dict or None
        ``quiet``: whether nothing was found. None where there are too few validation patients.
    """
    posing = material.posing
    if posing is None or len(np.unique(posing.patients[posing.members])) < CONTROL_PATIENTS // 4:
        return None
    say("control: validation patients pose as members")
    found = _ask(judge, material, material.model, posing, seed, cache, say)
    return {
        "posing": found["member_patients"],
        "others": found["other_patients"],
        "auc": {attack["name"]: attack["auc"] for attack in found["attacks"]},
        "quiet": found["finding"] == "not found",
        "reasons": found["reasons"],
        "dataset_inference_p": found["dataset_inference"]["p_value"],
    }
