"""DiffGuard's Tables 2 and 3: segmenters trained on real and on synthetic pictures, tested inside and outside.

Zhou et al., npj Digit Med 2024, s41746-024-01290-7. Each cell is a training (times seeds); each is stored when done, so
that a killed table goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from datadouble.audit.evidence import named, plain
from datadouble.audit.utility.compare import verdict_words
from datadouble.audit.utility.scores import make_resamples
from datadouble.audit.utility.segmenter_data import Cases, check_tests
from datadouble.audit.utility.segmenter_jobs import TableArm, plan_jobs, run_jobs
from datadouble.audit.utility.segmenter_scores import (
    MEASURES,
    CaseScores,
    by_volume,
    constant_floor,
    false_alarms,
    measure,
)
from datadouble.audit.utility.segmenter_settings import KINDS, SegmenterSettings
from datadouble.errors import DataDoubleError
from datadouble.randomness import seed_for

__all__ = ["MARGIN", "REFERENCE", "TableArm", "assess_segmenters"]

MARGIN = 0.05  # of DSC, F1 and accuracy alike: fixed here, before any result
REFERENCE = "real_2d"


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
        Folder of finished trainings and their networks; the same call again goes on, and other tests train nothing
        anew.
    say : callable, optional
        Told the cost before anything starts.

    Returns
    -------
    dict
        Plain JSON values: ``arms[arm]["kinds"][kind][test]`` with ``dice``, ``f1``, ``accuracy`` (estimates),
        ``fifths`` by lesion volume, ``false_alarms``, and ``against_real`` with a TOST for each measure; ``n``,
        ``margin``, ``floor`` (of an answer that looks at no picture: where real training is not above it, nothing is
        called equivalent) and ``notes``. A private arm also has ``privacy[kind]``: what each training spent.

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
    jobs = plan_jobs(arms, tests, chosen, classes, seeds, upright, seed, cache)
    results, spent = run_jobs(jobs, arms, tests, chosen, classes, upright, seed, cache, say)
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
        if arm.privacy is not None:
            entry["privacy"] = {kind: _spent([spent[name, kind, n] for n in range(seeds)]) for kind in kinds}
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


def _spent(trainings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The facts of a private cell: equal for all its trainings but what the gate and the clipping found."""
    return {
        **trainings[0],
        "gradient_error": max(each["gradient_error"] for each in trainings),
        "share_clipped": float(np.mean([each["share_clipped"] for each in trainings])),
        "trainings": len(trainings),
    }


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
