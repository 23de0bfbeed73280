"""DiffGuard's Figure 5: differential privacy alone, and compounded with a double, over epsilon.

    python benchmarks/compound.py DiffGuard=DOUBLE --real COHORT                           # an hour or two on one core
    python benchmarks/compound.py DOUBLE... --real COHORT --epsilons 1 3 8 --kinds unet transunet

Segmenters are trained on real pictures, on real pictures with DP-SGD, on each double, and on each double with DP-SGD;
each is tested on unseen real patients and attacked as downstream.py does. Networks and shadow networks are shared with
segmenters.py and downstream.py through --cache; the same command again goes on. Writes compound.json, compound.md,
figure-5 (DSC) and figure-5-f1, each as SVG and PNG (of the first kind; of the others with their names).

On real pictures a record is a patient, with all that share a picture with him; on a double every picture is one. There
epsilon protects the double's pictures from the segmenter: what it says of patients it says only together with the
generator. Private networks have group norm in place of batch norm, and Poisson batches.
"""

import argparse
import sys
from dataclasses import replace
from typing import Any

import numpy as np

from datadouble import files
from datadouble.audit.report.figures.downstream import compound_figure, figure_bytes
from datadouble.audit.utility.segmenter_data import Cases
from datadouble.audit.utility.segmenter_settings import SEGMENTERS, WORDS
from datadouble.audit.utility.segmenter_store import trained_segmenter
from datadouble.audit.utility.segmenter_table import REFERENCE, TableArm, assess_segmenters
from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.randomness import seed_for
from datadouble.training.privacy.options import PrivacyOptions
from datadouble.training.privacy.sampling import patients_of, rows_by_patient
from downstream import ATTACKS, add_options, attacked, cases_with_sites, material_of, rates
from script import parser_of, run_script
from segmenters import named_double, types_of


def main() -> None:
    parser = parser_of(__doc__)
    add_options(parser)
    parser.add_argument("--epsilons", type=float, nargs="+", default=[1.0, 8.0])
    parser.add_argument("--delta", type=float, default=0.0, help="0: a tenth of 1 / records")
    parser.add_argument("--clip", type=float, default=1.0, help="greatest norm of a record's gradient")
    parser.add_argument(
        "--per-step", type=int, default=64, help="records a step, expected; a quarter of all at most"
    )
    run_script(run, parser)


