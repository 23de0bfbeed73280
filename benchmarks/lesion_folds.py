"""Issue 5's experiments, first part: five folds over patients, in each the lesion recipe with its ablations.

    python benchmarks/lesion_folds.py COHORT OUT --preset cpu-128 --per-class 150
    python benchmarks/lesion_folds.py COHORT OUT --preset cpu-128 --per-class 150 --only-fold 0   # one process a fold
    python benchmarks/lesion_table.py OUT                                     # then: segmenters, distances, the table

OUT/fold-k holds `cohort` (hard links; the fold's patients are split test, all others train), `run` and the doubles:
`synthetic` (lesions in synthetic healthy scans), `real` (in the train patients' scans), `no-placement`, `no-repair`,
`no-lora` (all weights fine-tuned, from the same base trainings, which are copied), and `augment` (classical
augmentation), with `augment-25` ... for shares of the train patients. Synthetic healthy scans are drawn, fold by fold,
by a generator that learned from the fold's train patients, all classes of them. The same command goes on where it was
cut off; folds may be made side by side.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from datadouble import files
from datadouble.audit.parts import cohort_fingerprint
from datadouble.cohort import Cohort
from datadouble.cohort.cohort import write_table
from datadouble.cohort.split import EXCLUDED
from datadouble.encoders import seen_images
from datadouble.errors import DataDoubleError
from datadouble.randomness import seed_for
from datadouble.recipes import fit, generate
from datadouble.recipes.config import build, read_preset
from datadouble.recipes.lesion.config import LesionConfig
from datadouble.recipes.runs import MINIMUM_PER_CLASS, begin_run, resolve_config
from lesion_plan import (
    ABLATIONS,
    COST,
    LESION_DOUBLES,
    ON_REAL,
    PLAN,
    SCAN_RECIPES,
    Plan,
    folder_of,
    folds_of,
    part_name,
    read_plan,
    rows_fingerprint,
    share_of,
)
from script import parser_of, run_script

NO_LORA = ("lesion.lora_rank=0", "repair.lora_rank=0")
# What a rank does not touch: it comes in after these trainings, and all that is random in them comes from their seed.
SHARED = (
    *(f"lesion/{name}" for name in ("state", "model", "samples", "metrics.jsonl")),
    "placement",
    "verify",
    "repair/base",
)


def write_cohort(source: Cohort, path: Path, split: np.ndarray, name: str) -> Cohort:
    """The cohort with another split column, its pictures hard links (copies across file systems)."""
    table = source.table.assign(split=split)
    if (path / "cohort.json").is_file():
        kept = Cohort.open(path)
        if not kept.table[["image_id", "split"]].equals(table[["image_id", "split"]]):
            raise DataDoubleError(
                "a fold's cohort is not the one that it would be now",
                where=name,
                remedy="give the cohort that the folds were begun with, or choose another OUT",
            )
        return kept
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for file in [*table["file_name"], *(file for file in table["mask_file_name"] if file)]:
        (part / file).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source.path / file, part / file)
        except OSError:
            shutil.copyfile(source.path / file, part / file)
    write_table(part / "metadata.csv", table)
    files.write_json(part / "cohort.json", replace(source.info, name=name).to_json())
    os.replace(part, path)
    return Cohort.open(path)


def begin_without_lora(run: Path, other: Path, plan: Plan) -> None:
    """Begin a run that goes on from copies of the trainings of `run` that come before any adapter.

    They are what it would train itself, bit for bit.
    """
    if (other / "config.toml").is_file():
        return
    part = other.with_name(f".{other.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    config = resolve_config(part, "lesion", LesionConfig, plan.preset, [*plan.overrides, *NO_LORA])
    begin_run(part, "lesion", config, json.loads((run / "provenance.json").read_text()))
    for name in SHARED:
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        if (run / name).is_dir():
            shutil.copytree(run / name, part / name)
        elif (run / name).is_file():
            shutil.copyfile(run / name, part / name)
    os.replace(part, other)


class Steps:
    """The steps of a fold: each is done once, and its seconds (of all attempts but killed ones) are kept."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        path = folder / COST
        self.costs: dict[str, dict] = json.loads(path.read_text()) if path.is_file() else {}

    def do(self, name: str, work: Callable[[Path], object]) -> Path:
        """Do a step whose result is the folder `name`, unless it was finished."""
        path = self._folder / name
        cost = self.costs.get(name, {"seconds": 0.0, "processor_seconds": 0.0, "finished": False})
        if cost["finished"] and path.is_dir():
            return path
        self._say(f"{self._folder.name}: {name}")
        started, busy = time.perf_counter(), time.process_time()
        finished = False
        try:
            work(path)
            finished = True
        finally:
            self.costs[name] = {
                "seconds": round(cost["seconds"] + time.perf_counter() - started, 1),
                "processor_seconds": round(cost["processor_seconds"] + time.process_time() - busy, 1),
                "finished": finished,
            }
            files.write_json(self._folder / COST, self.costs)
        return path


