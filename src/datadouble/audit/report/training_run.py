"""What a run folder tells a report: its training curves and its settings; tolerant of what is missing."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.report.numbers import without_paths


class Curves(NamedTuple):
    """Series over images seen: name -> (images_seen (n,), values (n,)); and the last losses by diffusion time."""

    series: dict[str, tuple[np.ndarray, np.ndarray]]
    times: list[str]
    by_time: dict[str, list[float]]  # "training", "held out" -> one loss a time


def read_curves(run: Path) -> Curves:
    """Every number in ``metrics.jsonl`` over ``images_seen``; lines cut off by a kill are passed over.

    A loss that is a list or a dictionary is taken as a loss by time, named by the dictionary's keys or by the list
    under ``times``; its mean joins the series where no number of that name is given.
    """
    points: dict[str, list[tuple[float, float]]] = {}
    times: list[str] = []
    by_time: dict[str, list[float]] = {}
    path = run / "metrics.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            record = json.loads(line)
            seen = float(record.pop("images_seen"))
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError):
            continue
        for key, value in record.items():
            if _is_number(value):
                points.setdefault(key, []).append((seen, float(value)))
            elif "loss" in key and (pairs := _pairs(value)):
                by_time["held out" if key.startswith("validation") else "training"] = [v for _, v in pairs]
                given = record.get("times")
                names = (
                    given
                    if isinstance(given, list) and len(given) == len(pairs)
                    else [name for name, _ in pairs]
                )
                times = [f"{name:g}" if isinstance(name, float) else str(name) for name in names]
                if key.endswith("loss"):
                    points.setdefault(key, []).append((seen, float(np.mean([v for _, v in pairs]))))
    by_time = {name: values for name, values in by_time.items() if len(values) == len(times)}
    series = {}
    for key, found in points.items():
        array = np.array(sorted(found))
        series[key] = (array[:, 0], array[:, 1])
    return Curves(series, times, by_time)


def read_settings(run: Path) -> list[tuple[str, str]]:
    """``config.toml`` as flat (key, value) rows; of a path only its last part is shown."""
    path = run / "config.toml"
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return []
    rows: list[tuple[str, str]] = []

    def flatten(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                flatten(f"{prefix}.{key}" if prefix else str(key), item)
        else:
            items = value if isinstance(value, list) else [value]
            rows.append((prefix, ", ".join(_last_part(item) for item in items)))

    flatten("", settings)
    return rows


def _last_part(value: Any) -> str:
    """A value in words; of a path, of whichever system, only its last part."""
    return PurePath(value.replace("\\", "/")).name if isinstance(value, str) else without_paths(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _pairs(value: Any) -> list[tuple[str, float]]:
    """(name, number) entries of a dictionary or a list; empty for anything else."""
    items: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [(str(key), float(item)) for key, item in items if _is_number(item)]