def private_arms(
    name: str, arm: TableArm, records: np.ndarray, options: argparse.Namespace
) -> dict[str, TableArm]:
    """The arm under each epsilon."""
    count = len(rows_by_patient(records))
    found = {}
    for epsilon in options.epsilons:
        privacy = PrivacyOptions(
            epsilon=epsilon,
            delta=options.delta,
            clip=options.clip,
            patients_per_step=max(1, min(options.per_step, count // 4)),
            draws=1,
        )
        words = f"{arm.words} + DP {epsilon:g}"
        found[f"{name} + DP {epsilon:g}"] = TableArm(words, arm.cases, arm.is_real, privacy, records)
    return found


def run(options: argparse.Namespace) -> None:
    real = Cohort.open(options.real)
    types, classes = types_of(options.types, real)
    chosen = {kind: SEGMENTERS[options.preset][kind] for kind in options.kinds}
    if options.steps:
        chosen = {kind: replace(setting, steps=options.steps) for kind, setting in chosen.items()}
    if len({setting.size for setting in chosen.values()}) > 1:
        raise DataDoubleError("the kinds are trained at different sizes", where="--kinds")
    size = chosen[options.kinds[0]].size

    trained_on = real.filter(split="train")
    train, _, rows = cases_with_sites(trained_on, size, types, options)
    tests = {"internal": cases_with_sites(real.filter(split="test"), size, types, options)[0]}
    series = {REFERENCE: TableArm("real", train, True)}
    arms = {
        **series,
        **private_arms("real", series[REFERENCE], patients_of(trained_on.table)[rows], options),
    }
    for name, cohort in map(named_double, options.doubles):
        cases: Cases = cases_with_sites(cohort, size, types, options)[0]
        series[name] = TableArm(name, cases, False)
        single = np.array([""] * len(cases))
        arms |= {name: series[name], **private_arms(name, series[name], single, options)}

    table = assess_segmenters(
        arms,
        tests,
        classes,
        kinds=options.kinds,
        preset=chosen,
        upright=not options.turn,
        cache=options.cache,
        seed=options.seed,
        say=lambda words: print(words, file=sys.stderr, flush=True),
    )
    found: dict[str, Any] = {}
    for kind, settings in chosen.items():
        words = f"{kind}: {len(arms)} victims, {options.shadows} shadow networks and 3 more of {settings.steps} steps"
        print(words, file=sys.stderr, flush=True)
        victims = {
            name: trained_segmenter(
                arm.cases,
                classes,
                settings,
                seed_for(options.seed, kind, 0),
                upright=not options.turn,
                privacy=arm.privacy,
                records=arm.records,
                folder=options.cache,
            )
            for name, arm in arms.items()
        }
        material = material_of(real, size, types, options)
        found[kind] = attacked(kind, settings, victims, material, classes, options)

    options.out.mkdir(parents=True, exist_ok=True)
    text = markdown(real.info.name, table, found, options)
    print(text)
    files.write_text(options.out / "compound.md", text)
    files.write_json(options.out / "compound.json", {"utility": table, "attacks": found})
    for kind in chosen:
        of_kind = "" if kind == options.kinds[0] else f"-{kind}"
        for measure, words, ending in (
            ("dice", "DSC on unseen real patients", ""),
            ("f1", "macro F1 on unseen real patients", "-f1"),
        ):
            figure = compound_figure(
                points_of(series, table, found[kind], kind, measure, options),
                utility=words,
                privacy=f"advantage of the attack ({ATTACKS.get(options.attack, options.attack)})",
            )
            if figure is not None:
                for form in ("svg", "png"):
                    path = options.out / f"figure-5{of_kind}{ending}.{form}"
                    files.write_bytes(path, figure_bytes(figure, form))


def points_of(
    series: dict[str, TableArm],
    table: dict[str, Any],
    found: dict[str, Any],
    kind: str,
    measure: str,
    options: argparse.Namespace,
) -> dict[str, list[dict[str, Any]]]:
    """A line for each training set: its points by epsilon, the last without DP."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for name, arm in series.items():
        private = [(e, f"{'real' if name == REFERENCE else name} + DP {e:g}") for e in options.epsilons]
        lines[arm.words] = [
            {
                "epsilon": epsilon,
                "is_real": arm.is_real,
                "utility": table["arms"][key]["kinds"][kind]["internal"][measure],
                "privacy": rates(found["victims"][key]["attacks"][options.attack])["advantage"],
            }
            for epsilon, key in [*private, (None, name)]
        ]
    return lines


def markdown(cohort: str, table: dict[str, Any], found: dict[str, Any], options: argparse.Namespace) -> str:
    """The table behind the figure."""

    def words(estimate: dict[str, Any], form: str = ".3f") -> str:
        if estimate["value"] is None:
            return "–"
        value = f"{estimate['value']:{form}}"
        return (
            value
            if estimate["low"] is None
            else f"{value} ({estimate['low']:{form}}, {estimate['high']:{form}})"
        )

    n = table["n"]["internal"]
    lines = [
        f"# The compound scheme: {cohort}, preset `{options.preset}`",
        "",
        f"Tested on {n['cases']} pictures of {n['patients']} unseen real patients; 95% intervals over patients. "
        f"Attack: {ATTACKS.get(options.attack, options.attack)}, {options.shadows} shadow networks. Epsilon is "
        "that of the segmenter's own training: on real pictures by patient; on a double by synthetic picture, "
        "whose generator is not covered.",
        "",
        "| segmenter | trained on | records | epsilon | delta | noise | clipped | DSC | F1 | advantage | P | finding |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in found:
        for name, arm in table["arms"].items():
            spent = arm.get("privacy", {}).get(kind)
            private = (
                ["–", "no DP", "–", "–", "–"]
                if spent is None
                else [
                    f"{spent['patients']}",
                    f"{spent['epsilon']:.2f}",
                    f"{spent['delta']:.1e}",
                    f"{spent['noise_multiplier']:.2f}",
                    f"{100 * spent['share_clipped']:.0f}%",
                ]
            )
            cell, victim = arm["kinds"][kind]["internal"], found[kind]["victims"][name]
            judged = victim["attacks"][options.attack]
            row = [WORDS[kind], f"{arm['words']} ({arm['n']['cases']})", *private]
            row += [words(cell["dice"]), words(cell["f1"]), words(rates(judged)["advantage"], "+.3f")]
            row += [f"{judged['p_value']:.2g}", victim["finding"]]
            lines.append("| " + " | ".join(row) + " |")
    passed = {kind: each["controls"]["passed"] for kind, each in found.items()}
    lines += [
        "",
        f"Controls of the attacks: {', '.join(f'{k} passed' if p else f'{k} NOT passed' for k, p in passed.items())}.",
    ]
    return "\n".join([*lines, *(f"- {note}" for note in table["notes"])]) + "\n"


if __name__ == "__main__":
    main()
