"""The report of an audit as one HTML file: everything inline, everything escaped, no script."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble import files
from datadouble.audit.evidence import plain
from datadouble.audit.parts import Part
from datadouble.audit.report import numbers, shown
from datadouble.audit.report.answers import answers, probes
from datadouble.audit.report.attackers import PLAIN, attackers, control_lines, reasons, scope
from datadouble.audit.report.figures import base
from datadouble.audit.report.hints import not_measured
from datadouble.audit.report.plots import LESIONS, draw_plots
from datadouble.audit.report.training_run import read_settings

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from datadouble.cohort.cohort import Cohort

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class ReportContext:
    """What the page shows besides the evidence.

    Parameters
    ----------
    double, real : Cohort
        Pictures are read from them.
    reference_rows : ndarray of int
        Rows of the real cohort that the double was compared with: the sheets are drawn from them.
    at_size : int
        Side to which pictures are brought before they are shown; 0: as they are.
    run : Path or None
        Run folder of the generator, for its training curves and settings.
    seed : int
        Equal seeds choose equal pictures.
    unreadable : list of (name, reason)
    study : Markup
        A reader study's section, as ``study.analysis.section_html`` makes it: safe HTML; empty without a study.
    """

    double: Cohort
    real: Cohort
    reference_rows: np.ndarray
    at_size: int
    run: Path | None
    seed: int
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    study: Markup | str = ""


def write_report(
    path: Path, evidence: dict[str, Any], parts: Mapping[str, Part], context: ReportContext
) -> None:
    """Write the report of an audit, in one atomic step.

    Parameters
    ----------
    path : Path
        The HTML file.
    evidence : dict
        The content of ``evidence.json``. Any section may be missing or None: the page then says that it was not
        measured, and how to measure it.
    parts : mapping of str to Part
        Arrays to draw, by the parts' names in :mod:`datadouble.audit.sections`; any may be missing.
    context : ReportContext

    Notes
    -----
    The page holds pictures of real patients and may not leave; it holds no patient id and no path.
    """
    found: dict[str, Any] = plain(evidence)
    arrays = {name: part.arrays for name, part in parts.items()}
    pictures = shown.choose(found, arrays, context)
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            e=_with_sections(found),
            answers=answers(found),
            reasons=reasons(found),
            scope=scope(found),
            attackers=attackers(found),
            controls=control_lines(found),
            plots=draw_plots(found, arrays, context.run),
            pictures=pictures,
            study=context.study,
            run_settings=read_settings(context.run) if context.run else [],
            settings=_flat(found.get("settings")),
            unreadable=shown.unreadable(context),
            measure_names=PLAIN,
            lesion_names=LESIONS,
            probes=probes(found),
            colours={"double": base.DOUBLE, "real": base.REAL, "floor": base.FLOOR},
        )
    )
    files.write_text(path, page)


SECTIONS = (
    "fidelity",
    "privacy",
    "usefulness",
    "realism",
    "controls",
    "policy",
    "double",
    "real",
    "settings",
)


def _with_sections(found: dict[str, Any]) -> dict[str, Any]:
    """The evidence with an empty dictionary where a section is None, so that templates may step into it."""
    return found | {name: found.get(name) or {} for name in (*SECTIONS, "software", "extractor")}


def environment(*more: Path) -> Environment:
    """The templates of the report with its filters; `more` are folders of templates that stand beside them."""
    from jinja2 import ChainableUndefined, Environment, FileSystemLoader

    class Missing(ChainableUndefined):
        """What is not in the evidence shows as a dash: hours of measuring are not lost to a gap."""

        def __str__(self) -> str:
            return numbers.NONE

    environment = Environment(
        loader=FileSystemLoader([*more, TEMPLATES]),
        autoescape=True,  # class names and ids come from other people's files
        undefined=Missing,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": numbers.number,
        "fixed": numbers.fixed,
        "thousands": numbers.count,
        "percent": numbers.percent,
        "p": numbers.p_value,
        "p_words": numbers.p_words,
        "sentence": numbers.sentence,
        "clean": numbers.without_paths,
        "estimate": estimate,
        "missing": not_measured,
    }
    environment.tests["estimate"] = numbers.is_estimate
    environment.tests["numeric"] = numbers.is_number
    return environment


FORMS: dict[str, Callable[[Any], str]] = {
    "number": numbers.number,
    "fixed": lambda value: numbers.fixed(value, 3),
    "two": numbers.fixed,
    "signed": numbers.signed,
    "share": numbers.percent,
    "percent": lambda value: numbers.percent(value / 100) if numbers.is_number(value) else numbers.NONE,
}


def estimate(values: Any, form: str = "number", scale: float = 1.0) -> Markup:
    """A value with its interval in small print beneath; a dash where there is none."""
    from markupsafe import Markup

    if not isinstance(values, dict) or not numbers.is_number(values.get("value")):
        return Markup(numbers.NONE)
    write = FORMS[form]
    value = write(values["value"] * scale)
    if not numbers.is_estimate(values):
        return Markup("{}").format(value)
    low, high = (write(values[key] * scale) for key in ("low", "high"))
    return Markup("{} <small>{} to {}</small>").format(value, low, high)


def _flat(settings: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (key, value) rows without paths."""
    rows: list[tuple[str, str]] = []
    for key, value in (settings or {}).items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, dict):
            rows += _flat(value, f"{name}: ")
        elif isinstance(value, list):
            rows.append((name, numbers.without_paths(", ".join(str(item) for item in value))))
        else:
            rows.append((name, numbers.NONE if value is None else numbers.without_paths(value)))
    return rows
