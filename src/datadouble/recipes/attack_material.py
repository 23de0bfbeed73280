"""What an attack on weights needs of any run whose network removes noise: see `datadouble.recipes.attack`.

A recipe says how a checkpoint becomes a `Denoiser` and how pictures become what the network sees; who is a member, who
is not, who poses and what the reference is follow from the run alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from datadouble import files
from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.recipes.attack import Asked, AttackMaterial, People, Pictures, choose_people
from datadouble.recipes.denoiser import Denoiser
from datadouble.recipes.runs import Material, choose_material


def split_of(
    run: Path, real: Cohort, classes: tuple[str, ...], validation_share: float, seed: int
) -> Material:
    """Carve the run's training and validation patients from the cohort anew, as `fit` did.

    Raises
    ------
    DataDoubleError
        When the run learned from other pictures.
    """
    split = choose_material(real, classes, validation_share, seed)
    provenance = json.loads((run / "provenance.json").read_text())
    found = files.fingerprint("\n".join(sorted(split.train.table["image_id"])))
    if found != provenance["train_fingerprint"]:
        raise DataDoubleError(
            "the run learned from other pictures than this cohort's train split",
            where=run.name,
            found=f"{provenance['train_images']} then, {len(split.train)} now",
            remedy="give the cohort that it was fitted on, with its splits as they were",
        )
    return split


def gather(
    run: Path,
    real: Cohort,
    split: Material,
    asked: Asked,
    *,
    denoiser: Callable[[Path], tuple[Denoiser, str]],
    bring: Callable[[Cohort, str], np.ndarray],
    facts: Callable[[People], dict[str, Any]],
) -> AttackMaterial:
    """Return the material of an attack on a checkpoint.

    The validation patients chose the checkpoint: they are neither members nor others, and pose in a control.

    Parameters
    ----------
    denoiser
        Checkpoint -> the network as a denoiser, and its weights' fingerprint.
    bring
        (cohort, name of its place in the cache) -> (n, c, h, w) float32, as the network learned from them.
    facts
        What else the record says.
    """
    people = choose_people(real, split, asked.member_patients, asked.seed)

    def pictures(chosen: People, name: str) -> Pictures:
        labels = split.label_indices(chosen.cohort)
        return Pictures(bring(chosen.cohort, name), labels, chosen.members, chosen.patients)

    posing = None
    if len(split.validation):
        posing = pictures(choose_people(real, split, 0, asked.seed, posing=True), "posing")
    model, weights = denoiser(run / "model" / f"{asked.checkpoint}.safetensors")
    early, reference = run / "model" / "early.safetensors", None
    if early.is_file():
        weak, weak_weights = denoiser(early)
        reference = weak if weak_weights != weights else None
    return AttackMaterial(
        model=model,
        reference=reference,
        pictures=pictures(people, ""),
        posing=posing,
        classes=split.classes,
        overfit=model.overfitted,
        facts={
            "checkpoint": asked.checkpoint,
            "weights": weights,
            "validation_patients_left_out": int(split.validation.table["patient_id"].nunique()),
            **facts(people),
            "reference": "" if reference is None else "the run's early checkpoint",
        },
    )
