"""What a run may learn from, and that one run is never mistaken for another."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datadouble.cohort import COLUMNS, Cohort, CohortInfo
from datadouble.errors import DataDoubleError
from datadouble.recipes import fit
from datadouble.recipes.coldit import ColditConfig
from datadouble.recipes.runs import choose_material, resolve_config


def table(rows: int, **columns: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame({name: [""] * rows for name in COLUMNS})
    frame["image_id"] = [f"i{i:03d}" for i in range(rows)]
    for name, values in columns.items():
        frame[name] = values
    return frame


def in_memory(frame: pd.DataFrame, classes: tuple[str, ...] = ("a", "b"), origin: str = "real") -> Cohort:
    return Cohort(Path("nowhere"), CohortInfo("c", origin, "us", classes), frame)


def test_validation_takes_whole_patients_and_look_alike_groups() -> None:
    random = np.random.default_rng(0)
    rows = 400
    frame = table(
        rows,
        patient_id=[f"p{i}" for i in random.integers(0, 150, rows)],
        duplicate_group=[f"d{i}" if i < 20 else "" for i in random.integers(0, 200, rows)],
        label=["a" if i else "b" for i in random.integers(0, 2, rows)],
        split=["train"] * 300 + ["holdout"] * 50 + ["test"] * 50,
    )
    material = choose_material(in_memory(frame), (), 0.1, seed=3)
    train, held_out = material.train.table, material.validation.table
    assert len(train) + len(held_out) == 300  # holdout and test stay untouched
    assert 20 <= len(held_out) <= 30
    assert not set(train["patient_id"]) & set(held_out["patient_id"])
    assert not (set(train["duplicate_group"]) & set(held_out["duplicate_group"])) - {""}
    shuffled = in_memory(frame.sample(frac=1, random_state=1))
    again = choose_material(shuffled, (), 0.1, seed=3)
    assert set(again.validation.table["image_id"]) == set(held_out["image_id"])


def test_a_class_with_two_images_is_named() -> None:
    frame = table(
        12, patient_id=[f"p{i}" for i in range(12)], label=["a"] * 10 + ["b"] * 2, split=["train"] * 12
    )
    with pytest.raises(DataDoubleError, match=r"'b' has 2.*data\.classes=\[\"a\"\]"):
        choose_material(in_memory(frame), (), 0.1, seed=0)
    assert choose_material(in_memory(frame), ("a",), 0.1, seed=0).shares == [1.0]


def test_a_real_cohort_needs_splits_and_a_double_does_not() -> None:
    frame = table(10, patient_id=[f"p{i}" for i in range(10)], label=["a", "b"] * 5)
    with pytest.raises(DataDoubleError, match="datadouble split"):
        choose_material(in_memory(frame), (), 0.1, seed=0)
    assert len(choose_material(in_memory(frame, origin="synthetic"), (), 0.0, seed=0).train) == 10


def test_a_run_of_another_recipe_or_configuration_is_refused(
    run: Path, cohort: Cohort, tmp_path: Path, tiny: list[str]
) -> None:
    with pytest.raises(DataDoubleError, match="another recipe"):
        resolve_config(run, "diffguard", ColditConfig, "", ())
    with pytest.raises(DataDoubleError, match="images = 160"):
        fit("coldit", cohort.path, run, overrides=[*tiny, "training.images=160"])
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataDoubleError, match="no run"):
        fit("coldit", cohort.path, tmp_path, overrides=tiny)
    with pytest.raises(DataDoubleError, match="did you mean 'coldit'"):
        fit("colditt", cohort.path, tmp_path / "new")


def test_a_run_begun_on_other_images_is_refused(run: Path, cohort: Cohort, tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "other"
    shutil.copytree(cohort.path, other)
    changed = Cohort.open(other)
    changed.replace_table(changed.table.iloc[5:])
    with pytest.raises(DataDoubleError, match="other training images"):
        fit("coldit", other, run)
