"""The cohort's format: what is written is what is read, and what is broken is said."""

import json
from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort import COLUMNS, Cohort, CohortInfo, CohortWriter
from datadouble.errors import DataDoubleError

INFO = CohortInfo("c", "real", "ultrasound", ("a", "b"), ("background", "lesion"))


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (20, 30), dtype=np.uint8)


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    with CohortWriter(tmp_path / "c", INFO) as writer:
        for i in range(6):
            writer.add(
                picture(i),
                image_id=f"i{i}",
                patient_id=f"p{i // 2}",
                label="ab"[i % 2],
                mask=(picture(i) > 200).astype(np.uint8) if i else None,
                split="train" if i < 4 else "test",
                extra={"age": "007"},
            )
        return writer.finish()


def test_pixels_masks_and_strings_come_back_as_they_went_in(cohort: Cohort) -> None:
    again = Cohort.open(cohort.path)
    assert again.info == INFO
    assert list(again.table.columns) == [*COLUMNS, "age"]
    for i, sample in enumerate(again):
        assert np.array_equal(sample.image, picture(i))
        assert sample.row["age"] == "007"  # a number would have lost its zeros
        assert (sample.mask is None) == (i == 0)
    assert np.array_equal(again.label_indices, [0, 1, 0, 1, 0, 1])


def test_views_hold_the_rows_asked_for(cohort: Cohort) -> None:
    view = cohort.filter(split="train", label="b")
    assert list(view.table["image_id"]) == ["i1", "i3"]
    assert np.array_equal(view.image(1), picture(3))
    assert len(cohort.filter(patient_id=["p0", "p2"])) == 4
    with pytest.raises(ValueError, match="whole cohort"):
        view.replace_table(view.table)


def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path) -> None:
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    with CohortWriter(tmp_path / "c", INFO) as writer:
        writer.add(deep, image_id="x", patient_id="p", label="a")
        image = writer.finish().image(0)
    assert image.dtype == np.uint16
    assert np.array_equal(image, deep)


def test_the_torch_dataset_gives_squares_between_minus_one_and_one(cohort: Cohort) -> None:
    dataset = cohort.torch_dataset(16)
    image, label, index = dataset[3]
    assert image.shape == (1, 16, 16)
    assert image.min() >= -1 and image.max() <= 1
    assert (label, index) == (1, 3)


def test_hugging_face_datasets_opens_it_as_an_image_folder(cohort: Cohort) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(cohort.path), split="train", cache_dir=str(cohort.path.parent / "hf")
    )
    assert len(loaded) == 6
    by_id = {row["image_id"]: row for row in loaded}
    assert np.array_equal(np.asarray(by_id["i2"]["image"]), picture(2))
    assert [by_id[f"i{i}"]["label"] for i in range(6)] == list("ababab")


@pytest.mark.parametrize("missing", ["cohort.json", "metadata.csv"])
def test_a_folder_that_is_no_cohort_is_refused(cohort: Cohort, missing: str) -> None:
    (cohort.path / missing).unlink()
    with pytest.raises(DataDoubleError, match="no cohort"):
        Cohort.open(cohort.path)


def test_a_missing_column_is_named(cohort: Cohort) -> None:
    table = cohort.table.drop(columns=["label"])
    (cohort.path / "metadata.csv").write_text(table.to_csv(index=False))
    with pytest.raises(DataDoubleError, match="label"):
        Cohort.open(cohort.path)


def test_a_later_schema_is_refused(cohort: Cohort) -> None:
    path = cohort.path / "cohort.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    with pytest.raises(DataDoubleError, match="99"):
        Cohort.open(cohort.path)
