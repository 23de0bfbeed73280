"""DiffGuard's Tables 2 and 3: U-Net, nnU-Net and TransUNet trained on real and on synthetic pictures.

    python benchmarks/segmenters.py DOUBLE... --real COHORT                      # an hour or so on one core
    python benchmarks/segmenters.py DOUBLE... --real COHORT --preset demo        # that it works, in minutes
    python benchmarks/segmenters.py DOUBLE... --real COHORT --external centre-4 centre-5 --preset paper   # a GPU

A double is PATH or NAME=PATH (a name such as AsynDGAN, DiffGuard, augment). Prints and writes segmenters.md and
segmenters.json: DSC, macro F1 and accuracy with intervals over patients, inside and outside, and whether training on
synthetic pictures alone is equivalent to real ones within a margin. The cost is said before it starts; the same
command again continues what was cut off.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from datadouble import files
from datadouble.audit.pictures import read_pictures
from datadouble.audit.utility.segmenter_data import Cases, cases_of, volumes_of
from datadouble.audit.utility.segmenter_markdown import segmenters_markdown
from datadouble.audit.utility.segmenter_settings import KINDS, SEGMENTERS
from datadouble.audit.utility.segmenter_table import MARGIN, REFERENCE, TableArm, assess_segmenters
from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError


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
    return {label: number for number, group in enumerate(groups, 1) for label in group}, 1 + len(groups)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("doubles", nargs="*", metavar="DOUBLE", help="PATH or NAME=PATH")
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument(
        "--external", nargs="*", default=[], metavar="SITE", help="sites tested on, never trained on"
    )
    parser.add_argument("--by", default="site", choices=["site", "device"], help="what --external names")
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
    options = parser.parse_args()
    try:
        run(options)
    except DataDoubleError as error:
        sys.exit(f"error: {error}")


def run(options: argparse.Namespace) -> None:
    real = Cohort.open(options.real)
    settings = SEGMENTERS[options.preset]
    if options.steps:
        settings = {kind: replace(setting, steps=options.steps) for kind, setting in settings.items()}
    size = settings[options.kinds[0]].size
    types, classes = types_of(options.types, real)

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

    def pictures(cohort: Cohort) -> Cases:
        return cases_of(read_pictures(cohort, size, cache_dir=options.cache / "pictures"), size, types=types)

    tests = {
        name: volumes_of(part, size) if options.volumes else pictures(part)
        for name, part in parts.items()
        if name != "train"
    }
    train = pictures(parts["train"])
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
