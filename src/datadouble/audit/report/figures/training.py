"""Plots of the training run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from datadouble.audit.report.figures.base import (
    DOUBLE,
    FLOOR,
    INK,
    MUTED,
    REAL,
    new_figure,
    short,
    smooth,
    svg,
)

if TYPE_CHECKING:
    from datadouble.audit.report.training_run import Curves


def training_plot(curves: Curves) -> str | None:
    """Training and held-out loss over images seen, and the last losses by diffusion time; None without any."""
    kinds = {
        "loss": "training steps",
        "training_loss": "training pictures",
        "validation_loss": "held-out patients",
    }
    losses = {key: curves.series[key] for key in kinds if key in curves.series}
    if not losses:
        return None
    panels = 2 if len(curves.times) > 1 else 1
    figure, axes = new_figure(4.7 * panels, 2.8, columns=panels)
    first = axes[0] if panels == 2 else axes
    for key, (seen, values) in losses.items():
        colour = DOUBLE if key == "validation_loss" else REAL
        if key == "loss":
            faint = "training_loss" in losses
            colour = FLOOR if faint else REAL
            first.plot(seen / 1000, values, color=FLOOR, alpha=0.35, lw=0.7)
            first.plot(seen / 1000, smooth(values), color=colour, lw=1.4, label=kinds[key])
        else:
            first.plot(seen / 1000, values, "o-", color=colour, ms=3, lw=1.5, label=kinds[key], zorder=3)
    # The first steps would flatten the rest.
    later = [curve[len(curve) // 20 :] for _, curve in losses.values()]
    highest, lowest = max(float(np.quantile(v, 0.98)) for v in later), min(float(v.min()) for v in later)
    margin = 0.08 * (highest - lowest) + 1e-9
    first.set_ylim(lowest - margin, highest + margin)
    first.set_xlabel("images seen, thousands")
    first.set_ylabel("denoising loss")
    first.legend(frameon=False, loc="upper right")
    if panels == 2:
        places = np.arange(len(curves.times))
        width = 0.76 / len(curves.by_time)
        for index, (name, bars) in enumerate(sorted(curves.by_time.items(), reverse=True)):
            colour = DOUBLE if name == "held out" else REAL
            shift = (index - (len(curves.by_time) - 1) / 2) * width
            axes[1].bar(places + shift, bars, width, color=colour, label=name)
        axes[1].set_xticks(places, curves.times)
        axes[1].grid(axis="x", visible=False)
        axes[1].set_xlabel("diffusion time")
        axes[1].set_ylabel("loss, last measured")
        axes[1].legend(frameon=False)
    return svg(figure)


def side_plot(curves: Curves) -> str | None:
    """Learning rate, speed and gradient norm over images seen, as small panels; None without any."""
    wanted = ("learning_rate", "images_per_second", "gradient_norm")
    found = [key for key in wanted if key in curves.series and len(curves.series[key][0]) > 1]
    if not found:
        return None
    figure, axes = new_figure(3.1 * len(found), 1.9, columns=len(found))
    for panel, key in zip(np.atleast_1d(axes), found, strict=True):
        seen, values = curves.series[key]
        panel.plot(seen / 1000.0, values, color=MUTED, lw=1.2)
        panel.set_title(short(key.replace("_", " ")), fontsize=9.5, loc="left", color=INK)
        panel.set_xlabel("images seen, thousands")
        panel.set_ylim(0, max(float(np.quantile(values, 0.99)) * 1.1, 1e-12))
    return svg(figure)
