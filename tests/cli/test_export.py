"""``datadouble export`` and the options of ``datadouble import`` for volumes."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from datadouble.cli.app import app
from datadouble.cohort import CohortInfo, CohortWriter


def run(*words: object) -> "object":
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    info = CohortInfo("small", "real", "ultrasound", ("x",), ("background", "lesion"))
    with CohortWriter(tmp_path / "cohort", info) as writer:
        for number in range(4):
            picture = np.full((8, 8), number, np.uint8)
            writer.add(picture, image_id=f"i{number}", patient_id=f"p{number}", label="x", mask=picture % 2)
        writer.finish()
    return tmp_path / "cohort"


def test_export(cohort: Path, tmp_path: Path) -> None:
    result = run("export", cohort, "nnunet", tmp_path / "raw", "--dataset-id", 12, "--folds", 2)
    assert result.exit_code == 0, result.output
    assert "4 cases in" in result.stdout
    assert (tmp_path / "raw" / "Dataset012_Small" / "dataset.json").is_file()
    again = run("export", cohort, "nnunet", tmp_path / "raw", "--dataset-id", 12)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["export", "cohort", "nnunets", "out"], "nnunet"),
        (["import", "dicom", ".", "cohort", "--window", "40"], "LEVEL"),
        (["import", "dicom", ".", "cohort", "--window", "0/0"], "no width"),
        (["import", "dicom", ".", "cohort", "--crop", "lung"], "lungs"),
        (["import", "dicom", ".", "cohort", "--depth", "12"], "8 or 16"),
        (["import", "nifti", ".", "cohort", "--pair", "a.nii"], "two names"),
        (["import", "nifti", ".", "cohort", "--pair", "a.nii,b.nii"], "{case}"),
    ],
)
def test_wrong_use(words: list[str], hint: str) -> None:
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert hint in result.stderr or (hint == "LEVEL" and "two numbers" in result.stderr)


def test_what_was_skipped_is_said(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    (tmp_path / "s" / "imagesTr").mkdir(parents=True)
    (tmp_path / "s" / "imagesTs").mkdir()
    hu = np.random.default_rng(0).integers(-900, 300, (8, 6, 4)).astype(np.int16)
    for name in ("imagesTr/a.nii.gz", "imagesTs/b.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(hu, np.eye(4)), tmp_path / "s" / name)
    words = ("import", "nifti", tmp_path / "s", tmp_path / "c", "--modality", "CT", "--window=-600/1500")
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "skipped 1: volumes of imagesTs" in result.stderr
    assert "4 images" in result.stdout
