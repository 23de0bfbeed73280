"""Plots of usefulness and realism: ROC curves, areas of the arms, Dice by lesion size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from datadouble.audit.report.figures.base import (
    DOUBLE,
    INK,
    MUTED,
    REAL,
    has_numbers,
    line_styles,
    new_figure,
    short,
    svg,
)


def roc_plot(curves: Mapping[str, Any], *, x: str, y: str) -> str | None:
    """ROC curves ``{name: {"fpr": [...], "tpr": [...]}}`` on plain axes."""
    drawn = {
        name: curve
        for name, curve in curves.items()
        if isinstance(curve, dict)
        and len(curve.get("fpr") or ()) >= 2
        and len(curve["fpr"]) == len(curve["tpr"])
    }
    if not drawn:
        return None
    figure, axes = new_figure(4.6, 4.0)
    axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (2, 2)))
    styles = line_styles(drawn)
    for name, curve in drawn.items():
        colour, dash = styles[name]
        axes.plot(curve["fpr"], curve["tpr"], color=colour, ls=dash, lw=1.6, label=short(name, 36))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(frameon=False, loc="lower right", fontsize=8.5)
    return svg(figure)


def arms_plot(
    arms: Mapping[str, dict[str, Any]], label: str, key: str, margin: float | None = None
) -> str | None:
    """One row an arm: its area (or Dice) with interval; the shade is the real arm's value with the margin."""
    rows = [
        (str(entry.get("words", name)), entry[key])
        for name, entry in arms.items()
        if has_numbers(entry.get(key))
    ]
    if not rows:
        return None
    figure, axes = new_figure(5.4, 0.8 + 0.36 * len(rows))
    real = (arms.get("real") or {}).get(key)
    if has_numbers(real, ("value",)):
        if margin:
            axes.axvspan(real["value"] - margin, real["value"] + margin, color=REAL, alpha=0.13, lw=0)
        axes.axvline(real["value"], color=REAL, lw=1.2, ls="--")
    for row, (_, values) in enumerate(reversed(rows)):
        colour = REAL if row == len(rows) - 1 and "real" in arms else DOUBLE
        axes.plot([values["low"], values["high"]], [row, row], color=colour, lw=1.8)
        axes.plot(values["value"], row, "o" if colour == DOUBLE else "s", color=colour, ms=6.5)
    axes.set_yticks(range(len(rows)), [short(name, 36) for name, _ in reversed(rows)], color=INK)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(label)
    return svg(figure)


def size_plot(groups: Mapping[str, list[dict[str, Any]]], label: str) -> str | None:
    """A score by fifth of lesion size, one line an arm: ``{arm: [{"value", "low", "high"}, …]}``, smallest first."""
    drawn = {name: rows for name, rows in groups.items() if any(has_numbers(row, ("value",)) for row in rows)}
    if not drawn:
        return None
    figure, axes = new_figure(5.6, 2.8)
    longest = max(len(rows) for rows in drawn.values())
    styles = line_styles(drawn)
    for place, (name, rows) in enumerate(drawn.items()):
        colour, dash = styles[name]
        shift = 0.06 * (place - (len(drawn) - 1) / 2)
        kept = [(i, row) for i, row in enumerate(rows) if has_numbers(row, ("value",))]
        x, y = np.array([i + shift for i, _ in kept]), np.array([row["value"] for _, row in kept])
        axes.plot(x, y, "o", color=colour, ls=dash, ms=4, lw=1.4, label=short(name, 36))
        for at, (_, row) in zip(x, kept):
            if has_numbers(row):
                axes.plot([at, at], [row["low"], row["high"]], color=colour, lw=1)
    names = ["smallest", *("" for _ in range(longest - 2)), "largest"] if longest > 1 else ["all"]
    axes.set_xticks(range(longest), names)
    axes.set_xlabel("lesions, in fifths by size")
    axes.set_ylabel(label)
    axes.legend(frameon=False, fontsize=8.5)
    return svg(figure)
