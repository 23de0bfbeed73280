"""Plots of a report as SVG in data addresses, drawn without a display."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from datadouble.audit.report.training_run import Curves

INK, MUTED, GRID = "#1d2733", "#5b6875", "#e3e8ed"
DOUBLE, REAL, FLOOR = "#c2410c", "#1d5fa8", "#9fb8d3"  # orange and blue stay apart for colour-blind readers
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.grid": True,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "svg.fonttype": "path",  # looks the same wherever the report is opened
    "svg.hashsalt": "datadouble",  # equal input, equal bytes
}


def distance_plot(overall: dict[str, Any], by_class: dict[str, dict[str, Any]], key: str) -> str:
    """The distance (``"fd"`` or ``"kid"``) of all pictures and of each class: floor as a band, double as a point."""
    rows = [("All classes", overall), *by_class.items()]
    rows = [(name, result[key]) for name, result in rows if key in result]
    scale = 1000.0 if key == "kid" else 1.0
    figure, axes = _figure(5.4, 0.75 + 0.36 * len(rows))
    for y, (_, values) in enumerate(reversed(rows)):
        floor = values["floor"]
        axes.plot(
            [floor["low"] * scale, floor["high"] * scale], [y, y], color=FLOOR, lw=9, solid_capstyle="butt"
        )
        axes.plot([floor["value"] * scale] * 2, [y - 0.22, y + 0.22], color=REAL, lw=2)
        axes.plot([values["low"] * scale, values["high"] * scale], [y, y], color=DOUBLE, lw=1.8)
        axes.plot(values["value"] * scale, y, "o", color=DOUBLE, ms=7)
    axes.set_yticks(range(len(rows)), [_short(name) for name, _ in reversed(rows)], color=INK)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
    low = axes.get_xlim()[0]
    axes.set_xlim(left=min(0.0, low))
    axes.set_xlabel(
        f"{rows[0][1]['name']}{' × 1000' if key == 'kid' else ''}   (further left is nearer to real)"
    )
    return _svg(figure)


def similarity_plot(synthetic: np.ndarray, control: np.ndarray) -> str:
    """Histograms of similarity to the nearest training picture: the double's against unseen real pictures'."""
    figure, axes = _figure(6.6, 2.6)
    both = np.concatenate([synthetic, control])
    bins = np.linspace(min(float(both.min()), 0.999), 1.0, 41)
    if len(control):
        weights = np.full(len(control), 100 / len(control))
        axes.hist(
            control, bins=bins, weights=weights, color=REAL, alpha=0.45, label="real, unseen by the generator"
        )
    weights = np.full(len(synthetic), 100 / len(synthetic))
    axes.hist(synthetic, bins=bins, weights=weights, histtype="step", color=DOUBLE, lw=1.8, label="synthetic")
    axes.set_xlabel("similarity to the nearest training picture (1 = identical features)")
    axes.set_ylabel("pictures, %")
    axes.legend(frameon=False, loc="upper left")
    return _svg(figure)


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
    figure, axes = _figure(4.7 * panels, 2.8, columns=panels)
    first = axes[0] if panels == 2 else axes
    for key, (seen, values) in losses.items():
        colour = DOUBLE if key == "validation_loss" else REAL
        if key == "loss":
            faint = "training_loss" in losses
            colour = FLOOR if faint else REAL
            first.plot(seen / 1000, values, color=FLOOR, alpha=0.35, lw=0.7)
            first.plot(seen / 1000, _smooth(values), color=colour, lw=1.4, label=kinds[key])
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
    return _svg(figure)


def side_plot(curves: Curves) -> str | None:
    """Learning rate, speed and gradient norm over images seen, as small panels; None without any."""
    wanted = ("learning_rate", "images_per_second", "gradient_norm")
    found = [key for key in wanted if key in curves.series and len(curves.series[key][0]) > 1]
    if not found:
        return None
    figure, axes = _figure(3.1 * len(found), 1.9, columns=len(found))
    for panel, key in zip(np.atleast_1d(axes), found, strict=True):
        seen, values = curves.series[key]
        panel.plot(seen / 1000.0, values, color=MUTED, lw=1.2)
        panel.set_title(_legend(key), fontsize=9.5, loc="left", color=INK)
        panel.set_xlabel("images seen, thousands")
        panel.set_ylim(0, max(float(np.quantile(values, 0.99)) * 1.1, 1e-12))
    return _svg(figure)


def _figure(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes: Axes | np.ndarray = figure.subplots(1, columns)
    return figure, axes


def _svg(figure: Figure) -> str:
    from matplotlib import rc_context

    stream = io.BytesIO()
    with rc_context(_STYLE):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean over a sliding window of a thirtieth of the curve, shorter at its ends."""
    half = max(1, len(values) // 60)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def _legend(key: str) -> str:
    return _short(key.replace("_", " "))


def _short(name: str) -> str:
    name = name.replace("$", r"\$")  # no formulas in names
    return name if len(name) <= 24 else name[:23] + "…"
