"""Issue 5's experiments, second part: the table over the folds that lesion_folds.py made.

    python benchmarks/lesion_table.py OUT                                   # cpu-64: two minutes a training and core
    python benchmarks/lesion_table.py OUT --only-fold 0                     # its trainings only, one process a fold
    python benchmarks/lesion_table.py OUT --only-double no-lora             # its discriminator only
    python benchmarks/lesion_table.py OUT --external BrEaST=COHORT --realism paper --preset gpu-128   # a GPU

Segmenters (U-Net) of all arms, each trained for equally many steps and tested on its fold's unseen patients; distances
of each double to the unseen lesions, beside the real-against-real floor; and a discriminator, with its controls, of
the doubles of all folds against all real lesions. Writes experiments.md and experiments.json, without the name of a
patient or a path. Every training is kept in OUT/table: the same command goes on where it was cut off.
"""

import argparse
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from datadouble import files
from datadouble.audit.evidence import named, plain
from datadouble.audit.pictures import Pictures, read_pictures
from datadouble.audit.realism import REALISM_PRESETS, assess_realism
from datadouble.audit.utility.scores import make_resamples
from datadouble.audit.utility.segmenter_data import Cases
from datadouble.audit.utility.segmenter_settings import SEGMENTERS
from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.randomness import seed_for
from lesion_markdown import experiments_markdown
from lesion_plan import (
    COST,
    LESION_DOUBLES,
    SCAN_RECIPES,
    Arm,
    Fold,
    Plan,
    arms_of,
    cases_of,
    check_folds,
    folder_of,
    pooled,
    read_fold,
    read_plan,
)
from lesion_scores import Trained, measures, run_distances, run_segmenters, settings_json
from script import parser_of, run_script
from segmenters import apart, check_unseen

COMPARED = ("f1", "dice", "iou")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="of lesion_folds.py")
    parser.add_argument("--fractions", type=float, nargs="+", help="of those that the folds were made with")
    parser.add_argument("--preset", default="cpu-64", choices=list(SEGMENTERS), help="of the U-Net")
    parser.add_argument("--steps", type=int, help="of every training, instead of the preset's")
    parser.add_argument("--size", type=int, help="of its pictures, instead of the preset's")
    parser.add_argument("--seeds", type=int, default=1, help="trainings a cell")
    parser.add_argument("--extractor", default="efficientnet-lite0")
    parser.add_argument("--realism", default="cpu", choices=list(REALISM_PRESETS))
    parser.add_argument(
        "--external", action="append", default=[], metavar="NAME=COHORT", help="tested on too; repeatable"
    )
    parser.add_argument("--only-fold", type=int, metavar="K", help="only its segmenters and distances")
    parser.add_argument("--only-double", choices=LESION_DOUBLES, help="only its discriminator")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--machine", help="in words, for the table; default: what is found")
    parser.add_argument("--results", type=Path, default=Path("results/lesion"))
    parser.add_argument("--seed", type=int, default=0)
    run_script(run, parser)


