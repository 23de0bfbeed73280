"""BUS-BRA: its table, and its boxes against its masks."""

import json
from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort.importers import import_cohort
from datadouble.cohort.importers.busbra import read, zero_based_box
from datadouble.cohort.importers.source import Request
from datadouble.errors import DataDoubleError


def test_rows_become_columns(busbra: Path, tmp_path: Path) -> None:
    cohort = import_cohort("busbra", busbra.parent, tmp_path / "c", keep_annotations=True)
    row = cohort.table.set_index("image_id").loc["bus_0001-r"]
    assert row["label"] == row["birads"] == "3"
    assert row["pathology"] == "malignant"
    assert row["device"] == "Scanner X"
    assert row["view"] == "right"
    assert json.loads(row["bbox"]) == [4, 10, 7, 10]  # of the mask that the fixture drew
    assert cohort.info.classes == ("2", "3", "4", "5")


def test_pathology_may_be_the_label(busbra: Path, tmp_path: Path) -> None:
    cohort = import_cohort("busbra", busbra, tmp_path / "c", keep_annotations=True, label="pathology")
    assert cohort.info.classes == ("benign", "malignant")
    assert list(cohort.table["label"]) == ["malignant", "malignant", "benign", "benign", "benign"]
    with pytest.raises(DataDoubleError, match="birads, pathology"):
        import_cohort("busbra", busbra, tmp_path / "d", label="stage")


def test_a_missing_column_and_a_bad_box_are_said(busbra: Path, tmp_path: Path) -> None:
    table = busbra / "bus_data.csv"
    text = table.read_text()
    table.write_text(text.replace("BIRADS", "BI-RADS"))
    with pytest.raises(DataDoubleError, match="BIRADS absent"):
        import_cohort("busbra", busbra, tmp_path / "c", keep_annotations=True)
    with pytest.raises(DataDoubleError, match="no box"):
        zero_based_box("[1,2]", "row")


def test_the_published_boxes_fit_the_published_masks(shared_data: Path) -> None:
    source = read(Request("busbra", shared_data / "busbra"))
    labels = [item.label for item in source.items]
    assert [labels.count(name) for name in source.classes] == [365, 302, 466, 94]
    assert len({item.patient for item in source.items}) == 704
    for item in source.items[:60]:
        _, mask = item.read()
        assert mask is not None
        rows, columns = np.nonzero(mask)
        x, y, width, height = json.loads(item.extra["bbox"])
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        # the published boxes were scaled with the pictures: a pixel of rounding on each side
        np.testing.assert_allclose([x, y, width, height], box, atol=2)
