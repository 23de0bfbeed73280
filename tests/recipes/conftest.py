"""A tiny cohort and a tiny run, so that a whole training takes seconds."""

from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.recipes import fit

TINY = (
    "data.size=32",
    "data.encoder=pixels",
    "model.depth=1",
    "model.width=32",
    "model.heads=2",
    "model.patch=8",
    "training.images=96",
    "training.batch=8",
    "training.precision=fp32",
    "training.validate_every=32",
    "training.sheet_every=96",
    "training.checkpoint_every=16",
    "training.learning_rate=1e-3",
    "sampling.steps=4",
    "sampling.batch=4",
    "sampling.precision=fp32",
    "diffusion.objective=flow",
)


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Overrides for a training of a second."""
    return list(TINY)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Forty pictures of twenty patients: class "dark" is dark, class "bright" is bright; thirty are train."""
    path = tmp_path_factory.mktemp("tiny") / "cohort"
    with CohortWriter(path, CohortInfo("tiny", "real", "ultrasound", ("dark", "bright"))) as writer:
        for i in range(40):
            bright = i // 2 % 2
            image = np.random.default_rng(i).integers(0, 100, (32, 32)) + 150 * bright
            writer.add(
                image.astype(np.uint8),
                image_id=f"i{i:02d}",
                patient_id=f"p{i // 2:02d}",
                label=("dark", "bright")[bright],
                split="train" if i < 30 else "holdout" if i < 34 else "test",
            )
        return writer.finish()


@pytest.fixture(scope="session")
def run(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on `cohort`."""
    return fit("coldit", cohort.path, tmp_path_factory.mktemp("run") / "run", overrides=TINY)
