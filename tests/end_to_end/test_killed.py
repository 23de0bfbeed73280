"""Killed at any moment and started again, `fit` and `generate` end with the very same bytes."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

KILLS = 5


def run_and_kill(words: list[str], ready: Callable[[], int], seed: int) -> int:
    """Start a command again and again, killing it a moment after `ready` has grown; return how often it was killed."""
    moment, kills = random.Random(seed), 0
    while True:
        process = subprocess.Popen(
            [sys.executable, "-m", "datadouble", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        before = ready()
        while kills < KILLS and process.poll() is None and ready() <= before:
            time.sleep(0.01)
        if kills < KILLS and process.poll() is None:
            time.sleep(moment.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        if process.returncode == 0:
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
