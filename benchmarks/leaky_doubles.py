"""Leaky and clean doubles, by the hundred, through the privacy gate: no leaky one may pass, few clean ones may alarm.

    python benchmarks/leaky_doubles.py COHORT --double DOUBLE --cache CACHE --out results/audit

Patients (with their look-alike groups) of the real cohort are split anew for each seed: half are the training set, a
quarter calibrates the gate, a quarter poses as a double. Leaks of training pictures are planted in posers and in the
pictures of a generated double. Phantom populations, drawn afresh, make further clean releases. A release is a bag of
pictures and a picture's score depends on the training set only, so each picture is searched once. The same command
goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from datadouble import files
from datadouble.audit.pictures import Pictures, read_pictures
from datadouble.audit.privacy.copy_threshold import (
    CopyThreshold,
    copy_scores,
    release_p_value,
    single_p_values,
)
from datadouble.audit.privacy.gate import GateLimits, PrivacyGate
from datadouble.audit.privacy.planted import KINDS, LEAST_LESION, choose_sources, leak, redrawn
from datadouble.audit.privacy.thumbnails import thumbnail_features
from datadouble.cohort import Cohort
from datadouble.cohort.phantom import KINDS as PHANTOMS
from datadouble.cohort.phantom import draw
from datadouble.cohort.split import units_of
from datadouble.matching.gallery import VERSION
from datadouble.randomness import generator_for, seed_for
from datadouble.stats import proportion_interval

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1)
SUSPICIOUS = 0.1  # of the default policy: below it a release without an alarm is inconclusive


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path, help="real pictures with lesion masks and patients")
    parser.add_argument("--double", type=Path, help="a generated double of it: a further background")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=128, help="side of the pictures, pixels")
    parser.add_argument("--release", type=int, default=200, help="pictures of a release")
    parser.add_argument("--splits", type=int, default=3, help="times that the patients are split anew")
    parser.add_argument("--leaks", type=int, default=20, help="leaks of each kind that are drawn in a split")
    parser.add_argument("--repeats", type=int, default=3, help="leaky doubles of a kind, share and split")
    parser.add_argument("--clean", type=int, default=50, help="clean releases of a split or population")
    parser.add_argument("--phantoms", type=int, default=2, help="phantom populations")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    real_cohort = Cohort.open(options.cohort)
    real = read_pictures(real_cohort, options.size, cache_dir=options.cache / "pictures")
    units = np.zeros(len(real_cohort), np.int64)
    for number, rows in enumerate(units_of(real_cohort.table)):
        units[rows] = number
    double = None
    if options.double:
        double = read_pictures(
            Cohort.open(options.double), options.size, cache_dir=options.cache / "pictures"
        )
    jobs: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        (f"split-{split}", lambda s=split: one_split(real, units[real.rows], double, s, options))
        for split in range(options.splits)
    ]
    # after the first split, so that a table with all parts is there early
    jobs[1:1] = [
        (f"phantoms-{population}", lambda p=population: one_population(p, options))
        for population in range(options.phantoms)
    ]
    found: list[dict[str, Any]] = []
    for name, compute in jobs:
        found.append(_kept(options, name, compute))
        write(options, found)


def _kept(options: argparse.Namespace, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The stored result of a job, or a fresh one."""
    settings = {k: v for k, v in vars(options).items() if k not in ("cache", "out", "splits", "phantoms")}
    settings["limits"] = (GateLimits(), SUSPICIOUS)
    key = files.fingerprint(VERSION, name, repr(sorted((k, str(v)) for k, v in settings.items())))
    path = options.cache / f"{name}-{key}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, compute())
    return json.loads(path.read_text())


