"""How many synthetic pictures are worth drawing: segmenters on more and more of a double, until it gains too little.

Zhou et al. (npj Digit Med 2024, s41746-024-01290-7) release 500 to 10,000 pictures a class and advise to stop where
more of them stop helping, since each also tells more about who was in training.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from datadouble import files
from datadouble.audit.evidence import named, plain
from datadouble.audit.parts import source_fingerprint
from datadouble.audit.utility.scores import make_resamples
from datadouble.audit.utility.segmenter_data import Cases
from datadouble.audit.utility.segmenter_jobs import predict_cases
from datadouble.audit.utility.segmenter_scores import CaseScores, measure, score_cases
from datadouble.audit.utility.segmenter_settings import SegmenterSettings
from datadouble.audit.utility.segmenter_store import CODE
from datadouble.errors import DataDoubleError
from datadouble.progress import track
from datadouble.randomness import generator_for, seed_for
from datadouble.stats import Estimate

SIZES = (500, 1000, 2000, 5000, 10_000)
THRESHOLD = 0.005

Membership = Callable[[np.ndarray], Estimate]


def nested_rows(labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Rows with at most so many of each label, in order; those of a smaller number are among those of a larger."""
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        chosen.append(generator_for(seed, "scaling", str(label)).permutation(rows)[:per_class])
    return np.sort(np.concatenate(chosen))


def scaling_curve(
    double: Cases,
    labels: np.ndarray,
    test: Cases,
    classes: int,
    *,
    kind: str = "unet",
    preset: str | SegmenterSettings = "cpu-64",
    sizes: Sequence[int] = SIZES,
    threshold: float = THRESHOLD,
    membership: Membership | None = None,
    draw_seconds: float = 0.0,
    upright: bool = True,
    resamples: int = 1000,
    cache: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Train on nested parts of a double, the smallest first, for equally many steps; stop when it gains too little.

    Parameters
    ----------
    double : Cases
        Synthetic pictures with masks.
    labels : ndarray
        (n,): what they are counted by.
    test : Cases
        Real, unseen pictures.
    sizes : sequence of int
        Pictures of each class, ascending. Sizes that the double cannot fill are left out, and noted.
    threshold : float
        The curve ends after the first size that raises neither DSC nor macro F1 by as much.
    membership : callable, optional
        ``membership(rows) -> Estimate``: the advantage of an attack that sees those pictures of the double; see
        :func:`release_membership`.
    draw_seconds : float
        What drawing one picture took, for the compute axis.
    cache : Path, optional
        One file a size; the same call again goes on.

    Returns
    -------
    dict
        ``points`` (each ``per_class``, ``pictures``, ``dice``, ``f1``, ``membership``, ``compute_seconds``),
        ``stopped_at`` (pictures of each class, or None), ``advice`` (the size before which more stopped helping),
        ``notes``.

    Raises
    ------
    DataDoubleError
        Where no size can be filled, or sizes do not rise.
    """
    from datadouble.audit.utility.segmenters import choose_settings

    settings = choose_settings(kind, preset)
    available = int(np.unique(labels, return_counts=True)[1].min()) if len(labels) else 0
    wanted = [int(size) for size in sizes]
    if wanted != sorted(set(wanted)) or not wanted or wanted[0] < 1:
        raise DataDoubleError(
            "sizes must rise", where="sizes", found=str(wanted), remedy="list them ascending"
        )
    usable = [size for size in wanted if size <= available]
    if not usable:
        raise DataDoubleError(
            "the double is too small for a scaling curve",
            where="double",
            found=f"{available} pictures of its rarest class, {wanted[0]} wanted",
            remedy="generate more, or give smaller sizes",
        )
    draws = make_resamples(test.patients, 1, resamples=resamples, seed=seed_for(seed, "scaling"))
    types = test.types(classes)
    whole = double.fingerprint if cache is not None else ""
    points: list[dict[str, Any]] = []
    stopped = None
    for size in track(usable, "scaling curve"):
        key = files.fingerprint(
            source_fingerprint(*CODE, "audit/utility/scaling.py"),
            json.dumps(asdict(settings), sort_keys=True),
            whole,
            test.fingerprint,
            str((kind, size, seed, classes, upright, labels.tolist())),
        )
        path = None if cache is None else cache / f"scaling-{kind}-{size}-{key}.json"
        rows = nested_rows(labels, size, seed)
        scores, seconds = _trained(double.only(rows), test, kind, settings, classes, upright, seed, path)
        measured = measure(types, [scores], draws)
        points.append(
            {
                "per_class": size,
                "pictures": len(rows),
                "dice": named(measured.dice.estimate()),
                "f1": named(measured.f1.estimate()),
                "accuracy": named(measured.accuracy.estimate()),
                "membership": None if membership is None else named(membership(rows)),
                "compute_seconds": seconds + draw_seconds * len(rows),
            }
        )
        if len(points) > 1 and _gain(points[-2], points[-1]) < threshold:
            stopped = size
            break
    notes = [
        f"{size} a class: the double has {available}"
        for size in wanted
        if size > available and stopped is None
    ]
    advice = points[-2 if stopped is not None else -1]["per_class"]
    return plain(
        {
            "kind": kind,
            "steps": settings.steps,
            "threshold": threshold,
            "points": points,
            "stopped_at": stopped,
            "advice": advice,
            "notes": notes,
        }
    )


def release_membership(
    double: np.ndarray,
    train: np.ndarray,
    holdout: np.ndarray,
    *,
    train_groups: np.ndarray | None = None,
    holdout_groups: np.ndarray | None = None,
    permutations: int = 199,
    seed: int = 0,
) -> Membership:
    """The two-cohort attack's advantage (rule ``threshold``) against part of a double, from features (n, d)."""
    from datadouble.audit.privacy.two_cohorts import two_cohort_attack

    def advantage(rows: np.ndarray) -> Estimate:
        found = two_cohort_attack(
            double[rows],
            None,
            train,
            holdout,
            train_groups=train_groups,
            holdout_groups=holdout_groups,
            rule="threshold",
            permutations=permutations,
            seed=seed,
        )
        return found.overall.advantage

    return advantage


def _gain(before: dict[str, Any], after: dict[str, Any]) -> float:
    """The greater of the two gains, over those that exist."""
    gains = [after[key]["value"] - before[key]["value"] for key in ("dice", "f1")]
    finite = [gain for gain in gains if np.isfinite(gain)]
    return max(finite, default=0.0)


def _trained(
    cases: Cases,
    test: Cases,
    kind: str,
    settings: SegmenterSettings,
    classes: int,
    upright: bool,
    seed: int,
    path: Path | None,
) -> tuple[CaseScores, float]:
    from datadouble.audit.utility.segmenters import train_segmenter

    if path is not None and path.is_file():
        try:
            stored = json.loads(path.read_text())
            scores = CaseScores.from_json(stored["scores"])
            if len(scores.called) == len(test):
                return scores, float(stored["training_seconds"])
        except (ValueError, TypeError, KeyError):
            pass  # damaged: done again
    started = time.perf_counter()
    segmenter = train_segmenter(
        kind,
        cases.images,
        cases.masks,
        classes,
        settings,
        seed_for(seed, "scaling", kind),
        spacings=cases.spacings,
        upright=upright,
    )
    seconds = round(time.perf_counter() - started, 2)
    value = score_cases(test.masks, predict_cases(segmenter, test), classes).to_json()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, {"scores": value, "training_seconds": seconds})
    return CaseScores.from_json(value), seconds
