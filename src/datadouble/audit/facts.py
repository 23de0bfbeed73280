"""What evidence says besides its measurements: what was compared, by which software, and what a reader must know."""

from __future__ import annotations

import platform
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble.audit.features.base import Features
from datadouble.audit.fidelity.frechet import SMALL_SAMPLE
from datadouble.audit.material import AuditMaterial

if TYPE_CHECKING:
    from datadouble.cohort.cohort import Cohort


def describe(cohort: Cohort, features: Features) -> dict[str, Any]:
    """One side of an audit in numbers and names; of its generator no free text."""
    info = cohort.info
    described: dict[str, Any] = {
        "name": info.name,
        "origin": info.origin,
        "modality": info.modality,
        "images": len(features),
        "patients": len(np.unique(features.groups)),
        "classes": {name: int(np.sum(features.labels == name)) for name in info.classes},
        "contains_real_pixels": info.contains_real_pixels,
    }
    if info.generator:  # no free text: a generator may note paths
        described["generator"] = {
            str(key): value
            for key, value in info.generator.items()
            if isinstance(value, int | float | bool) or (isinstance(value, str) and "/" not in value)
        }
        privacy = info.generator.get("privacy")
        if isinstance(
            privacy, dict
        ):  # differential privacy: what was spent, and what is declared not to be covered
            described["generator"]["privacy"] = {
                key: [line for line in value if "/" not in str(line)] if isinstance(value, list) else value
                for key, value in privacy.items()
            }
    return described


def notes(material: AuditMaterial, fidelity: dict[str, Any], found: dict[str, dict[str, Any]]) -> list[str]:
    """Sentences about splits, sample sizes, mixes of classes, and what was not measured and why."""
    notes = list(material.roles.notes)
    overall = fidelity.get("overall", {})
    if "note" in overall:
        notes.append(f"No distances: {overall['note']}.")
    elif overall.get("n", SMALL_SAMPLE) < SMALL_SAMPLE:
        notes.append(
            f"Small sample: {overall['n']:,} a side. Below about {SMALL_SAMPLE:,} a Fréchet distance is too "
            "high by an amount that depends on n: read it only beside the floor, which has the same n, and let the "
            "kernel distance lead, which is unbiased at any n."
        )
    if material.double.info.origin != "synthetic":
        notes.append("The cohort audited as a double says of itself that it is real.")
    if len(set(material.double_features.groups)) == 1:
        notes.append(
            "All pictures of the double carry one patient id: no interval over patients can be given. Leave ids out "
            "where pictures are of no patient."
        )
    sides = (material.double_features, material.reference(material.real_features))
    mix = [{k: v / len(side) for k, v in Counter(side.labels.tolist()).items()} for side in sides]
    difference = sum(abs(mix[0].get(k, 0) - mix[1].get(k, 0)) for k in {*mix[0], *mix[1]}) / 2
    if difference > 0.1:
        notes.append(
            f"The classes are mixed differently: {difference:.0%} of the double would have to change class to match "
            "the reference. Overall distances include that; those by class do not."
        )
    for name, evidence in sorted(found.items()):
        if "not measured: " in str(evidence.get("note", "")):
            notes.append(f"{name.replace('_', ' ').capitalize()}: {evidence['note']}")
    unreadable = material.unreadable()
    if unreadable:
        notes.append(f"{len(unreadable)} pictures could not be read and were left out.")
    return notes


def version() -> str:
    """Of this package."""
    import importlib.metadata

    try:
        return importlib.metadata.version("datadouble")
    except importlib.metadata.PackageNotFoundError:
        from datadouble import __version__

        return __version__


def software() -> dict[str, str]:
    """Versions of what computed the numbers."""
    import torch

    return {
        "datadouble": version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
