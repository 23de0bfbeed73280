"""`datadouble audit`: what it refuses before it measures anything."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from datadouble.cli.app import app
from datadouble.cohort import CohortInfo, CohortWriter


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    with CohortWriter(tmp_path / "c", CohortInfo("c", "real", "us", ("a", "b"))) as writer:
        for i in range(4):
            writer.add(
                np.full((16, 16), i, np.uint8), image_id=f"i{i}", patient_id=f"p{i}", label="ab"[i % 2]
            )
        writer.finish()
    return tmp_path / "c"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--only", "privcy"], "privacy"),
        (["--effort", "standart"], "standard"),
        (["--policy", "absent.toml"], "policy file is missing"),
        (["--extractor", "efficientnet-lite"], "did you mean"),
        (["--grouping", "2,3"], "|"),
        (["--model-access"], "--run"),
        (["--reference", "train"], "holdout"),
    ],
)
def test_wrong_use_is_named_and_nothing_is_written(
    cohort: Path, tmp_path: Path, words: list[str], hint: str
) -> None:
    out = tmp_path / "audit"
    result = CliRunner().invoke(app, ["audit", str(cohort), "--real", str(cohort), "--out", str(out), *words])
    assert result.exit_code in (1, 2)
    assert hint in result.output
    assert "Traceback" not in result.output
    assert not (out / "evidence.json").exists()