def run(options: argparse.Namespace) -> None:
    started, busy = time.perf_counter(), time.process_time()
    plan, cache = read_plan(options.out), options.out / "table"
    fractions = tuple(sorted(options.fractions or plan.fractions))
    absent = [fraction for fraction in fractions if fraction not in plan.fractions]
    numbers = range(plan.folds) if options.only_fold is None else [options.only_fold]
    if options.only_fold is not None and options.only_double is not None:
        raise DataDoubleError(
            "the discriminator sees all folds at once",
            where="--only-fold, --only-double",
            remedy="give one of the two",
        )
    if absent or 1 not in fractions or not set(numbers) <= set(range(plan.folds)):
        raise DataDoubleError(
            "the folds were not made with this fraction or number, or 1 is not among the fractions",
            where="--fractions, --only-fold",
            found=", ".join(map(str, [*absent, *numbers])),
            remedy=f"there are {plan.folds} folds and fractions {', '.join(map(str, plan.fractions))}",
        )
    settings = SEGMENTERS[options.preset]["unet"]
    settings = replace(settings, steps=options.steps or settings.steps, size=options.size or settings.size)
    folds = [read_fold(options.out, plan, number, fractions, cache) for number in numbers]
    check_folds(folds, plan)
    if options.only_double is not None:
        realism(folds, [options.only_double], plan, options, cache)
        return
    external = external_cases(options.external, folds, plan, settings.size)
    arms = arms_of(fractions)
    trained = run_segmenters(
        folds, arms, external, settings, plan.healthy, seeds=options.seeds, seed=options.seed, cache=cache
    )
    distances = run_distances(folds, [*LESION_DOUBLES, "augment"], options.extractor, plan, cache)
    if options.only_fold is not None:
        print(f"segmenters and distances of fold {options.only_fold} are there", file=sys.stderr)
        return
    found = {
        "plan": vars(plan)
        | {key: without_paths(getattr(plan, key)) for key in ("overrides", "scan_overrides")},
        "n": counts_of(folds, external, plan),
        "settings": settings_json(settings),
        "trainings": options.seeds,
        "resamples": options.resamples,
        "segmenters": segmentation(folds, arms, trained, external, plan, settings.size, options),
        "distances": distances,
        "realism": realism(folds, LESION_DOUBLES, plan, options, cache),
        "commands": commands(plan, options, fractions),
    }
    found["cost"] = {
        "machine": options.machine or machine(),
        "folds": costs(options.out, plan),
        "segmenters": sum(each.seconds for each in trained.values()),
        "this_call": {
            "seconds": time.perf_counter() - started,
            "processor_seconds": time.process_time() - busy,
        },
    }
    found = plain(found)
    text = experiments_markdown(found)
    print(text)
    options.results.mkdir(parents=True, exist_ok=True)
    files.write_json(options.results / "experiments.json", found)
    files.write_text(options.results / "experiments.md", text)


def machine() -> str:
    """The cores and accelerator that are found here."""
    import torch

    cores = f"{os.cpu_count()} cores ({platform.machine()})"
    return f"{cores}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else f"{cores}, no GPU"


def external_cases(
    named_cohorts: Sequence[str], folds: Sequence[Fold], plan: Plan, side: int
) -> dict[str, Cases]:
    """The pictures of other cohorts that have masks.

    Raises
    ------
    DataDoubleError
        For a synthetic cohort, one without a name, or pictures of the training.
    """
    found = {}
    for text in named_cohorts:
        name, equals, path = text.partition("=")
        cohort = Cohort.open(path) if equals else None
        if cohort is None or cohort.info.origin != "real":
            raise DataDoubleError(
                "an external test is NAME=COHORT, of real pictures", where="--external", found=name[-40:]
            )
        pictures = read_pictures(
            cohort, plan.size
        )  # kept in no file: processes of several folds would write it
        found[name] = apart(cases_of(pictures, plan.healthy, side), name)
    for fold in folds:
        check_unseen(cases_of(fold.train, plan.healthy, side), found)
    return found


def counts_of(folds: Sequence[Fold], external: Mapping[str, Cases], plan: Plan) -> dict[str, Any]:
    """Pictures and patients: all, those with lesions, and of the other cohorts."""
    whole = pooled([fold.test for fold in folds])
    lesions = whole.where(whole.labels != plan.healthy)

    def of(groups: np.ndarray) -> dict[str, int]:
        return {"pictures": len(groups), "patients": len(np.unique(groups))}

    return {"all": of(whole.groups), "lesions": of(lesions.groups)} | {
        name: of(cases.patients) for name, cases in external.items()
    }


