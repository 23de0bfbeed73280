"""The scans that a report shows: sheets by class, closest pairs, modes that the double lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble.audit.report.numbers import at, is_number, section, without_paths
from datadouble.audit.report.pictures import box_over, sheet, thumbnail
from datadouble.randomness import generator_for

if TYPE_CHECKING:
    from datadouble.audit.report.page import ReportContext
    from datadouble.cohort.cohort import Cohort

    Arrays = Mapping[str, Mapping[str, np.ndarray]]

SHEET = 8  # pictures of each class on each side
PAIRS = 20
NEIGHBOURS = 8  # pairs by features, where the search for copies has its own
MODES = 3  # groups of real pictures shown although not lost
LOST_MODES = 6


def choose(evidence: dict[str, Any], arrays: Arrays, context: ReportContext) -> dict[str, Any]:
    """Everything that the page shows as pictures, as data addresses with their words."""
    copies = copy_pairs(arrays.get("copies", {}), context)
    return {
        "copies": copies,
        "neighbours": neighbour_pairs(arrays.get("neighbours", {}), context, NEIGHBOURS if copies else PAIRS),
        "modes": modes(evidence, arrays.get("coverage", {}), context),
        "sheets": sheets(context),
    }


def copy_pairs(arrays: Mapping[str, np.ndarray], context: ReportContext) -> list[dict[str, Any]]:
    """The closest pairs of the search for copies, with the matched squares."""
    pairs = np.asarray(arrays.get("pairs", np.zeros((0, 2))), np.int64).reshape(-1, 2)[:PAIRS]
    if len(pairs) == 0:
        return []
    limit = np.asarray(arrays.get("threshold", ()), np.float64).ravel()
    scores = np.asarray(arrays.get("pair_score", ()), np.float64).ravel()
    flags = {key: np.asarray(arrays.get(key, ())).ravel() for key in ("pair_copy", "pair_mirrored")}
    found = []
    for i, (row, train) in enumerate(pairs):
        entry = _pair(context, int(row), int(train))
        entry["score"] = float(scores[i]) if i < len(scores) and np.isfinite(scores[i]) else None
        called = flags["pair_copy"]
        if i < len(called):
            entry["is_copy"] = bool(called[i])
        else:
            entry["is_copy"] = bool(len(limit) and entry["score"] is not None and entry["score"] > limit[0])
        entry["mirrored"] = bool(i < len(flags["pair_mirrored"]) and flags["pair_mirrored"][i])
        for key, name in (("box", "pair_box"), ("train_box", "pair_train_box")):
            corners = np.asarray(arrays.get(name, ()))
            entry[key] = box_over(corners[i]) if i < len(corners) else None
        found.append(entry)
    return found


def neighbour_pairs(
    arrays: Mapping[str, np.ndarray], context: ReportContext, most: int
) -> list[dict[str, Any]]:
    """The closest pairs by features."""
    pairs = np.asarray(arrays.get("pairs", np.zeros((0, 2))), np.int64).reshape(-1, 2)[:most]
    similarity = np.asarray(arrays.get("pair_similarity", ()), np.float64).ravel()
    found = []
    for i, (row, train) in enumerate(pairs):
        entry = _pair(context, int(row), int(train))
        entry["score"] = float(similarity[i]) if i < len(similarity) else None
        found.append(entry | {"is_copy": False, "mirrored": False, "box": None, "train_box": None})
    return found


def _pair(context: ReportContext, row: int, train: int) -> dict[str, Any]:
    """Of the real side only the picture and its class, for ids can name patients."""
    return {
        "synthetic": thumbnail(context.double, row, context.at_size),
        "train": thumbnail(context.real, train, context.at_size),
        "image_id": _cell(context.double, row, "image_id"),
        "label": _cell(context.double, row, "label"),
        "train_label": _cell(context.real, train, "label"),
    }


def _cell(cohort: Cohort, row: int, column: str) -> str:
    return str(cohort.table[column].iloc[row]) if 0 <= row < len(cohort) else ""


def modes(
    evidence: dict[str, Any], arrays: Mapping[str, np.ndarray], context: ReportContext
) -> list[dict[str, Any]]:
    """Groups of look-alike real pictures that the double has too few of, each beside the nearest synthetic ones."""
    table = [mode for mode in at(evidence, "fidelity.coverage.modes") or [] if isinstance(mode, dict)]
    found = []
    for number, mode in enumerate(table, 1):
        missed = is_number(at(mode, "difference.value")) and mode["difference"]["value"] < 0
        if not ((mode.get("lost") and number <= LOST_MODES) or (missed and number <= MODES)):
            continue
        real, nearest = (
            np.asarray(arrays.get(f"mode{mode.get('mode')}/{side}", ()), np.int64)
            for side in ("real", "nearest")
        )
        if len(real) == 0:
            continue
        found.append(
            {
                "number": number,
                "lost": bool(mode.get("lost")),
                "share_real": section(mode, "share_real"),
                "share_synthetic": section(mode, "share_synthetic"),
                "patients": mode.get("patients"),
                "real": [thumbnail(context.real, int(row), context.at_size) for row in real],
                "nearest": [thumbnail(context.double, int(row), context.at_size) for row in nearest],
            }
        )
    return found


def sheets(context: ReportContext) -> list[dict[str, Any]]:
    """Real and synthetic pictures of each class, side by side, drawn at random."""
    double, real = context.double, context.real
    labels_double = np.array([str(label) for label in double.table["label"]])
    labels_real = np.array([str(label) for label in real.table["label"]])
    reference = np.zeros(len(real), dtype=bool)
    reference[np.asarray(context.reference_rows, np.int64)] = True
    present = set(labels_double) | set(labels_real[reference])
    names = [name for name in double.info.classes if name in present]
    names += sorted(present - set(names))
    found = []
    for name in names:
        rng = generator_for(context.seed, "sheet", name)
        sides: list[tuple[Cohort, np.ndarray]] = [
            (real, np.flatnonzero(reference & (labels_real == name))),
            (double, np.flatnonzero(labels_double == name)),
        ]
        drawn = [sheet(cohort, rows, SHEET, rng, context.at_size) for cohort, rows in sides]
        found.append(
            {
                "label": name,
                "real": drawn[0],
                "synthetic": drawn[1],
                "n_real": len(sides[0][1]),
                "n_synthetic": len(sides[1][1]),
            }
        )
    return found


def unreadable(context: ReportContext) -> list[tuple[str, str]]:
    """Pictures left out and why, without paths; a name that holds a patient's id is not shown."""
    patients = {
        str(patient)
        for cohort in (context.double, context.real)
        for patient in cohort.table["patient_id"]
        if len(str(patient)) > 2
    }
    rows = []
    for name, reason in context.unreadable:
        texts = [without_paths(name), without_paths(reason)]
        for patient in patients:
            texts = [text.replace(patient, "[patient]") for text in texts]
        rows.append((texts[0], texts[1]))
    return rows
