"""CoLDiT's usefulness experiment, patients kept apart: train on real and synthetic pictures, test on unseen real ones.

    python benchmarks/utility.py DOUBLE REAL_COHORT                    # about half an hour on one core
    python benchmarks/utility.py DOUBLE REAL_COHORT --presets features # a minute
    python benchmarks/utility.py DOUBLE REAL_COHORT --presets coldit   # the paper's ResNet-50 at 512 px: a GPU

Prints and writes (utility.md, utility.json) one table a preset, like the paper's Table 4 with the arm that it lacks,
half of the real pictures alone. The same command again continues what was cut off.
"""

from pathlib import Path

from datadouble import files
from datadouble.audit.pictures import read_pictures
from datadouble.audit.utility import MARGIN, PAPER_ARMS, assess_utility, markdown_table
from datadouble.cohort import Cohort
from script import parser_of


def side_of(double: Cohort) -> int:
    """The side of the double's pictures: the real ones are brought to it, in the way that the generator saw them."""
    return int(double.image(0).shape[0])


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("double", type=Path)
    parser.add_argument("real", type=Path)
    parser.add_argument("--grouping", default="2,3|4,5", help="negative labels | positive labels")
    parser.add_argument("--presets", nargs="+", default=["features", "cpu"])
    parser.add_argument(
        "--test",
        nargs="+",
        default=["test", "holdout"],
        help="splits to test on: the generator learned from neither",
    )
    parser.add_argument("--margin", type=float, default=MARGIN)
    parser.add_argument("--all-of-the-double", action="store_true", help="an arm with all its pictures")
    parser.add_argument("--out", type=Path, default=Path("results/audit"))
    parser.add_argument("--cache", type=Path, default=Path(".work/utility"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    double, real = Cohort.open(options.double), Cohort.open(options.real)
    size = side_of(double)
    sets = [
        read_pictures(cohort, size)
        for cohort in (double, real.filter(split="train"), real.filter(split=options.test))
    ]
    arms = (*PAPER_ARMS, "all_synthetic") if options.all_of_the_double else PAPER_ARMS
    title = f"{real.info.name}, {options.grouping}, {size} px; tested on {' and '.join(options.test)}"
    found, text = {}, [f"# Usefulness: {title}", ""]
    for preset in options.presets:
        result = assess_utility(
            *sets,
            grouping=options.grouping,
            preset=preset,
            arms=arms,
            margin=options.margin,
            cache=options.cache,
            seed=options.seed,
        )
        found[preset] = result
        settings, n = result["preset"], result["n"]
        network = settings["network"] if settings["network"] != "head" else "linear head"
        what = settings["extractor"] if network == "linear head" else f"{settings['size']} px"
        gain = result["headline"]["gain_over_half_real"]
        text += [
            f"## Preset `{preset}`: {network}, {what}",
            "",
            f"{result['trainings']} trainings an arm ({result['folds']} folds by patient), {result['steps']} steps of "
            f"{settings['batch']} in every arm; {n['test']} test pictures of {n['test_patients']} patients, "
            f"{n['test_positive']} of them positive; intervals over patients and trainings. Controls "
            f"{'passed' if result['headline']['controls_passed'] else 'NOT passed'}.",
            "",
            markdown_table(result),
            f"Half real + half synthetic, less half real alone: {gain['value']:+.3f} ({gain['low']:+.3f}, "
            f"{gain['high']:+.3f}).",
            "",
            *(f"- {note}" for note in result["notes"]),
            "",
        ]
        print("\n".join(text), flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        files.write_text(options.out / "utility.md", "\n".join(text))
        files.write_json(options.out / "utility.json", found)


if __name__ == "__main__":
    main()
