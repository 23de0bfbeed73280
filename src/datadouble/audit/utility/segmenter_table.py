"""DiffGuard's Tables 2 and 3: segmenters trained on real and on synthetic pictures, tested inside and outside.

Zhou et al., npj Digit Med 2024, s41746-024-01290-7. Each cell is a training (times seeds); each is stored when done, so
that a killed table goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datadouble import files
from datadouble.audit.evidence import named, plain
from datadouble.audit.parts import source_fingerprint
from datadouble.audit.utility.compare import verdict_words
from datadouble.audit.utility.mask_classes import clean_volume
from datadouble.audit.utility.scores import make_resamples
from datadouble.audit.utility.segmenter_data import Cases, check_tests
from datadouble.audit.utility.segmenter_scores import (
    MEASURES,
    CaseScores,
    by_volume,
    constant_floor,
    false_alarms,
    measure,
    score_cases,
)
from datadouble.audit.utility.segmenter_settings import KINDS, WORDS, SegmenterSettings
from datadouble.errors import DataDoubleError
from datadouble.progress import Bar
from datadouble.randomness import seed_for

MARGIN = 0.05  # of DSC, F1 and accuracy alike: fixed here, before any result
REFERENCE = "real_2d"
CODE = (
    *(f"audit/utility/segmenter{name}.py" for name in ("s", "_augment", "_inputs", "_losses", "_scores")),
    "audit/utility/mask_classes.py",
    "audit/utility/sliding.py",
    *(f"networks/{name}.py" for name in ("dynunet", "nnunet_plan", "segmentation", "transunet")),
)


class TableArm(NamedTuple):
    """A row of the table: its words, what it trains on, and whether that holds real pixels."""

    words: str
    cases: Cases
    is_real: bool


class TableJob(NamedTuple):
    """One training."""

    arm: str
    kind: str
    seed: int
    path: Path | None


def assess_segmenters(
    arms: Mapping[str, TableArm],
    tests: Mapping[str, Cases],
    classes: int,
    *,
    kinds: Sequence[str] = KINDS,
    preset: str | Mapping[str, SegmenterSettings] = "cpu-64",
    seeds: int = 1,
    margin: float = MARGIN,
    resamples: int = 1000,
    upright: bool = True,
    cache: Path | None = None,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train every kind on every arm for equally many steps, and score it on every test set.

    Parameters
    ----------
    arms : mapping
        ``"real_2d"`` is what the others are held against. An arm of volumes is trained in 3D (not TransUNet: its cell
        stays empty) and needs tests of volumes; one of pictures reads volumes slice by slice.
    tests : mapping
        Such as ``{"internal": ..., "external": ...}``; their patients are in no arm of real pictures.
    classes : int
        With the background.
    margin : float
        Largest difference of a measure that would not matter, for the equivalence test.
    cache : Path, optional
        Folder of finished trainings; the same call again goes on.
    say : callable, optional
        Told the cost before anything starts.

    Returns
    -------
    dict
        Plain JSON values: ``arms[arm]["kinds"][kind][test]`` with ``dice``, ``f1``, ``accuracy`` (estimates),
        ``fifths`` by lesion volume, ``false_alarms``, and ``against_real`` with a TOST for each measure; ``n``,
        ``margin``, ``floor`` (of an answer that looks at no picture: where real training is not above it, nothing is
        called equivalent) and ``notes``.

    Raises
    ------
    DataDoubleError
        For no ``real_2d`` arm, shared patients, too few patients, an unknown kind or preset.
    """
    from datadouble.audit.utility.segmenters import choose_settings

    if REFERENCE not in arms:
        raise DataDoubleError(
            "the table needs the real pictures",
            where="arms",
            found=", ".join(arms) or "none",
            remedy=f"give an arm called {REFERENCE}",
        )
    notes = []
    for arm in arms.values():
        if arm.is_real:
            notes += check_tests(arm.cases, tests, classes)
        if arm.cases.are_volumes and not all(cases.are_volumes for cases in tests.values()):
            raise DataDoubleError(
                "an arm of volumes needs tests of volumes",
                where=arm.words,
                remedy="test on cohorts with a volume_id, or leave the 3D arm out",
            )
    chosen = {
        kind: choose_settings(kind, preset if isinstance(preset, str) else preset[kind]) for kind in kinds
    }
    jobs = _jobs(arms, tests, chosen, classes, seeds, upright, seed, cache)
    results = _run(jobs, arms, tests, chosen, classes, upright, seed, say)
    per_test = {
        name: {
            "types": cases.types(classes),
            "volumes": cases.lesion_volumes,
            "draws": make_resamples(
                cases.patients, seeds, resamples=resamples, seed=seed_for(seed, "segmenters", name)
            ),
            "floor": constant_floor(arms[REFERENCE].cases.slices().masks, cases.masks, classes),
        }
        for name, cases in tests.items()
    }
    found: dict[str, Any] = {}
    for name, arm in arms.items():
        entry: dict[str, Any] = {
            "words": arm.words,
            "is_real": arm.is_real,
            "n": _count(arm.cases),
            "kinds": {},
        }
        for kind in kinds:
            if (name, kind, 0) in results:
                entry["kinds"][kind] = {
                    test: _cell(name, kind, test, results, seeds, per_test[test], margin) for test in tests
                }
        found[name] = entry
    return plain(
        {
            "margin": margin,
            "resamples": resamples,
            "seeds": seeds,
            "classes": classes,
            "settings": {kind: asdict(settings) for kind, settings in chosen.items()},
            "n": {name: _count(cases) for name, cases in tests.items()},
            "floor": {name: at["floor"] for name, at in per_test.items()},
            "arms": found,
            "notes": list(dict.fromkeys(notes)),
        }
    )


