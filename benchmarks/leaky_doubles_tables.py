"""The tables of `leaky_doubles.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from datadouble import files
from datadouble.audit.privacy.planted import KINDS, LEAST_LESION
from datadouble.stats import proportion_interval

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1)  # of a release that leaks
SUSPICIOUS = 0.1  # of the default policy: below it a release without an alarm is inconclusive


def _passed(double: dict[str, Any]) -> bool:
    """Neither an alarm nor a picture so near that the default policy calls the audit inconclusive."""
    return not double["alarm"] and double["copies_p_value"] >= SUSPICIOUS


def write(jobs: list[dict[str, Any]], out: Path, settings: dict[str, Any]) -> None:
    """Table and JSON of what is finished."""
    leaky = [d for job in jobs for d in job["leaky"] if d["kind"] != "overfitted"]
    overfitted = [d for job in jobs for d in job["leaky"] if d["kind"] == "overfitted"]
    clean = [d for job in jobs for d in job["clean"]]
    lines = [
        "# Leaky and clean doubles through the privacy gate",
        "",
        "Written by `benchmarks/leaky_doubles.py`; settings and every release are in `leaky_doubles.json`.",
        "Releases of one split share their pictures, and the intervals (95%, Clopper-Pearson) count them as if",
        "they did not: the table of single pictures, each counted once, is the harder evidence.",
        "",
        f"- leaky doubles: {len(leaky)}; alarm {sum(d['alarm'] for d in leaky)}, inconclusive "
        f"{sum(not d['alarm'] and not _passed(d) for d in leaky)}, passed {sum(_passed(d) for d in leaky)}",
        f"- overfitted doubles (training pictures redrawn): {len(overfitted)}, "
        f"of which {sum(_passed(d) for d in overfitted)} passed",
    ]
    for kind in ("holdout patients", "phantoms"):
        mine = [d for d in clean if d["kind"] == kind]
        if mine:
            lines.append(
                f"- clean releases of {kind}: {len(mine)}; alarms {_rate(sum(d['alarm'] for d in mine), len(mine))} "
                f"(copies {sum(d['copies'] > 0 for d in mine)}, membership {sum(d['membership_alarm'] for d in mine)})"
            )
    if clean:
        lines.append(
            f"- all clean releases: {len(clean)}; alarms {_rate(sum(d['alarm'] for d in clean), len(clean))}, "
            f"inconclusive {_rate(sum(not d['alarm'] and not _passed(d) for d in clean), len(clean))}"
        )
    lines += ["", "## Leaky doubles caught, by kind and share of the release", ""]
    lines += [
        "| kind | " + " | ".join(f"{s:.1%}" for s in SHARES) + " | all |",
        "|---" * (len(SHARES) + 2) + "|",
    ]
    for kind in KINDS:
        cells = []
        for share in (*SHARES, None):
            mine = [d for d in leaky if d["kind"] == kind and share in (None, d["share"])]
            cells.append(f"{sum(d['alarm'] for d in mine)} of {len(mine)}" if mine else "")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "## Single pictures named as copies",
        "",
        "| pictures | named | of | rate (95%) | lowest and median score less the threshold |",
        "|---|---|---|---|---|",
    ]
    splits = [job for job in jobs if "leak_scores" in job]
    for kind in KINDS:
        lines.append(
            _picture_row(
                f"leaks: {kind}", [(j["leak_scores"][kind], j["threshold"]) for j in splits], low=True
            )
        )
    for name, key in (("posers", "poser_scores"), ("generated double", "generated_scores")):
        lines.append(_picture_row(name, [(j[key], j["threshold"]) for j in splits], low=False))
    phantoms = [job for job in jobs if "leak_scores" not in job]
    lines.append(_picture_row("phantoms", [(j["poser_scores"], j["threshold"]) for j in phantoms], low=False))
    lines += [
        "",
        "For posers, generated pictures and phantoms the last column gives the highest score instead of the lowest.",
        "",
    ]
    lines += [
        "## Leaked lesions by size",
        "",
        f"Lesions below {LEAST_LESION:.2%} of the picture are below the stated limit; the doubles hold none.",
        "Altered: 0.8 to 1.25 times as large, with another gain and gamma, moved, half of them mirrored.",
        "",
        "| lesion, share of the picture | named | of | rate (95%) |",
        "|---|---|---|---|",
    ]
    edges = (0.0, LEAST_LESION, 0.01, 0.015, 0.02, 0.04, 0.08, 1.0)
    for words, altered in (("", False), ("altered, ", True)):
        for low, high in zip(edges, edges[1:]):
            hits = [
                score > job["threshold"]["threshold"]
                for job in splits
                for score, area in _lesion_scores(job, altered)
                if low <= area < high
            ]
            if hits:
                lines.append(
                    f"| {words}{low:.2%} to {high:.2%} | {sum(hits)} | {len(hits)} | {_rate(sum(hits), len(hits))} |"
                )
    files.write_text(out / "leaky_doubles.md", "\n".join(lines) + "\n")
    files.write_json(out / "leaky_doubles.json", {"settings": settings, "jobs": jobs})


def _lesion_scores(job: dict[str, Any], altered: bool) -> list[tuple[float, float]]:
    """Scores and areas of a split's leaks of lesions."""
    if altered:
        return list(zip(job["altered_scores"], job["altered_areas"]))
    pairs = list(zip(job["small_scores"], job["small_areas"]))
    for kind in ("stitched", "lesion-only"):
        pairs += zip(job["leak_scores"][kind], job["leak_areas"][kind])
    return pairs


def _picture_row(name: str, values: list[tuple[list[float], dict[str, Any]]], *, low: bool) -> str:
    above = np.array([score - threshold["threshold"] for scores, threshold in values for score in scores])
    if not len(above):
        return f"| {name} | | 0 | | |"
    named = int((above > 0).sum())
    edge = above.min() if low else above.max()
    return f"| {name} | {named} | {len(above)} | {_rate(named, len(above))} | {edge:+.1f}, {np.median(above):+.1f} |"


def _rate(hits: int, n: int) -> str:
    interval = proportion_interval(hits, n, method="clopper-pearson")
    return f"{hits / n:.1%} ({interval.low:.1%} to {interval.high:.1%})"
