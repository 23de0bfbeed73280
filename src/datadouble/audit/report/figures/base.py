"""What all plots of a report share: colours, axes without a display, and SVG in data addresses."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from itertools import cycle
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1d2733", "#5b6875", "#e3e8ed"
DOUBLE, REAL, FLOOR = "#c2410c", "#1d5fa8", "#9fb8d3"  # orange and blue stay apart for colour-blind readers
# Further lines, each with its own dash, so that no reader depends on colour: Okabe and Ito's, darkened for thin lines.
LINES: tuple[tuple[str, Any], ...] = (
    (DOUBLE, "-"),
    ("#00795c", "--"),
    ("#8f4a7d", ":"),
    (INK, (0, (5, 1, 1, 1, 1, 1))),
    ("#a67c00", "-."),
)
STYLE = {
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


def new_figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, Any]:
    """A figure of so many inches, and its axes: one, or an array of them."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes: Axes | np.ndarray = figure.subplots(rows, columns)
    return figure, axes


def line_styles(names: Iterable[str]) -> dict[str, tuple[str, Any]]:
    """Colour and dash of each line of a plot, by its name; the one called real is blue, as everywhere."""
    others = cycle(LINES)
    return {name: (REAL, "-") if name == "real" else next(others) for name in names}


def svg(figure: Figure) -> str:
    """The figure as a data address."""
    from matplotlib import rc_context

    stream = io.BytesIO()
    with rc_context(STYLE):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()


def short(name: str, length: int = 24) -> str:
    """A name that fits beside a plot, and is no formula."""
    cut = name if len(name) <= length else name[: length - 1] + "…"
    return cut.replace("$", r"\$")


def smooth(values: np.ndarray) -> np.ndarray:
    """Mean over a sliding window of a thirtieth of the curve, shorter at its ends."""
    half = max(1, len(values) // 60)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def finite(values: Any) -> np.ndarray:
    """The finite values of anything like an array, as float64."""
    array = np.asarray([] if values is None else values, dtype=np.float64).ravel()
    return array[np.isfinite(array)]


def has_numbers(estimate: Any, keys: tuple[str, ...] = ("value", "low", "high")) -> TypeGuard[dict[str, Any]]:
    """Whether a dictionary holds a number under each key."""
    return isinstance(estimate, dict) and all(isinstance(estimate.get(key), int | float) for key in keys)


def interval_rows(
    axes: Axes, rows: list[tuple[str, dict[str, Any]]], scale: float = 1.0, *, colour: str = DOUBLE
) -> None:
    """One row a name, the first on top: the floor as a band with its mean, the double as a point with its interval."""
    for y, (_, values) in enumerate(reversed(rows)):
        floor = values.get("floor")
        if has_numbers(floor):
            axes.plot(
                [floor["low"] * scale, floor["high"] * scale],
                [y, y],
                color=FLOOR,
                lw=9,
                solid_capstyle="butt",
            )
            axes.plot([floor["value"] * scale] * 2, [y - 0.22, y + 0.22], color=REAL, lw=2)
        if has_numbers(values):
            axes.plot([values["low"] * scale, values["high"] * scale], [y, y], color=colour, lw=1.8)
        axes.plot(values["value"] * scale, y, "o", color=colour, ms=7)
    axes.set_yticks(range(len(rows)), [short(name) for name, _ in reversed(rows)], color=INK)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
