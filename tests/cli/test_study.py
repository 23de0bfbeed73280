"""``datadouble study``: made, readers invited, answers exported."""

import csv
import os
import subprocess
import sys
import webbrowser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from datadouble.cli.app import app
from datadouble.cohort import CohortInfo, CohortWriter


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["study", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real cohort and a double, 12 images each of two classes, with masks."""
    path = tmp_path_factory.mktemp("study")
    random = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        for origin in ("real", "synthetic"):
            info = CohortInfo(origin, origin, "ultrasound", ("a", "b"), ("background", "lesion"))
            with CohortWriter(path / origin, info) as writer:
                for number in range(12):
                    mask = np.zeros((16, 16), np.uint8)
                    mask[4:9, 5:9] = 1
                    writer.add(
                        random.integers(0, 255, (16, 16)).astype(np.uint8),
                        image_id=f"{number}", patient_id="", label="ab"[number % 2], mask=mask,
                    )  # fmt: skip
                writer.finish()
    return path


def create(folder: Path, *more: object) -> Result:
    return call(
        "create", folder / "synthetic", "--real", folder / "real", "--out", folder / "s", "--protocol", "demo",
        "--real-images", 4, "--synthetic-images", 4, "--practice", 2, *more,
    )  # fmt: skip


def test_from_cohorts_to_answers(folder: Path) -> None:
    made = create(folder)
    assert made.exit_code == 0, made.stderr
    assert "20 images of 16 x 16" in made.stdout  # 8 + 2 practice, twice; a tenth of 4 is none
    assert "warning: All images have one size" in made.stdout
    assert create(folder).exit_code == 0
    other = create(folder, "--seed", 3)
    assert other.exit_code == 1 and "another study" in other.stderr

    added = call("readers", "add", folder / "s", "R1", "--group", "senior", "--address", "https://host/")
    assert added.stdout.startswith("https://host/r/")
    assert call("readers", "add", folder / "s", "R1").exit_code == 2
    new = call("readers", "link", folder / "s", "R1").stdout.splitlines()[0]
    assert new.startswith("/r/") and new not in added.stdout
    assert "R1 (senior): open: full 0/10, lesion 0/10" in call("readers", "list", folder / "s").stdout
    assert call("readers", "revoke", folder / "s", "R1").exit_code == 0
    assert "excluded" in call("readers", "list", folder / "s").stdout
    assert call("readers", "revoke", folder / "s", "R7").exit_code == 1

    exported = call("export", folder / "s", folder / "a.csv")
    assert exported.exit_code == 0 and "0 answers" in exported.stdout
    with open(folder / "a.csv") as file:
        assert next(csv.reader(file))[0] == "reader"
    assert "there already" in call("export", folder / "s", folder / "a.csv").stderr


def test_wrong_use(folder: Path) -> None:
    wrong = call(
        "create",
        folder / "synthetic",
        "--real",
        folder / "real",
        "--out",
        folder / "x",
        "--protocol",
        "coldit",
    )
    assert wrong.exit_code == 2 and "did you mean 'coldit-" in wrong.stderr
    assert call("readers", "list", folder / "real").exit_code == 1
    assert "Traceback" not in call("export", folder / "real", folder / "b.csv").stderr


@pytest.mark.parametrize("verb", [[], ["readers", "add"]])
def test_help_loads_nothing_heavy(verb: list[str]) -> None:
    code = (
        "import sys\nfrom datadouble.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "heavy = ('numpy', 'pandas', 'sqlite3', 'PIL', 'fastapi', 'rich')\n"
        "sys.exit(','.join(name for name in heavy if name in sys.modules) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "study", *verb, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_the_demo_opens_its_analysis_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datadouble.study import demo

    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    for name, value in (("PATIENTS", 24), ("SIZE", 48), ("IMAGES", 8)):
        monkeypatch.setattr(demo, name, value)
    made = call("demo", tmp_path / "demo")
    assert made.exit_code == 0, made.output
    page = tmp_path / "demo" / "analysis" / "analysis.html"
    assert opened == [page.as_uri()] and "done in" in made.stdout
    text = page.read_text()
    assert "6 of them simulated" in text and "Can they tell real from synthetic?" in text
    assert page.stat().st_size > 100_000 and "<script" not in text
    again = call("demo", tmp_path / "demo", "--no-open")
    assert again.exit_code == 0 and len(opened) == 1
    assert page.read_text() == text
