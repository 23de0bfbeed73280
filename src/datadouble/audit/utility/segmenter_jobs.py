"""The trainings of the segmenters' table: planned first, each stored when done, so that a killed table goes on."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from datadouble import files
from datadouble.audit.utility import segmenter_store
from datadouble.audit.utility.mask_classes import clean_volume
from datadouble.audit.utility.segmenter_data import Cases
from datadouble.audit.utility.segmenter_scores import CaseScores, score_cases
from datadouble.audit.utility.segmenter_settings import WORDS, SegmenterSettings
from datadouble.audit.utility.segmenter_store import network_key
from datadouble.progress import Bar
from datadouble.randomness import seed_for

if TYPE_CHECKING:
    from datadouble.training.privacy.options import PrivacyOptions


class TableArm(NamedTuple):
    """A row of the table: its words, what it trains on, and whether that holds real pixels.

    With ``privacy`` each of its trainings is differentially private (Fig. 5) and has the whole budget to itself; one
    record is a patient, or what ``records`` (n,) says of each picture.
    """

    words: str
    cases: Cases
    is_real: bool
    privacy: PrivacyOptions | None = None
    records: np.ndarray | None = None


class TableJob(NamedTuple):
    """One training: the key of its network, and where its scores are kept."""

    arm: str
    kind: str
    seed: int
    network: str
    path: Path | None


def plan_jobs(
    arms: Mapping[str, TableArm],
    tests: Mapping[str, Cases],
    chosen: Mapping[str, SegmenterSettings],
    classes: int,
    seeds: int,
    upright: bool,
    seed: int,
    cache: Path | None,
) -> list[TableJob]:
    """Every training, with the names under which its network and its scores are kept."""
    tested = [f"{name} {cases.fingerprint}" for name, cases in sorted(tests.items())]
    jobs = []
    for name, arm in arms.items():
        for kind, settings in chosen.items():
            if arm.cases.are_volumes and kind == "transunet":
                continue
            for number in range(seeds):
                if cache is None:
                    jobs.append(TableJob(name, kind, number, "", None))
                    continue
                network = network_key(
                    arm.cases,
                    classes,
                    settings,
                    seed_for(seed, kind, number),
                    upright=upright,
                    privacy=arm.privacy,
                    records=arm.records,
                )
                key = files.fingerprint(network, *tested)
                # An arm's name may hold what a file's must not.
                short = re.sub(r"[^\w+.-]", "_", name)
                jobs.append(
                    TableJob(name, kind, number, network, cache / f"{short}-{kind}-{number}-{key}.json")
                )
    return jobs


def run_jobs(
    jobs: list[TableJob],
    arms: Mapping[str, TableArm],
    tests: Mapping[str, Cases],
    chosen: Mapping[str, SegmenterSettings],
    classes: int,
    upright: bool,
    seed: int,
    cache: Path | None,
    say: Callable[[str], None] | None,
) -> tuple[dict[tuple[str, str, int], dict[str, CaseScores]], dict[tuple[str, str, int], dict[str, Any]]]:
    """Scores of each training by test, and what the private ones spent."""
    results: dict[tuple[str, str, int], dict[str, CaseScores]] = {}
    spent: dict[tuple[str, str, int], dict[str, Any]] = {}
    for job in jobs:
        stored = _stored(job.path, tests)
        if stored is not None:
            results[job[:3]], spent[job[:3]] = stored
    left = [job for job in jobs if job[:3] not in results]
    if not left:
        return results, spent
    if say is not None:
        say(_cost_words(left, arms, chosen, classes, cache))
    total = sum(chosen[job.kind].steps for job in jobs)
    with Bar("segmenters", total, total - sum(chosen[job.kind].steps for job in left)) as bar:
        for job in left:
            arm = arms[job.arm]
            started, busy = time.perf_counter(), time.process_time()
            segmenter = segmenter_store.trained_segmenter(
                arm.cases,
                classes,
                chosen[job.kind],
                # Without the arm: equal cases give equal networks, and arms share their noise.
                seed_for(seed, job.kind, job.seed),
                upright=upright,
                privacy=arm.privacy,
                records=arm.records,
                folder=cache,
                step_done=bar.advance,
            )
            trained = time.perf_counter() - started
            scores = {
                name: score_cases(c.masks, predict_cases(segmenter, c), classes).to_json()
                for name, c in tests.items()
            }
            done = None if arm.privacy is None else segmenter.privacy
            values: dict[str, Any] = {
                "scores": scores,
                "privacy": {} if done is None else {**done.to_json(), "share_clipped": done.share_clipped},
                "training_seconds": round(trained, 2),
                "seconds": round(time.perf_counter() - started, 2),
                "processor_seconds": round(time.process_time() - busy, 2),
            }
            # Read back, so that numbers are the same whether they were stored or not.
            results[job[:3]] = {name: CaseScores.from_json(score) for name, score in scores.items()}
            spent[job[:3]] = values["privacy"]
            if job.path is not None:
                job.path.parent.mkdir(parents=True, exist_ok=True)
                files.write_json(job.path, values)
    return results, spent


def predict_cases(segmenter: Any, cases: Cases) -> list[np.ndarray]:
    """Predicted masks; volumes, by slices or whole, are cleaned as the paper does."""
    from datadouble.audit.utility.segmenters import predict

    found = predict(segmenter, cases.images)
    return [clean_volume(mask) for mask in found] if cases.are_volumes else found


def _cost_words(
    left: list[TableJob],
    arms: Mapping[str, TableArm],
    chosen: Mapping[str, SegmenterSettings],
    classes: int,
    cache: Path | None,
) -> str:
    """What is left, measured on a few steps of each kind, dimension, and privacy."""
    per_step: dict[tuple[str, bool, bool], float] = {}
    seconds, trainings = 0.0, 0
    for job in left:
        if segmenter_store.is_kept(cache, job.kind, job.network):
            continue
        trainings += 1
        arm = arms[job.arm]
        of = (job.kind, arm.cases.are_volumes, arm.privacy is not None)
        if of not in per_step:
            per_step[of] = segmenter_store.seconds_per_step(
                arm.cases, classes, chosen[job.kind], privacy=arm.privacy, records=arm.records
            )
        seconds += per_step[of] * chosen[job.kind].steps
    each = ", ".join(
        f"{WORDS[kind]}{' 3D' if deep else ''}{' private' if private else ''} {value:.2g} s"
        for (kind, deep, private), value in per_step.items()
    )
    kept = f", {len(left) - trainings} trained before and not yet tested" if trainings < len(left) else ""
    cost = f", about {seconds / 60:.0f} min here (a step: {each})" if each else ""
    return f"{trainings} trainings left{cost}{kept}; finished ones are kept"


def _stored(
    path: Path | None, tests: Mapping[str, Cases]
) -> tuple[dict[str, CaseScores], dict[str, Any]] | None:
    if path is None or not path.is_file():
        return None
    try:
        value = json.loads(path.read_text())
        scores = {name: CaseScores.from_json(value["scores"][name]) for name in tests}
        spent = dict(value["privacy"])
    except (ValueError, TypeError, KeyError):
        return None  # damaged: done again
    good = all(len(scores[name].called) == len(cases) for name, cases in tests.items())
    return (scores, spent) if good else None
