"""The plots of an analysis, drawn from its evidence alone, in the look of the audit's report."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble import files
from datadouble.audit.report.figures.base import (
    DOUBLE,
    INK,
    LINES,
    MUTED,
    REAL,
    has_numbers,
    new_figure,
    short,
    svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GROUP_COLOURS = (REAL, DOUBLE, "#00795c", "#8f4a7d", "#a67c00", INK)
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
BAND = "#bfe3cf"
SET_WORDS = {"all": "all images", "real": "real images", "synthetic": "synthetic images"}


def draw_plots(evidence: dict[str, Any]) -> dict[str, str]:
    """SVG data addresses by name: ``roc-1-all``, ``areas-1``, ``kappa-1``, ``times-1``, ``parts-1``, ``origins-1``."""
    drawn: dict[str, str | None] = {}
    for number, task in enumerate(evidence["tasks"], start=1):
        colours = group_colours(task)
        for name in task["sets"]:
            drawn[f"roc-{number}-{name}"] = roc_plot(task, name, colours)
        drawn[f"areas-{number}"] = areas_plot(task, colours)
        drawn[f"kappa-{number}"] = kappa_plot(task)
        drawn[f"times-{number}"] = times_plot(task, colours)
    for kind in ("parts", "origins"):
        for number, entry in enumerate(evidence["comparisons"][kind], start=1):
            drawn[f"{kind}-{number}"] = pairs_plot(entry)
    return {name: address for name, address in drawn.items() if address}


def write_plots(plots: dict[str, str], folder: Path) -> None:
    """Write plots (of `draw_plots`) as SVG files."""
    for name, address in plots.items():
        files.write_bytes(folder / f"{name}.svg", base64.b64decode(address.partition(",")[2]))


def group_colours(task: dict[str, Any]) -> dict[str, str]:
    """A colour for each group of readers."""
    groups = sorted({reader["group"] for reader in task["readers"]})
    return {group: GROUP_COLOURS[place % len(GROUP_COLOURS)] for place, group in enumerate(groups)}


def _found(task: dict[str, Any], cases: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [
        (reader, found)
        for reader in task["readers"]
        if has_numbers((found := reader.get("sets", {}).get(cases, {})).get("auc"))
    ]


def roc_plot(task: dict[str, Any], cases: str, colours: dict[str, str]) -> str | None:
    """One ROC curve a reader; colour is the group, the dash tells readers of a group apart."""
    found = _found(task, cases)
    if not found:
        return None
    figure, axes = new_figure(4.9, 4.3)
    axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (2, 2)))
    seen: dict[str, int] = {}
    for reader, entry in found:
        group = reader["group"]
        seen[group] = seen.get(group, -1) + 1
        label = f"{reader['reader']} {group}".strip()
        axes.plot(
            entry["roc"]["fpr"],
            entry["roc"]["tpr"],
            color=colours[group],
            ls=DASHES[seen[group] % len(DASHES)],
            lw=1.5,
            label=short(f"{label}, {entry['auc']['value']:.2f}", 30),
        )
        axes.plot(
            1 - entry["specificity"]["value"],
            entry["sensitivity"]["value"],
            "o",
            color=colours[group],
            ms=4.5,
            mfc="white",
        )
    axes.set_xlim(-0.01, 1)
    axes.set_ylim(0, 1.01)
    positive = short(task["positive"], 20)
    axes.set_xlabel(f"others called “{positive}”")
    axes.set_ylabel(f"“{positive}” called so")
    axes.legend(frameon=False, loc="lower right", fontsize=8, title="area by reader", title_fontsize=8)
    return svg(figure)


def areas_plot(task: dict[str, Any], colours: dict[str, str]) -> str | None:
    """Forest of the readers' areas and the average reader's, over the band of equivalence."""
    sets = [name for name in task["sets"] if _found(task, name)]
    if not sets:
        return None
    figure, panels = new_figure(
        5.6 if len(sets) == 1 else 3.4 * len(sets), 1.1 + 0.34 * (len(task["readers"]) + 1), columns=len(sets)
    )
    origin = task["truth"] == "origin"
    for name, axes in zip(sets, np.atleast_1d(panels), strict=True):
        if origin:
            axes.axvspan(0.45, 0.55, color=BAND, lw=0)
        axes.axvline(0.5, color=MUTED, lw=1, ls=(0, (2, 2)))
        rows = []
        for reader, entry in _found(task, name):
            label = f"{reader['reader']} {reader['group']}".strip()
            label += "" if reader["complete"] else " (unfinished)"
            rows.append((label, entry["auc"], colours[reader["group"]], "o"))
        average = ((task.get("average") or {}).get("sets") or {}).get(name, {})
        if has_numbers(average.get("random readers, random cases")):
            rows.append(("average reader", average["random readers, random cases"], INK, "D"))
        _rows(axes, rows)
        axes.set_xlabel("AUC" if len(sets) == 1 else f"AUC, {SET_WORDS.get(name, name)}")
        if name != sets[0]:
            axes.set_yticklabels([])
    return svg(figure)


def _rows(axes: Axes, rows: list[tuple[str, dict[str, Any], str, str]]) -> None:
    for y, (_, values, colour, marker) in enumerate(reversed(rows)):
        axes.plot([values["low"], values["high"]], [y, y], color=colour, lw=1.8)
        axes.plot(values["value"], y, marker, color=colour, ms=6.5)
    axes.set_yticks(range(len(rows)), [short(row[0], 30) for row in reversed(rows)], color=INK)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)


def kappa_plot(task: dict[str, Any]) -> str | None:
    """Agreement between readers and with oneself; the tick is the lowest value that can be attained."""
    rows = []
    for row in task["agreement"]:
        words = row["group"] if row["cases"] == "all" else f"{row['group']}, {row['cases']}"
        if has_numbers(row.get("fleiss_kappa")):
            rows.append((f"{words}: Fleiss' κ", row["fleiss_kappa"], REAL, "o"))
        if has_numbers(row.get("gwet_ac1")):
            rows.append((f"{words}: AC1", row["gwet_ac1"], "#00795c", "s"))
    for row in task["with_oneself"]:
        if has_numbers(row.get("kappa")):
            rows.append((f"{row['reader']} with oneself: κ", row["kappa"], DOUBLE, "^"))
    if not rows:
        return None
    figure, axes = new_figure(5.6, 1.0 + 0.3 * len(rows))
    axes.axvline(0, color=MUTED, lw=1, ls=(0, (2, 2)))
    for y, (_, values, colour, _marker) in enumerate(reversed(rows)):
        if values["minimum"] > -1:
            axes.plot([values["minimum"]] * 2, [y - 0.3, y + 0.3], color=colour, lw=2.5, alpha=0.45)
    _rows(axes, rows)
    axes.set_xlim(-1.03, 1.03)
    axes.set_xlabel("agreement beyond chance")
    return svg(figure)


def times_plot(task: dict[str, Any], colours: dict[str, str]) -> str | None:
    """Answer times: median with its interval over the middle half of the times."""
    rows = [
        (reader, reader["times"]["seconds"])
        for reader in task["readers"]
        if has_numbers((reader.get("times") or {}).get("seconds"))
    ]
    if not rows:
        return None
    figure, axes = new_figure(5.6, 1.0 + 0.34 * len(rows))
    for y, (reader, values) in enumerate(reversed(rows)):
        colour = colours[reader["group"]]
        axes.plot(values["quartiles"], [y, y], color=colour, lw=9, alpha=0.25, solid_capstyle="butt")
        axes.plot([values["low"], values["high"]], [y, y], color=colour, lw=1.8)
        axes.plot(values["value"], y, "o", color=colour, ms=6.5)
    names = [short(f"{r['reader']} {r['group']}".strip(), 30) for r, _ in reversed(rows)]
    axes.set_yticks(range(len(rows)), names, color=INK)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("seconds an answer")
    return svg(figure)


def pairs_plot(entry: dict[str, Any]) -> str | None:
    """Each reader's two areas, joined by a line."""
    rows = entry["readers"]
    if not rows:
        return None
    figure, axes = new_figure(4.6, 3.2)
    axes.axhline(0.5, color=MUTED, lw=1, ls=(0, (2, 2)))
    for place, row in enumerate(rows):
        values = [area["value"] for area in row["areas"]]
        colour, dash = LINES[place % len(LINES)]
        shift = 0.02 * (place - (len(rows) - 1) / 2)
        x = [shift, 1 + shift]
        axes.plot(x, values, "o", color=colour, ls=dash, lw=1.4, ms=5, label=row["reader"])
        for at, area in zip(x, row["areas"], strict=True):
            axes.plot([at, at], [area["low"], area["high"]], color=colour, lw=0.9, alpha=0.7)
    axes.set_xticks([0, 1], [short(entry["first"]), short(entry["second"])], color=INK)
    axes.set_xlim(-0.3, 1.3)
    axes.set_ylabel("AUC")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return svg(figure)
