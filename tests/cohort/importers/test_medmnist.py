"""MedMNIST files made by hand."""

from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort.importers import import_cohort
from datadouble.errors import DataDoubleError

from .conftest import picture


def arrays(labels: int = 1) -> dict[str, np.ndarray]:
    made = {}
    for k, (split, count) in enumerate((("train", 4), ("val", 2), ("test", 2))):
        made[f"{split}_images"] = np.stack([picture(10 * k + i, (28, 28)) for i in range(count)])
        made[f"{split}_labels"] = np.arange(count * labels, dtype=np.uint8).reshape(count, labels) % 2
    return made


def test_pictures_labels_and_the_sources_split_are_kept(tmp_path: Path) -> None:
    made = arrays()
    np.savez(tmp_path / "breastmnist.npz", **made)
    cohort = import_cohort("medmnist", tmp_path / "breastmnist.npz", tmp_path / "c")
    assert cohort.info.name == "breastmnist"
    assert cohort.info.classes == ("0", "1")
    assert list(cohort.table["source_split"]) == ["test"] * 2 + ["train"] * 4 + ["val"] * 2
    assert set(cohort.table["split"]) == {""}
    assert cohort.table["patient_id"].nunique() == 8
    np.testing.assert_array_equal(cohort.image(2), made["train_images"][0])


def test_patients_are_used_where_they_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays(), train_patients=np.array(["p", "p", "q", "q"]))
    cohort = import_cohort("medmnist", tmp_path / "x.npz", tmp_path / "c")
    train = cohort.table[cohort.table["source_split"] == "train"]
    assert train["patient_id"].nunique() == 2


def test_nan_pixels_are_refused_by_place(tmp_path: Path) -> None:
    made = arrays()
    floating = made["val_images"].astype(np.float32) / 255
    floating[1, 3, 4] = np.nan
    np.savez(tmp_path / "x.npz", **(made | {"val_images": floating}))
    with pytest.raises(
        DataDoubleError, match=r"val_images\[1\]: pixels are NaN or infinite \(found 1 of 784\)"
    ):
        import_cohort("medmnist", tmp_path / "x.npz", tmp_path / "c")


def test_several_labels_need_a_choice(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays(labels=3))
    with pytest.raises(DataDoubleError, match="3 labels"):
        import_cohort("medmnist", tmp_path / "x.npz", tmp_path / "c")
    cohort = import_cohort("medmnist", tmp_path / "x.npz", tmp_path / "c", label="2")
    assert cohort.info.classes == ("0", "1")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "b.npz", pictures=np.zeros(3))
    np.savez(tmp_path / "c.npz", train_images=np.zeros((2, 28, 28), np.uint8))
    np.savez(tmp_path / "d.npz", train_images=np.array([{"code": 1}], dtype=object))
    for name, message in (
        ("a", "cannot be read"),
        ("b", "no MedMNIST"),
        ("c", "labels are missing"),
        ("d", "refused"),
    ):
        with pytest.raises(DataDoubleError, match=message):
            import_cohort("medmnist", tmp_path / f"{name}.npz", tmp_path / "c")
