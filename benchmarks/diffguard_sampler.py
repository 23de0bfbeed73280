"""DiffGuard's default sampler against 1000-step ancestral sampling: same weights, same classes, same starting noise.

    python benchmarks/diffguard_sampler.py RUN --real COHORT --images 300   # 1,000 calls a picture: an hour or two
    python benchmarks/diffguard_sampler.py RUN --real COHORT --images 32    # a first look

Three promises: at least 30 times the images a second; FD from real pictures that the run never saw within 5%; and
mask-to-image agreement (Dice of the drawn mask and what a segmenter trained on real pictures sees) within 0.01. Beside
FD stands its noise at this number of pictures. Nothing is filtered. Writes sampler.md and sampler.json; what was drawn
is kept in --cache, in parts, and the same command again goes on. Seconds are the processor's on a CPU that others use
too, the clock's on a GPU.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from datadouble import files
from datadouble.audit.evidence import named, plain
from datadouble.audit.features import extract_features
from datadouble.audit.fidelity.frechet import frechet_distance
from datadouble.audit.utility.segmenter_data import Cases
from datadouble.audit.utility.segmenter_scores import case_dice
from datadouble.audit.utility.segmenter_settings import KINDS, SEGMENTERS
from datadouble.audit.utility.segmenter_store import trained_segmenter
from datadouble.audit.utility.segmenters import predict
from datadouble.cohort import Cohort
from datadouble.cohort.structure import lesions_of
from datadouble.errors import DataDoubleError
from datadouble.progress import track
from datadouble.randomness import seed_for
from datadouble.recipes.diffguard_generator import DiffguardGenerator, SamplingOptions, load_generator
from datadouble.recipes.doubles import Drawing, class_counts
from datadouble.stats import bootstrap, equivalence_test
from downstream import cases_with_sites
from script import parser_of, run_script
from segmenters import types_of

FASTER, FD_WITHIN, DICE_WITHIN = 30.0, 0.05, 0.01


class Drawn(NamedTuple):
    """Pictures and lesion masks uint8 (n, s, s), and the seconds a picture of each part (the median counts)."""

    images: np.ndarray
    masks: np.ndarray
    seconds: list[float]

    @property
    def rate(self) -> float:
        """Images a second."""
        return 1 / statistics.median(self.seconds)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument(
        "--splits", nargs="+", default=["holdout", "test"], help="of the real pictures for FD"
    )
    parser.add_argument("--types", help="as for segmenters.py")
    parser.add_argument("--kind", default="unet", choices=KINDS, help="the segmenter")
    parser.add_argument("--preset", default="cpu-64", choices=list(SEGMENTERS))
    parser.add_argument("--steps", type=int, help="of the segmenter, instead of the preset's")
    parser.add_argument("--by", default="site", help=argparse.SUPPRESS)
    parser.add_argument("--sampler", help="instead of the run's own; of presets: sde")
    parser.add_argument("--ddim", type=int, nargs="*", default=[100], help="steps of DDIM, shown beside")
    parser.add_argument("--ancestral", type=int, default=1000, help="steps of the reference")
    parser.add_argument("--part", type=int, default=16, help="pictures drawn at once, by every sampler")
    parser.add_argument("--out", type=Path, default=Path("results/diffguard"))
    parser.add_argument("--cache", type=Path, default=Path(".work/sampler"))
    parser.add_argument(
        "--segmenters", type=Path, default=Path(".work/segmenters"), help="networks kept there"
    )
    parser.add_argument("--seed", type=int, default=0)
    run_script(run, parser)


def drawn_by(base: DiffguardGenerator, sampling: SamplingOptions, options: argparse.Namespace) -> Drawn:
    """Draw, or read what an earlier call drew."""
    generator = base.with_options(sampling)
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    key = files.fingerprint(
        str(generator.facts.fingerprint["weights"]),
        str(
            (
                sampling.guidance_weight,
                sampling.guidance_interval,
                sampling.precision,
                options.part,
                options.seed,
            )
        ),
    )
    folder = options.cache / key
    folder.mkdir(parents=True, exist_ok=True)
    counts = class_counts(base.facts, Drawing(images=options.images))
    parts = [
        (label, range(first, min(first + options.part, count)))
        for label, count in enumerate(counts)
        for first in range(0, count, options.part)
    ]
    base.with_options(replace(sampling, steps=2)).draw_pairs(0, range(1), options.seed)  # warms up
    images, masks, seconds = [], [], []
    for label, numbers in track(parts, f"{sampling.sampler} {sampling.steps}"):
        name = f"{sampling.sampler}-{sampling.steps}-{label}-{numbers.start}-{numbers.stop}.npz"
        if not (folder / name).is_file():
            started = clock()
            pairs = generator.draw_pairs(label, numbers, options.seed)
            took = (clock() - started) / len(numbers)
            arrays = {
                "images": pairs.images,
                "masks": lesions_of(pairs.drawn, generator.model.structure),
                "seconds": np.array(took),
            }
            files.write_with(folder / name, lambda file, a=arrays: np.savez_compressed(file, **a))
        with np.load(folder / name, allow_pickle=False) as stored:
            images.append(stored["images"])
            masks.append(stored["masks"])
            # A picture of a small part costs more.
            if len(numbers) == options.part or max(counts) < options.part:
                seconds.append(float(stored["seconds"]))
    return Drawn(np.concatenate(images), np.concatenate(masks), seconds)


def fd_lines(real: np.ndarray, ours: np.ndarray, theirs: np.ndarray, seed: int) -> dict[str, Any]:
    """FD of two sets of features (n, d) from the real ones, and their noise."""
    d = real.shape[1]
    order = np.random.default_rng(seed).permutation(len(theirs))
    first, second = np.array_split(order, 2)
    halves = [frechet_distance(real, theirs[part]) for part in (first, second)]
    mixed = np.random.default_rng(seed).permutation(len(real))
    change = bootstrap(
        lambda rows: frechet_distance(real, rows[:, :d]) / frechet_distance(real, rows[:, d:]) - 1,
        np.concatenate([ours, theirs], axis=1),
        resamples=200,
        seed=seed,
        centre=True,
    )
    return {
        "ours": frechet_distance(real, ours),
        "ancestral": frechet_distance(real, theirs),
        "change": named(change),
        "real_halves": frechet_distance(*(real[part] for part in np.array_split(mixed, 2))),
        "ancestral_halves": frechet_distance(theirs[first], theirs[second]),
        "halves_change": abs(halves[0] - halves[1]) / max(statistics.mean(halves), 1e-12),
    }


def agreement(segmenter: Any, drawn: Drawn) -> np.ndarray:
    """Dice of each drawn mask and what the segmenter sees in its picture; NaN where no lesion was drawn."""
    seen = predict(segmenter, drawn.images)
    return np.array([case_dice(mask, said) for mask, said in zip(drawn.masks, seen, strict=True)])


def run(options: argparse.Namespace) -> None:
    base = load_generator(options.run)
    real = Cohort.open(options.real)
    types, classes = types_of(options.types, real)
    if types is not None and base.model.mask_labels:
        raise DataDoubleError("masks name the classes here", where="--types", remedy="leave it out")
    default = replace(base.options, sampler=options.sampler or base.options.sampler)
    if base.model.diffusion["objective"] == "flow":
        raise DataDoubleError(
            "ancestral sampling needs a noise schedule",
            where=options.run.name,
            found="objective flow",
            remedy="give a run whose objective is another",
        )
    settings = SEGMENTERS[options.preset][options.kind]
    if options.steps:
        settings = replace(settings, steps=options.steps)
    if settings.size != base.size:
        raise DataDoubleError(
            "the segmenter's size is not the generator's",
            where="--preset",
            found=f"{settings.size} and {base.size} px",
        )
    samplers = [
        default,
        *(replace(default, sampler=name) for name in ("dpmpp",) if name != default.sampler),
        *(replace(default, sampler="ddim", steps=steps) for steps in options.ddim),
        replace(default, sampler="ddpm", steps=options.ancestral),
    ]
    drawn = [drawn_by(base, sampling, options) for sampling in samplers]

    unseen = real.filter(split=options.splits)
    features = extract_features(unseen, at_size=base.size).array
    made = [extract_features(list(one.images)).array for one in drawn]

    train, _, _ = cases_with_sites(real.filter(split="train"), base.size, types, options)
    segmenter = trained_segmenter(
        train, classes, settings, seed_for(options.seed, options.kind, 0), folder=options.segmenters
    )
    truth: Cases = cases_with_sites(unseen, base.size, types, options)[0]
    ceiling = agreement(segmenter, Drawn(np.asarray(truth.images), np.asarray(truth.masks), []))
    overlaps = [agreement(segmenter, as_typed(one, types, base, options)) for one in drawn]

    rows = []
    for sampling, one, vectors, overlap in zip(samplers, drawn, made, overlaps, strict=True):
        both = np.isfinite(overlap) & np.isfinite(overlaps[-1])
        rows.append(
            {
                "sampler": sampling.sampler,
                "steps": sampling.steps,
                "images_per_second": one.rate,
                "faster": one.rate / drawn[-1].rate,
                "fd": fd_lines(features, vectors, made[-1], options.seed),
                "lesions": int(np.isfinite(overlap).sum()),
                "dice": named(bootstrap(lambda x: float(x.mean()), overlap[np.isfinite(overlap)])),
                "difference": named(bootstrap(lambda x: float(x.mean()), overlap[both] - overlaps[-1][both])),
                "equivalence_p": None
                if sampling is samplers[-1]
                else equivalence_test(
                    overlap[both], overlaps[-1][both], margin=DICE_WITHIN, paired=True
                ).p_value,
            }
        )
    found = plain(
        {
            "images": len(drawn[0].images),
            "size": base.size,
            "real": len(features),
            "part": options.part,
            "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
            "threads": torch.get_num_threads(),
            "precision": default.precision,
            "segmenter": {"kind": options.kind, "preset": options.preset, "steps": settings.steps},
            "real_dice": named(bootstrap(lambda x: float(x.mean()), ceiling[np.isfinite(ceiling)])),
            "samplers": rows,
        }
    )
    text = markdown(options.run.name, real.info.name, found)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    files.write_text(options.out / "sampler.md", text)
    files.write_json(options.out / "sampler.json", found)


def as_typed(
    drawn: Drawn, types: dict[str, int] | None, base: DiffguardGenerator, options: argparse.Namespace
) -> Drawn:
    """The drawn masks with the class ids of --types, by the class that was asked for."""
    if types is None:
        return drawn
    counts = class_counts(base.facts, Drawing(images=options.images))
    ids = np.repeat([types.get(name, 0) for name in base.facts.classes], counts)
    return drawn._replace(masks=((drawn.masks > 0) * ids[:, None, None]).astype(np.uint8))


def markdown(run_name: str, cohort: str, found: dict[str, Any]) -> str:
    """The table, and whether the promises are kept."""

    def words(estimate: dict[str, Any], form: str = ".3f") -> str:
        return f"{estimate['value']:{form}} ({estimate['low']:{form}}, {estimate['high']:{form}})"

    ours, reference = found["samplers"][0], found["samplers"][-1]
    fd, difference = ours["fd"], ours["difference"]
    lines = [
        f"# Sampling: {run_name}, {found['size']} px",
        "",
        f"{found['images']} pictures of each sampler (same weights, classes and starting noise; nothing filtered), "
        f"{found['real']} real pictures of {cohort} that the run never saw. {found['device']}, {found['threads']} "
        f"thread(s), {found['precision']}, {found['part']} pictures at once; processor seconds on a CPU. FD is "
        "FD(efficientnet-lite0), at fewer pictures than dimensions: only its changes count. Dice: of the drawn mask "
        f"and what a {found['segmenter']['kind']} trained on real pictures ({found['segmenter']['steps']} steps) sees; "
        f"on real pictures that it never saw, Dice is {words(found['real_dice'])}.",
        "",
        "| sampler | steps | images/s | faster | FD | against ancestral | Dice with the drawn mask | difference | P |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["samplers"]:
        last = row is reference
        change = row["fd"]["change"]
        lines.append(
            f"| {row['sampler']}{' (default)' if row is ours else ' (ancestral)' if last else ''} | {row['steps']} | "
            f"{row['images_per_second']:.3g} | {row['faster']:.1f} | {row['fd']['ours']:.1f} | "
            + (
                "– | "
                if last
                else f"{words({k: 100 * change[k] for k in ('value', 'low', 'high')}, '+.1f')}% | "
            )
            + f"{words(row['dice'])}, n = {row['lesions']} | "
            + ("– | – |" if last else f"{words(row['difference'], '+.4f')} | {row['equivalence_p']:.2g} |")
        )
    inside = abs(difference["low"]) < DICE_WITHIN and abs(difference["high"]) < DICE_WITHIN
    lines += [
        "",
        f"Noise of FD at this number: between two halves of the real pictures {fd['real_halves']:.1f}, of the "
        f"ancestral ones {fd['ancestral_halves']:.1f}; the two ancestral halves' FDs from the real ones differ by "
        f"{100 * fd['halves_change']:.1f}%.",
        "",
        f"- at least {FASTER:g} times faster: {'yes' if ours['faster'] >= FASTER else 'NO'} ({ours['faster']:.1f})",
        f"- FD within {100 * FD_WITHIN:g}%: {'yes' if abs(fd['change']['value']) <= FD_WITHIN else 'NO'} "
        f"({100 * fd['change']['value']:+.1f}%)",
        f"- Dice within {DICE_WITHIN:g}: {'yes' if abs(difference['value']) <= DICE_WITHIN else 'NO'} "
        f"({difference['value']:+.4f}; the whole interval: {'yes' if inside else 'no'}; P is that of two one-sided "
        f"tests); not lower by {DICE_WITHIN:g}, the whole interval: "
        f"{'yes' if difference['low'] > -DICE_WITHIN else 'NO'}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
