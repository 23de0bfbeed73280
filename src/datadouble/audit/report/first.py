"""The first report on a double: distances with their floors, nearest training pictures, sheets by class."""

from __future__ import annotations

import dataclasses
import platform
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble.audit.evidence import Evidence
from datadouble.audit.features import extract_features, load_extractor
from datadouble.audit.features.base import Extractor, Features
from datadouble.audit.fidelity.assess import Sizes, assess_fidelity
from datadouble.audit.fidelity.frechet import SMALL_SAMPLE
from datadouble.audit.privacy.first_look import FirstLook, look_for_copies
from datadouble.audit.roles import Roles, choose_roles
from datadouble.errors import DataDoubleError
from datadouble.progress import track

if TYPE_CHECKING:
    from datadouble.cohort.cohort import Cohort


@dataclasses.dataclass
class FirstLookMaterial:
    """What the page shows besides the evidence: the cohorts and the rows of the pictures in it."""

    double: Cohort
    real: Cohort
    reference_rows: np.ndarray
    look: FirstLook
    unreadable: list[tuple[str, str]]
    run: Path | None
    seed: int
    at_size: int


def first_report(
    double: Cohort,
    real: Cohort,
    out: Path,
    *,
    run: Path | None = None,
    extractor: str | Extractor = "efficientnet-lite0",
    neighbours: int = 500,
    resamples: int = 200,
    repeats: int = 10,
    reference: str = "test",
    seed: int = 0,
    processes: int = 1,
    at_size: int | None = None,
) -> Evidence:
    """Measure a double against the real cohort it stands for, and write ``report.html`` and ``evidence.json``.

    Parameters
    ----------
    double, real : Cohort
        The synthetic cohort, from whichever generator, and the real one with its splits.
    out : Path
        Folder for the report, the evidence and the cache of features; made where absent. The same call again goes on
        from the cache. The report shows real pictures, and the cache holds features of them: neither may leave.
    run : Path, optional
        Run folder of the generator, for its training curves and settings.
    extractor : str or Extractor
        Registry name, or a loaded extractor.
    neighbours : int
        Synthetic pictures (drawn at random) whose nearest training picture is sought.
    resamples, repeats : int
        Bootstrap resamples of each interval; random draws of equal size for values and floors.
    reference : str
        Real split that the double is compared with: ``"test"``, ``"holdout"`` or ``"unseen"`` (both).
    seed : int
        Equal seeds give equal numbers.
    processes : int
        Shards of the feature extraction.
    at_size : int, optional
        Side in pixels to which both sides are brought before anything is measured or shown; default: the double's own,
        so that what is judged is the generator and not the resolution it was asked for. 0: every picture as it is.

    Returns
    -------
    Evidence

    Raises
    ------
    DataDoubleError
        Where one of the cohorts has no readable picture, or the extractor cannot be loaded.
    """
    from datadouble.audit.report.page import write_page
    from datadouble.audit.report.pictures import native_size

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    roles = choose_roles(real, reference)
    loaded = load_extractor(extractor) if isinstance(extractor, str) else extractor
    given: str | Extractor = extractor if processes > 1 else loaded
    cache = out / "cache"
    if at_size is None:
        at_size = native_size(double)
    of_double = extract_features(double, given, cache_dir=cache, processes=processes, at_size=at_size)
    of_real = extract_features(real, given, cache_dir=cache, processes=processes, at_size=at_size)
    splits = np.array([str(split) for split in real.table["split"]])[of_real.rows]

    def part(names: tuple[str, ...]) -> Features:
        return of_real.where(np.isin(splits, names)) if names else of_real

    reference_set = part(roles.reference)
    counterpart = part((roles.counterpart,)) if roles.counterpart else None
    if len(reference_set) == 0:
        raise DataDoubleError(
            "no readable picture in the reference",
            where=real.path.name,
            found=f"split {', '.join(roles.reference)}",
            remedy="run `datadouble check` on the cohort",
        )
    fidelity = _fidelity(
        double, of_double, reference_set, counterpart, loaded, Sizes(resamples, repeats), seed
    )
    look = look_for_copies(
        of_double,
        part((roles.gallery,) if roles.gallery else ()),
        part(roles.control) if roles.control else None,
        queries=neighbours,
        seed=seed,
    )
    unreadable = [(f"double: {name}", reason) for name, reason in of_double.broken]
    unreadable += [(f"real: {name}", reason) for name, reason in of_real.broken]
    settings = {
        "seed": seed,
        "at_size": at_size or None,
        "resamples": resamples,
        "repeats": repeats,
        "neighbours": neighbours,
        "confidence": Sizes().confidence,
        "reference": list(roles.reference) or ["all"],
        "floor_between": [*roles.reference, roles.counterpart]
        if roles.counterpart
        else ["two halves of the reference"],
        "gallery": roles.gallery or "all",
        "control": list(roles.control),
    }
    evidence = Evidence(
        verdict="inconclusive",
        reasons=[
            "This is a first report: membership and attribute disclosure were not measured, and no planted copies or "
            "overfitted double were run as controls. Similarity alone is no evidence of privacy."
        ],
        software=_software(),
        double=_describe(double, of_double) | {"unreadable": [name for name, _ in of_double.broken]},
        real=_describe(real, of_real)
        | {"unreadable": len(of_real.broken), "splits": dict(Counter(splits.tolist()))},
        extractor={
            "name": loaded.name,
            "fingerprint": of_real.fingerprint,
            "preprocessing": (f"first to {at_size}x{at_size}; " if at_size else "") + loaded.preprocessing,
            "dimension": loaded.dimension,
        },
        settings=settings,
        fidelity=fidelity,
        privacy={"neighbours": look.evidence},
        notes=_notes(roles, fidelity, of_double, reference_set, double, unreadable),
    )
    evidence.write(out / "evidence.json")
    material = FirstLookMaterial(double, real, reference_set.rows, look, unreadable, run, seed, at_size)
    write_page(out / "report.html", evidence, material)
    return evidence


