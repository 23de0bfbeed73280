"""From scans to a report, through the command line alone."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datadouble import Cohort

Run = Callable[..., str]


def test_the_simulated_cohort_is_sound(way: Path, datadouble: Run) -> None:
    assert datadouble("check", way / "cohort").endswith(("no problems\n", "warning\n", "warnings\n"))


def test_the_double_holds_what_was_asked_for(way: Path) -> None:
    double, cohort = Cohort.open(way / "double"), Cohort.open(way / "cohort")
    assert double.info.origin == "synthetic"
    assert not double.info.contains_real_pixels
    assert double.info.classes == cohort.info.classes
    assert double.table["label"].value_counts().to_dict() == dict.fromkeys(cohort.info.classes, 6)
    assert not set(double.table["patient_id"]) & set(cohort.table["patient_id"])
    for sample in double:
        assert sample.image.shape == (64, 64)
        assert sample.image.dtype == np.uint8
        assert sample.image.std() > 2


def test_fit_again_changes_nothing(way: Path, datadouble: Run, tiny: tuple[str, ...]) -> None:
    before = {path.name: path.read_bytes() for path in (way / "run/model").iterdir()}
    datadouble("fit", "coldit", way / "cohort", way / "run", *tiny)
    datadouble("fit", "coldit", way / "cohort", way / "run")
    assert {path.name: path.read_bytes() for path in (way / "run/model").iterdir()} == before


def test_one_image_can_be_drawn_again_alone(way: Path, datadouble: Run, tmp_path: Path) -> None:
    datadouble("generate", way / "run", tmp_path / "few", "--per-class", 2, "--batch", 4, "--steps", 4)
    whole, few = Cohort.open(way / "double"), Cohort.open(tmp_path / "few")
    for index, image_id in enumerate(few.table["image_id"]):
        same = whole.filter(image_id=image_id)
        assert np.array_equal(few.image(index), same.image(0)), image_id


def test_another_seed_draws_other_images(way: Path, datadouble: Run, tmp_path: Path) -> None:
    datadouble("generate", way / "run", tmp_path / "other", "--images", 5, "--steps", 4, "--seed", 1)
    whole, other = Cohort.open(way / "double"), Cohort.open(tmp_path / "other")
    assert len(other) == 5
    assert not any(np.array_equal(one.image, two.image) for one in other for two in whole)


def test_hugging_face_datasets_opens_it(way: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    rows = load_dataset("imagefolder", data_dir=str(way / "double"), split="train", cache_dir=str(tmp_path))
    double = Cohort.open(way / "double")
    images = [row for row in rows if row["image_id"]]
    assert {row["image_id"] for row in images} == set(double.table["image_id"])
    index = list(double.table["image_id"]).index(images[0]["image_id"])
    assert np.array_equal(np.asarray(images[0]["image"]), double.image(index))


def test_fit_takes_the_double_as_a_cohort(
    way: Path, datadouble: Run, tiny: tuple[str, ...], tmp_path: Path
) -> None:
    datadouble("fit", "coldit", way / "double", tmp_path / "run", *tiny, "--set", "training.images=64")
    assert (tmp_path / "run/model/last.safetensors").is_file()


@pytest.fixture(scope="module")
def report(way: Path, datadouble: Run) -> Path:
    said = datadouble(
        "audit", way / "double", "--real", way / "cohort", "--out", way / "report", "--run", way / "run",
        "--effort", "demo", exit_code=1,
    )  # fmt: skip
    assert str(way / "report/report.html") in said
    return way / "report"


def test_the_evidence(report: Path) -> None:
    evidence = json.loads((report / "evidence.json").read_text())
    assert evidence["verdict"] == "inconclusive"  # 30 pictures: a copy among fifty cannot be excluded
    assert evidence["reasons"]
    assert {"fidelity", "privacy", "usefulness", "realism", "controls"} <= evidence.keys()


def test_the_report_opens_offline(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert "data:image/" in page
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']+""", page)
    assert "@import" not in page


def test_nothing_that_is_written_names_a_patient_or_a_place(way: Path, report: Path) -> None:
    patients = set(Cohort.open(way / "cohort").table["patient_id"])
    written = [
        path
        for folder in ("run", "double", "report")
        for path in (way / folder).rglob("*")
        if path.suffix in {".json", ".jsonl", ".toml", ".csv", ".html"}
    ]
    assert len(written) > 6
    for path in written:
        text = path.read_text()
        assert str(way) not in text, path.name
        assert not [patient for patient in patients if re.search(rf"\b{re.escape(patient)}\b", text)], (
            path.name
        )
