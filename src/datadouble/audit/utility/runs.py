"""The trainings of all arms: planned first, each stored when done, so that a killed audit goes on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datadouble import files
from datadouble.audit.parts import source_fingerprint
from datadouble.audit.utility.arms import ARMS, Material
from datadouble.audit.utility.presets import Preset
from datadouble.progress import Bar
from datadouble.randomness import generator_for, seed_for

# What a result depends on besides its inputs: those of other code are not taken up.
CODE = (
    *(f"audit/utility/{name}.py" for name in ("arms", "overlap", "runs", "training")),
    "networks/resnet.py",
    "networks/segmentation.py",
)


class Job(NamedTuple):
    """One training: an arm, a fold, a seed, its stages (rows of real then synthetic, steps), and its cache key."""

    arm: str
    fold: int
    seed: int
    stages: list[tuple[np.ndarray, int]]
    real: int
    synthetic: int
    key: str


class Data(NamedTuple):
    """What all jobs share: real and synthetic training inputs and targets, and their digests.

    ``inputs`` are pictures (n, s, s) uint8 or features (n, d) float32; ``targets`` classes or masks.
    """

    real: np.ndarray
    real_targets: np.ndarray
    real_labels: np.ndarray
    groups: np.ndarray
    synthetic: np.ndarray
    synthetic_targets: np.ndarray
    synthetic_labels: np.ndarray
    real_key: str
    synthetic_key: str


class Plan(NamedTuple):
    """All trainings in order, their folds (rows for training, rows left out), and the steps of each."""

    jobs: list[Job]
    folds: list[tuple[np.ndarray, np.ndarray]]
    steps: int


def digest(*arrays: np.ndarray) -> str:
    """16 hexadecimal digits that stand for the arrays' content; read in parts, so that mapped files stay on disk."""
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update(f"{array.dtype}{array.shape}".encode())
        for start in range(0, len(array), 256):
            part = array[start : start + 256]
            text = array.dtype.kind in "UO"
            hashed.update("\0".join(map(str, part)).encode() if text else np.ascontiguousarray(part).data)
    return hashed.hexdigest()[:16]


def patient_folds(
    strata: np.ndarray, groups: np.ndarray, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to train on and rows left out, for each fold; whole patients, strata spread evenly."""
    from sklearn.model_selection import StratifiedGroupKFold

    _, first = np.unique(groups, return_index=True)
    smallest = min(np.unique(strata[first], return_counts=True)[1], default=0)
    folds = max(2, min(folds, int(smallest)))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed_for(seed, "folds") % 2**32)
    return [(train, left) for train, left in splitter.split(np.zeros(len(strata)), strata, groups)]


def step_count(preset: Preset, pictures: int) -> int:
    """Steps of the preset's epochs over so many pictures, or the fewest that it allows."""
    return max(preset.least_steps, preset.epochs * max(1, round(pictures / preset.batch)))


def make_plan(preset: Preset, data: Data, arms: Sequence[str], strata: np.ndarray, seed: int) -> Plan:
    """Every training of every arm, with equal steps: those that the real arm takes for the preset's epochs.

    Parameters
    ----------
    strata : ndarray
        (real,): what the folds are spread by.
    """
    folds = patient_folds(strata, data.groups, preset.folds, seed)
    largest = max(len(train) for train, _ in folds)
    steps = step_count(preset, largest)
    jobs = []
    for repeat in range(preset.seeds):
        for fold, (train, _) in enumerate(folds):
            for name in arms:
                arm = ARMS[name]
                rng = generator_for(seed, "arms", fold, repeat)
                material = Material(train, data.real_labels, data.synthetic_labels, data.groups, rng)
                planned = arm.plan(material)
                stages, given = [], 0
                for number, stage in enumerate(planned):
                    rows = np.concatenate([stage.real, len(data.real) + stage.synthetic])
                    share = steps - given if number == len(planned) - 1 else round(steps * stage.share)
                    given += share
                    stages.append((rows, share))
                # Only arms that use the double are trained again for another double.
                key = files.fingerprint(
                    source_fingerprint(*CODE),
                    json.dumps(asdict(preset), sort_keys=True),
                    name,
                    str((fold, repeat, seed, steps)),
                    data.real_key,
                    data.synthetic_key if arm.uses_double else "",
                )
                real = sum(len(stage.real) for stage in planned)
                jobs.append(
                    Job(name, fold, repeat, stages, real, sum(len(s.synthetic) for s in planned), key)
                )
    return Plan(jobs, folds, steps)


def run_jobs(
    plan: Plan,
    work: Callable[[Job, Callable[[], None]], dict[str, Any]],
    *,
    cache: Path | None,
    description: str,
    step_seconds: Callable[[], float],
) -> list[dict[str, Any]]:
    """Do every job that is not stored yet; a result is a dict of plain JSON values.

    Parameters
    ----------
    work : callable
        ``work(job, step_done) -> result``.
    cache : Path, optional
        Folder of the results, one JSON file a job.
    step_seconds : callable
        Measures what a step takes; asked only where there is work, and said before it begins.
    """
    results: dict[int, dict[str, Any]] = {}
    paths: list[Path | None] = []
    for number, job in enumerate(plan.jobs):
        path = None if cache is None else cache / f"{job.arm}-{job.fold}-{job.seed}-{job.key}.json"
        paths.append(path)
        stored = _stored(path)
        if stored is not None:
            results[number] = stored
    left = [number for number in range(len(plan.jobs)) if number not in results]
    if left:
        minutes = step_seconds() * plan.steps * len(left) / 60
        words = f"{description}: {len(left)} trainings of {plan.steps} steps, about {minutes:.1f} min"
        with Bar(words, len(plan.jobs) * plan.steps, len(results) * plan.steps) as bar:
            for number in left:
                started = time.perf_counter()
                result = work(plan.jobs[number], bar.advance)
                result |= {"seconds": round(time.perf_counter() - started, 2)}
                path = paths[number]
                if path is not None:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    files.write_json(path, result)
                results[number] = result
    return [results[number] for number in range(len(plan.jobs))]


def _stored(path: Path | None) -> dict[str, Any] | None:
    if path is None or not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError):
        return None  # damaged: done again
