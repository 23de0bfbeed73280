"""DiffGuard's advice on the size of a release: what more synthetic pictures bring, tell and cost.

    python benchmarks/scaling.py DOUBLE --real COHORT                                # 500 to 10,000 a class: a GPU
    python benchmarks/scaling.py DOUBLE --real COHORT --sizes 60 125 250 500 --steps 1000 --types "2,3|4,5"

Segmenters of equally many steps learn from nested parts of the double and are tested on unseen real patients of split
test. It stops after the first size that raises neither DSC nor macro F1 by the threshold. The membership advantage is
that of the two-cohort attack on the release alone, by features: members from split train, others from holdout. Writes
scaling.json and scaling.svg and .png: utility, membership and compute in one plot. The same command again goes on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from datadouble import files
from datadouble.audit.features import extract_features
from datadouble.audit.report.figures.downstream import figure_bytes, scaling_figure
from datadouble.audit.utility.scaling import SIZES, THRESHOLD, release_membership, scaling_curve
from datadouble.audit.utility.segmenter_settings import KINDS, SEGMENTERS
from datadouble.cohort import Cohort
from downstream import cases_with_sites
from script import parser_of, run_script
from segmenters import types_of


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("double", type=Path, metavar="DOUBLE")
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="pictures of each class")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="least gain that goes on")
    parser.add_argument("--types", help="as for segmenters.py")
    parser.add_argument("--kind", default="unet", choices=KINDS)
    parser.add_argument("--preset", default="cpu-64", choices=list(SEGMENTERS))
    parser.add_argument("--steps", type=int, help="as for segmenters.py")
    parser.add_argument("--turn", action="store_true", help="as for segmenters.py")
    parser.add_argument("--by", default="site", help=argparse.SUPPRESS)
    parser.add_argument("--draw-seconds", type=float, default=0.0, help="what drawing one picture took")
    parser.add_argument("--out", type=Path, default=Path("results/diffguard"))
    parser.add_argument("--cache", type=Path, default=Path(".work/segmenters"))
    parser.add_argument("--seed", type=int, default=0)
    run_script(run, parser)


def run(options: argparse.Namespace) -> None:
    real, double = Cohort.open(options.real), Cohort.open(options.double)
    types, classes = types_of(options.types, real)
    settings = SEGMENTERS[options.preset][options.kind]
    if options.steps:
        settings = replace(settings, steps=options.steps)
    drawn, _, rows = cases_with_sites(double, settings.size, types, options)
    test, _, _ = cases_with_sites(real.filter(split="test"), settings.size, types, options)
    shown = double.where(np.isin(np.arange(len(double)), rows))
    features = {
        name: extract_features(
            cohort, precision="fp32", cache_dir=options.cache / "features", at_size=settings.size
        )
        for name, cohort in {
            "double": shown,
            "train": real.filter(split="train"),
            "holdout": real.filter(split="holdout"),
        }.items()
    }
    found = scaling_curve(
        drawn,
        shown.table["label"].to_numpy(str),
        test,
        classes,
        kind=options.kind,
        preset=settings,
        sizes=options.sizes,
        threshold=options.threshold,
        membership=release_membership(
            features["double"].array,
            features["train"].array,
            features["holdout"].array,
            train_groups=features["train"].groups,
            holdout_groups=features["holdout"].groups,
            seed=options.seed,
        ),
        draw_seconds=options.draw_seconds,
        upright=not options.turn,
        cache=options.cache,
        seed=options.seed,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    files.write_json(options.out / "scaling.json", found)
    figure = scaling_figure(found)
    assert figure is not None  # there is a point at least
    for form in ("svg", "png"):
        files.write_bytes(options.out / f"scaling.{form}", figure_bytes(figure, form))
    for point in found["points"]:
        print(
            f"{point['per_class']:>6} a class: DSC {point['dice']['value']:.3f}, macro F1 {point['f1']['value']:.3f}, "
            f"advantage {point['membership']['value']:+.3f}, {point['compute_seconds'] / 60:.1f} min"
        )
    print(f"advice: {found['advice']} a class" + (f"; {'; '.join(found['notes'])}" if found["notes"] else ""))


if __name__ == "__main__":
    main()
