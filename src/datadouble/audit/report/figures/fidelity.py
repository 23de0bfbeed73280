"""Plots of fidelity: distances with their floors, texture, lesions, modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from datadouble.audit.report.figures.base import (
    DOUBLE,
    FLOOR,
    INK,
    MUTED,
    REAL,
    finite,
    has_numbers,
    interval_rows,
    new_figure,
    short,
    svg,
)

MANIFOLD = {
    "precision": "precision: looks real",
    "recall": "recall: variety",
    "density": "density: looks real",
    "coverage": "coverage: variety",
}


def distance_plot(overall: dict[str, Any], by_class: dict[str, dict[str, Any]], key: str) -> str | None:
    """A distance (``"fd"``, ``"kid"`` or ``"cmmd"``) of all pictures and of each class, each with its floor."""
    found = [("All classes", overall), *by_class.items()]
    rows = [(name, result[key]) for name, result in found if has_numbers(result.get(key), ("value",))]
    if not rows:
        return None
    figure, axes = new_figure(5.4, 0.75 + 0.36 * len(rows))
    interval_rows(axes, rows, 1000.0 if key == "kid" else 1.0)
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    name = short(str(rows[0][1].get("name", key)), 40)
    axes.set_xlabel(f"{name}{' × 1000' if key == 'kid' else ''}   (further left is nearer to real)")
    return svg(figure)


def manifold_plot(overall: dict[str, Any]) -> str | None:
    """Precision, recall, density and coverage of all pictures, each with its floor: further right is better."""
    rows = [
        (name, overall[key]) for key, name in MANIFOLD.items() if has_numbers(overall.get(key), ("value",))
    ]
    if not rows:
        return None
    figure, axes = new_figure(5.4, 0.75 + 0.36 * len(rows))
    interval_rows(axes, rows)
    axes.set_xlim(0, max(1.0, axes.get_xlim()[1]))
    axes.set_xlabel("share (band: what real pictures reach)")
    return svg(figure)


def spectrum_plot(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Left both power spectra, right their difference beside that of real and real."""
    names = ("frequency", "synthetic", "real", "difference", "low", "high", "floor_low", "floor_high")
    if any(f"spectrum/{name}" not in arrays for name in names):
        return None
    curve = {name: np.asarray(arrays[f"spectrum/{name}"], np.float64) for name in names}
    if len(curve["frequency"]) < 2:
        return None
    figure, (left, right) = new_figure(9.4, 2.9, columns=2)
    x = curve["frequency"]
    left.plot(x, curve["real"], color=REAL, lw=1.6, label="real")
    left.plot(x, curve["synthetic"], color=DOUBLE, lw=1.6, ls="--", label="synthetic")
    left.set_ylabel("power, dB")
    left.legend(frameon=False)
    right.fill_between(
        x, curve["floor_low"], curve["floor_high"], color=FLOOR, lw=0, label="real − other real"
    )
    right.fill_between(x, curve["low"], curve["high"], color=DOUBLE, alpha=0.25, lw=0)
    right.plot(x, curve["difference"], color=DOUBLE, lw=1.6, label="synthetic − real")
    right.axhline(0, color=MUTED, lw=0.8)
    right.set_ylabel("difference, dB")
    right.legend(frameon=False)
    for panel in (left, right):
        panel.set_xlim(0, 1)
        panel.set_xlabel("coarse structure  →  fine detail (share of the finest)")
    return svg(figure)


