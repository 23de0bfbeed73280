"""What a run learns from, and cohorts that it cannot learn from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.recipes.lesion.material import HEALTHY, DataOptions, read_material

DATA = DataOptions(size=48, patch=16, validation_share=0.15)


def test_train_patients_alone_are_read(lesions: Cohort) -> None:
    material = read_material(lesions, DATA)
    train = set(lesions.filter(split="train").table["image_id"])
    assert set(material.train.ids) | set(material.validation.ids) == train
    assert not set(material.train.patients) & set(material.validation.patients)
    assert material.classes == ("benign", "malignant") and material.mask_ids == (1, 1)
    assert sum(material.shares) == pytest.approx(1)
    for row, image_id in enumerate(material.train.ids):
        is_healthy = image_id.startswith("normal")
        assert (material.train.labels[row] == HEALTHY) == is_healthy
        assert material.train.masks[row].any() != is_healthy


def test_the_largest_lesion_and_the_class_of_its_mask(make_cohort: Callable[..., Cohort]) -> None:
    from datadouble.cohort import CohortInfo, CohortWriter

    cohort = make_cohort({"normal": 4})
    path = cohort.path.parent / "two"
    info = CohortInfo("two", "synthetic", "breast ultrasound", ("benign",), ("background", "cyst", "lesion"))
    with CohortWriter(path, info) as writer:
        for i in range(5):
            mask = np.zeros((48, 48), np.uint8)
            mask[10:22, 10:22], mask[30:36, 30:36], mask[40:44, 2:6] = 2, 2, 1
            writer.add(mask * 50, image_id=f"i{i}", patient_id=f"p{i}", label="benign", mask=mask)
        two = writer.finish()
    material = read_material(two, DataOptions(size=48, validation_share=0.0))
    assert material.mask_ids == (2,)
    expected = np.zeros((48, 48), bool)
    expected[10:22, 10:22] = True
    np.testing.assert_array_equal(material.train.masks[0], expected)
    assert material.train.others[0].sum() == 36 + 16


def test_a_class_with_three_lesions(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort({"normal": 4, "benign": 8, "malignant": 4})  # three of the four are train
    with pytest.raises(DataDoubleError, match=r"at least 4 lesions.*'malignant' has 3.*\[\"benign\"\]"):
        read_material(cohort, DATA)


def test_lesions_without_masks(make_cohort: Callable[..., Cohort]) -> None:
    with pytest.raises(DataDoubleError, match=r"lesions have no masks"):
        read_material(make_cohort({"normal": 8, "benign": 8}, masks=False), DATA)


def test_lesions_of_hardly_a_pixel(lesions: Cohort) -> None:
    with pytest.raises(DataDoubleError, match=r"lesions have fewer than 12 pixels at 8x8.*raise data.size"):
        read_material(lesions, DataOptions(size=8, patch=8, validation_share=0.0))


def test_the_healthy_class_is_no_lesion(lesions: Cohort) -> None:
    with pytest.raises(DataDoubleError, match="is the healthy class"):
        read_material(lesions, DataOptions(classes=("normal", "benign")))
    with pytest.raises(DataDoubleError, match=r"unknown classes.*cyst"):
        read_material(lesions, DataOptions(classes=("cyst",)))


def test_two_healthy_scans_teach_nothing_and_stop_nothing(make_cohort: Callable[..., Cohort]) -> None:
    material = read_material(make_cohort({"normal": 2, "benign": 8}), DATA)
    assert not len(material.train.healthy) and len(material.train.lesions) and material.shares == (0.0, 1.0)


def test_four_lesions_are_enough_whoever_is_held_out(make_cohort: Callable[..., Cohort]) -> None:
    cohort = make_cohort({"normal": 8, "benign": 12, "malignant": 5})  # four of the five are train
    options = [DataOptions(size=48, validation_share=0.4, seed=seed) for seed in range(4)]
    learned = {int((read_material(cohort, one).train.labels == 1).sum()) for one in options}
    assert 3 in learned and learned <= {3, 4}


def test_look_alikes_are_one_unit(lesions: Cohort, tmp_path: Path) -> None:
    table = lesions.table.copy()
    twins = table["image_id"].isin(["benign-00", "benign-01", "malignant-02"])
    table.loc[twins, "duplicate_group"] = "g"
    table.loc[table["image_id"] == "benign-02", "patient_id"] = "malignant-02"
    alike = Cohort(lesions.path, lesions.info, table)
    found = read_material(alike, DataOptions(size=48, patch=16, validation_share=0.0)).train
    unit = dict(zip(found.ids, found.units, strict=True))
    together = {image_id for image_id in found.ids if unit[image_id] == unit["benign-00"]}
    assert together == {"benign-00", "benign-01", "benign-02", "malignant-02"}
    assert len(set(found.units)) == len(found) - 3
    assert found.take(np.array([3, 1])).units == (found.units[3], found.units[1])
    plain = read_material(lesions, DataOptions(size=48, patch=16, validation_share=0.0)).train
    assert plain.units == plain.patients
