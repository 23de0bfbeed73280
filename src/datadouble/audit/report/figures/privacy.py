"""Plots of privacy: copies, neighbours, membership, release size, model access, and the controls' recall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from datadouble.audit.report.figures.base import (
    DOUBLE,
    GRID,
    INK,
    MUTED,
    REAL,
    finite,
    has_numbers,
    line_styles,
    new_figure,
    short,
    svg,
)


def similarity_plot(synthetic: np.ndarray, control: np.ndarray) -> str | None:
    """Histograms of similarity to the nearest training picture: the double's against unseen real pictures'."""
    return _two_histograms(
        finite(synthetic),
        finite(control),
        "similarity to the nearest training picture (1 = identical features)",
    )


def copy_plot(scores: np.ndarray, control: np.ndarray, threshold: np.ndarray) -> str | None:
    """Histograms of the copy score, with the threshold learnt from unseen patients."""
    limit = finite(threshold)
    return _two_histograms(
        finite(scores),
        finite(control),
        "score of the best aligned match in the training set",
        float(limit[0]) if len(limit) else None,
    )


def _two_histograms(
    synthetic: np.ndarray, control: np.ndarray, label: str, limit: float | None = None
) -> str | None:
    if len(synthetic) == 0:
        return None
    figure, axes = new_figure(6.6, 2.7)
    both = np.concatenate([synthetic, control, [] if limit is None else [limit]])
    low, high = float(both.min()), float(both.max())
    margin = 0.03 * (high - low) if high > low else 0.01
    bins = np.linspace(low - margin, high + margin, 43)
    if len(control):
        weights = np.full(len(control), 100 / len(control))
        name = f"real, unseen by the generator (n = {len(control):,})"
        axes.hist(control, bins=bins, weights=weights, color=REAL, alpha=0.4, label=name)
    weights = np.full(len(synthetic), 100 / len(synthetic))
    name = f"synthetic (n = {len(synthetic):,})"
    axes.hist(synthetic, bins=bins, weights=weights, histtype="step", color=DOUBLE, lw=1.8, label=name)
    # Copies are few: each picture has its own tick, so that none is lost at the foot of the histogram.
    tall = axes.get_ylim()[1]
    axes.plot(synthetic, np.full(len(synthetic), -0.035 * tall), "|", color=DOUBLE, ms=5, mew=0.7)
    axes.set_ylim(-0.07 * tall, 1.12 * tall)
    if limit is not None:
        axes.axvline(limit, color=INK, lw=1.3, ls="--")
        right = limit < (low + high) / 2
        words, side = (" copy from here on", "left") if right else ("copy from here on ", "right")
        axes.annotate(words, (limit, 1.1 * tall), ha=side, va="top", fontsize=9, color=INK)
    axes.set_xlabel(label)
    axes.set_ylabel("pictures, %")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, fontsize=8.5)
    return svg(figure)


def membership_plot(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], others: int | None) -> str | None:
    """ROC curves of the membership attack on logarithmic axes, one a feature space.

    Parameters
    ----------
    curves : mapping
        Name to (false positive rates, true positive rates), each rising from 0 to 1.
    others : int or None
        Patients that were not members: below 1 / others a false positive rate cannot be measured.
    """
    drawn = {}
    for name, (fpr, tpr) in curves.items():
        x, y = np.asarray(fpr, np.float64), np.asarray(tpr, np.float64)
        if len(x) >= 2 and len(x) == len(y):
            drawn[name] = (x, y)
    if not drawn:
        return None
    least = 3e-4
    figure, axes = new_figure(5.2, 4.3)
    guess = np.geomspace(least, 1, 50)
    axes.plot(guess, guess, color=MUTED, lw=1, ls=(0, (2, 2)), label="guessing")
    if others and 1 / others > least:
        axes.axvspan(least, 1 / others, color=GRID, alpha=0.6, lw=0)
        axes.annotate(
            f"less than one of\n{others:,} unseen patients",
            (least * 1.12, 0.8),
            fontsize=8,
            color=MUTED,
            va="top",
        )
    for rate, name in ((0.01, "1%"), (0.001, "0.1%")):
        axes.axvline(rate, color=MUTED, lw=0.8, ls=":")
        axes.annotate(name, (rate, least * 1.15), fontsize=8.5, color=INK, ha="left", va="bottom")
    styles = line_styles(drawn)
    for name, (x, y) in drawn.items():
        colour, dash = styles[name]
        axes.step(
            np.maximum(x, least),
            np.maximum(y, least),
            where="post",
            color=colour,
            ls=dash,
            lw=1.7,
            label=short(name, 36),
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(least, 1)
    axes.set_ylim(least, 1.15)
    axes.set_xlabel("unseen patients called members (false positive rate)")
    axes.set_ylabel("members found (true positive rate)")
    axes.legend(frameon=False, loc="lower right", fontsize=8.5)
    return svg(figure)


PANELS = {
    "auc": ("membership AUC", 0.5),
    "advantage": ("membership advantage", 0.0),
    "nearer": ("share nearer to train", 0.5),
    "auth_pct": ("authentic, %", None),
    "copies": ("share of copies", 0.0),
}


def release_size_plot(points: list[dict[str, Any]]) -> str | None:
    """Each measure over the size of the release; the band is the interval, the dashed line what honest data give."""
    by_measure: dict[str, list[dict[str, Any]]] = {}
    for point in points:
        if has_numbers(point, ("size", "value", "low", "high")) and point.get("measure") in PANELS:
            by_measure.setdefault(point["measure"], []).append(point)
    names = [name for name in PANELS if name in by_measure][:4]
    if not names:
        return None
    figure, grid = new_figure(2.75 * len(names), 2.3, columns=len(names))
    for panel, name in zip(np.atleast_1d(grid), names):
        found = sorted(by_measure[name], key=lambda point: point["size"])
        x, value, low, high = (np.array([p[key] for p in found]) for key in ("size", "value", "low", "high"))
        panel.fill_between(x, low, high, color=DOUBLE, alpha=0.2, lw=0)
        panel.plot(x, value, "o-", color=DOUBLE, ms=3.5, lw=1.4)
        title, honest = PANELS[name]
        if honest is not None:
            panel.axhline(honest, color=REAL, lw=1.2, ls="--")
        panel.set_title(title, fontsize=9.5, loc="left", color=INK)
        panel.set_xscale("log")
        panel.set_xlabel("pictures released")
        ticks = [int(x[0])] if len(x) == 1 else [int(x[0]), int(x[len(x) // 2]), int(x[-1])]
        panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        panel.set_xticks([], minor=True)
    return svg(figure)


def recall_plot(recall: Mapping[str, dict[str, Any]]) -> str | None:
    """Share of the planted leaks of each kind that the gate named, with its interval."""
    rows = [(name, values) for name, values in recall.items() if has_numbers(values)]
    if not rows:
        return None
    figure, axes = new_figure(5.4, 0.8 + 0.32 * len(rows))
    for y, (_, values) in enumerate(reversed(rows)):
        axes.plot([100 * values["low"], 100 * values["high"]], [y, y], color=INK, lw=1.6)
        axes.plot(100 * values["value"], y, "o", color=INK, ms=6.5)
    labels = [f"{short(name)}  ({values.get('n', '?')} planted)" for name, values in reversed(rows)]
    axes.set_yticks(range(len(rows)), labels, color=INK)
    axes.set_xlim(-3, 103)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("planted leaks that were named, % (95% interval)")
    return svg(figure)


def loss_by_time_plot(figures: list[dict[str, Any]]) -> str | None:
    """AUC of the denoising loss over diffusion time: where the weights remember their training patients."""
    found = [
        item for item in figures if has_numbers(item.get("auc")) and isinstance(item.get("time"), int | float)
    ]
    if len(found) < 2:
        return None
    found.sort(key=lambda item: item["time"])
    figure, axes = new_figure(5.2, 2.4)
    x = np.array([item["time"] for item in found])
    low, value, high = (np.array([item["auc"][key] for item in found]) for key in ("low", "value", "high"))
    axes.fill_between(x, low, high, color=DOUBLE, alpha=0.2, lw=0)
    axes.plot(x, value, "o-", color=DOUBLE, ms=4, lw=1.4)
    axes.axhline(0.5, color=REAL, lw=1.2, ls="--")
    axes.set_xlabel("diffusion time  (dashed: guessing)")
    axes.set_ylabel("AUC of the low loss")
    return svg(figure)
