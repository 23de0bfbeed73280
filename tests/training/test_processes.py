"""Two processes under torchrun learn what one does, and draw the same images."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.errors import DataDoubleError
from datadouble.networks.weights import load_tensors
from datadouble.training.processes import Processes

OPTIONS = (
    "data.size=16",
    "data.encoder=pixels",
    "model.depth=1",
    "model.width=32",
    "model.heads=2",
    "model.patch=4",
    "training.images=64",
    "training.batch=8",
    "training.precision=fp32",
    "training.learning_rate=1e-3",
    "training.sheet_every=64",
    "sampling.steps=3",
    "sampling.batch=3",
    "sampling.precision=fp32",
    "diffusion.objective=flow",
)

SCRIPT = """
import sys
from datadouble.recipes import fit, generate
cohort, run, double, *options = sys.argv[1:]
fit("coldit", cohort, run, overrides=options)
generate(run, double, per_class=7)
"""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("c") / "cohort"
    with CohortWriter(path, CohortInfo("c", "real", "us", ("a", "b"))) as writer:
        for i in range(24):
            image = np.random.default_rng(i).integers(0, 256, (16, 16), dtype=np.uint8)
            writer.add(image, image_id=f"{i:02d}", patient_id=f"{i}", label="ab"[i % 2], split="train")
        writer.finish()
    return path


def start(launcher: list[str], cohort: Path, folder: Path) -> None:
    script = folder / "job.py"
    script.write_text(SCRIPT)
    words = [
        sys.executable,
        *launcher,
        str(script),
        str(cohort),
        str(folder / "run"),
        str(folder / "double"),
        *OPTIONS,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]


def test_two_processes_equal_one(cohort: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    start([], cohort, one)
    start(["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"], cohort, two)
    left, right = (load_tensors(folder / "run" / "state" / "state.safetensors")[0] for folder in (one, two))
    for name in left:
        torch.testing.assert_close(left[name], right[name], atol=2e-5, rtol=1e-4)
    figures = [
        json.loads((folder / "run" / "metrics.jsonl").read_text().splitlines()[-1]) for folder in (one, two)
    ]
    assert figures[0]["loss"] == pytest.approx(
        figures[1]["loss"], rel=1e-4
    )  # of the whole batch, not of a share
    drawn = [Cohort.open(folder / "double") for folder in (one, two)]
    assert list(drawn[0].table["image_id"]) == list(drawn[1].table["image_id"])
    assert len(drawn[0]) == 14
    for i in range(14):
        assert np.abs(drawn[0].image(i).astype(int) - drawn[1].image(i)).max() <= 1


def test_a_batch_is_shared_evenly_or_refused() -> None:
    shares = [Processes(rank=rank, count=4).share(12) for rank in range(4)]
    assert [list(range(12))[share] for share in shares] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    with pytest.raises(DataDoubleError, match="multiple of 4"):
        Processes(count=4).share(10)
