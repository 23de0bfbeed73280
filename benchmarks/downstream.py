"""DiffGuard's Figures 3 and 4: what segmenters trained on real and on synthetic pictures are worth and give away.

    python benchmarks/segmenters.py DOUBLE... --real COHORT --out OUT     # first: the utility
    python benchmarks/downstream.py DOUBLE... --real COHORT --out OUT     # the attacks, and the figures

Members are the patients of split train (a double's generator learned from them), others those of holdout, at the same
sites; the attacker's own pictures are those of split test. Attacks: Dice threshold (fitted on those own pictures, and
the paper's optimistic one), the shadow model, LiRA online and offline; a network that learned by heart must be caught
and an untrained one not, else nothing is concluded. Networks are those that segmenters.py kept in --cache. Writes
downstream.json, figure-3 (DSC) and figure-4 (macro F1), each as SVG and PNG. The same command again goes on.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datadouble import files
from datadouble.audit.pictures import read_pictures
from datadouble.audit.privacy.downstream import Subjects, audit_downstream, same_centres
from datadouble.audit.report.figures.downstream import figure_bytes, joined_points, utility_privacy_figure
from datadouble.audit.utility.segmenter_data import Cases, cases_of
from datadouble.audit.utility.segmenter_settings import KINDS, SEGMENTERS, SegmenterSettings
from datadouble.audit.utility.segmenter_store import trained_segmenter
from datadouble.audit.utility.segmenter_table import REFERENCE
from datadouble.audit.utility.segmenters import Segmenter
from datadouble.cohort import Cohort
from datadouble.randomness import generator_for, seed_for
from script import parser_of, run_script
from segmenters import named_double, types_of

ATTACKS = {"lira": "LiRA", "lira_offline": "LiRA, offline"}  # in print


def main() -> None:
    parser = parser_of(__doc__)
    add_options(parser)
    run_script(run, parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what every attack on downstream networks is told: doubles, networks, shadow networks, folders."""
    parser.add_argument(
        "doubles", nargs="*", metavar="DOUBLE", help="PATH or NAME=PATH, as for segmenters.py"
    )
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--types", help="as for segmenters.py")
    parser.add_argument("--kinds", nargs="+", default=["unet"], choices=KINDS)
    parser.add_argument("--preset", default="cpu-64", choices=list(SEGMENTERS))
    parser.add_argument("--steps", type=int, help="as for segmenters.py")
    parser.add_argument("--turn", action="store_true", help="as for segmenters.py")
    parser.add_argument("--by", default="site", choices=["site", "device"], help="what a centre is")
    parser.add_argument("--shadows", type=int, default=16)
    parser.add_argument("--attack", default="lira", help="whose advantage the figures show")
    parser.add_argument("--members", type=int, help="at most so many patients a side, drawn at random")
    parser.add_argument("--out", type=Path, default=Path("results/diffguard"))
    parser.add_argument("--cache", type=Path, default=Path(".work/segmenters"))
    parser.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> None:
    real = Cohort.open(options.real)
    types, classes = types_of(options.types, real)
    doubles = dict(map(named_double, options.doubles))
    found = {}
    for kind in options.kinds:
        settings = SEGMENTERS[options.preset][kind]
        if options.steps:
            settings = replace(settings, steps=options.steps)
        material = material_of(real, settings.size, types, options)
        arms = {REFERENCE: material.train}
        for name, cohort in doubles.items():
            arms[name] = cases_with_sites(cohort, settings.size, types, options)[0]
        words = f"{kind}: {len(arms)} victims, {options.shadows} shadow networks and 3 more of {settings.steps} steps"
        print(words, file=sys.stderr, flush=True)
        victims = {
            name: trained_segmenter(
                arm,
                classes,
                settings,
                seed_for(options.seed, kind, 0),
                upright=not options.turn,
                folder=options.cache,
            )
            for name, arm in arms.items()
        }
        found[kind] = attacked(kind, settings, victims, material, classes, options)
    options.out.mkdir(parents=True, exist_ok=True)
    files.write_json(options.out / "downstream.json", found)
    utility = options.out / "segmenters.json"
    if not utility.is_file():
        print(f"no figures: {utility.name} is not there yet", file=sys.stderr)
        return
    table = json.loads(utility.read_text())
    for number, measure, axis in ((3, "dice", "DSC on unseen real patients"), (4, "f1", "macro F1")):
        panels = joined_points(table, found, measure=measure, attack=options.attack)
        figure = utility_privacy_figure(
            panels,
            utility=axis,
            privacy=f"membership advantage ({ATTACKS.get(options.attack, options.attack)})",
        )
        if figure is not None:
            for form in ("svg", "png"):
                files.write_bytes(options.out / f"figure-{number}.{form}", figure_bytes(figure, form))


