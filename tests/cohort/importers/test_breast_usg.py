"""BrEaST: the xlsx, BI-RADS 4a to 4c, and both sorts of masks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datadouble.cohort.importers import import_cohort
from datadouble.cohort.importers.breast_usg import read
from datadouble.cohort.importers.source import Request
from datadouble.errors import DataDoubleError

from .conftest import picture


@pytest.fixture
def breast(tmp_path: Path, save: Callable[[Path, np.ndarray], Path]) -> Path:
    root = tmp_path / "breast"
    rows = []
    for case, birads, kind in ((1, "4a", "benign"), (2, "5", "malignant"), (3, "1", "normal")):
        name = f"case{case:03d}"
        save(root / "pictures" / f"{name}.png", picture(case))
        masks = {"tumor": slice(5, 15), "other1": slice(10, 30)} if case == 1 else {"tumor": slice(5, 15)}
        for mask_name, part in masks.items() if case < 3 else ():
            mask = np.zeros((40, 48), bool)
            mask[part, :20] = True
            save(root / "pictures" / f"{name}_{mask_name}.png", mask)
        rows.append(
            {
                "CaseID": str(case),
                "Image_filename": f"{name}.png",
                "Mask_tumor_filename": f"{name}_tumor.png" if case < 3 else "not applicable",
                "Mask_other_filename": f"{name}_other1.png" if case == 1 else None,
                "BIRADS": birads,
                "Classification": kind,
                "Shape": "oval",
            }
        )
    pd.DataFrame(rows).to_excel(root / "table.xlsx", index=False)
    return root


def test_masks_keep_their_classes_and_the_tumour_lies_on_top(breast: Path, tmp_path: Path) -> None:
    cohort = import_cohort("breast-usg", breast, tmp_path / "c", keep_annotations=True)
    assert list(cohort.table["label"]) == ["4a", "5", "1"]
    assert list(cohort.table["mask_count"]) == ["2", "1", "0"]
    assert list(cohort.table["shape"]) == ["oval"] * 3
    mask = cohort.mask(0)
    assert mask is not None
    assert [int(mask[row, 0]) for row in (0, 5, 14, 15, 29, 30)] == [0, 1, 1, 2, 2, 0]
    healthy = cohort.mask(2)
    assert healthy is not None
    assert not healthy.any()


def test_two_tables_or_none_are_refused(breast: Path, tmp_path: Path) -> None:
    (breast / "second.xlsx").write_bytes((breast / "table.xlsx").read_bytes())
    with pytest.raises(DataDoubleError, match=r"2 \.xlsx files"):
        import_cohort("breast-usg", breast, tmp_path / "c")
    with pytest.raises(DataDoubleError, match=r"0 \.xlsx files"):
        import_cohort("breast-usg", breast / "pictures", tmp_path / "c")


def test_the_published_table_is_read(shared_data: Path) -> None:
    source = read(Request("breast-usg", shared_data / "breast_usg"))
    labels = [item.label for item in source.items]
    assert source.classes == ("1", "2", "3", "4a", "4b", "4c", "5")
    assert [labels.count(name) for name in source.classes] == [4, 23, 23, 29, 34, 29, 32]
    most = max(source.items, key=lambda item: len(item.masks))
    assert len(most.masks) == 5  # tumour and other1 to other4
    _, mask = most.read(len(source.mask_classes))
    assert mask is not None
    assert set(np.unique(mask)) == {0, 1, 2}
