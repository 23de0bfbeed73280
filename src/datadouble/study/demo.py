"""A reader study from nothing: phantom scans, a phantom double, simulated readers of known ability, the analysis."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from datadouble.cohort import Cohort, CohortInfo, CohortWriter

PATIENTS, SIZE = 54, 128
CLASSES = ("2", "3", "4", "5")
IMAGES = 40  # of each origin
SOFTNESS = 0.8  # pixels: what gives the phantom double away
DPRIME = (0.35, 0.9)  # of juniors and seniors, whole images
LESION_LOSS = -0.3  # of d' where only the lesion is seen


def run_demo(out: Path | str, *, seed: int = 0, say: Callable[[str], None] = lambda _: None) -> Path:
    """Make a phantom study in `out`, let simulated readers answer it, analyse it; what stands is gone on from.

    Returns
    -------
    pathlib.Path
        The analysis, an HTML file.
    """
    from datadouble.cohort.phantom.cohort import make_phantom_cohort
    from datadouble.study.analysis.analyse import analyse_study
    from datadouble.study.create import create_study
    from datadouble.study.protocol import read_protocol, with_counts
    from datadouble.study.simulate import panel, simulate_answers

    out, began = Path(out), time.monotonic()

    def step(number: int, text: str) -> None:
        say(f"[{number}/4, {time.monotonic() - began:.0f} s] {text}")

    step(1, "simulating scans, and a double that is a little softer")
    real = make_phantom_cohort(
        out / "cohort", patients=PATIENTS, pictures_per_patient=(1, 1), size=SIZE, seed=seed, classes=CLASSES
    )
    other = make_phantom_cohort(
        out / "other-scans",
        patients=PATIENTS,
        pictures_per_patient=(1, 1),
        size=SIZE,
        seed=seed + 1,
        classes=CLASSES,
    )
    double = _softened(other, out / "double")
    step(2, "making the study: whole images, then lesions alone")
    protocol = with_counts(read_protocol("demo"), real=IMAGES, synthetic=IMAGES)
    create_study(protocol, real, double, out / "study", seed=seed)
    low, high = DPRIME
    step(3, f"six simulated readers answer: juniors around d' = {low}, seniors around {high}")
    readers = panel(dprime=DPRIME, parts={"lesion": LESION_LOSS})
    simulate_answers(out / "study", readers, seed=seed)
    step(4, "analysing")
    analyse_study(out / "study", out / "analysis", seed=seed)
    say(f"done in {time.monotonic() - began:.0f} s")
    return out / "analysis" / "analysis.html"


def _softened(cohort: Cohort, path: Path) -> Cohort:
    """Other phantom scans, slightly blurred, as a double."""
    from scipy.ndimage import gaussian_filter

    info = CohortInfo(
        name="phantom-double",
        origin="synthetic",
        modality=cohort.info.modality,
        classes=cohort.info.classes,
        mask_classes=cohort.info.mask_classes,
        intensity=cohort.info.intensity,
    )
    with CohortWriter(path, info) as writer:
        for number in range(len(cohort)):
            sample = cohort[number]
            name = f"d{number:04d}"
            if not writer.has(name):
                soft = gaussian_filter(sample.image.astype(np.float64), SOFTNESS)
                image = np.clip(np.round(soft), 0, 255).astype(np.uint8)
                writer.add(image, image_id=name, patient_id="", label=sample.row["label"], mask=sample.mask)
        return writer.finish()