class Material(NamedTuple):
    """Training pictures; those whose membership is asked for; the attacker's own."""

    train: Cases
    subjects: Subjects
    own: Cases


def cases_with_sites(
    cohort: Cohort, size: int, types: dict[str, int] | None, options: argparse.Namespace
) -> tuple[Cases, np.ndarray, np.ndarray]:
    """Cases, the centre of each, and its row in the cohort."""
    pictures = read_pictures(cohort, size, cache_dir=options.cache / "pictures")
    kept = pictures.has_mask if types is None else pictures.has_mask & np.isin(pictures.labels, list(types))
    rows = pictures.rows[kept]
    return cases_of(pictures, size, types=types), cohort.table[options.by].to_numpy()[rows].astype(str), rows


def material_of(
    real: Cohort, size: int, types: dict[str, int] | None, options: argparse.Namespace
) -> Material:
    """What a cohort's splits give: members from train, others from holdout, the attacker's own from test."""
    train, train_sites, _ = cases_with_sites(real.filter(split="train"), size, types, options)
    other, other_sites, _ = cases_with_sites(real.filter(split="holdout"), size, types, options)
    own, own_sites, _ = cases_with_sites(real.filter(split="test"), size, types, options)
    both = Cases(
        np.concatenate([train.images, other.images]),
        np.concatenate([train.masks, other.masks]),
        np.concatenate([train.patients, other.patients]),
    )
    member = np.repeat([True, False], [len(train), len(other)])
    subjects = Subjects(both, member, np.concatenate([train_sites, other_sites]))
    subjects = subjects.only(same_centres(subjects.member, subjects.sites))
    if options.members:
        subjects = subjects.only(some_patients(subjects, options.members, options.seed))
        subjects = subjects.only(same_centres(subjects.member, subjects.sites))
    return Material(train, subjects, own.only(np.isin(own_sites, subjects.sites)))


def attacked(
    kind: str,
    settings: SegmenterSettings,
    victims: dict[str, Segmenter],
    material: Material,
    classes: int,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """What `audit_downstream` finds, said in a line for each network."""
    found = audit_downstream(
        victims,
        material.subjects,
        material.own,
        classes,
        kind=kind,
        preset=settings,
        shadows=options.shadows,
        upright=not options.turn,
        cache=options.cache,
        seed=options.seed,
    )
    for name, victim in found["victims"].items():
        lines = ", ".join(
            f"{attack} {rates(judged)['advantage']['value']:+.3f} (P = {judged['p_value']:.2g})"
            for attack, judged in victim["attacks"].items()
        )
        print(f"{kind}, {name}: {victim['finding']}; advantage {lines}", flush=True)
    print(f"{kind}: controls {'passed' if found['controls']['passed'] else 'NOT passed'}", flush=True)
    return found


def rates(judged: dict) -> dict:
    """The rates of an attack's JSON."""
    return judged.get("overall") or judged["rates"]


def some_patients(subjects: Subjects, most: int, seed: int) -> np.ndarray:
    """Boolean (n,): the pictures of at most so many patients a side."""
    keep = np.zeros(len(subjects.member), bool)
    for side in (subjects.member, ~subjects.member):
        names = generator_for(seed, "members").permutation(np.unique(subjects.cases.patients[side]))[:most]
        keep |= np.isin(subjects.cases.patients, names)
    return keep


if __name__ == "__main__":
    main()
