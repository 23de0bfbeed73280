"""BUSI: masks merged, look-alikes one patient."""

from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort.importers import import_cohort
from datadouble.errors import DataDoubleError


def test_masks_are_merged_and_counted(busi: Path, tmp_path: Path) -> None:
    cohort = import_cohort("busi", busi.parent, tmp_path / "c", keep_annotations=True)
    rows = list(cohort.table["image_id"])
    index = rows.index("benign-0001")
    mask = cohort.mask(index)
    assert mask is not None
    assert cohort.table["mask_count"].iloc[index] == "2"
    assert mask.sum() == 5 * 5 + 10 * 20  # class ids 0 and 1, both lesions
    assert set(np.unique(mask)) == {0, 1}
    normal = cohort.mask(rows.index("normal-0002"))
    assert normal is not None
    assert not normal.any()
    assert cohort.info.classes == ("normal", "benign", "malignant")
    assert cohort.info.mask_classes == ("background", "lesion")


def test_look_alikes_share_a_patient_and_a_group(busi: Path, tmp_path: Path) -> None:
    table = import_cohort("busi", busi, tmp_path / "c", keep_annotations=True).table.set_index("image_id")
    twins = table.loc[["benign-0003", "malignant-0002"]]
    assert twins["patient_id"].nunique() == 1
    assert set(twins["duplicate_group"]) == {"d0001"}
    others = table.drop(twins.index)
    assert set(others["duplicate_group"]) == {""}
    assert table["patient_id"].nunique() == 7
    assert table["patient_id"].str.fullmatch("[0-9a-f]{16}").all()


def test_a_foreign_file_and_a_missing_class_are_said(busi: Path, tmp_path: Path) -> None:
    (busi / "benign" / "notes.png").write_bytes(b"")
    with pytest.raises(DataDoubleError, match="no file of BUSI"):
        import_cohort("busi", busi, tmp_path / "c", keep_annotations=True)
    with pytest.raises(DataDoubleError, match="folder is missing"):
        import_cohort("busi", busi / "benign", tmp_path / "c", keep_annotations=True)


def test_the_published_files_are_read(shared_data: Path) -> None:
    from datadouble.cohort.importers.busi import read
    from datadouble.cohort.importers.source import Request

    source = read(Request("busi", shared_data / "busi"))
    counts = [sum(item.label == label for item in source.items) for label in source.classes]
    assert counts == [133, 437, 210]
    several = {item.key: len(item.masks) for item in source.items if len(item.masks) > 1}
    assert len(several) == 17  # counted by hand in the folder: 16 with two masks, one with three
    assert several["benign-0195"] == 3
    index = [item.key for item in source.items].index("benign-0195")
    image, mask = source.items[index].read()
    assert mask is not None
    assert mask.shape == image.shape
    assert set(np.unique(mask)) == {0, 1}
