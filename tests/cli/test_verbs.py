"""The verbs that make and mend cohorts, on a folder of small pictures."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from datadouble import Cohort
from datadouble.cli.app import app
from datadouble.cohort import CohortInfo, CohortWriter
from datadouble.cohort.phantom import draw
from datadouble.randomness import generator_for


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Six patients a class, two pictures each, named PATIENT_NUMBER.png, and a table of them."""
    rows = ["File,Grade,Person,Scanner"]
    for label in ("benign", "malignant"):
        folder = tmp_path / "scans" / label
        folder.mkdir(parents=True)
        for patient in range(6):
            for number in range(2):
                noise = generator_for(0, label, patient, number).integers(0, 256, (40, 48))
                name = f"P{patient}{label[0]}_{number}.png"
                Image.fromarray(noise.astype(np.uint8)).save(folder / name)
                rows.append(f"{label}/{name},{label},P{patient}{label[0]},X{number}")
    (tmp_path / "scans" / "table.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "scans"


def test_import_check_duplicates_split(scans: Path, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    pattern = r"(P\d\w)_"
    imported = run(
        "import", "folder", scans, cohort, "--classes", "malignant, benign", "--patient-pattern", pattern
    )
    assert imported.exit_code == 0, imported.output
    assert "24 images" in imported.stdout
    opened = Cohort.open(cohort)
    assert opened.info.classes == ("malignant", "benign")
    assert opened.table["patient_id"].nunique() == 12

    assert "0 of 24 pictures look alike" in run("duplicates", cohort, "--no-crops").stdout
    split = run("split", cohort, "--train", 0.5, "--holdout", 0.25, "--test", 0.25)
    assert split.exit_code == 0, split.output
    assert all(name in split.stdout for name in ("train", "holdout", "test"))
    by_patient = Cohort.open(cohort).table.groupby("patient_id")["split"].nunique()
    assert (by_patient == 1).all()
    assert run("check", cohort).exit_code == 0

    again = run("split", cohort, "--holdout", "equal", "--test", 0.25)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert run("split", cohort, "--holdout", "equal", "--test", 0.25, "--overwrite").exit_code == 0


def test_a_crop_in_a_split_cohort_is_told_and_mended(tmp_path: Path) -> None:
    path = tmp_path / "cohort"
    with CohortWriter(path, CohortInfo("c", "real", "ultrasound", ("3",))) as writer:
        for number in range(8):
            image = draw("breast-ultrasound", number, 0, "3", size=128, seed=5).image
            split = ("train", "train", "train", "train", "holdout", "holdout", "test", "test")[number]
            writer.add(image, image_id=f"i{number}", patient_id=f"p{number}", label="3", split=split)
            pieces = image[:, :96], image[:, 32:]  # of train picture 0: one more in train, one in test
            for side, name in enumerate(("train", "test") if number == 0 else ()):
                writer.add(pieces[side], image_id=f"c{side}", patient_id=f"q{side}", label="3", split=name)
        writer.finish()
    before = (path / "metadata.csv").read_text()
    refused = run("duplicates", path)
    assert refused.exit_code == 1
    assert "crop: c0, i0 share" in refused.stdout
    assert "--mend" in refused.stderr
    assert (path / "metadata.csv").read_text() == before
    result = run("split", path, "--mend")
    assert result.exit_code == 0, result.output
    assert "c1: test -> excluded: looks like" in result.stdout
    assert "within train" in result.stdout
    table = Cohort.open(path).table.set_index("image_id")
    assert table["split"]["c0"] == "train"
    assert run("duplicates", path, "--no-crops").exit_code == 0
    assert run("split", path, "--mend", "--no-crops", "--seed", 3).exit_code == 2
    assert run("split", path, "--no-crops").exit_code == 2


def test_what_a_shipped_encoder_has_seen_stays_in_train(tmp_path: Path) -> None:
    seen = json.loads((files("datadouble.encoders") / "weights" / "seen.json").read_text())["busbra"][:3]
    info = CohortInfo("busbra", "real", "ultrasound", ("2", "3"))
    with CohortWriter(tmp_path / "cohort", info) as writer:
        for number, name in enumerate([*seen, *(f"other-{i}" for i in range(20))]):
            image = np.full((8, 8), number, np.uint8)
            extra = {"source_file": f"Images/{name}.png"}
            label = info.classes[number % 2]
            writer.add(image, image_id=name, patient_id=f"p{number}", label=label, extra=extra)
        writer.finish()
    result = run("split", tmp_path / "cohort", "--train", 0.5, "--holdout", 0.25, "--test", 0.25)
    assert result.exit_code == 0, result.output
    assert "3 pictures stay in train" in result.stdout
    assert set(Cohort.open(tmp_path / "cohort").filter(image_id=seen).table["split"]) == {"train"}


def test_check_lists_every_problem_and_exits_with_1(scans: Path, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    assert run("import", "folder", scans, cohort).exit_code == 0
    images = sorted((cohort / "images").iterdir())
    images[0].write_bytes(images[0].read_bytes()[:100])
    images[1].unlink()
    result = run("check", cohort)
    assert result.exit_code == 1
    assert images[0].name in result.stdout
    assert images[1].name in result.stdout


def test_import_of_a_table(scans: Path, tmp_path: Path) -> None:
    columns = ["image=File", "label=Grade", "patient=Person", "extra=Scanner"]
    words = [word for column in columns for word in ("--column", column)]
    result = run("import", "folder", scans / "table.csv", tmp_path / "cohort", *words)
    assert result.exit_code == 0, result.output
    table = Cohort.open(tmp_path / "cohort").table
    assert set(table["Scanner"]) == {"X0", "X1"}
    assert table["patient_id"].nunique() == 12


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["import", "folders", "scans", "cohort"], "folder"),
        (["import", "folder", "scans", "cohort", "--column", "File"], "FIELD=NAME"),
        (["import", "folder", "scans", "cohort", "--column", "lable=Grade"], "label"),
        (["split", "cohort", "--holdout", "half"], "equal"),
    ],
)
def test_wrong_use(words: list[str], hint: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert hint in result.stderr


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    result = run("import", "folder", tmp_path / "nowhere", tmp_path / "cohort")
    assert result.exit_code == 1
    assert "nowhere" in result.stderr
    assert not (tmp_path / "cohort").exists()


def test_recipes_and_settings_that_do_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words, hint in (
        (["fit", "coldit", "cohort", "run", "--preset", "cpu128"], "cpu-128"),
        (["fit", "coldit", "cohort", "run", "--set", "model.dept=3"], "model.depth"),
        (["fit", "coldit", "cohort", "run", "--set", "model.depth=deep"], "int"),
        (["fit", "colddit", "cohort", "run"], "coldit"),
    ):
        result = run(*words)
        assert result.exit_code == 2, words
        assert hint in result.stderr, words
    assert not list(tmp_path.iterdir())