def make_fold(
    source: Cohort, out: Path, plan: Plan, fold: int, backgrounds: Path | None, say: Callable[[str], None]
) -> None:
    """Make all of a fold that is not there yet."""
    folder, name = folder_of(out, fold), f"{plan.name}-fold-{fold}"
    folder.mkdir(parents=True, exist_ok=True)
    test = folds_of(source.table, plan.folds, plan.seed) == fold
    split = np.where(test, "test", "train").astype(object)  # no recipe reads a holdout
    cohort = write_cohort(source, folder / "cohort", split, name)
    steps = Steps(folder, say)

    def fitted(recipe: str, preset: str, overrides: Sequence[str], of: Path = cohort.path) -> Callable:
        return lambda path: fit(recipe, of, path, preset=preset, overrides=overrides, say=say)

    def drawn(run: Path, count: int, **more: object) -> Callable:
        seed = seed_for(plan.seed, "fold", fold) % 2**31
        return lambda path: generate(run, path, per_class=count, seed=seed, say=say, **more)  # type: ignore[arg-type]

    of_classes = [f"data.size={plan.size}", f"data.classes={json.dumps(plan.classes)}"]
    for fraction in plan.fractions:
        rows = split.copy()
        train = np.flatnonzero(~test)
        kept = share_of(source.table.iloc[train].reset_index(drop=True), fraction, plan.seed)
        rows[train[~kept]] = EXCLUDED
        part = part_name("cohort", fraction)
        if fraction < 1:
            write_cohort(source, folder / part, rows, f"{name}-{100 * fraction:g}")
        run = steps.do(part_name("augment-run", fraction), fitted("augment", "", of_classes, folder / part))
        steps.do(part_name("augment", fraction), drawn(run, plan.per_class))
    run = steps.do("run", fitted("lesion", plan.preset, plan.overrides))
    scans = backgrounds
    if scans is None:
        recipe = plan.backgrounds
        scan_run = steps.do("scans-run", fitted(recipe, plan.scan_preset, plan.scan_overrides))
        scans = steps.do("scans", drawn(scan_run, plan.scans))
    begin_without_lora(run, folder / "no-lora-run", plan)
    other = steps.do("no-lora-run", fitted("lesion", plan.preset, [*plan.overrides, *NO_LORA]))
    for prefix, whole, healthy in (("", "synthetic", scans), (f"{ON_REAL}-", ON_REAL, cohort.path)):
        steps.do(whole, drawn(run, plan.per_class, backgrounds=healthy))
        for name, without in ABLATIONS.items():
            steps.do(prefix + name, drawn(run, plan.per_class, backgrounds=healthy, without=without))
        steps.do(f"{prefix}no-lora", drawn(other, plan.per_class, backgrounds=healthy))


def check_shares(table: pd.DataFrame, plan: Plan) -> None:
    """Refuse shares of the train patients that leave a class with too few pictures to learn from.

    Raises
    ------
    DataDoubleError
    """
    place = folds_of(table, plan.folds, plan.seed)
    for fold in range(plan.folds):
        train = table[place != fold].reset_index(drop=True)
        for fraction in plan.fractions:
            kept = train["label"][share_of(train, fraction, plan.seed)].value_counts()
            few = [name for name in plan.classes if kept.get(name, 0) < MINIMUM_PER_CLASS]
            if few:
                raise DataDoubleError(
                    "a share of the train patients leaves too few pictures of a class",
                    where="--fractions",
                    found=f"{fraction:g} of fold {fold}: {kept.get(few[0], 0)} of class '{few[0]}'",
                    remedy=f"leave this share out; {MINIMUM_PER_CLASS} are needed",
                )