def _count(cases: Cases) -> dict[str, int]:
    return {"cases": len(cases), "patients": len(np.unique(cases.patients))}


def _jobs(
    arms: Mapping[str, TableArm],
    tests: Mapping[str, Cases],
    chosen: Mapping[str, SegmenterSettings],
    classes: int,
    seeds: int,
    upright: bool,
    seed: int,
    cache: Path | None,
) -> list[TableJob]:
    tested = [f"{name} {cases.fingerprint}" for name, cases in sorted(tests.items())]
    jobs = []
    for name, arm in arms.items():
        content = arm.cases.fingerprint if cache is not None else ""
        for kind, settings in chosen.items():
            if arm.cases.are_volumes and kind == "transunet":
                continue
            for number in range(seeds):
                key = files.fingerprint(
                    source_fingerprint(*CODE),
                    json.dumps(asdict(settings), sort_keys=True),
                    content,
                    *tested,
                    str((kind, number, seed, classes, upright)),
                )
                path = None if cache is None else cache / f"{name}-{kind}-{number}-{key}.json"
                jobs.append(TableJob(name, kind, number, path))
    return jobs


def _run(
    jobs: list[TableJob],
    arms: Mapping[str, TableArm],
    tests: Mapping[str, Cases],
    chosen: Mapping[str, SegmenterSettings],
    classes: int,
    upright: bool,
    seed: int,
    say: Callable[[str], None] | None,
) -> dict[tuple[str, str, int], dict[str, CaseScores]]:
    from datadouble.audit.utility.segmenters import train_segmenter

    results: dict[tuple[str, str, int], dict[str, CaseScores]] = {}
    for job in jobs:
        stored = _stored(job.path, tests)
        if stored is not None:
            results[job[:3]] = stored
    left = [job for job in jobs if job[:3] not in results]
    if not left:
        return results
    if say is not None:
        say(_cost_words(left, arms, chosen, classes))
    total = sum(chosen[job.kind].steps for job in jobs)
    with Bar("segmenters", total, total - sum(chosen[job.kind].steps for job in left)) as bar:
        for job in left:
            cases, settings = arms[job.arm].cases, chosen[job.kind]
            started, busy = time.perf_counter(), time.process_time()
            segmenter = train_segmenter(
                job.kind,
                cases.images,
                cases.masks,
                classes,
                settings,
                # Without the arm: equal cases give equal networks, and arms share their noise.
                seed_for(seed, job.kind, job.seed),
                spacings=cases.spacings,
                upright=upright,
                step_done=bar.advance,
            )
            trained = time.perf_counter() - started
            scores = {
                name: score_cases(c.masks, predict_cases(segmenter, c), classes).to_json()
                for name, c in tests.items()
            }
            # Read back, so that numbers are the same whether they were stored or not.
            results[job[:3]] = {name: CaseScores.from_json(score) for name, score in scores.items()}
            if job.path is not None:
                job.path.parent.mkdir(parents=True, exist_ok=True)
                values = {
                    "scores": scores,
                    "training_seconds": round(trained, 2),
                    "seconds": round(time.perf_counter() - started, 2),
                    "processor_seconds": round(time.process_time() - busy, 2),
                }
                files.write_json(job.path, values)
    return results


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
) -> str:
    """What is left, measured on a few steps of each kind and dimension."""
    from dataclasses import replace

    from datadouble.audit.utility.segmenters import train_segmenter

    per_step: dict[tuple[str, bool], float] = {}
    seconds = 0.0
    for job in left:
        cases = arms[job.arm].cases
        of = (job.kind, cases.are_volumes)
        if of not in per_step:
            times: list[float] = []
            train_segmenter(
                job.kind,
                cases.images,
                cases.masks,
                classes,
                replace(chosen[job.kind], steps=4),
                spacings=cases.spacings,
                step_done=lambda times=times: times.append(time.perf_counter()),  # type: ignore[misc]
            )
            per_step[of] = float(np.median(np.diff(times)))
        seconds += per_step[of] * chosen[job.kind].steps
    each = ", ".join(
        f"{WORDS[kind]}{' 3D' if deep else ''} {value:.2g} s" for (kind, deep), value in per_step.items()
    )
    return f"{len(left)} trainings left, about {seconds / 60:.0f} min here (a step: {each}); finished ones are kept"


