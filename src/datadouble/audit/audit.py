"""The audit: every part of it in order, and the verdict."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble.audit import sections
from datadouble.audit.efforts import Effort, choose_effort
from datadouble.audit.evidence import Evidence, plain
from datadouble.audit.features.base import Extractor, Features
from datadouble.audit.fidelity.frechet import SMALL_SAMPLE
from datadouble.audit.material import AuditMaterial
from datadouble.audit.parts import Part, PartStore, cohort_fingerprint, folder_fingerprint
from datadouble.audit.policy import Policy, judge
from datadouble.audit.utility.inputs import parse_grouping
from datadouble.errors import DataDoubleError, suggest

if TYPE_CHECKING:
    from datadouble.cohort.cohort import Cohort

SECTIONS = ("fidelity", "privacy", "usefulness", "realism")


def audit(
    double: Cohort,
    real: Cohort,
    out: Path | str,
    *,
    only: Sequence[str] = (),
    policy: Path | str | None = None,
    effort: str | Effort = "standard",
    run: Path | str | None = None,
    other_double: Cohort | None = None,
    model_access: Callable[[Path], dict[str, Any]] | None = None,
    grouping: str = "",
    extractor: str | Extractor = "efficientnet-lite0",
    reference: str = "unseen",
    at_size: int | None = None,
    processes: int = 1,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> Evidence:
    """Judge a double against the real cohort it stands for, and write ``report.html`` and ``evidence.json``.

    Parameters
    ----------
    double, real : Cohort
        The synthetic cohort, from whichever generator, and the real one with its splits.
    out : Path
        Folder for the report, the evidence and what is kept to go on from; made where absent. The same call again
        continues. The report shows real pictures and the cache holds features of them: neither may leave.
    only : sequence of str
        Of ``"fidelity"``, ``"privacy"``, ``"usefulness"``, ``"realism"``; default: all. What the policy asks for and
        is not measured makes the verdict inconclusive.
    policy : Path, optional
        TOML file of thresholds; default: the policy in the package.
    effort : str or Effort
        ``"demo"``, ``"standard"``, ``"thorough"`` or ``"paper"``.
    run : Path, optional
        Run folder of the generator, for its training curves and settings.
    other_double : Cohort, optional
        A double from a generator that was trained on the holdout, for DiffGuard's two-cohort attack.
    model_access : callable, optional
        Attacks the generator's weights: folder for its cache -> JSON values, such as ``recipes.attack.attack_run``.
    grouping : str
        The classes to be told apart in the usefulness test, such as ``"2,3|4,5"``; default: in the middle.
    extractor : str or Extractor
        Registry name, or a loaded extractor.
    reference : str
        Real split that the double is compared with: ``"test"``, ``"holdout"`` or ``"unseen"`` (both).
    at_size : int, optional
        Side in pixels to which both sides are brought before anything is measured or shown; default: the double's own,
        so that what is judged is the generator and not the resolution it was asked for. 0: every picture as it is.
    processes : int
        Shards of the feature extraction.
    seed : int
        Equal seeds give equal numbers.
    say : callable
        Gets a line of text for the user now and then.

    Returns
    -------
    Evidence

    Raises
    ------
    DataDoubleError
        Where one of the cohorts has no readable picture, an option is unknown, or the policy has faults.
    """
    from datadouble.audit.report.pictures import native_size

    for name in only:
        if name not in SECTIONS:
            raise DataDoubleError(
                "unknown part of an audit", where="only", found=name, remedy=suggest(name, list(SECTIONS))
            )
    if grouping:
        parse_grouping(grouping)
    rules = Policy.read(None if policy is None else Path(policy))
    work = choose_effort(effort)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "cache"
    material = AuditMaterial(
        double,
        real,
        reference=reference,
        extractor=extractor,
        precision=work.precision,
        at_size=native_size(double) if at_size is None else at_size,
        cache=kept,
        processes=processes,
        seed=seed,
    )
    store = PartStore(
        kept / "parts",
        cohort_fingerprint(double),
        cohort_fingerprint(real),
        *(str(value) for value in asdict(work).values()),
        str(asdict(rules.gate)),
        _version(),
        material.double_features.fingerprint,
        reference,
        str(material.at_size),
        str(seed),
    )
    wanted = set(only) or set(SECTIONS)
    parts: dict[str, Part] = {}

    def measure(name: str, compute: Callable[[], Part], *depends: str) -> None:
        say(f"measuring: {name.replace('_', ' ')}")
        try:
            parts[name] = store.get(name, compute, *depends)
        except DataDoubleError as error:  # too few pictures for this part, say: the others go on
            parts[name] = Part({"note": f"not measured: {error}"})

    if "fidelity" in wanted:
        for name in ("distances", "texture", "lesions", "coverage"):
            function: Callable[[AuditMaterial, Effort], Part] = getattr(sections, name)
            measure(name, lambda function=function: function(material, work))  # type: ignore[misc]
    if "privacy" in wanted:
        _privacy(measure, material, work, rules, other_double, model_access, run)
    if "usefulness" in wanted:
        measure("utility", lambda: sections.utility(material, work, grouping), grouping)
        measure("segmentation", lambda: sections.segmentation(material, work))
    if "realism" in wanted:
        measure("realism", lambda: sections.realism(material, work))

    evidence = _evidence(material, parts, rules, work, wanted)
    evidence.write(out / "evidence.json")
    _report(out / "report.html", evidence, parts, material, None if run is None else Path(run))
    return evidence


def _privacy(
    measure: Callable[..., None],
    material: AuditMaterial,
    work: Effort,
    rules: Policy,
    other_double: Cohort | None,
    model_access: Callable[[Path], dict[str, Any]] | None,
    run: Path | str | None,
) -> None:
    """The attackers in order, and the gate with its controls."""
    measure("neighbours", lambda: sections.neighbours(material, work))
    if other_double is None:
        measure("release_only", lambda: sections.release_only(material, work))
    else:
        other = other_double
        measure(
            "release_only",
            lambda: sections.release_only(material, work, material.features_of(other)),
            cohort_fingerprint(other),
        )
    gate = cache(lambda: sections.make_gate(material, rules.gate))
    measure("copies", lambda: sections.copies(material, gate()))
    measure("controls", lambda: sections.controls(material, gate(), work))
    if model_access is not None:
        attack = model_access
        measure(
            "model_access",
            lambda: Part(attack(material.cache / "model-access")),
            "" if run is None else folder_fingerprint(Path(run) / "model"),
        )


def _evidence(
    material: AuditMaterial, parts: dict[str, Part], policy: Policy, effort: Effort, wanted: set[str]
) -> Evidence:
    def found(name: str) -> dict[str, Any] | None:
        return parts[name].evidence if name in parts else None

    privacy: dict[str, Any] = {}
    if "privacy" in wanted:
        privacy = {"neighbours": found("neighbours"), **(found("release_only") or {})}
        privacy |= found("copies") or {}
        privacy["model_access"] = found("model_access")
    fidelity: dict[str, Any] = {}
    if "fidelity" in wanted:
        fidelity = dict(found("distances") or {})
        fidelity |= {name: found(name) for name in ("texture", "lesions", "coverage")}
    of_double, of_real = material.double_features, material.real_features
    splits = Counter(str(split) for split in material.real.table["split"])
    roles = material.roles
    evidence = Evidence(
        verdict="inconclusive",
        reasons=[],
        software=_software(),
        double=_describe(material.double, of_double) | {"unreadable": [name for name, _ in of_double.broken]},
        real=_describe(material.real, of_real) | {"unreadable": len(of_real.broken), "splits": dict(splits)},
        extractor={
            "name": material.extractor.name,
            "fingerprint": of_real.fingerprint,
            "preprocessing": (f"first to {material.at_size}x{material.at_size}; " if material.at_size else "")
            + material.extractor.preprocessing,
            "dimension": material.extractor.dimension,
        },
        settings={
            "seed": material.seed,
            "at_size": material.at_size or None,
            "effort": plain(asdict(effort)),
            "parts": sorted(wanted),
            "reference": list(roles.reference) or ["all"],
            "floor_between": [*roles.reference, roles.counterpart]
            if roles.counterpart
            else ["two halves of the reference"],
            "gallery": roles.gallery or "all",
            "control": list(roles.control),
        },
        fidelity=fidelity,
        privacy=privacy,
        usefulness={"classification": found("utility"), "segmentation": found("segmentation")}
        if "usefulness" in wanted
        else None,
        realism=found("realism"),
        controls=found("controls"),
        notes=_notes(material, fidelity, {name: part.evidence for name, part in parts.items()}),
    )
    judgement = judge(evidence.to_json(), policy)
    evidence.verdict, evidence.reasons = judgement.verdict, judgement.reasons
    evidence.policy = policy.to_json() | {
        "findings": [dict(finding._asdict()) for finding in judgement.findings]
    }
    return evidence


def _report(
    path: Path, evidence: Evidence, parts: dict[str, Part], material: AuditMaterial, run: Path | None
) -> None:
    from datadouble.audit.report import ReportContext, write_report

    context = ReportContext(
        double=material.double,
        real=material.real,
        reference_rows=material.reference(material.real_features).rows,
        at_size=material.at_size,
        run=run,
        seed=material.seed,
        unreadable=material.unreadable(),
    )
    write_report(path, evidence.to_json(), parts, context)


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


def _notes(material: AuditMaterial, fidelity: dict[str, Any], found: dict[str, dict[str, Any]]) -> list[str]:
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


def _version() -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version("datadouble")
    except importlib.metadata.PackageNotFoundError:
        from datadouble import __version__

        return __version__


def _software() -> dict[str, str]:
    import torch

    return {
        "datadouble": _version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