def _fidelity(
    double: Cohort,
    synthetic: Features,
    reference: Features,
    counterpart: Features | None,
    extractor: Extractor,
    sizes: Sizes,
    seed: int,
) -> dict[str, Any]:
    """Overall and by class; classes in the double's order, then those that only the real cohort has."""
    found = {str(label) for label in [*synthetic.labels, *reference.labels]} - {""}
    names = [name for name in double.info.classes if name in found]
    names += sorted(found - set(names))
    result: dict[str, Any] = {"overall": {}, "classes": {}}
    for name in track([None, *names] if len(names) > 1 else [None], "distances"):
        sides = (synthetic, reference, counterpart)
        if name is not None:
            sides = tuple(None if side is None else side.where(side.labels == name) for side in sides)  # type: ignore[assignment]
        assessed = assess_fidelity(sides[0], sides[1], sides[2], extractor, sizes=sizes, seed=seed)
        if name is None:
            result["overall"] = assessed
        else:
            result["classes"][name] = assessed
    return result


def _describe(cohort: Cohort, features: Features) -> dict[str, Any]:
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
    return described


def _notes(
    roles: Roles,
    fidelity: dict[str, Any],
    synthetic: Features,
    reference: Features,
    double: Cohort,
    unreadable: list[tuple[str, str]],
) -> list[str]:
    notes = list(roles.notes)
    overall = fidelity["overall"]
    if "fd" not in overall:
        notes.append(f"No distances: {overall['note']}.")
    elif overall["n"] < SMALL_SAMPLE:
        notes.append(
            f"Small sample: {overall['n']:,} a side. Below about {SMALL_SAMPLE:,} a Fréchet distance is too "
            "high by an amount that depends on n: read it only beside the floor, which has the same n, and let the "
            "kernel distance lead, which is unbiased at any n."
        )
    if double.info.origin != "synthetic":
        notes.append("The cohort audited as a double says of itself that it is real.")
    mix = [
        {k: v / len(side) for k, v in Counter(side.labels.tolist()).items()}
        for side in (synthetic, reference)
    ]
    difference = sum(abs(mix[0].get(k, 0) - mix[1].get(k, 0)) for k in {*mix[0], *mix[1]}) / 2
    if difference > 0.1:
        notes.append(
            f"The classes are mixed differently: {difference:.0%} of the double would have to change class to match "
            "the reference. Overall distances include that; those by class do not."
        )
    if unreadable:
        notes.append(f"{len(unreadable)} pictures could not be read and were left out.")
    return notes


def _software() -> dict[str, str]:
    import importlib.metadata

    import torch

    try:
        ours = importlib.metadata.version("datadouble")
    except importlib.metadata.PackageNotFoundError:
        from datadouble import __version__ as ours
    return {
        "datadouble": ours,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
