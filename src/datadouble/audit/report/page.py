"""The first report as one HTML file: everything inline, everything escaped, no script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble import files
from datadouble.audit.evidence import Evidence
from datadouble.audit.report import figures
from datadouble.audit.report.pictures import sheet, thumbnail
from datadouble.audit.report.training_run import read_curves, read_settings
from datadouble.randomness import generator_for

if TYPE_CHECKING:
    from datadouble.audit.report.first import FirstLookMaterial
    from datadouble.cohort.cohort import Cohort

TEMPLATES = Path(__file__).parent / "templates"
SHEET = 8  # pictures of each class on each side


def write_page(path: Path, evidence: Evidence, material: FirstLookMaterial) -> None:
    """Render ``first.html.j2`` and write it in one atomic step."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # class names and ids come from other people's files
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "thousands": lambda n: f"{n:,}",
        "percent": lambda p: f"{100 * p:.1f}%",
    }
    found = evidence.to_json()
    fidelity = found["fidelity"]
    measured = "fd" in fidelity["overall"]
    curves = read_curves(material.run) if material.run else None
    page = environment.get_template("first.html.j2").render(
        evidence=found,
        overall=fidelity["overall"],
        classes=fidelity["classes"],
        neighbours=found["privacy"]["neighbours"],
        answer=answers(found),
        fd_plot=figures.distance_plot(fidelity["overall"], fidelity["classes"], "fd") if measured else None,
        kid_plot=figures.distance_plot(fidelity["overall"], fidelity["classes"], "kid") if measured else None,
        similarity_plot=figures.similarity_plot(material.look.similarities, material.look.control),
        training_plot=figures.training_plot(curves) if curves else None,
        side_plot=figures.side_plot(curves) if curves else None,
        settings=read_settings(material.run) if material.run else [],
        sheets=_sheets(material),
        pairs=_pairs(material),
        unreadable=material.unreadable,
        colours={"ink": figures.INK, "double": figures.DOUBLE, "real": figures.REAL, "floor": figures.FLOOR},
    )
    files.write_text(path, page)


def number(value: float | None, digits: int = 3) -> str:
    """A number to so many significant digits, without exponents: 64.7, 0.00123, 1,234."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{min(decimals, 6)}f}".replace("-", "−")


def answers(found: dict[str, Any]) -> dict[str, str]:
    """The first screen's two sentences, in words that follow from the numbers."""
    overall, neighbours = found["fidelity"]["overall"], found["privacy"]["neighbours"]
    faithful = "Too few pictures to say."
    if "fd" in overall:
        fd, kid = overall["fd"], overall["kid"]
        ratio = fd["value"] / fd["floor"]["value"] if fd["floor"]["value"] > 0 else float("inf")
        if kid["low"] <= max(kid["floor"]["high"], 0):
            faithful = f"Not told apart from real pictures by the kernel distance at n = {overall['n']:,}"
        else:
            faithful = "Different from real pictures: the kernel distance lies above what real pictures show among them"
        faithful += f"; the Fréchet distance is {ratio:.1f} times its floor."
    copies = "Not known: there is no holdout to compare with."
    if "nearer_to_train" in neighbours:
        share = neighbours["nearer_to_train"]
        beyond = neighbours["beyond_every_control"]
        if beyond["p_value"] < 0.05:
            copies = (
                f"Alarm: {beyond['n']:,} of {neighbours['n']:,} synthetic pictures are nearer to a "
                f"training picture than any of {neighbours['control']['n']:,} unseen real ones is "
                f"(P = {number(beyond['p_value'], 2)}): see the closest pairs. Nearer to train than to unseen"
            )
        elif share["low"] > 0.5:
            copies = "Alarm: synthetic pictures are nearer to training patients more often than chance"
        else:
            copies = "No alarm: synthetic pictures are nearer to training patients no more often than chance"
        value, low, high = (100 * share[key] for key in ("value", "low", "high"))
        copies += f" ({value:.1f}%, 95% interval {low:.1f} to {high:.1f}%)."
    return {"faithful": faithful, "copies": copies}


def _sheets(material: FirstLookMaterial) -> list[dict[str, Any]]:
    """Real and synthetic pictures of each class, side by side."""
    double, real = material.double, material.real
    labels_double = np.array([str(label) for label in double.table["label"]])
    labels_real = np.array([str(label) for label in real.table["label"]])
    reference = np.zeros(len(real), dtype=bool)
    reference[material.reference_rows] = True
    present = set(labels_double) | set(labels_real[reference])
    names = [name for name in double.info.classes if name in present]
    names += sorted(present - set(names))
    sheets = []
    for name in names:
        rng = generator_for(material.seed, "sheet", name)
        sides: list[tuple[Cohort, np.ndarray]] = [
            (real, np.flatnonzero(reference & (labels_real == name))),
            (double, np.flatnonzero(labels_double == name)),
        ]
        shown = [sheet(cohort, rows, SHEET, rng, material.at_size) for cohort, rows in sides]
        sheets.append(
            {
                "label": name,
                "real": shown[0],
                "synthetic": shown[1],
                "n_real": len(sides[0][1]),
                "n_synthetic": len(sides[1][1]),
            }
        )
    return sheets


def _pairs(material: FirstLookMaterial) -> list[dict[str, Any]]:
    """The closest pairs; of the real side only the picture and its class, for ids can name patients."""
    pairs = []
    for pair in material.look.pairs:
        pairs.append(
            {
                "synthetic": thumbnail(material.double, pair.synthetic, material.at_size),
                "train": thumbnail(material.real, pair.train, material.at_size),
                "image_id": str(material.double.table["image_id"].iloc[pair.synthetic]),
                "label": str(material.double.table["label"].iloc[pair.synthetic]),
                "train_label": str(material.real.table["label"].iloc[pair.train]),
                "similarity": pair.similarity,
            }
        )
    return pairs