def segmentation(
    folds: Sequence[Fold],
    arms: Sequence[Arm],
    trained: Mapping[str, Trained],
    external: Mapping[str, Cases],
    plan: Plan,
    side: int,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Of each arm and test the measures, and their differences to real alone (all of it, and the same share)."""
    own = [cases_of(fold.test, plan.healthy, side) for fold in folds]
    truth = {"folds": np.concatenate([cases.masks for cases in own])}
    groups = {"folds": np.concatenate([cases.patients for cases in own])}
    for name, cases in external.items():
        truth[name], groups[name] = np.asarray(cases.masks), cases.patients
    measured: dict[tuple[str, str], dict] = {}
    for test, masks in truth.items():
        trainings = len(trained[arms[0].name].counts[test])
        draws = make_resamples(
            groups[test], trainings, resamples=options.resamples, seed=seed_for(options.seed, "table", test)
        )
        for arm in arms:
            # Pictures whose lesion is lost at this size count as healthy.
            lesion = masks.any(axis=(1, 2))
            measured[arm.name, test] = measures(trained[arm.name].counts[test], lesion, draws)
    rows = []
    for arm in arms:
        row: dict[str, Any] = {
            "arm": arm.name,
            "words": arm.words,
            "double": arm.double,
            "fraction": arm.fraction,
        }
        row["training_seconds"] = trained[arm.name].seconds
        for test in truth:
            ours = measured[arm.name, test]
            row[test] = {
                name: named(value.estimate()) for name, value in ours.items() if np.isfinite(value.values[0])
            }
            for key, reference in (
                ("less_real", "real"),
                ("less_same_share", Arm("", "", arm.fraction).name),
            ):
                if arm.name != reference:
                    other = measured[reference, test]
                    row[test][key] = {
                        name: named(ours[name].minus(other[name]).estimate()) for name in COMPARED
                    }
        rows.append(row)
    return rows


def realism(
    folds: Sequence[Fold], names: Sequence[str], plan: Plan, options: argparse.Namespace, cache: Path
) -> dict[str, Any]:
    """The discriminator on each double of lesions, all folds together, against all real lesions.

    The `augment` double is left out: it shows the same patients as the other side.
    """
    real = pooled([fold.test for fold in folds])
    real = real.where(real.labels != plan.healthy)
    found = {}
    for place, name in enumerate(names, 1):
        print(f"discriminator, {name}: {place} of {len(names)}", file=sys.stderr, flush=True)
        double: Pictures = pooled([fold.doubles[name] for fold in folds])
        judged = assess_realism(
            real, double, preset=options.realism, resamples=options.resamples, cache=cache, seed=options.seed
        )
        found[name] = {key: value for key, value in judged.items() if key != "roc"}
    return found


def costs(out: Path, plan: Plan) -> dict[str, dict[str, float]]:
    """Of each step of lesion_folds.py the mean seconds over folds."""
    folds = [json.loads((folder_of(out, number) / COST).read_text()) for number in range(plan.folds)]
    return {
        step: {
            key: float(np.mean([fold[step][key] for fold in folds if step in fold]))
            for key in ("seconds", "processor_seconds")
        }
        for step in folds[0]
    }


def commands(plan: Plan, options: argparse.Namespace, fractions: Sequence[float]) -> list[str]:
    """The two commands, paths left out."""
    shown = " ".join(f"{fraction:g}" for fraction in plan.fractions)
    first = (
        f"python benchmarks/lesion_folds.py COHORT OUT --folds {plan.folds} --preset {plan.preset}"
        f"{quoted('--set', plan.overrides)} --backgrounds-from "
        f"{plan.backgrounds if plan.backgrounds in SCAN_RECIPES else 'SCANS'} --scan-preset {plan.scan_preset}"
        f"{quoted('--scan-set', plan.scan_overrides)} --scans {plan.scans} --per-class {plan.per_class} "
        f"--fractions {shown} --seed {plan.seed}"
    )
    names = [text.partition("=")[0] for text in options.external]
    second = (
        f"python benchmarks/lesion_table.py OUT --fractions {' '.join(f'{one:g}' for one in fractions)} "
        f"--preset {options.preset}"
        + "".join(f" --{key} {getattr(options, key)}" for key in ("steps", "size") if getattr(options, key))
        + f" --seeds {options.seeds} --realism {options.realism} --extractor {options.extractor}"
        + "".join(f" --external {name}=COHORT" for name in names)
        + f" --seed {options.seed}"
    )
    return [first, second]


def quoted(option: str, values: Sequence[str]) -> str:
    """An option with its values, in quotes where a shell would need them."""
    return f" {option} {shlex.join(without_paths(values))}" if values else ""


def without_paths(values: Sequence[str]) -> list[str]:
    """Settings, those that name a place with their key alone."""
    return [f"{value.partition('=')[0]}=PATH" if "/" in value or "\\" in value else value for value in values]


if __name__ == "__main__":
    main()
