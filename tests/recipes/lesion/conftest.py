"""A tiny cohort of bright pictures with dark lesions, and a run of all stages that takes seconds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.recipes import fit

TRAINING = (
    "images=32",
    "batch=8",
    "precision=fp32",
    "checkpoint_every=8",
    "validate_every=16",
    "sheet_every=32",
    "learning_rate=1e-3",
)
TINY = [
    "data.size=48",
    "data.patch=16",
    "data.validation_share=0.15",
    'data.stages=["lesion", "placement", "repair"]',
    *(f"{stage}.{value}" for stage in ("lesion", "placement", "repair") for value in TRAINING),
    "lesion.depth=1",
    "lesion.width=32",
    "lesion.heads=2",
    "lesion.detail=8",
    "lesion.lora_rank=2",
    "lesion.tune_images=16",
    "placement.width=16",
    "placement.depth=1",
    "placement.heads=2",
    "placement.variants=1",
    "repair.side=32",
    "repair.width=32",
    "repair.multipliers=[1]",
    "repair.detail=0",
    "repair.seam_images=16",
    "repair.lora_rank=2",
    "repair.steps=2",
    "sampling.steps=2",
    "sampling.batch=4",
    "sampling.precision=fp32",
]


def write_cohort(
    path: Path,
    counts: dict[str, int],
    *,
    origin: str = "real",
    size: int = 48,
    masks: bool = True,
    seed: int = 0,
    modality: str = "breast ultrasound",
    contains_real_pixels: bool | None = None,
) -> Cohort:
    """Pictures of tissue with an ellipse, dark and flat where benign, black and tall where malignant."""
    info = CohortInfo(
        "tiny",
        origin,
        modality,
        tuple(counts),
        ("background", "lesion") if masks else (),
        contains_real_pixels=origin == "real" if contains_real_pixels is None else contains_real_pixels,
    )
    y, x = np.mgrid[:size, :size] / size
    with CohortWriter(path, info) as writer:
        for label, count in counts.items():
            for i in range(count):
                random = np.random.default_rng([seed, len(label), i])
                image = 110 + 30 * random.standard_normal((size, size))
                mask = np.zeros((size, size), bool)
                if label != "normal":
                    row, column = random.uniform(0.35, 0.65, 2)
                    flat = 1.6 if label == "benign" else 0.7
                    radius = random.uniform(0.12, 0.2)
                    mask = ((x - column) / flat) ** 2 + ((y - row) * flat) ** 2 < radius**2
                    image[mask] -= 60 if label == "benign" else 90
                writer.add(
                    np.clip(image, 0, 255).astype(np.uint8),
                    image_id=f"{label}-{i:02d}",
                    patient_id=f"{label}-{i:02d}",
                    label=label,
                    mask=mask.astype(np.uint8) if masks else None,
                    split=("train", "train", "train", "holdout")[i % 4] if origin == "real" else "",
                )
        return writer.finish()


@pytest.fixture(scope="session")
def lesion_tiny() -> list[str]:
    """Overrides for a training of seconds."""
    return list(TINY)


@pytest.fixture(scope="session")
def make_cohort(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Cohort]:
    """Write a cohort in a folder of its own."""

    def make(counts: dict[str, int], **options: object) -> Cohort:
        return write_cohort(tmp_path_factory.mktemp("cohort") / "cohort", counts, **options)

    return make


@pytest.fixture(scope="session")
def lesions(make_cohort: Callable[..., Cohort]) -> Cohort:
    """A real cohort like BUSI: normal, benign, malignant."""
    return make_cohort({"normal": 8, "benign": 12, "malignant": 12})


@pytest.fixture(scope="session")
def healthy_double(make_cohort: Callable[..., Cohort]) -> Cohort:
    """A synthetic cohort of which five pictures are healthy."""
    return make_cohort({"normal": 5, "benign": 2}, origin="synthetic", seed=9)


@pytest.fixture(scope="session")
def lesion_run(lesions: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three stages."""
    return fit("lesion", lesions.path, tmp_path_factory.mktemp("run") / "run", overrides=TINY)