def grey_plot(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Shares of the 256 grey levels on both sides."""
    sides = [np.asarray(arrays.get(f"grey_{side}", ()), np.float64) for side in ("real", "synthetic")]
    if any(len(side) < 2 or not np.isfinite(side).all() for side in sides):
        return None
    figure, axes = new_figure(5.4, 2.6)
    levels = np.arange(len(sides[0]))
    axes.fill_between(levels, 100 * sides[0], color=REAL, alpha=0.3, lw=0, step="mid", label="real")
    axes.step(np.arange(len(sides[1])), 100 * sides[1], where="mid", color=DOUBLE, lw=1.4, label="synthetic")
    # Exact black, as beside a fan-shaped picture, would flatten the rest.
    top = 100 * max(float(side[1:].max()) for side in sides)
    axes.set_ylim(0, 1.12 * top if top > 0 else 1)
    axes.set_xlabel("grey level (0 black, 255 white)")
    axes.set_ylabel("pixels, %")
    axes.legend(frameon=False)
    return svg(figure)


def speckle_plot(speckle: Mapping[str, Any], names: Mapping[str, str]) -> str | None:
    """Distance of each property's distribution in standard deviations of the real one, where it was measured."""
    rows = []
    for key, values in speckle.items():
        found = values.get("wasserstein") if isinstance(values, dict) else None
        spread = (values.get("real") or {}).get("sd") if found else None
        if has_numbers(found, ("value",)) and spread:
            scaled = {k: found[k] / spread for k in ("value", "low", "high") if found.get(k) is not None}
            floor = found.get("floor")
            if has_numbers(floor):
                scaled["floor"] = {k: floor[k] / spread for k in ("value", "low", "high")}
            rows.append((names.get(key, key.replace("_", " ")), scaled))
    if not rows:
        return None
    figure, axes = new_figure(5.4, 0.75 + 0.36 * len(rows))
    interval_rows(axes, rows)
    axes.set_xlim(left=0)
    axes.set_xlabel("distance of the distributions, in real standard deviations")
    return svg(figure)


def lesion_plot(values: Mapping[str, tuple[np.ndarray, np.ndarray]], labels: Mapping[str, str]) -> str | None:
    """Histograms of each property of the lesions: ``{property: (synthetic, real)}``."""
    fine = {key: (finite(synthetic), finite(real)) for key, (synthetic, real) in values.items()}
    fine = {key: sides for key, sides in fine.items() if len(sides[0]) and len(sides[1])}
    if not fine:
        return None
    columns = min(4, len(fine))
    lines = -(-len(fine) // columns)
    figure, grid = new_figure(2.7 * columns, 1.95 * lines, columns=columns, rows=lines)
    panels = np.atleast_1d(grid).ravel()
    for panel in panels[len(fine) :]:
        panel.set_visible(False)
    for panel, (key, (synthetic, real)) in zip(panels, fine.items()):
        both = np.concatenate([synthetic, real])
        low, high = (float(v) for v in np.quantile(both, [0.0, 0.995]))
        bins = np.linspace(low, high, 25) if high > low else np.array([low - 0.5, low + 0.5])
        for side, drawn in (
            (real, {"color": REAL, "alpha": 0.35}),
            (synthetic, {"histtype": "step", "color": DOUBLE, "lw": 1.5}),
        ):
            weights = np.full(len(side), 100 / len(side))
            panel.hist(np.clip(side, bins[0], bins[-1]), bins=bins, weights=weights, **drawn)
        panel.set_title(labels.get(key, key.replace("_", " ")), fontsize=9, loc="left", color=INK)
        panel.tick_params(labelsize=8)
        panel.grid(axis="x", visible=False)
    panels[0].set_ylabel("lesions, %", fontsize=9)
    return svg(figure)


def modes_plot(modes: list[dict[str, Any]], most: int = 12) -> str | None:
    """Share of each group of look-alike real pictures on both sides, the most missed first; lost ones are marked."""
    shown = [
        mode
        for mode in modes
        if all(has_numbers(mode.get(key), ("value",)) for key in ("share_real", "share_synthetic"))
    ][:most]
    if not shown:
        return None
    figure, axes = new_figure(5.4, 0.85 + 0.34 * len(shown))
    for y, mode in enumerate(reversed(shown)):
        for key, colour, shift, marker in (
            ("share_real", REAL, 0.14, "s"),
            ("share_synthetic", DOUBLE, -0.14, "o"),
        ):
            values = mode[key]
            if has_numbers(values):
                axes.plot([100 * values["low"], 100 * values["high"]], [y + shift] * 2, color=colour, lw=1.6)
            label = {"share_real": "real", "share_synthetic": "synthetic"}[key] if y == 0 else None
            axes.plot(100 * values["value"], y + shift, marker, color=colour, ms=5.5, label=label, ls="")
    names = [f"group {number}{' (lost)' if mode.get('lost') else ''}" for number, mode in enumerate(shown, 1)]
    axes.set_yticks(range(len(shown)), names[::-1], color=INK)
    axes.set_xlim(left=0)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("share of the pictures, %")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    return svg(figure)
