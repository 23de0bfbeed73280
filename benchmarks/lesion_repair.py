"""What the repair stage of recipe `lesion` makes of seams on patients it never learned from, by sampler and steps.

    python benchmarks/lesion_repair.py RUN COHORT --out results/lesion/repair.json

RUN is the folder of a lesion run, COHORT what it was fitted on. Composites are made of the validation patients'
pictures, so that what belongs into the band is known. In the band are measured, for the composite as it was and for
each repair: the mean absolute error; fine texture, the mean distance of a pixel from its 3x3 mean; and the share of
pixels that overshoot, brighter or darker by 20 of 255 than all that belongs into their 7x7 neighbourhood. The truth has
its own texture and no overshoot.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from datadouble import files
from datadouble.cohort import Cohort
from datadouble.progress import track
from datadouble.recipes.drawing import config_of
from datadouble.recipes.lesion.config import LesionConfig
from datadouble.recipes.lesion.material import read_material
from datadouble.recipes.lesion.repair_task import RepairTask, fill_band, make_objective, to_bytes
from datadouble.recipes.lesion.repairer import SEAM, load_repair_network
from lesion_placement import interval
from script import parser_of, run_script

SAMPLERS = (("ddim", 4), ("ddim", 8), ("ddim", 12), ("ddim", 25), ("dpmpp", 6), ("dpmpp", 12), ("sde", 12))
OVERSHOOT = 20.0  # of 255
MEASURES = {"error": "absolute error", "texture": "fine texture", "overshoot": "overshoot, share"}


def measures(images: np.ndarray, truth: np.ndarray, bands: np.ndarray) -> dict[str, np.ndarray]:
    """Return what is measured of pictures uint8 (n, s, s) in their bands, each (n,)."""
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for image, true, band in zip(images.astype(float), truth.astype(float), bands, strict=True):
        high, low = ndimage.maximum_filter(true, 7), ndimage.minimum_filter(true, 7)
        found["error"].append(np.abs(image - true)[band].mean())
        found["texture"].append(np.abs(image - ndimage.uniform_filter(image, 3))[band].mean())
        found["overshoot"].append(((image > high + OVERSHOOT) | (image < low - OVERSHOOT))[band].mean())
    return {name: np.array(values) for name, values in found.items()}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("cohort", type=Path, metavar="COHORT")
    parser.add_argument("--out", type=Path, required=True)
    run_script(run, parser)


@torch.no_grad()
def run(options: argparse.Namespace) -> None:
    config = config_of(options.run, LesionConfig)
    material, chosen = read_material(Cohort.open(options.cohort), config.data), config.repair
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    objective = make_objective(chosen.objective, chosen.gamma)
    task = RepairTask(
        nn.Identity(),
        material,
        phase="seam",
        side=chosen.side,
        objective=objective,
        seams=chosen.seams(),
        bands=chosen.bands(),
        sampler=chosen.sampler,
        steps=chosen.steps,
        seed=chosen.seed,
        device=device,
        folder=options.out.parent,
    )
    held = task.held_out(10**6)
    bands = (held.batch.band[:, 0] > 0).cpu().numpy()
    known, target = (to_bytes(x) for x in (held.batch.known, held.batch.target))
    truth = np.where(bands, target, known)
    pictures = {"truth": truth, "composite": known}
    pairs = [(adapter, *one) for adapter in (SEAM, "") for one in SAMPLERS]
    networks = {
        name: load_repair_network(options.run / "repair", name)[0].to(device).eval() for name in (SEAM, "")
    }
    for adapter, sampler, steps in track(pairs, "repairs", total=len(pairs)):
        random = torch.Generator().manual_seed(0)
        drawn = fill_band(
            objective,
            networks[adapter],
            held.batch,
            held.labels,
            held.noise,
            sampler=sampler,
            steps=steps,
            step_noise=lambda _, random=random: torch.randn(held.noise.shape, generator=random).to(device),
        )
        name = f"{'with' if adapter else 'without'} the adapter of composites, {sampler}, {steps} steps"
        pictures[name] = np.where(bands, to_bytes(drawn), known)
    groups = list(held.patients)
    rows = {
        name: {
            measure: interval(values, groups) for measure, values in measures(images, truth, bands).items()
        }
        for name, images in pictures.items()
    }
    facts = {"pictures": len(truth), "patients": len(set(groups)), "device": device.type}
    files.write_json(options.out, facts | {"rows": rows})
    print(f"| {facts['pictures']} composites | {' | '.join(MEASURES.values())} |\n|---|---|---|---|")
    for name, row in rows.items():
        cells = [f"{row[m]['value']:.3g} ({row[m]['low']:.3g}, {row[m]['high']:.3g})" for m in MEASURES]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
