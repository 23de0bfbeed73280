"""The analysis as a page and as a section of the audit's report: everything inline, everything escaped, no script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from datadouble import files
from datadouble.audit.report.page import environment
from datadouble.study.analysis.answers import answers
from datadouble.study.analysis.pictures import picture_address, shown_images
from datadouble.study.analysis.plots import SET_WORDS, draw_plots

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: Path, evidence: dict[str, Any], folder: Path, plots: dict[str, str]) -> None:
    """Write ``analysis.html`` in one atomic step; `folder` holds ``pictures/``, `plots` is of `draw_plots`.

    The page shows real scans and may not leave; it holds no reader's name, no patient and no path.
    """
    files.write_text(path, _render("study.html.j2", evidence, folder, plots))


def section_html(evidence: dict[str, Any], folder: Path | str | None = None) -> Markup:
    """The analysis as a ``<section id="readers">`` for the audit's report, whose style it uses.

    Parameters
    ----------
    evidence : dict
        What :func:`datadouble.study.analysis.analyse_study` returned or `read_analysis` read.
    folder : Path, optional
        The analysis' folder, for the images that deceived most readers; without it they are left out.
    """
    from markupsafe import Markup

    return Markup(
        _render(
            "_study_section.html.j2", evidence, None if folder is None else Path(folder), draw_plots(evidence)
        )
    )


def _render(template: str, evidence: dict[str, Any], folder: Path | None, plots: dict[str, str]) -> str:
    return (
        environment(TEMPLATES)
        .get_template(template)
        .render(
            e=evidence,
            answers=answers(evidence),
            plots=plots,
            pictures=[_pictures(task, folder) for task in evidence["tasks"]],
            set_words=SET_WORDS,
        )
    )


def _pictures(task: dict[str, Any], folder: Path | None) -> list[dict[str, Any]]:
    """By origin the images that are shown, with their address."""
    shown = [] if folder is None else shown_images(task)
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for one in shown:
        assert folder is not None
        address = picture_address(folder / "pictures", one["image"])
        if address:
            by_kind.setdefault(one["origin"], []).append(one | {"address": address})
    totals = [one["origin"] for one in (task.get("deceived") or {}).get("images", [])]
    return [{"origin": kind, "images": images, "of": totals.count(kind)} for kind, images in by_kind.items()]
