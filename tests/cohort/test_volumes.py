"""Slices back to volumes."""

from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.cohort.volumes import volume_rows, volumes
from datadouble.errors import DataDoubleError


@pytest.fixture
def made(tmp_path: Path) -> Cohort:
    """Volume b of five slices, 2 of which is missing, volume a of three; written in no order of theirs."""
    info = CohortInfo(
        "v", "real", "CT", ("x",), ("background", "lesion"), {"unit": "HU", "low": -200, "high": 200}
    )
    with CohortWriter(tmp_path / "v", info) as writer:
        for number, (volume, k) in enumerate(
            [("b", 4), ("a", 1), ("b", 0), ("b", 3), ("a", 0), ("a", 2), ("b", 1)]
        ):
            image = np.full((6, 8), 10 * k + (5 if volume == "a" else 0), np.uint8)
            mask = np.zeros((6, 8), np.uint8)
            mask[:2, :k] = 1
            writer.add(
                image,
                image_id=f"i{number}",
                patient_id=f"p-{volume}",
                label="x",
                mask=mask if k else None,
                extra={"volume_id": volume, "slice": str(k), "spacing_mm": "[5.0, 2.0, 1.5]"},
            )
        return writer.finish()


def edit(cohort: Cohort, image_id: str, column: str, value: str) -> None:
    table = cohort.table.copy()
    table.loc[table["image_id"] == image_id, column] = value
    cohort.replace_table(table)


def test_slices_stand_in_their_order_and_gaps_are_named(made: Cohort) -> None:
    with pytest.raises(DataDoubleError, match=r"volume b: slices are missing \(found no slice 2 of 0 to 4\)"):
        volume_rows(made)
    first, second = volumes(made, gaps="keep")
    assert first.volume_id == "a"
    assert first.image[:, 0, 0].tolist() == [5, 15, 25]
    assert first.mask is not None
    assert first.mask.sum(axis=(1, 2)).tolist() == [0, 2, 4]
    assert second.gaps == (2,)
    assert second.image[:, 0, 0].tolist() == [0, 10, 0, 30, 40]
    assert second.spacing == (5.0, 2.0, 1.5)


def test_predicted_masks_take_the_place_of_the_cohorts(made: Cohort) -> None:
    view = made.where(made.table["volume_id"] == "a")
    (volume,) = volumes(view, masks={"i4": np.ones((6, 8), np.uint8)})
    assert volume.mask is not None
    assert volume.mask.sum(axis=(1, 2)).tolist() == [48, 0, 0]
    with pytest.raises(DataDoubleError, match=r"i4: mask and picture differ in size \(found 3x3 and 8x6\)"):
        next(volumes(view, masks={"i4": np.ones((3, 3), np.uint8)}))


def test_the_spacing_follows_the_size(made: Cohort) -> None:
    view = made.where(made.table["volume_id"] == "a")
    (volume,) = volumes(view, at_size=4, masks={"i4": np.ones((4, 4), np.uint8)})
    assert volume.image.shape == (3, 4, 4)
    assert volume.spacing == (5.0, 3.0, 3.0)  # 6 rows of 2 mm, 8 columns of 1.5 mm: 12 mm each


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("slice", "0", "two slices have one number"),
        ("slice", "first", "no number"),
        ("spacing_mm", "[5, 2]", "no spacing"),
        ("spacing_mm", "[5, 2, 0]", "no spacing"),
        ("spacing_mm", "[5, 2, 2]", "differ in their spacing"),
        ("patient_id", "p-b", "two patients"),
    ],
)
def test_faulty_tables(made: Cohort, column: str, value: str, message: str) -> None:
    edit(made, "i1", column, value)
    with pytest.raises(DataDoubleError, match="slices are missing") as caught:  # of b, told together
        volume_rows(made)
    assert message in str(caught.value)
    assert "volume a" in str(caught.value)


def test_a_cohort_without_volumes(tmp_path: Path) -> None:
    with CohortWriter(tmp_path / "flat", CohortInfo("f", "real", "ultrasound", ("x",))) as writer:
        writer.add(np.zeros((4, 4), np.uint8), image_id="i", patient_id="p", label="x")
        flat = writer.finish()
    with pytest.raises(DataDoubleError, match="no volumes"):
        volume_rows(flat)
