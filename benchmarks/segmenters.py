"""DiffGuard's Tables 2 and 3: U-Net, nnU-Net and TransUNet trained on real and on synthetic pictures.

    python benchmarks/segmenters.py DOUBLE... --real COHORT                      # an hour or so on one core
    python benchmarks/segmenters.py DOUBLE... --real COHORT --preset demo        # that it works, in minutes
    python benchmarks/segmenters.py DOUBLE... --real COHORT --external centre-4 centre-5 --preset paper   # a GPU
    python benchmarks/segmenters.py DOUBLE... --real COHORT --types "2,3|4,5" \\
        --external-cohort BUSI=COHORT --external-types "benign|malignant"

A double is PATH or NAME=PATH (a name such as AsynDGAN, DiffGuard, augment). Prints and writes segmenters.md and
segmenters.json: DSC, macro F1 and accuracy with intervals over patients, inside and outside, and whether training on
synthetic pictures alone is equivalent to real ones within a margin. Outside are sites of the same cohort that were
left out of training (--external), and all pictures with masks of other cohorts (--external-cohort, a test each). The
cost is said before it starts; the same command again continues what was cut off.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from datadouble import files
from datadouble.audit.pictures import read_pictures
from datadouble.audit.utility.segmenter_data import Cases, cases_of, volumes_of
from datadouble.audit.utility.segmenter_markdown import segmenters_markdown
from datadouble.audit.utility.segmenter_settings import KINDS, SEGMENTERS
from datadouble.audit.utility.segmenter_table import MARGIN, REFERENCE, TableArm, assess_segmenters
from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from script import parser_of, run_script


def named_double(text: str) -> tuple[str, Cohort]:
    """NAME=PATH, or a path under the name of its recipe or folder."""
    name, found, path = text.rpartition("=")
    cohort = Cohort.open(path)
    if not found:
        name = str((cohort.info.generator or {}).get("recipe", "")) or Path(path).name
    return name, cohort


def types_of(text: str | None, cohort: Cohort) -> tuple[dict[str, int] | None, int]:
    """Class ids of labels, and how many classes there are with the background."""
    if text is None:
        return None, len(cohort.info.mask_classes)
    groups = [[label.strip() for label in part.split(",")] for part in text.split("|")]
    types = {label: number for number, group in enumerate(groups, 1) for label in group}
    unknown = sorted(set(types) - set(cohort.info.classes) - set(cohort.table["label"]))
    if unknown or len(types) < sum(map(len, groups)):
        raise DataDoubleError(
            "a label is not in the cohort, or stands for two classes",
            where=f"{cohort.info.name}, --types",
            found=", ".join(unknown) or text,
            remedy=f"its labels: {', '.join(cohort.info.classes)}",
        )
    return types, 1 + len(groups)


def external_tests(
    named: list[str], types: list[str], own: str | None, real: Cohort, classes: int
) -> dict[str, tuple[Cohort, dict[str, int] | None]]:
    """Cohorts (NAME=PATH) that nothing was trained on, with the class ids of their labels.

    Raises
    ------
    DataDoubleError
        For a synthetic cohort, other classes than the training's, or patients that both cohorts have.
    """
    if types and len(types) not in (1, len(named)):
        raise DataDoubleError(
            "label groups do not fit the external cohorts",
            where="--external-types",
            found=f"{len(types)} for {len(named)} cohorts",
            remedy="give them once for all, or once for each --external-cohort in their order",
        )
    found: dict[str, tuple[Cohort, dict[str, int] | None]] = {}
    for place, text in enumerate(named):
        name, cohort = named_double(text)
        groups = own if not types else types[0] if len(types) == 1 else types[place]
        of, count = types_of(groups, cohort)
        fault = ""
        if cohort.info.origin != "real":
            fault = "an external test must be real"
        elif count != classes or (of is None and cohort.info.mask_classes != real.info.mask_classes):
            fault = "an external cohort has other classes than the training"
        if fault:
            raise DataDoubleError(
                fault,
                where=name,
                found=f"{cohort.info.origin}, {count - 1} lesion classes; trained are {classes - 1}",
                remedy='say which labels are which class: --external-types "a,b|c"',
            )
        patients = set(cohort.table["patient_id"]) & set(real.table["patient_id"]) - {""}
        # Phantoms number their patients: the same number is another patient.
        if patients and (cohort.info.contains_real_pixels or real.info.contains_real_pixels):
            raise DataDoubleError(
                "an external cohort has patients of the training cohort",
                where=name,
                found=f"{len(patients)} in both",
                remedy="leave them out, or use another cohort",
            )
        found[f"external {name}"] = cohort, of
    return found


def apart(cases: Cases, name: str) -> Cases:
    """The same cases, their patients' names marked as another cohort's."""
    return replace(cases, patients=np.array([f"{name}:{patient}" for patient in cases.patients]))


def check_unseen(train: Cases, tests: Mapping[str, Cases]) -> None:
    """Refuse tests that hold a training picture, whatever its patient is called; blank slices are alike everywhere.

    Raises
    ------
    DataDoubleError
    """
    known = {np.asarray(image).tobytes() for image in train.slices().images}
    for name, cases in tests.items():
        shared = sum(np.ptp(image) > 0 and image.tobytes() in known for image in cases.slices().images)
        if shared:
            raise DataDoubleError(
                f"the {name} test holds pictures of the training",
                where=name,
                found=f"{shared} of {len(cases.slices())}",
                remedy="use a cohort that was in no training",
            )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("doubles", nargs="*", metavar="DOUBLE", help="PATH or NAME=PATH")
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument(
        "--external", nargs="*", default=[], metavar="SITE", help="sites tested on, never trained on"
    )
    parser.add_argument("--by", default="site", choices=["site", "device"], help="what --external names")
    parser.add_argument(
        "--external-cohort",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="another cohort, tested on with all its pictures that have masks; repeatable",
    )
    parser.add_argument(
        "--external-types",
        action="append",
        default=[],
        metavar="GROUPS",
        help="as --types, for its labels: once for all external cohorts, or once for each; default: --types",
    )
    parser.add_argument("--test", nargs="+", default=["test"], help="splits of the internal test")
    parser.add_argument(
        "--types",
        help='where masks name no type: labels of class 1 | of class 2 | ..., say "2,3|4,5"',
    )
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--preset", default="cpu-64", choices=list(SEGMENTERS))
    parser.add_argument("--steps", type=int, help="of every training, instead of the preset's")
    parser.add_argument("--volumes", action="store_true", help="test on volumes, with a row for 3D training")
    parser.add_argument(
        "--turn", action="store_true", help="nnU-Net's own mirrors and turns, where up is not up"
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--margin", type=float, default=MARGIN)
    parser.add_argument("--out", type=Path, default=Path("results/diffguard"))
    parser.add_argument("--cache", type=Path, default=Path(".work/segmenters"))
    parser.add_argument("--seed", type=int, default=0)
    run_script(run, parser)


def run(options: argparse.Namespace) -> None:
    real = Cohort.open(options.real)
    settings = SEGMENTERS[options.preset]
    if options.steps:
        settings = {kind: replace(setting, steps=options.steps) for kind, setting in settings.items()}
    size = settings[options.kinds[0]].size
    types, classes = types_of(options.types, real)
    others = external_tests(options.external_cohort, options.external_types, options.types, real, classes)

    outside = real.table[options.by].isin(options.external).to_numpy()
    for site in options.external:
        rows = real.table[options.by] == site
        if not rows.any() or (real.table["split"][rows] == "train").any():
            raise DataDoubleError(
                "an external site must be in the cohort, and in no training",
                where=site,
                found=f"{int((real.table['split'][rows] == 'train').sum())} of {int(rows.sum())} rows in train",
                remedy="leave the site out of train before fitting the generator, which has seen it otherwise",
            )
    parts = {
        "train": real.where((real.table["split"] == "train").to_numpy()),
        "internal": real.where(real.table["split"].isin(options.test).to_numpy() & ~outside),
    }
    if options.external:
        parts["external"] = real.where(outside)

    def pictures(cohort: Cohort, types: Mapping[str, int] | None = types) -> Cases:
        return cases_of(read_pictures(cohort, size, cache_dir=options.cache / "pictures"), size, types=types)

    tests = {
        name: volumes_of(part, size) if options.volumes else pictures(part)
        for name, part in parts.items()
        if name != "train"
    }
    for name, (cohort, of) in others.items():
        # A cohort whose masks name no type has no volumes of its own either.
        whole = options.volumes and of is None
        tests[name] = apart(volumes_of(cohort, size) if whole else pictures(cohort, of), name)
    train = pictures(parts["train"])
    check_unseen(train, {name: tests[name] for name in others})
    arms = {REFERENCE: TableArm("real 2D", train, True)}
    if options.volumes:
        arms["real_3d"] = TableArm("real 3D", volumes_of(parts["train"], size), True)
    for text in options.doubles:
        name, cohort = named_double(text)
        arms[name] = TableArm(name, pictures(cohort), False)

    found = assess_segmenters(
        arms,
        tests,
        classes,
        kinds=options.kinds,
        preset={kind: settings[kind] for kind in options.kinds},
        seeds=options.seeds,
        margin=options.margin,
        upright=not options.turn,
        cache=options.cache,
        seed=options.seed,
        say=lambda words: print(words, file=sys.stderr, flush=True),
    )
    steps = ", ".join(f"{kind} {settings[kind].steps}" for kind in options.kinds)
    title = (
        f"# Segmenters: {real.info.name}, {size} px, preset `{options.preset}`\n\n"
        f"Steps of every arm: {steps}; {options.seeds} training(s) a cell; 95% intervals over patients"
        f"{' and trainings' if options.seeds > 1 else ''}. DSC by case on the classes it shows; type by majority of "
        f"{'voxels' if options.volumes else 'pixels'}.\n\n"
    )
    text = title + segmenters_markdown(found)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    files.write_text(options.out / "segmenters.md", text)
    files.write_json(options.out / "segmenters.json", found)


if __name__ == "__main__":
    main()
