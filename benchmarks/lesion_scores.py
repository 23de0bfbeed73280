"""What lesion_table.py measures: segmenters fold by fold, distances, and a discriminator, each kept when done."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datadouble import files
from datadouble.audit.evidence import named, plain
from datadouble.audit.features import extract_features, load_extractor
from datadouble.audit.fidelity.assess import assess_fidelity
from datadouble.audit.parts import source_fingerprint
from datadouble.audit.realism import match
from datadouble.audit.utility.runs import digest
from datadouble.audit.utility.scores import Resamples, Sampled, over_trainings
from datadouble.audit.utility.segmenter_data import Cases
from datadouble.audit.utility.segmenter_settings import SegmenterSettings
from datadouble.audit.utility.segmenter_store import (
    is_kept,
    network_key,
    seconds_per_step,
    trained_segmenter,
)
from datadouble.audit.utility.segmenters import predict
from datadouble.progress import Bar
from datadouble.randomness import seed_for
from datadouble.stats import Estimate
from lesion_plan import Arm, Fold, Plan, cases_of, training_of

MEASURES = ("f1", "dice", "iou", "false_alarms")


class Trained(NamedTuple):
    """Of an arm, by test: true positive, false positive and false negative pixels, (trainings, n, 3); and seconds."""

    counts: dict[str, np.ndarray]
    seconds: float


def run_segmenters(
    folds: Sequence[Fold],
    arms: Sequence[Arm],
    external: Mapping[str, Cases],
    settings: SegmenterSettings,
    healthy: str,
    *,
    seeds: int,
    seed: int,
    cache: Path,
) -> dict[str, Trained]:
    """Train every arm in every fold for equally many steps; test pictures of all folds follow one another."""
    jobs = [(fold, arm, number) for fold in folds for arm in arms for number in range(seeds)]
    found: dict[tuple[str, int, int], dict[str, Any]] = {}
    said = False
    with Bar("segmenters", len(jobs) * settings.steps) as bar:
        for fold, arm, number in jobs:
            cases = training_of(fold, arm, healthy, settings.size)
            tests = {"folds": cases_of(fold.test, healthy, settings.size), **external}
            chosen = seed_for(seed, settings.kind, number)
            network = network_key(cases, 2, settings, chosen)
            key = files.fingerprint(network, *(f"{name} {of.fingerprint}" for name, of in tests.items()))
            path = cache / "scores" / f"{arm.name}-{fold.number}-{number}-{key}.json"
            if path.is_file():
                bar.advance(settings.steps)
            else:
                if not said and not is_kept(cache, settings.kind, network):
                    said = True
                    say_cost(cases, settings, len(jobs))
                started = time.perf_counter()
                segmenter = trained_segmenter(cases, 2, settings, chosen, folder=cache, step_done=bar.advance)
                counts = {
                    name: count_pixels(of.masks, predict(segmenter, of.images)).tolist()
                    for name, of in tests.items()
                }
                path.parent.mkdir(parents=True, exist_ok=True)
                files.write_json(path, {"counts": counts, "seconds": round(time.perf_counter() - started, 1)})
            found[arm.name, fold.number, number] = json.loads(path.read_text())
    result = {}
    for arm in arms:
        grid = [[found[arm.name, fold.number, n]["counts"] for fold in folds] for n in range(seeds)]
        counts = {"folds": np.array([[case for of in row for case in of["folds"]] for row in grid])}
        # Of another cohort each network tests all pictures: folds count as trainings.
        counts |= {name: np.array([of[name] for row in grid for of in row]) for name in external}
        spent = sum(found[arm.name, fold.number, n]["seconds"] for fold in folds for n in range(seeds))
        result[arm.name] = Trained(counts, spent)
    return result


def say_cost(cases: Cases, settings: SegmenterSettings, trainings: int) -> None:
    """Say what all trainings cost, measured on a few steps."""
    each = seconds_per_step(cases, 2, settings) * settings.steps / 60
    words = f"{trainings} segmenters, {each:.1f} min each here: {each * trainings:.0f} min; finished ones are kept"
    print(words, file=sys.stderr, flush=True)


def count_pixels(truth: np.ndarray, found: Sequence[np.ndarray]) -> np.ndarray:
    """True positive, false positive and false negative pixels of each picture, (n, 3)."""
    a, b = np.asarray(truth) > 0, np.stack(found) > 0
    return np.stack([(a & b).sum((1, 2)), (b & ~a).sum((1, 2)), (a & ~b).sum((1, 2))], axis=1)


def measures(counts: np.ndarray, lesion: np.ndarray, draws: Resamples) -> dict[str, Sampled]:
    """The MEASURES under every resample: F1 over the pixels of all lesion pictures, Dice and IoU by picture.

    Parameters
    ----------
    counts : ndarray
        (trainings, n, 3), of `count_pixels`.
    lesion : ndarray
        Boolean (n,): which pictures show one; false alarms are the share of the others in which something is found.
    """
    tp, fp, fn = np.moveaxis(counts.astype(np.float64), 2, 0)
    weights = draws.pictures.astype(np.float64)
    ill, well = weights * lesion, weights * ~lesion
    union = np.maximum(tp + fp + fn, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        both = 2 * ill @ tp.T
        each = {
            "f1": both / (both + ill @ (fp + fn).T),
            "dice": ill @ (2 * tp / (union + tp)).T / ill.sum(axis=1, keepdims=True),
            "iou": ill @ (tp / union).T / ill.sum(axis=1, keepdims=True),
            "false_alarms": well @ (fp > 0).T / well.sum(axis=1, keepdims=True),
        }
    n = {name: int((~lesion if name == "false_alarms" else lesion).sum()) for name in each}
    return {name: over_trainings(value, draws, n[name]) for name, value in each.items()}


def run_distances(
    folds: Sequence[Fold], names: Sequence[str], extractor: str, plan: Plan, cache: Path
) -> dict:
    """FD, KD and IS of each double against its fold's test lesions at equal class shares, and their means."""
    loaded = load_extractor(extractor)
    code = source_fingerprint("audit/fidelity")
    found: dict[str, list[dict]] = {name: [] for name in names}
    with Bar("distances", len(folds) * len(names)) as bar:
        for fold in folds:
            real, other = (part.where(part.labels != plan.healthy) for part in (fold.test, fold.train))
            for name in names:
                _, rows, _ = match(real.labels, fold.doubles[name].labels, None, plan.seed)
                double = fold.doubles[name].where(rows)
                sides = (double, real, other)
                content = digest(*(array for side in sides for array in (side.array, side.groups)))
                key = files.fingerprint(content, loaded.fingerprint, code)
                path = cache / "distances" / f"{name}-{fold.number}-{key}.json"
                if not path.is_file():
                    features = [extract_features(s, loaded, cache_dir=cache / "features") for s in sides]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    files.write_json(path, plain(assess_fidelity(*features, loaded, seed=plan.seed)))
                found[name].append(json.loads(path.read_text()))
                bar.advance()
    return {name: {"folds": each, **_means(each)} for name, each in found.items()}


def _means(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over folds of what all of them have."""
    result: dict[str, Any] = {}
    for key in ("fd", "kid"):
        if all(key in fold for fold in folds):
            result[key] = {
                "name": folds[0][key]["name"],
                **named(over_folds([fold[key]["value"] for fold in folds])),
                "floor": named(over_folds([fold[key]["floor"]["value"] for fold in folds])),
            }
    if all("inception_score" in fold for fold in folds):
        scores = [fold["inception_score"] for fold in folds]
        result["inception_score"] = {"name": scores[0]["name"]} | {
            side: named(over_folds([score[side]["value"] for score in scores]))
            for side in ("synthetic", "real")
        }
    return result


def over_folds(values: Sequence[float]) -> Estimate:
    """Mean over folds with its t interval; folds share training patients, so it is somewhat too narrow."""
    from scipy.stats import t

    array, n = np.asarray(values, np.float64), len(values)
    reach = t.ppf(0.975, n - 1) * array.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return Estimate(float(array.mean()), float(array.mean() - reach), float(array.mean() + reach), n)


def settings_json(settings: SegmenterSettings) -> dict[str, Any]:
    """The settings as plain values."""
    return plain(asdict(settings))
