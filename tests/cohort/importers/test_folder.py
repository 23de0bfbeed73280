"""Your own pictures: class folders and tables, with every fault named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort.importers import FolderColumns, import_cohort
from datadouble.errors import DataDoubleError

from .conftest import picture

Save = Callable[[Path, np.ndarray], Path]


@pytest.fixture
def table(tmp_path: Path, save: Save) -> Path:
    for seed in range(3):
        save(tmp_path / "own" / "pictures" / f"{seed}.png", picture(seed))
    path = tmp_path / "own" / "list.csv"
    path.write_text("image,label\npictures/0.png,a\npictures/1.png,b\npictures/2.png,a\n")
    return path


def test_class_folders_with_masks(tmp_path: Path, save: Save) -> None:
    lesion = np.zeros((40, 48), np.uint8)
    lesion[3:9] = 255
    save(tmp_path / "s" / "grade 2" / "x.png", picture(1))
    save(tmp_path / "s" / "grade 2" / "x_mask.png", lesion)
    save(tmp_path / "s" / "grade 10" / "y.jpg", picture(2))
    cohort = import_cohort("folder", tmp_path / "s", tmp_path / "c")
    assert cohort.info.classes == ("grade 2", "grade 10")
    masks = {row["label"]: cohort.mask(i) for i, row in enumerate(cohort.table.to_dict("records"))}
    assert masks["grade 10"] is None
    assert masks["grade 2"] is not None
    np.testing.assert_array_equal(masks["grade 2"], lesion // 255)


def test_masks_of_several_classes_need_their_names(tmp_path: Path, save: Save) -> None:
    organs = np.zeros((40, 48), np.uint8)
    organs[3:9], organs[20:25] = 1, 2
    save(tmp_path / "s" / "a" / "x.png", picture(1))
    save(tmp_path / "s" / "a" / "x_mask.png", organs)
    with pytest.raises(DataDoubleError, match="more than one value"):
        import_cohort("folder", tmp_path / "s", tmp_path / "c", overwrite=True)
    with pytest.raises(DataDoubleError, match="no class ids"):
        import_cohort("folder", tmp_path / "s", tmp_path / "c", mask_classes=["none", "lung"], overwrite=True)
    cohort = import_cohort(
        "folder", tmp_path / "s", tmp_path / "c", mask_classes=["none", "lung", "heart"], overwrite=True
    )
    mask = cohort.mask(0)
    assert mask is not None
    np.testing.assert_array_equal(mask, organs)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    with pytest.raises(DataDoubleError, match="no picture is there"):
        import_cohort("folder", tmp_path / "s", tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_mask_without_picture_is_refused(tmp_path: Path, save: Save) -> None:
    save(tmp_path / "s" / "a" / "x.png", picture(1))
    save(tmp_path / "s" / "a" / "y_mask.png", np.zeros((40, 48), np.uint8))
    with pytest.raises(DataDoubleError, match=r"y_mask\.png"):
        import_cohort("folder", tmp_path / "s", tmp_path / "c")


def test_a_missing_label_column_names_the_nearest(table: Path, tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match=r"labels absent.*did you mean 'label'"):
        import_cohort("folder", table, tmp_path / "c", columns=FolderColumns(label="labels"))
    table.write_text("image\npictures/0.png\n")
    with pytest.raises(DataDoubleError, match="label absent"):
        import_cohort("folder", table, tmp_path / "c")


def test_all_bad_rows_are_named_at_once(table: Path, tmp_path: Path) -> None:
    table.write_text(
        "image,label,split\npictures/0.png,,train\n,b,\npictures/1.png,a,dev\npictures/1.png,a,\n"
    )
    with pytest.raises(DataDoubleError) as caught:
        import_cohort("folder", table, tmp_path / "c")
    text = str(caught.value)
    for expected in ("row 2: no label", "row 3: no image", "row 4: split 'dev'", "row 5: the image of row 4"):
        assert expected in text


def test_classes_given_must_hold_all_labels(table: Path, tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match=r"none of the classes.*'b'"):
        import_cohort("folder", table, tmp_path / "c", classes=["a", "c"])
    cohort = import_cohort("folder", table, tmp_path / "c", classes=["b", "a"])
    assert cohort.info.classes == ("b", "a")


def test_a_pattern_that_matches_nothing_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match="patient pattern"):
        import_cohort("folder", table, tmp_path / "c", patient_pattern=r"P(\d+)")
