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
from leaky_doubles_tables import SHARES, SUSPICIOUS, write
from script import parser_of


def main() -> None:
    parser = parser_of(__doc__)
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
    parser.add_argument(
        "--background", type=int, default=200, help="generated pictures that leaks are planted in"
    )
    parser.add_argument(
        "--look-alikes",
        nargs="*",
        default=[],
        help="image ids that show another patient's scan, looked at by eye: no clean release holds them",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--jobs", nargs="*", help="compute these alone (split-0, phantoms-1), for several processes"
    )
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
        if options.jobs:
            if name in options.jobs:
                _kept(options, name, compute)
            continue
        found.append(_kept(options, name, compute))
        write(found, options.out, {k: v for k, v in vars(options).items() if not isinstance(v, Path)})


def _kept(options: argparse.Namespace, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The stored result of a job, or a fresh one."""
    settings = {
        k: v for k, v in vars(options).items() if k not in ("cache", "out", "splits", "phantoms", "jobs")
    }
    settings["limits"] = (GateLimits(), SUSPICIOUS, LEAST_LESION)
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
        chosen = np.sort(rng.permutation(len(double))[: options.background])
        background = np.concatenate([posers.array, double.array[chosen]])
    own = gate.matches(background)
    own_scores = copy_scores(own, threshold).score
    honest = ~np.isin(posers.image_ids, options.look_alikes)

    leaks, leak_rows = _draw_leaks(train, background, options, seed)
    small_leaks, small_areas = _small_lesions(train, background, options, seed)
    altered, altered_areas = _altered_lesions(train, background, options, seed)
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
        "poser_scores": own_scores[: len(posers)][honest].tolist(),
        "look_alike_scores": own_scores[: len(posers)][~honest].tolist(),
        "generated_scores": own_scores[len(posers) :].tolist(),
        "leak_scores": {kind: values.tolist() for kind, values in scores.items()},
        "leak_areas": areas,
        "small_scores": copy_scores(gate.matches(small_leaks), threshold).score.tolist()
        if len(small_leaks)
        else [],
        "small_areas": small_areas,
        "altered_scores": copy_scores(gate.matches(altered), threshold).score.tolist()
        if len(altered)
        else [],
        "altered_areas": altered_areas,
        "leaky": doubles,
        "clean": _clean(
            gate,
            posers.array[honest],
            groups[2][honest],
            own_scores[: len(posers)][honest],
            "holdout patients",
            options,
            seed,
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


def _altered_lesions(
    train: Pictures, background: np.ndarray, options: argparse.Namespace, seed: int
) -> tuple[np.ndarray, list[float]]:
    """Leaks by one who alters lesions first: 0.8 to 1.25 times as large, gain, gamma, moved, half of them mirrored."""
    if train.masks is None:
        return background[:0], []
    rng = generator_for(seed, "altered lesions")
    rows = choose_sources(len(train), options.leaks, "lesion-only", rng, train.masks)
    pictures, areas = [], []
    for row in rows:
        zoom = float(np.exp(rng.uniform(np.log(0.8), np.log(1.25))))
        source, mask = _zoomed(train.array[row], zoom), _zoomed(train.masks[row], zoom)
        source = leak("gain", source, seed=seed, key=int(row)).picture
        there = background[int(rng.integers(len(background)))]
        pictures.append(
            leak("lesion-only", source, seed=seed, key=int(row), background=there, mask=mask).picture
        )
        areas.append(float((train.masks[row] > 0).mean()))
    return np.stack(pictures), areas


def _zoomed(picture: np.ndarray, zoom: float) -> np.ndarray:
    """About the picture's middle; class ids of masks stay whole."""
    from PIL import Image

    side = picture.shape[0]
    half = side / zoom / 2
    box = (side / 2 - half, side / 2 - half, side / 2 + half, side / 2 + half)
    how = Image.Resampling.NEAREST if picture.max() < 8 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(picture).transform((side, side), Image.Transform.EXTENT, box, how))


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

    def cohort(first: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        patients = np.arange(first, first + count)
        labels = np.array([classes[p % len(classes)] for p in patients])
        drawn = [
            draw("breast-ultrasound", int(p), 0, str(c), size=64, seed=seed) for p, c in zip(patients, labels)
        ]
        return np.stack([d.image for d in drawn]), patients, labels, np.stack([d.mask for d in drawn])

    train, unseen, posers = cohort(0, 150), cohort(1000, 100), cohort(2000, 150)
    gate = _gate(train[0], unseen[0], train[1], unseen[1], train[2], unseen[2], train[3], options, seed)
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


if __name__ == "__main__":
    main()
