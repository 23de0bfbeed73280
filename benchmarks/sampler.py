"""Our default sampler against the paper's DDIM with 250 steps, on the same trained model, noise and guidance.

    python benchmarks/sampler.py RUN REAL_COHORT [--images 158]

Prints wall clock (or processor time) and FD from the real pictures that the run never saw, for each; then FD over
steps and guidance.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from datadouble.audit.features import extract_features
from datadouble.audit.fidelity.frechet import frechet_distance
from datadouble.cohort import Cohort
from datadouble.recipes.coldit_generator import ColditGenerator, SamplingOptions, load_generator
from datadouble.recipes.doubles import Drawing, class_counts
from script import parser_of


def draw(
    generator: ColditGenerator, images: int, batch: int, seed: int, clock: Callable[[], float]
) -> tuple[list[np.ndarray], float]:
    """Return the pictures and the seconds that they took."""
    pictures: list[np.ndarray] = []
    started = clock()
    for label, count in enumerate(class_counts(generator.facts, Drawing(images=images))):
        for first in range(0, count, batch):
            pictures += list(generator.draw(label, range(first, min(first + batch, count)), seed).images)
    return pictures, clock() - started


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("real", type=Path)
    parser.add_argument("--images", type=int, default=0, help="0: as many as real unseen pictures")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--curve-steps", type=int, nargs="*", default=[5, 10, 15, 25])
    parser.add_argument("--curve-weights", type=float, nargs="*", default=[0.0, 0.25, 0.8, 1.5])
    parser.add_argument("--skip-paper", action="store_true")
    parser.add_argument("--processor-time", action="store_true", help="for a CPU that others use too")
    options = parser.parse_args()

    clock = time.process_time if options.processor_time else time.perf_counter
    cohort = Cohort.open(options.real)
    cohort = cohort.filter(split=["holdout", "test"]) if cohort.has_splits else cohort
    base = load_generator(options.run)
    size = base.size
    real = extract_features(cohort, at_size=size).array
    images = options.images or len(real)

    def measure(sampling: SamplingOptions) -> tuple[float, float]:
        generator = base.with_options(sampling)
        distances, seconds = [], 0.0
        for seed in range(options.seeds):
            pictures, took = draw(generator, images, options.batch, seed, clock)
            distances.append(frechet_distance(real, extract_features(pictures).array))
            seconds += took
        return float(np.mean(distances)), seconds / options.seeds

    default = base.options
    print(
        f"{images} images of {size} px, {len(real)} real ones, {torch.get_num_threads()} threads, "
        f"w = {default.guidance_weight}\n"
    )
    print("| sampler | steps | seconds | FD(efficientnet-lite0) |\n|---|---|---|---|", flush=True)
    ours = measure(default)
    print(f"| {default.sampler} (default) | {default.steps} | {ours[1]:.1f} | {ours[0]:.1f} |", flush=True)
    if not options.skip_paper:
        paper = measure(replace(default, sampler="ddim", steps=250))
        print(f"| ddim (paper) | 250 | {paper[1]:.1f} | {paper[0]:.1f} |")
        print(
            f"\n{paper[1] / ours[1]:.1f} times faster; FD {100 * (ours[0] / paper[0] - 1):+.1f}%\n",
            flush=True,
        )
    print("| steps | w | seconds | FD |\n|---|---|---|---|")
    curve = [replace(default, steps=steps) for steps in options.curve_steps]
    curve += [replace(default, guidance_weight=weight) for weight in options.curve_weights]
    for sampling in curve:
        distance, seconds = measure(sampling)
        print(
            f"| {sampling.steps} | {sampling.guidance_weight} | {seconds:.1f} | {distance:.1f} |", flush=True
        )


if __name__ == "__main__":
    main()
