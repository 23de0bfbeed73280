"""Killed and started again, `fit` and `generate` end with the very same bytes, `audit` with the very same numbers."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from datadouble.cohort import CohortInfo, CohortWriter
from datadouble.cohort.phantom.cohort import make_phantom_cohort
from datadouble.cohort.split import split_cohort

KILLS = 5


def run_and_kill(
    words: list[str], ready: Callable[[], int], seed: int, *, most: int = 1, ends_with: int = 0
) -> int:
    """Start a command again and again, killing it a moment after `ready` has grown; return how often it was killed.

    It may grow by any number up to `most` before; in the end the exit code is `ends_with`.
    """
    moment, kills = random.Random(seed), 0
    while True:
        process = subprocess.Popen(
            [sys.executable, "-m", "datadouble", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        until = ready() + (moment.randrange(most) if most > 1 else 0)
        while kills < KILLS and process.poll() is None and ready() <= until:
            time.sleep(0.01)
        if kills < KILLS and process.poll() is None:
            time.sleep(moment.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        if process.returncode == ends_with:
            return kills
        assert process.returncode == -signal.SIGKILL, errors.decode()
        kills += 1


def contents(folder: Path, *patterns: str) -> dict[str, bytes]:
    """Every file that matches, half-written ones too: none of those may be left."""
    return {str(p.relative_to(folder)): p.read_bytes() for q in patterns for p in folder.glob(q)}


def test_fit(way: Path, tiny: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / "run"
    state = run / "state" / "state.safetensors"

    def saved() -> int:
        return state.stat().st_mtime_ns if state.exists() else 0

    kills = run_and_kill(["fit", "coldit", str(way / "cohort"), str(run), *tiny], saved, seed=1)
    assert kills > 0
    patterns = ("model/*", "samples/*")
    assert contents(run, *patterns) == contents(way / "run", *patterns)


def test_generate(way: Path, tmp_path: Path) -> None:
    double = tmp_path / "double"

    def drawn() -> int:
        return len(list(double.glob("images/*.png")))

    words = ["generate", str(way / "run"), str(double), "--per-class", "6", "--batch", "4", "--steps", "4"]
    kills = run_and_kill(words, drawn, seed=2)
    assert kills > 0
    patterns = ("images/*", "metadata.csv", "cohort.json")
    assert contents(double, *patterns) == contents(way / "double", *patterns)


CLASSES = ("4", "5")


@pytest.fixture
def judged(tmp_path: Path) -> tuple[Path, Path]:
    """A double and its cohort, just large enough for the gate: the double shows other simulated patients."""
    real, others, double = tmp_path / "real", tmp_path / "others", tmp_path / "double"
    kind = {"pictures_per_patient": (1, 1), "size": 32, "classes": CLASSES}
    make_phantom_cohort(real, patients=44, **kind)
    split_cohort(real, train=0.35, holdout=0.5, test=0.15)
    with CohortWriter(double, CohortInfo("double", "synthetic", "ultrasound", CLASSES)) as writer:
        for number, scan in enumerate(make_phantom_cohort(others, patients=12, seed=7, **kind)):
            writer.add(scan.image, image_id=f"s{number}", patient_id="", label=scan.row["label"])
        writer.finish()
    return double, real


@pytest.mark.timeout(600)
def test_audit(judged: tuple[Path, Path], tmp_path: Path, datadouble: Callable[..., str]) -> None:
    double, real = judged
    words = ["audit", str(double), "--real", str(real), "--effort", "demo"]
    words += ["--only", "fidelity", "--only", "privacy"]
    datadouble(*words, "--out", tmp_path / "whole", exit_code=1)  # 12 pictures: a copy cannot be excluded
    killed = tmp_path / "killed"

    def finished() -> int:
        return len(
            [path for path in killed.rglob("*") if path.suffix in {".parquet", ".safetensors", ".npy"}]
        )

    kills = run_and_kill([*words, "--out", str(killed)], finished, seed=3, most=8, ends_with=1)
    assert kills > 1
    first, second = (
        json.loads((folder / "evidence.json").read_text()) for folder in (tmp_path / "whole", killed)
    )
    assert second == first
    assert first["privacy"]["gate"]["n"] == 12 and first["fidelity"]["overall"]["fd"]["value"] > 0
    assert not list(killed.rglob("*.part"))  # nothing half-written is left
