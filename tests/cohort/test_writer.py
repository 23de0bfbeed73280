"""Writing a cohort: nothing is lost by a kill, nothing wrong is let in."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datadouble import files
from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.errors import DataDoubleError

INFO = CohortInfo("c", "real", "ultrasound", ("a",), ("background", "lesion"))
IMAGE = np.full((8, 9), 7, dtype=np.uint8)


def test_a_killed_writer_goes_on(tmp_path: Path) -> None:
    first = CohortWriter(tmp_path / "c", INFO)
    first.add(IMAGE, image_id="b", patient_id="p", label="a")
    first.close()
    with open(tmp_path / "c" / "writing.jsonl", "a") as journal:
        journal.write('{"image_id": "half-writ')  # what a kill leaves
    with pytest.raises(DataDoubleError, match="not finished"):
        Cohort.open(tmp_path / "c")
    with CohortWriter(tmp_path / "c", INFO) as second:
        assert second.has("b") and not second.has("a")
        second.add(IMAGE, image_id="a", patient_id="p", label="a")
        cohort = second.finish()
    assert list(cohort.table["image_id"]) == ["a", "b"]
    assert not (tmp_path / "c" / "writing.jsonl").exists()


def test_a_finished_cohort_can_be_added_to(tmp_path: Path) -> None:
    for name in ("x", "y"):
        with CohortWriter(tmp_path / "c", INFO) as writer:
            writer.add(IMAGE, image_id=name, patient_id="p", label="a")
            cohort = writer.finish()
    assert list(cohort.table["image_id"]) == ["x", "y"]


def test_another_cohort_is_never_written_over(tmp_path: Path) -> None:
    with CohortWriter(tmp_path / "c", INFO) as writer:
        writer.add(IMAGE, image_id="x", patient_id="p", label="a")
        writer.finish()
    other = CohortInfo("other", "real", "ultrasound", ("a",))
    with pytest.raises(DataDoubleError, match="name"):
        CohortWriter(tmp_path / "c", other)
    CohortWriter(tmp_path / "c", other, overwrite=True).close()
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataDoubleError, match="not empty"):
        CohortWriter(tmp_path / "papers", INFO, overwrite=True)
    assert (tmp_path / "papers" / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((9, 8), np.uint8), "mask is 8x9, image is 9x8"),
        (np.full((8, 9), 255, np.uint8), "0/255"),
        (np.zeros((8, 9), np.int64), "int64"),
    ],
)
def test_a_wrong_mask_is_refused(tmp_path: Path, mask: np.ndarray, message: str) -> None:
    writer = CohortWriter(tmp_path / "c", INFO)
    with pytest.raises(DataDoubleError, match=message):
        writer.add(IMAGE, image_id="x", patient_id="p", label="a", mask=mask)
    with pytest.raises(DataDoubleError, match="unknown"):
        writer.add(IMAGE, image_id="x", patient_id="p", label="z")
    assert not writer.has("x")
    writer.close()


def test_classes_that_differ_only_in_case_are_refused(tmp_path: Path) -> None:
    """Files named after them would be one file on Windows and macOS."""
    info = replace(INFO, classes=("Benign", "malignant", "benign"))
    with pytest.raises(DataDoubleError, match="differ only in upper and lower case.*'Benign', 'benign'"):
        CohortWriter(tmp_path / "cohort", info)
    assert not (tmp_path / "cohort").exists()


def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_text(tmp_path / "f", "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataDoubleError, match="disk is full"):
        files.write_text(tmp_path / "f", "new")
    assert (tmp_path / "f").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
