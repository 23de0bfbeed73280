"""Each fault of a cohort is found, by itself and with all others."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.cohort.check import check
from datadouble.errors import Problem


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound cohort: 24 normal pictures with empty masks and 24 with a lesion, two pictures a patient, split."""
    path = tmp_path_factory.mktemp("cohorts") / "sound"
    info = CohortInfo(
        name="t",
        origin="real",
        modality="ultrasound",
        classes=("normal", "lesion"),
        mask_classes=("none", "lesion"),
    )
    random = np.random.default_rng(0)
    with CohortWriter(path, info) as writer:
        for number in range(48):
            mask = np.zeros((12, 16), np.uint8)
            mask[3:6, 3:6] = number % 2
            patient = f"p{number // 4}-{number % 2}"
            writer.add(
                random.integers(0, 256, (12, 16), dtype=np.uint8),
                image_id=f"i{number:02d}",
                patient_id=patient,
                label=("normal", "lesion")[number % 2],
                mask=mask,
                split=("train", "train", "holdout", "test")[number // 4 % 4],
            )
        writer.finish()
    return path


@pytest.fixture
def cohort(sound: Path, tmp_path: Path) -> Path:
    """A copy of the sound cohort, to be broken."""
    return shutil.copytree(sound, tmp_path / "c")


def edit(cohort: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> None:
    table = pd.read_csv(cohort / "metadata.csv", dtype=str, keep_default_na=False)
    changed = change(table)
    (table if changed is None else changed).to_csv(cohort / "metadata.csv", index=False)


def setting(row: int, column: str, value: str) -> Callable[[pd.DataFrame], None]:
    def change(table: pd.DataFrame) -> None:
        table.loc[row, column] = value

    return change


def save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    assert problems[0].remedy
    return problems[0]


def test_a_sound_cohort_has_no_problem(cohort: Path) -> None:
    assert check(cohort) == []


def test_a_missing_and_an_empty_folder(tmp_path: Path) -> None:
    assert only(check(tmp_path / "none")).what == "the folder is missing"
    assert only(check(tmp_path)).what == "the folder is empty"


def test_a_truncated_picture(cohort: Path) -> None:
    file = cohort / "images" / "i03.png"
    file.write_bytes(file.read_bytes()[:-60])
    problem = only(check(cohort))
    assert problem.where == "images/i03.png"
    assert problem.severity == "error"
    assert "truncated" in problem.remedy


def test_a_missing_picture_and_a_missing_mask(cohort: Path) -> None:
    (cohort / "images" / "i03.png").unlink()
    (cohort / "masks" / "i04.png").unlink()
    problems = check(cohort)
    assert [(p.what, p.where) for p in problems] == [
        ("the file is missing", "images/i03.png"),
        ("the file is missing", "masks/i04.png"),
    ]


def test_files_not_in_the_table(cohort: Path) -> None:
    edit(cohort, lambda table: table.iloc[1:])
    problems = check(cohort)
    assert [p.where for p in problems] == ["images/i00.png", "masks/i00.png"]


def test_a_mask_of_another_size(cohort: Path) -> None:
    mask = np.zeros((12, 20), np.uint8)
    mask[0] = 1
    save(cohort / "masks" / "i05.png", mask)
    assert (
        str(only(check(cohort)))
        == "masks/i05.png: mask is 20x12, image is 16x12: resize the mask or drop the row"
    )


@pytest.mark.parametrize(
    ("values", "what", "remedy"),
    [((0, 255), "0 and 255", "replace 255 by 1"), ((0, 1, 3), "no class ids", "0 none, 1 lesion")],
)
def test_mask_values_outside_the_classes(
    cohort: Path, values: tuple[int, ...], what: str, remedy: str
) -> None:
    mask = np.resize(np.array(values, np.uint8), (12, 16))
    save(cohort / "masks" / "i05.png", mask)
    problem = only(check(cohort))
    assert what in problem.what
    assert remedy in problem.remedy


def test_a_one_bit_mask_and_a_colour_mask(cohort: Path) -> None:
    save(cohort / "masks" / "i05.png", np.eye(12, 16, dtype=bool))
    assert "0 and 255" in only(check(cohort)).what
    save(cohort / "masks" / "i05.png", np.ones((12, 16, 3), np.uint8))
    assert "8-bit grey" in only(check(cohort)).what


def test_an_empty_mask_in_a_lesion_class_but_not_in_the_normal_one(cohort: Path) -> None:
    save(cohort / "masks" / "i07.png", np.zeros((12, 16), np.uint8))
    problem = only(check(cohort))
    assert (problem.what, problem.where) == ("the mask is empty", "masks/i07.png")


def test_a_constant_picture(cohort: Path) -> None:
    save(cohort / "images" / "i07.png", np.full((12, 16), 9, np.uint8))
    assert only(check(cohort)).what == "the picture is constant"


def test_mixed_bit_depths_and_colour(cohort: Path) -> None:
    save(cohort / "images" / "i07.png", np.arange(192, dtype=np.uint16).reshape(12, 16) * 300)
    save(
        cohort / "images" / "i08.png", np.random.default_rng(1).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    )
    mixed, colour = check(cohort)
    assert (mixed.severity, mixed.where) == ("error", "images/i07.png")
    assert (colour.severity, colour.where) == ("warning", "images/i08.png")


def test_missing_patients(cohort: Path) -> None:
    edit(cohort, setting(3, "patient_id", ""))
    problem = only(check(cohort))
    assert (problem.what, problem.where, problem.severity) == ("patients are missing", "i03", "warning")


def test_a_patient_in_two_splits_is_named_by_its_pictures(cohort: Path) -> None:
    edit(cohort, setting(2, "split", "test"))
    problem = only(check(cohort))
    assert (problem.what, problem.where, problem.found) == (
        "a patient is in two splits",
        "i00, i02",
        "test, train",
    )


def test_a_look_alike_group_in_two_splits(cohort: Path) -> None:
    def change(table: pd.DataFrame) -> None:
        table.loc[[0, 8], "duplicate_group"] = "d0001"  # train and holdout

    edit(cohort, change)
    assert only(check(cohort)).what == "a look-alike group is in two splits"


def test_an_excluded_picture_ties_nothing(cohort: Path) -> None:
    def change(table: pd.DataFrame) -> None:
        table.loc[[0, 8], "duplicate_group"] = "d0001"
        table.loc[8, "split"] = "excluded"

    edit(cohort, change)
    assert check(cohort) == []


def test_look_alikes_with_conflicting_labels(cohort: Path) -> None:
    def change(table: pd.DataFrame) -> None:
        table.loc[[0, 1], "duplicate_group"] = "d0001"

    edit(cohort, change)
    problem = only(check(cohort))
    assert problem.severity == "warning"
    assert problem.found == "lesion, normal"


def test_duplicate_ids_and_file_names(cohort: Path) -> None:
    edit(cohort, lambda table: pd.concat([table, table.iloc[:1]]))
    assert [p.what for p in check(cohort)] == [
        "the image_id stands in 2 rows",
        "the file_name stands in 2 rows",
    ]


def test_a_label_outside_the_classes_and_an_empty_one(cohort: Path) -> None:
    edit(cohort, setting(3, "label", "lession"))
    assert only(check(cohort)).what == "the label 'lession' is none of the classes"
    edit(cohort, setting(3, "label", ""))
    assert only(check(cohort)).where == "metadata.csv, rows 5"


def test_a_missing_label_column(cohort: Path) -> None:
    edit(cohort, lambda table: table.drop(columns="label"))
    problem = check(cohort)[0]
    assert (problem.what, problem.where) == ("the column label is missing", "metadata.csv")


def test_an_unknown_split_and_rows_without_one(cohort: Path) -> None:
    def change(table: pd.DataFrame) -> None:
        table.loc[table["split"] == "holdout", "split"] = "val"
        table.loc[table["split"] == "test", "split"] = ""

    edit(cohort, change)
    assert [p.what for p in check(cohort)] == ["the split 'val' is unknown", "some rows have no split"]


def test_a_class_of_two_images_and_a_class_of_none(cohort: Path) -> None:
    info = json.loads((cohort / "cohort.json").read_text())
    info["classes"] = ["normal", "lesion", "rare", "absent"]
    (cohort / "cohort.json").write_text(json.dumps(info))

    def change(table: pd.DataFrame) -> None:
        table.loc[[1, 5], "label"] = "rare"

    edit(cohort, change)
    small, absent = check(cohort)
    assert (small.severity, small.where, small.found) == (
        "error",
        "class 'rare'",
        "2 images of 2 patients or groups",
    )
    assert (absent.severity, absent.where) == ("warning", "class 'absent'")


def test_a_path_that_leads_out_of_the_cohort(cohort: Path) -> None:
    edit(cohort, setting(0, "file_name", "../secret.png"))
    assert "the file lies outside the cohort" in [p.what for p in check(cohort)]


def test_broken_json_and_a_broken_table_do_not_stop_the_check(cohort: Path) -> None:
    (cohort / "cohort.json").write_text('{"name": "t"')
    (cohort / "images" / "i03.png").write_bytes(b"")
    assert [p.where for p in check(cohort)] == ["cohort.json", "images/i03.png"]
    (cohort / "metadata.csv").write_bytes(b"")
    assert [p.where for p in check(cohort)] == ["cohort.json", "metadata.csv"]
    (cohort / "metadata.csv").unlink()
    (cohort / "cohort.json").write_text("[]")
    assert [p.where for p in check(cohort)] == ["cohort.json", "metadata.csv"]


def test_an_unfinished_cohort(cohort: Path) -> None:
    (cohort / "cohort.json").rename(cohort / "writing.jsonl")
    problem = check(cohort)[0]
    assert problem.what == "the cohort is not finished"


def test_many_faults_at_once(cohort: Path) -> None:
    edit(cohort, setting(0, "label", "x"))
    edit(cohort, setting(2, "split", "test"))
    edit(cohort, setting(9, "patient_id", ""))
    save(cohort / "masks" / "i05.png", np.full((12, 16), 255, np.uint8))
    (cohort / "images" / "i11.png").unlink()
    problems = check(cohort)
    assert len(problems) == 5
    assert [p.severity for p in problems] == ["error"] * 4 + ["warning"]
    assert all(problem.where and problem.remedy for problem in problems)
    assert Cohort.open(cohort)  # which opens all the same