def plan_of(source: Cohort, options: argparse.Namespace) -> tuple[Plan, LesionConfig]:
    """The plan that the options ask for.

    Raises
    ------
    DataDoubleError
        On backgrounds that cannot serve, or options that the plan has no place for.
    """
    config = build(LesionConfig, read_preset("lesion", options.preset), options.set)
    healthy, fault, backgrounds = config.data.healthy, "", options.backgrounds_from
    classes = config.data.classes or tuple(c for c in source.info.classes if c != healthy)
    if config.stable_diffusion.folder:
        fault = "without LoRA there is no Stable Diffusion path: its run would be the same"
    elif not config.data.stages or set(ABLATIONS) - {f"no-{stage}" for stage in config.data.stages}:
        fault = "a stage that is to be left out is not trained"
    elif not all(0 < fraction <= 1 for fraction in options.fractions) or 1 not in options.fractions:
        fault = "--fractions are shares up to 1, with 1 among them"
    elif backgrounds == "coldit" and seen_images(source) and "data.encoder=own" not in options.scan_set:
        fault = "the shipped encoder has seen pictures of this cohort: use --backgrounds-from diffguard"
    if backgrounds not in SCAN_RECIPES:
        given = Cohort.open(backgrounds)
        backgrounds = cohort_fingerprint(given)
        if given.info.origin != "synthetic" or given.info.contains_real_pixels:
            fault = "--backgrounds-from is a cohort of real scans; arm `real` uses those anyway"
    if fault:
        raise DataDoubleError(fault, where="benchmarks/lesion_folds.py", found=options.backgrounds_from[-40:])
    plan = Plan(
        cohort=rows_fingerprint(source.table),
        name=source.info.name,
        folds=options.folds,
        seed=options.seed,
        preset=options.preset,
        overrides=tuple(options.set),
        healthy=healthy,
        classes=tuple(classes),
        size=config.data.size,
        backgrounds=backgrounds,
        scan_preset=options.scan_preset,
        scan_overrides=tuple(options.scan_set),
        # Class normal of a lesion double shows each scan once.
        scans=max(options.scans, options.per_class),
        per_class=options.per_class,
        fractions=tuple(sorted(options.fractions)),
    )
    return plan, config


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("cohort", type=Path, metavar="COHORT")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only-fold", type=int, metavar="K", help="make this one only; the first is 0")
    parser.add_argument("--preset", default="cpu-128", help="of recipe lesion")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of recipe lesion")
    parser.add_argument(
        "--backgrounds-from",
        default="coldit",
        metavar="coldit|diffguard|COHORT",
        help="the recipe that draws each fold's healthy scans, or a synthetic cohort for all folds: you vouch that "
        "it learned from no picture of COHORT",
    )
    parser.add_argument("--scan-preset", default="demo", help="of the recipe that draws healthy scans")
    parser.add_argument("--scan-set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--scans", type=int, default=0, help="healthy scans a fold; at least --per-class")
    parser.add_argument("--per-class", type=int, default=150, help="pictures of each class in every double")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.25, 0.5, 1])
    parser.add_argument("--seed", type=int, default=0)
    run_script(run, parser)


def run(options: argparse.Namespace) -> None:
    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    source = Cohort.open(options.cohort)
    plan, config = plan_of(source, options)
    check_shares(source.table, plan)  # before anything is written
    options.out.mkdir(parents=True, exist_ok=True)
    if not (options.out / PLAN).is_file():
        files.write_json(options.out / PLAN, asdict(plan))
    before = read_plan(options.out)
    if before != plan:
        changed = [key for key, value in asdict(plan).items() if value != getattr(before, key)]
        raise DataDoubleError(
            "the folds were begun with other options",
            where=options.out.name,
            found=", ".join(f"{key} was {getattr(before, key)}" for key in changed),
            remedy="give those, or choose another OUT",
        )
    chosen = range(plan.folds) if options.only_fold is None else [options.only_fold]
    if not set(chosen) <= set(range(plan.folds)):
        raise DataDoubleError(
            "there is no such fold", where="--only-fold", found=str(*chosen), remedy=f"0 to {plan.folds - 1}"
        )
    say(cost_words(plan, config, len(chosen)))
    backgrounds = None if options.backgrounds_from in SCAN_RECIPES else Path(options.backgrounds_from)
    for fold in chosen:
        started = time.perf_counter()
        make_fold(source, options.out, plan, fold, backgrounds, say)
        say(f"fold {fold} is there, after {(time.perf_counter() - started) / 60:.1f} min of this call")


def cost_words(plan: Plan, config: LesionConfig, folds: int) -> str:
    """What is trained and drawn in a fold."""
    tuned = config.lesion.tune_images * len(plan.classes)
    drawn = len(LESION_DOUBLES) * len(plan.classes) * plan.per_class
    scans = "none" if plan.backgrounds not in SCAN_RECIPES else f"{plan.backgrounds} {plan.scan_preset}"
    return (
        f"{folds} folds, in each: {config.lesion.images:,} crops for the lesion stage and {tuned:,} for its adapters, "
        f"{config.placement.images:,} pictures for placement, {config.repair.images:,} crops and "
        f"{config.repair.seam_images:,} composites for repair, {config.verify.images:,} for verification; without LoRA "
        f"{tuned + config.repair.seam_images:,} more; a generator of healthy scans ({scans}); {drawn:,} pictures with "
        "lesions are drawn. Each training says its time as it goes"
    )


if __name__ == "__main__":
    main()