def _stored(path: Path | None, tests: Mapping[str, Cases]) -> dict[str, CaseScores] | None:
    if path is None or not path.is_file():
        return None
    try:
        value = json.loads(path.read_text())["scores"]
        scores = {name: CaseScores.from_json(value[name]) for name in tests}
    except (ValueError, TypeError, KeyError):
        return None  # damaged: done again
    good = all(len(scores[name].called) == len(cases) for name, cases in tests.items())
    return scores if good else None


def _cell(
    arm: str,
    kind: str,
    test: str,
    results: dict[tuple[str, str, int], dict[str, CaseScores]],
    seeds: int,
    at: Mapping[str, Any],
    margin: float,
) -> dict[str, Any]:
    from datadouble.stats import equivalence_from_error

    def trained(name: str) -> list[CaseScores]:
        return [results[name, kind, number][test] for number in range(seeds)]

    own = trained(arm)
    measured = measure(at["types"], own, at["draws"])
    reference = None if arm == REFERENCE else trained(REFERENCE)
    cell: dict[str, Any] = {name: named(getattr(measured, name).estimate()) for name in MEASURES}
    cell["false_alarms"] = false_alarms(at["types"], own)
    cell["fifths"] = by_volume(at["volumes"], own, at["draws"], reference)
    if reference is not None:
        real = measure(at["types"], reference, at["draws"])
        cell["against_real"] = {}
        for name in MEASURES:
            difference = getattr(measured, name).minus(getattr(real, name))
            estimate = difference.estimate()
            if not np.isfinite(estimate.value):
                continue
            error = max(difference.error(), 1e-9)
            tost = equivalence_from_error(estimate.value, error, margin=margin, n=estimate.n)
            # Two networks that learned nothing are as alike as any.
            learned = getattr(real, name).estimate().low > at["floor"][name]
            cell["against_real"][name] = {
                "difference": named(estimate),
                "real_learned": learned,
                "equivalent": tost.equivalent and learned,
                "equivalence_p": tost.p_value,
                "equivalence_interval": [tost.low, tost.high],
                "verdict": verdict_words(estimate, tost.equivalent) if learned else "real did not learn it",
            }
    return cell
