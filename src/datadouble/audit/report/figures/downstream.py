"""DiffGuard's Figures 3 to 5 and the scaling curve: what models trained on a double are worth, and what they give away.

Points in, a figure out; estimates are dictionaries with ``value``, ``low`` and ``high``. Advantage is recall minus
false positive rate of an attack: 0 is guessing, 1 knowing.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble.audit.report.figures.base import (
    DOUBLE,
    GRID,
    INK,
    LINES,
    MUTED,
    REAL,
    STYLE,
    has_numbers,
    new_figure,
    short,
    svg,
)
from datadouble.errors import DataDoubleError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
ADVANTAGE = "membership advantage of the attack"


def utility_privacy_figure(
    panels: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    utility: str = "DSC on unseen real patients",
    privacy: str = ADVANTAGE,
) -> Figure | None:
    """Figures 3 and 4: utility against privacy, one panel a segmenter (or an attack), one mark a method.

    Parameters
    ----------
    panels : mapping
        ``{"U-Net": [{"name", "utility": estimate, "privacy": estimate, "is_real": bool}, ...]}``. A point whose
        interval is missing is drawn without; one without a value is left out.
    utility, privacy : str
        Words of the axes.

    Returns
    -------
    Figure or None
        None where there is no point. The upper left corner is where one wants to be.
    """
    drawn = {
        name: [p for p in points if _has_value(p.get("utility")) and _has_value(p.get("privacy"))]
        for name, points in panels.items()
    }
    drawn = {name: points for name, points in drawn.items() if points}
    if not drawn:
        return None
    names = list(dict.fromkeys(str(p["name"]) for points in drawn.values() for p in points))
    styles = _styles(names, {str(p["name"]) for points in drawn.values() for p in points if p.get("is_real")})
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    figure, axes = new_figure(3.3 * columns + 1.9, 3.1 * rows, columns, rows)
    cells = list(np.atleast_1d(axes).ravel())
    limits = _limits([p["privacy"] for points in drawn.values() for p in points], with_zero=True)
    heights = _limits([p["utility"] for points in drawn.values() for p in points])
    for place, (axis, (title, points)) in enumerate(zip(cells, drawn.items(), strict=False)):
        axis.axvline(0, color=MUTED, lw=1, ls=(0, (2, 2)))
        for point in points:
            colour, mark = styles[str(point["name"])]
            _cross(axis, point["privacy"], point["utility"], colour, mark)
        axis.set_xlim(*limits)
        axis.set_ylim(*heights)
        axis.set_title(title, fontsize=10, color=INK, loc="left")
        if place % columns == 0:
            axis.set_ylabel(utility)
    for axis in cells[len(drawn) :]:
        axis.set_visible(False)
    gap = "\n" if columns == 1 else "   "
    words = f"{privacy}{gap}(0 or below: guessing; 1: knowing)"
    figure.supxlabel(words, fontsize=9.5, color=INK)
    handles = [_mark(*styles[name], name) for name in names]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=8.5)
    return figure


def joined_points(
    table: Mapping[str, Any],
    attacked: Mapping[str, Mapping[str, Any]],
    *,
    test: str = "internal",
    measure: str = "dice",
    attack: str = "lira",
) -> dict[str, list[dict[str, Any]]]:
    """Panels for :func:`utility_privacy_figure` from the segmenters' table and what attacked their networks.

    Parameters
    ----------
    table : mapping
        What ``assess_segmenters`` returned.
    attacked : mapping
        ``{kind: what audit_downstream returned}``, its victims named as the table's arms.
    """
    from datadouble.audit.utility.segmenter_settings import WORDS

    panels: dict[str, list[dict[str, Any]]] = {}
    for kind, found in attacked.items():
        for name, victim in found["victims"].items():
            arm = table["arms"].get(name)
            cell = (arm or {}).get("kinds", {}).get(kind, {}).get(test)
            judged = victim["attacks"].get(attack)
            if arm is None or cell is None or judged is None:
                continue
            rates = judged.get("overall") or judged["rates"]
            panels.setdefault(WORDS.get(kind, kind), []).append(
                {
                    "name": arm["words"],
                    "is_real": arm["is_real"],
                    "utility": cell[measure],
                    "privacy": rates["advantage"],
                }
            )
    return panels


def compound_figure(
    series: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    utility: str = "DSC on unseen real patients",
    privacy: str = ADVANTAGE,
) -> Figure | None:
    """Figure 5: differential privacy alone, and compounded with a double, over epsilon.

    Parameters
    ----------
    series : mapping
        ``{"real + DP": [{"epsilon": 8.0, "utility": estimate, "privacy": estimate}, ...]}``; an epsilon of None
        or infinity is training without noise, drawn apart at the right. ``is_real`` of the first point colours the
        line.

    Returns
    -------
    Figure or None
        Utility above, the attack's advantage below, on one axis of epsilon (smaller is more private).

    Raises
    ------
    DataDoubleError
        For an epsilon that is not positive.
    """
    drawn = {name: _by_epsilon(points, name) for name, points in series.items()}
    drawn = {name: points for name, points in drawn.items() if points}
    if not drawn:
        return None
    real = {name for name, points in series.items() if points and points[0].get("is_real")}
    styles = _styles(list(drawn), real)
    known = [e for points in drawn.values() for e, _ in points if np.isfinite(e)]
    low, high = (min(known), max(known)) if known else (1.0, 1.0)
    apart = high * max(2.5, (high / low) ** 0.25)
    figure, axes = new_figure(5.6, 5.0, 1, 2)
    for axis, key, words in zip(axes, ("utility", "privacy"), (utility, privacy), strict=True):
        for place, (name, points) in enumerate(drawn.items()):
            colour, mark = styles[name]
            dash = "-" if name in real else LINES[place % len(LINES)][1]
            kept = [(e, p[key]) for e, p in points if _has_value(p.get(key))]
            nudge = 1 + 0.03 * (place - (len(drawn) - 1) / 2)
            x = np.array([(e if np.isfinite(e) else apart) * nudge for e, _ in kept])
            finite = np.array([np.isfinite(e) for e, _ in kept], bool)
            y = np.array([value["value"] for _, value in kept])
            axis.plot(x[finite], y[finite], color=colour, ls=dash, lw=1.4)
            for at, (_, value) in zip(x, kept, strict=True):
                _cross(axis, {"value": at}, value, colour, mark)
        axis.set_xscale("log")
        axis.set_xlim(low / 1.5, apart * 1.5)
        axis.set_ylabel(words if len(words) < 32 else words.replace(" of ", "\nof "))
        axis.axvline(apart / max(1.6, (apart / high) ** 0.5), color=GRID, lw=6)
    ticks = sorted(set(known))
    ticks = [tick for number, tick in enumerate(ticks) if number == 0 or tick / ticks[number - 1] > 1.25]
    for axis in axes:
        axis.minorticks_off()
        axis.set_xticks([*ticks, apart], [*(f"{tick:g}" for tick in ticks), "no DP"])
    axes[1].axhline(0, color=MUTED, lw=1, ls=(0, (2, 2)))
    axes[1].set_xlabel("epsilon, by record: patient, or picture of a double (left is more private)")
    handles = [_mark(*styles[name], name) for name in drawn]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False, fontsize=8.5)
    return figure


def scaling_figure(found: Mapping[str, Any]) -> Figure | None:
    """What ``scaling_curve`` returned, in one plot: DSC and macro F1, membership advantage, and compute."""
    points = [p for p in found.get("points", []) if _has_value(p.get("dice"))]
    if not points:
        return None
    x = np.array([p["per_class"] for p in points], float)
    figure, axes = new_figure(5.8, 5.6, 1, 3)
    with_member = any(_has_value(p.get("membership")) for p in points)
    rows: list[tuple[Axes, list[tuple[str, str, str, str]], str]] = [
        (axes[0], [("dice", "DSC", REAL, "o"), ("f1", "macro F1", "#00795c", "s")], "on unseen real"),
        (axes[1], [("membership", "membership advantage", DOUBLE, "^")], "membership\nadvantage"),
    ]
    for axis, lines, words in rows:
        for place, (key, name, colour, mark) in enumerate(lines):
            kept = [(at, p[key]) for at, p in zip(x, points, strict=True) if _has_value(p.get(key))]
            shift = 1 + 0.02 * (place - (len(lines) - 1) / 2)
            axis.plot([at * shift for at, _ in kept], [v["value"] for _, v in kept], color=colour, lw=1.4)
            for at, value in kept:
                _cross(axis, {"value": at * shift}, value, colour, mark)
            if len(lines) > 1:
                axis.plot([], [], color=colour, marker=mark, lw=1.4, label=name)
        if len(lines) > 1:
            axis.legend(frameon=False, fontsize=8.5, loc="lower right")
        axis.set_ylabel(words)
    if not with_member:
        axes[1].text(0.5, 0.5, "not measured", transform=axes[1].transAxes, ha="center", color=MUTED)
    axes[1].axhline(0, color=MUTED, lw=1, ls=(0, (2, 2)))
    axes[2].plot(x, [p["compute_seconds"] / 60 for p in points], "D-", color=INK, lw=1.4, ms=5)
    axes[2].set_ylim(0, None)
    axes[2].set_ylabel("compute,\nminutes")
    stopped = found.get("stopped_at")
    for axis in axes:
        axis.set_xscale("log")
        axis.minorticks_off()
        axis.set_xticks(x, [f"{int(at):,}" for at in x] if axis is axes[2] else ["" for _ in x])
        axis.set_xlim(x[0] / 1.25, x[-1] * 1.25)
        if stopped is not None:
            axis.axvline(found["advice"], color=MUTED, lw=1, ls="--")
    if stopped is not None:
        axes[0].set_title(
            f"stops at {stopped:,}: gains less than {found['threshold']:g} over {found['advice']:,} (dashed)",
            fontsize=9,
            loc="left",
            color=MUTED,
        )
    axes[2].set_xlabel("synthetic pictures of each class")
    return figure


def figure_bytes(figure: Figure, form: str = "svg") -> bytes:
    """The figure as a file: ``"svg"`` or ``"png"`` on white."""
    from matplotlib import rc_context

    stream = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if form == "svg" else None
    with rc_context(STYLE):
        figure.savefig(stream, format=form, dpi=150, facecolor="white", metadata=metadata)
    return stream.getvalue()


def figure_address(figure: Figure | None) -> str | None:
    """The figure as a data address for the report; None for None."""
    return None if figure is None else svg(figure)


def _has_value(estimate: Any) -> bool:
    return has_numbers(estimate, ("value",)) and bool(np.isfinite(estimate["value"]))


def _styles(names: Sequence[str], real: set[str]) -> dict[str, tuple[str, str]]:
    """Colour and mark of each method; real ones blue."""
    others = iter(colour for _ in range(len(names)) for colour, _ in LINES)
    marks = iter(MARKERS[i % len(MARKERS)] for i in range(len(names)))
    return {name: (REAL if name in real else next(others), next(marks)) for name in names}


def _mark(colour: str, mark: str, name: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=mark, ls="", ms=6.5, label=short(name, 30))


def _cross(axis: Axes, x: Mapping[str, Any], y: Mapping[str, Any], colour: str, mark: str) -> None:
    if has_numbers(x):
        axis.plot([x["low"], x["high"]], [y["value"]] * 2, color=colour, lw=1, alpha=0.7)
    if has_numbers(y):
        axis.plot([x["value"]] * 2, [y["low"], y["high"]], color=colour, lw=1, alpha=0.7)
    axis.plot(x["value"], y["value"], mark, color=colour, ms=6.5, mec="white", mew=0.6)


def _limits(estimates: Sequence[Mapping[str, Any]], *, with_zero: bool = False) -> tuple[float, float]:
    ends = [
        e[key] for e in estimates for key in ("value", "low", "high") if isinstance(e.get(key), int | float)
    ]
    ends = [end for end in ends if np.isfinite(end)] + ([0.0] if with_zero else [])
    room = 0.06 * max(max(ends) - min(ends), 0.05)
    return min(ends) - room, max(ends) + room


def _by_epsilon(points: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, Mapping[str, Any]]]:
    found = []
    for point in points:
        epsilon = float("inf") if point.get("epsilon") is None else float(point["epsilon"])
        if not epsilon > 0:
            raise DataDoubleError(
                "epsilon must be positive", where=name, found=f"{epsilon:g}", remedy="leave it out for no DP"
            )
        found.append((epsilon, point))
    return sorted(found, key=lambda entry: entry[0])
