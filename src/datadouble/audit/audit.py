"""The audit: every part of it in order, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datadouble.audit import facts, sections
from datadouble.audit.choices import choose
from datadouble.audit.efforts import Effort, choose_effort
from datadouble.audit.evidence import Evidence, plain
from datadouble.audit.features.base import Extractor
from datadouble.audit.material import AuditMaterial
from datadouble.audit.parts import (
    Part,
    PartStore,
    cohort_fingerprint,
    folder_fingerprint,
    source_fingerprint,
)
from datadouble.audit.policy import Policy, judge
from datadouble.audit.utility.inputs import parse_grouping
from datadouble.errors import DataDoubleError

if TYPE_CHECKING:
    from markupsafe import Markup

    from datadouble.cohort.cohort import Cohort

SECTIONS = ("fidelity", "privacy", "usefulness", "realism")
# The code that parts are made of; `audit/report` only draws them.
CODE = ("audit", "matching", "networks", "stats", "cohort/pixels.py", "cohort/split.py", "randomness.py")


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
    study: Markup | str = "",
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
    study : Markup
        A reader study's section for the report, from ``study.analysis.section_html``; other text is escaped.
    say : callable
        Gets a line of text for the user now and then.

    Returns
    -------
    Evidence

    Raises
    ------
    DataDoubleError
        Where one of the cohorts has no readable picture, an option is unknown, the policy has faults, or what an option
        asks for cannot be done. What merely does not apply, such as a distance between too few pictures, is noted in
        the evidence as not measured, with the reason.
    OSError
        Such as for a folder that cannot be written.
    """
    from datadouble.audit.report.pictures import native_size

    wanted = set(only) or set(SECTIONS)
    _check_request(wanted, grouping, run, asked_of_privacy=bool(other_double or model_access))
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
        facts.version(),
        source_fingerprint(*CODE, without="audit/report"),
        material.double_features.fingerprint,
        reference,
        str(material.at_size),
        str(seed),
    )
    parts: dict[str, Part] = {}

    def measure(name: str, compute: Callable[[], Part], *depends: str, asked: bool = False) -> None:
        """Measure a part; one that does not apply is noted as such, unless an option asked for it."""
        say(f"measuring: {name.replace('_', ' ')}")
        try:
            parts[name] = store.get(name, compute, *depends)
        except DataDoubleError as error:  # too few pictures for this part, say: the others go on
            if asked or _of_the_system(error):
                raise
            parts[name] = Part({"note": f"not measured: {error}"})

    if model_access is not None:  # first: hours later is too late to learn that the run cannot be attacked
        attack = model_access
        measure(
            "model_access",
            lambda: Part(attack(material.cache / "model-access")),
            "" if run is None else folder_fingerprint(Path(run) / "model"),
            asked=True,
        )
    if "fidelity" in wanted:
        for name in ("distances", "texture", "lesions", "coverage"):
            function: Callable[[AuditMaterial, Effort], Part] = getattr(sections, name)
            measure(name, lambda function=function: function(material, work))  # type: ignore[misc]
    if "privacy" in wanted:
        _privacy(measure, material, work, rules, other_double)
    if "usefulness" in wanted:
        measure("utility", lambda: sections.utility(material, work, grouping), grouping, asked=bool(grouping))
        measure("segmentation", lambda: sections.segmentation(material, work))
    if "realism" in wanted:
        measure("realism", lambda: sections.realism(material, work))

    evidence = _evidence(material, parts, rules, work, wanted)
    evidence.write(out / "evidence.json")
    _report(out / "report.html", evidence, parts, material, None if run is None else Path(run), study)
    return evidence


def _check_request(
    wanted: set[str], grouping: str, run: Path | str | None, *, asked_of_privacy: bool
) -> None:
    """Refuse options that cannot be followed, before anything is measured."""
    for name in wanted:
        choose("part of an audit", name, {known: known for known in SECTIONS})
    if asked_of_privacy and "privacy" not in wanted:
        raise DataDoubleError(
            "attacks on weights and with a second double are part of privacy, which was left out",
            where="only",
            found=", ".join(sorted(wanted)),
            remedy="add privacy, or leave the attacks out",
        )
    if grouping:
        parse_grouping(grouping)
    if run is not None and not (Path(run) / "config.toml").is_file():
        raise DataDoubleError(
            "this is no run folder",
            where="run",
            found=f"no config.toml in {Path(run).name}",
            remedy="give the folder that `datadouble fit` wrote",
        )


def _of_the_system(error: DataDoubleError) -> bool:
    """Whether an error tells of a full disk, a missing permission and the like, and not of what is measured."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno is not None


def _privacy(
    measure: Callable[..., None],
    material: AuditMaterial,
    work: Effort,
    rules: Policy,
    other_double: Cohort | None,
) -> None:
    """The attackers that have the release, in order, and the gate with its controls."""
    measure("neighbours", lambda: sections.neighbours(material, work))
    if other_double is None:
        measure("release_only", lambda: sections.release_only(material, work))
    else:
        other = other_double
        measure(
            "release_only",
            lambda: sections.release_only(material, work, material.features_of(other)),
            cohort_fingerprint(other),
            asked=True,
        )
    gate = cache(lambda: sections.make_gate(material, rules.gate))
    measure("copies", lambda: sections.copies(material, gate()))
    measure("controls", lambda: sections.controls(material, gate(), work))


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
        software=facts.software(),
        double=facts.describe(material.double, of_double)
        | {"unreadable": [name for name, _ in of_double.broken]},
        real=facts.describe(material.real, of_real)
        | {"unreadable": len(of_real.broken), "splits": dict(splits)},
        extractor={
            "name": material.extractor.name,
            "fingerprint": of_real.fingerprint,
            "preprocessing": (f"first to {material.at_size}x{material.at_size}; " if material.at_size else "")
            + material.extractor.preprocessing
            + (
                "; standardised by the real cohort"
                if getattr(material.extractor, "mixed_units", False)
                else ""
            ),
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
        notes=facts.notes(material, fidelity, {name: part.evidence for name, part in parts.items()}),
    )
    judgement = judge(evidence.to_json(), policy)
    evidence.verdict, evidence.reasons = judgement.verdict, judgement.reasons
    evidence.policy = policy.to_json() | {
        "findings": [dict(finding._asdict()) for finding in judgement.findings]
    }
    return evidence


def _report(
    path: Path,
    evidence: Evidence,
    parts: dict[str, Part],
    material: AuditMaterial,
    run: Path | None,
    study: Markup | str = "",
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
        study=study,
    )
    write_report(path, evidence.to_json(), parts, context)
