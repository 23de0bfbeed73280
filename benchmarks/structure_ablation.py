"""DiffGuard's structure mask: are fewer pictures implausible with it?

    datadouble fit diffguard COHORT WITH --preset cpu-64
    datadouble fit diffguard COHORT WITHOUT --preset cpu-64 --set data.structure=none
    python benchmarks/structure_ablation.py WITH WITHOUT --real COHORT     # a few minutes

Draws equally many pictures of each class from both runs, unfiltered, and counts those whose lesion lies outside the
body or in air, is missing, of several types or in pieces. Where the body is, a rule finds in the picture itself, the
same for both and for the real pictures, whose rate stands beside: it is not zero at so few pixels. Control: the drawn
masks moved by a third of the picture, and given to pictures of other classes. Writes structure-ablation.md and .json.
"""

import argparse
from pathlib import Path

import numpy as np

from datadouble import files
from datadouble.audit.fidelity.anatomy import (
    SIGNS,
    AnatomySigns,
    anatomy_rates,
    compare_anatomy,
    measure_anatomy,
)
from datadouble.audit.pictures import read_pictures
from datadouble.cohort import Cohort
from datadouble.cohort.structure import choose_rule, lesions_of, structure_mask
from datadouble.errors import DataDoubleError
from datadouble.progress import track
from datadouble.randomness import generator_for
from datadouble.recipes.diffguard_generator import load_generator
from script import parser_of, run_script


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("with_structure", type=Path, metavar="WITH")
    parser.add_argument("without_structure", type=Path, metavar="WITHOUT")
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--steps", type=int, default=0, help="of the sampler, instead of the run's")
    parser.add_argument("--normal", nargs="*", default=["normal"], help="classes that have no lesion")
    parser.add_argument("--out", type=Path, default=Path("results/diffguard"))
    parser.add_argument("--seed", type=int, default=0)
    run_script(run, parser)


def run(options: argparse.Namespace) -> None:
    real = Cohort.open(options.real)
    rule, intensity = choose_rule(real.info), real.info.intensity

    def judge(images: np.ndarray, masks: np.ndarray, labels: np.ndarray) -> AnatomySigns:
        body = np.stack([structure_mask(image, rule, intensity=intensity) for image in images])
        return measure_anatomy(images, masks, body, expects_lesion=~np.isin(labels, options.normal))

    found: dict[str, AnatomySigns] = {}
    drawn = None
    for name, folder in (("with", options.with_structure), ("without", options.without_structure)):
        images, masks, labels, has = draw(folder, options)
        if has != (name == "with"):
            raise DataDoubleError(
                f"this run was to be the one {name} a structure mask",
                where=folder.name,
                found="it has one" if has else "it has none",
                remedy="give the run with it first",
            )
        found[name] = judge(images, masks, labels)
        drawn = drawn or (images, masks, labels)
    images, masks, labels = drawn
    unseen = read_pictures(real.where((real.table["split"] != "train").to_numpy()), images.shape[1])
    assert unseen.masks is not None
    found["real"] = judge(unseen.array, unseen.masks, unseen.labels)
    found["moved"] = judge(images, np.roll(masks, images.shape[1] // 3, axis=2), labels)
    found["shuffled"] = judge(images, masks, generator_for(options.seed, "shuffle").permutation(labels))

    difference = compare_anatomy(found["without"], found["with"])
    result = {name: anatomy_rates(signs) for name, signs in found.items()} | {"difference": difference}
    text = markdown(result, real.info.name, images.shape[1])
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    files.write_json(options.out / "structure-ablation.json", result)
    files.write_text(options.out / "structure-ablation.md", text)


def draw(folder: Path, options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Pictures, lesion masks, labels, and whether the run draws a structure mask."""
    generator = load_generator(folder, steps=options.steps)
    model, images, masks, labels = generator.model, [], [], []
    stretches = [
        (label, range(start, min(start + options.batch, options.per_class)))
        for label in range(len(model.classes))
        for start in range(0, options.per_class, options.batch)
    ]
    for label, numbers in track(stretches, folder.name):
        pairs = generator.draw_pairs(label, numbers, options.seed)
        images.append(pairs.images)
        masks.append(lesions_of(pairs.drawn, model.structure))
        labels += [model.classes[label]] * len(numbers)
    return np.concatenate(images), np.concatenate(masks), np.array(labels), model.structure != "none"


def markdown(result: dict, cohort: str, size: int) -> str:
    """The table."""
    words = {
        "with": "with structure mask",
        "without": "without",
        "real": "*real, unseen*",
        "moved": "*control: masks moved*",
        "shuffled": "*control: classes shuffled*",
    }
    lines = [
        f"# Structure mask: {cohort}, {size} px, unfiltered draws\n",
        "Share of pictures, 95% intervals; the last column counts a picture once.\n",
        "| pictures | n | "
        + " | ".join(SIGNS[name] for name in result["with"]["signs"])
        + " | implausible |",
        "|---" * (3 + len(result["with"]["signs"])) + "|",
    ]
    for name, label in words.items():
        rates = result[name]
        cells = [share(sign) for sign in rates["signs"].values()] + [share(rates["implausible"])]
        lines.append(f"| {label} | {rates['n']} | " + " | ".join(cells) + " |")
    d = result["difference"]
    lines.append(
        f"\nWithout less with: {100 * d['value']:+.1f} points ({100 * d['low']:+.1f}, {100 * d['high']:+.1f}), "
        f"P = {d['p_value']:.2g} (Fisher)."
    )
    return "\n".join(lines) + "\n"


def share(rate: dict) -> str:
    """A rate in per cent with its interval."""
    return f"{100 * rate['value']:.1f}% ({100 * rate['low']:.1f}, {100 * rate['high']:.1f})"


if __name__ == "__main__":
    main()
