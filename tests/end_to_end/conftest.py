"""A small way from simulated scans to a double, made once for all end-to-end tests of a worker."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

TINY = (
    "--preset", "demo",
    "--set", "data.size=64",
    "--set", "data.encoder=tiny-4",
    "--set", "model.depth=2",
    "--set", "model.width=64",
    "--set", "model.heads=2",
    "--set", "training.images=1024",
    "--set", "training.batch=16",
    "--set", "training.checkpoint_every=128",
    "--set", "training.validate_every=256",
    "--set", "training.sheet_every=1024",
)  # fmt: skip


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """Options of `fit` for a training of seconds."""
    return TINY


@pytest.fixture(scope="session")
def datadouble() -> Callable[..., str]:
    """Run a command that must end as expected (0: well), and return what it said."""
    from datadouble.cli.app import app

    def run(*words: object, exit_code: int = 0) -> str:
        result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        assert result.exit_code == exit_code, result.output
        return result.output

    return run


@pytest.fixture(scope="session")
def way(tmp_path_factory: pytest.TempPathFactory, datadouble: Callable[..., str]) -> Path:
    """A folder with a cohort, a run trained on it, and a double drawn from the run."""
    folder = tmp_path_factory.mktemp("way")
    cohort, run, double = folder / "cohort", folder / "run", folder / "double"
    datadouble("phantom", cohort, "--patients", 40, "--size", 64)
    datadouble("split", cohort)
    datadouble("fit", "coldit", cohort, run, *TINY)
    datadouble("generate", run, double, "--per-class", 6, "--batch", 4, "--steps", 4)
    return folder