def one_split(
    real: Pictures, units: np.ndarray, double: Pictures | None, split: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Leaky and clean releases against one training half."""
    seed = seed_for(options.seed, "leaky doubles", split)
    rng = generator_for(seed, "patients")
    names = rng.permutation(np.unique(units))
    parts = np.split(names, [len(names) // 2, len(names) * 3 // 4])
    train, unseen, posers = (real.where(np.flatnonzero(np.isin(units, part))) for part in parts)
    groups = [units[np.isin(units, part)] for part in parts]
    gate = _gate(
        train.array,
        unseen.array,
        groups[0],
        groups[1],
        train.labels,
        unseen.labels,
        train.masks,
        options,
        seed,
    )
    threshold = gate.threshold(options.release)
    background = posers.array
    if double is not None:
        chosen = np.sort(rng.permutation(len(double))[: options.release])
        background = np.concatenate([posers.array, double.array[chosen]])
    own = gate.matches(background)
    own_scores = copy_scores(own, threshold).score

    leaks, leak_rows = _draw_leaks(train, background, options, seed)
    small_leaks, small_areas = _small_lesions(train, background, options, seed)
    scores = {kind: copy_scores(gate.matches(pictures), threshold).score for kind, pictures in leaks.items()}
    areas = {kind: _areas(kind, leak_rows[kind], train) for kind in leaks}

    doubles = []
    for kind in KINDS:
        for share in SHARES:
            for repeat in range(options.repeats):
                draw_rng = generator_for(seed, kind, str(share), repeat)
                count = max(1, round(share * options.release))
                # in turn, so that every leak is the only one of some release
                first = (SHARES.index(share) * options.repeats + repeat) * count
                mine = np.arange(first, first + count) % len(scores[kind])
                synthetic = double is not None and repeat % 2 == 1
                pool = np.arange(len(posers), len(background)) if synthetic else np.arange(len(posers))
                rest = draw_rng.permutation(pool)[: options.release - count]
                rest = rest[
                    own_scores[rest] <= threshold.threshold
                ]  # what alarms by itself does not help a leak
                bag = np.r_[scores[kind][mine]]
                doubles.append(
                    {
                        "kind": kind,
                        "share": share,
                        "background": "generated" if synthetic else "posers",
                        "pictures": len(rest) + count,
                        "leaks": count,
                        "named": int((bag > threshold.threshold).sum()),
                        "alarm": bool((bag > threshold.threshold).any()),
                        "copies_p_value": _release_p_value(np.r_[bag, own_scores[rest]], threshold),
                        "least": float(bag.min()),
                    }
                )
    overfitted, _ = redrawn(train.array, options.release, seed=seed)
    result = gate.check_membership(overfitted)
    doubles.append(
        {
            "kind": "overfitted",
            "share": 1.0,
            "background": "none",
            "pictures": len(overfitted),
            "leaks": len(overfitted),
            "named": 0,
            "alarm": result.alarm,
            "copies_p_value": 1.0,
            "p_value": result.membership["p_value"],
        }
    )
    return {
        "job": f"split {split}",
        "train": len(train),
        "unseen": len(unseen),
        "threshold": threshold.to_json(),
        "unseen_scores": copy_scores(gate.matches(unseen.array), threshold).score.tolist(),
        "poser_scores": own_scores[: len(posers)].tolist(),
        "generated_scores": own_scores[len(posers) :].tolist(),
        "leak_scores": {kind: values.tolist() for kind, values in scores.items()},
        "leak_areas": areas,
        "small_scores": copy_scores(gate.matches(small_leaks), threshold).score.tolist()
        if len(small_leaks)
        else [],
        "small_areas": small_areas,
        "leaky": doubles,
        "clean": _clean(
            gate, posers.array, groups[2], own_scores[: len(posers)], "holdout patients", options, seed
        ),
    }


def _draw_leaks(
    train: Pictures, background: np.ndarray, options: argparse.Namespace, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    leaks, rows = {}, {}
    for kind in KINDS:
        rng = generator_for(seed, "leaks", kind)
        rows[kind] = choose_sources(len(train), options.leaks, kind, rng, train.masks)
        backgrounds = rng.permutation(len(background))
        leaks[kind] = np.stack(
            [
                leak(
                    kind,
                    train.array[source],
                    seed=seed,
                    key=int(source),
                    background=background[backgrounds[i % len(background)]],
                    mask=None if train.masks is None else train.masks[source],
                ).picture
                for i, source in enumerate(rows[kind])
            ]
        )
    return leaks, rows


def _small_lesions(
    train: Pictures, background: np.ndarray, options: argparse.Namespace, seed: int
) -> tuple[np.ndarray, list[float]]:
    """Leaks of lesions below the limit of the search, and their areas: reported, not part of the leaky doubles."""
    if train.masks is None:
        return background[:0], []
    area = (train.masks > 0).mean((1, 2))
    rng = generator_for(seed, "small lesions")
    rows = rng.permutation(np.flatnonzero((area > 0) & (area < LEAST_LESION)))[: options.leaks]
    pictures = [
        leak(
            ("stitched", "lesion-only")[i % 2],
            train.array[row],
            seed=seed,
            key=int(row),
            background=background[int(rng.integers(len(background)))],
            mask=train.masks[row],
        ).picture
        for i, row in enumerate(rows)
    ]
    return (np.stack(pictures) if pictures else background[:0]), [float(a) for a in area[rows]]


def _areas(kind: str, rows: np.ndarray, train: Pictures) -> list[float]:
    """Share of the picture that the lesion covers, for leaks of lesions."""
    if kind not in ("stitched", "lesion-only") or train.masks is None:
        return [1.0] * len(rows)
    return [float((train.masks[row] > 0).mean()) for row in rows]


def _clean(
    gate: PrivacyGate,
    posers: np.ndarray,
    groups: np.ndarray,
    scores: np.ndarray,
    kind: str,
    options: argparse.Namespace,
    seed: int,
) -> list[dict[str, Any]]:
    """Releases of posers, drawn by patient, through the whole gate."""
    releases = []
    size = min(options.release, max(20, round(0.65 * len(posers))))
    threshold = gate.threshold(size)
    for number in range(options.clean):
        rng = generator_for(seed, "clean", number)
        order = np.concatenate([np.flatnonzero(groups == g) for g in rng.permutation(np.unique(groups))])[
            :size
        ]
        membership = gate.check_membership(posers[order], seed_key=number)
        copies = int((scores[order] > threshold.threshold).sum())
        releases.append(
            {
                "kind": kind,
                "pictures": size,
                "copies": copies,
                "membership_alarm": membership.alarm,
                "p_value": membership.membership["p_value"],
                "copies_p_value": _release_p_value(scores[order], threshold),
                "alarm": bool(copies) or membership.alarm,
            }
        )
    return releases


def one_population(population: int, options: argparse.Namespace) -> dict[str, Any]:
    """Clean releases of one population of phantoms, with fresh speckle in every picture."""
    seed = seed_for(options.seed, "phantoms", population)
    classes = PHANTOMS["breast-ultrasound"].classes

    def cohort(first: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        patients = np.arange(first, first + count)
        labels = np.array([classes[p % len(classes)] for p in patients])
        images = [
            draw("breast-ultrasound", int(p), 0, str(c), size=64, seed=seed).image
            for p, c in zip(patients, labels)
        ]
        return np.stack(images), patients, labels

    train, unseen, posers = cohort(0, 150), cohort(1000, 100), cohort(2000, 150)
    gate = _gate(train[0], unseen[0], train[1], unseen[1], train[2], unseen[2], None, options, seed)
    size = min(options.release, max(20, round(0.65 * len(posers[0]))))
    scores = copy_scores(gate.matches(posers[0]), gate.threshold(size)).score
    return {
        "job": f"phantoms {population}",
        "train": len(train[0]),
        "unseen": len(unseen[0]),
        "threshold": gate.threshold(size).to_json(),
        "poser_scores": scores.tolist(),
        "leaky": [],
        "clean": _clean(gate, posers[0], posers[1], scores, "phantoms", options, seed),
    }


def _gate(
    train: np.ndarray,
    unseen: np.ndarray,
    train_groups: np.ndarray,
    unseen_groups: np.ndarray,
    train_labels: np.ndarray,
    unseen_labels: np.ndarray,
    train_masks: np.ndarray | None,
    options: argparse.Namespace,
    seed: int,
) -> PrivacyGate:
    return PrivacyGate(
        train,
        unseen,
        train_groups=train_groups,
        unseen_groups=unseen_groups,
        train_masks=train_masks,
        train_labels=train_labels,
        unseen_labels=unseen_labels,
        extract={"thumbnails": lambda pictures: thumbnail_features(pictures)},
        limits=GateLimits(),
        cache_dir=options.cache / "matches",
        seed=seed,
    )


def _release_p_value(scores: np.ndarray, threshold: CopyThreshold) -> float:
    return release_p_value(single_p_values(scores, threshold))


def _passed(double: dict[str, Any]) -> bool:
    """Neither an alarm nor a picture so near that the default policy calls the audit inconclusive."""
    return not double["alarm"] and double["copies_p_value"] >= SUSPICIOUS


def write(options: argparse.Namespace, jobs: list[dict[str, Any]]) -> None:
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
        f"Lesions below {LEAST_LESION:.1%} of the picture are beyond the limit of the search; the doubles hold none.",
        "",
        "| lesion, share of the picture | named | of | rate (95%) |",
        "|---|---|---|---|",
    ]
    edges = (0.0, 0.01, LEAST_LESION, 0.02, 0.04, 0.08, 1.0)
    for low, high in zip(edges, edges[1:]):
        hits = [
            score > job["threshold"]["threshold"]
            for job in splits
            for kind in ("stitched", "lesion-only")
            for score, area in zip(job["leak_scores"][kind], job["leak_areas"][kind])
            if low <= area < high
        ] + [
            score > job["threshold"]["threshold"]
            for job in splits
            for score, area in zip(job["small_scores"], job["small_areas"])
            if low <= area < high
        ]
        if hits:
            lines.append(
                f"| {low:.1%} to {high:.1%} | {sum(hits)} | {len(hits)} | {_rate(sum(hits), len(hits))} |"
            )
    files.write_text(options.out / "leaky_doubles.md", "\n".join(lines) + "\n")
    settings = {k: v for k, v in vars(options).items() if not isinstance(v, Path)}
    files.write_json(options.out / "leaky_doubles.json", {"settings": settings, "jobs": jobs})


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


if __name__ == "__main__":
    main()
