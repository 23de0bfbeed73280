"""The split: nobody in two of them, classes balanced, the same every time."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.cohort.split import split, split_cohort, split_summary, units_of
from datadouble.errors import DataDoubleError


def table_of(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    """Return a table of (patient, look-alike group, label)."""
    table = pd.DataFrame(rows, columns=["patient_id", "duplicate_group", "label"])
    table["image_id"] = [f"i{number:04d}" for number in range(len(rows))]
    table["split"] = ""
    return table


def hospital(seed: int, patients: int = 200) -> pd.DataFrame:
    """Return a cohort like a real one: 1 to 4 pictures a patient, three uneven classes, some look-alikes."""
    chance = random.Random(seed)
    rows = []
    for patient in range(patients):
        label = chance.choices("abc", weights=(6, 3, 1))[0]
        for _ in range(chance.randint(1, 4)):
            group = f"d{chance.randrange(30)}" if chance.random() < 0.05 else ""
            rows.append((f"p{patient}", group, label))
    return table_of(rows)


@settings(max_examples=25)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["", *"pqrstuvw"]),
            st.sampled_from(["", "", "", *"xyz"]),
            st.sampled_from(["a", "b"]),
        ),
        min_size=1,
        max_size=60,
    ),
    seed=st.integers(0, 2**31),
)
def test_no_patient_and_no_group_is_in_two_splits(rows: list[tuple[str, str, str]], seed: int) -> None:
    table = table_of(rows)
    try:
        result = split(table, seed=seed)
    except DataDoubleError as error:
        assert "too few patients" in str(error)
        return
    assert set(result["split"]) <= {"train", "holdout", "test"}
    for column in ("patient_id", "duplicate_group"):
        known = result[result[column] != ""]
        assert (known.groupby(column)["split"].nunique() <= 1).all()
    for label in set(result["label"]):  # and each class is in each split
        assert result[result["label"] == label]["split"].nunique() == 3


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**31),
    shares=st.sampled_from([(0.75, 0.125, 0.125), (0.6, 0.2, 0.2), (0.5, 0.5, 0.0)]),
)
def test_shares_hold_within_each_class(seed: int, shares: tuple[float, float, float]) -> None:
    table = hospital(seed)
    largest = max(map(len, units_of(table)))
    result = split(table, train=shares[0], holdout=shares[1], test=shares[2], seed=seed)
    for _, rows in [("all", result), *result.groupby("label")]:
        for name, share in zip(("train", "holdout", "test"), shares, strict=True):
            assert abs((rows["split"] == name).sum() - share * len(rows)) <= largest + 1


def test_the_order_of_the_rows_does_not_matter() -> None:
    table = hospital(3)
    expected = split(table, seed=5).set_index("image_id")["split"]
    for shuffle in range(5):
        mixed = split(table.sample(frac=1, random_state=shuffle), seed=5).set_index("image_id")["split"]
        pd.testing.assert_series_equal(mixed.sort_index(), expected.sort_index())
    assert (split(table, seed=6).set_index("image_id")["split"] != expected).any()


def test_the_split_is_the_same_on_every_machine() -> None:
    # Recorded once. A change here would move patients between the splits of cohorts that were trained on.
    table = table_of([(f"p{number}", "", "ab"[number % 2]) for number in range(16)])
    result = "".join(name[1] for name in split(table, train=0.5, holdout=0.25, test=0.25, seed=0)["split"])
    assert result.count("r") == 8
    assert result == "ororeerorrreeorr"  # second letters: tRain, hOldout, tEst


def test_look_alikes_tie_patients_together() -> None:
    # p-q by group x, q-r by group y: one unit of three patients, though p and r share nothing
    rows = [("p", "x", "a"), ("q", "x", "a"), ("q", "y", "a"), ("r", "y", "a"), ("s", "", "a"), ("", "", "a")]
    assert sorted(map(len, units_of(table_of(rows)))) == [1, 1, 4]


def test_what_an_encoder_has_seen_is_in_train_with_its_whole_patient() -> None:
    table = hospital(1)
    seen = set(table["image_id"].sample(40, random_state=0))
    result = split(table, keep_in_train=seen)
    patients = set(table["patient_id"][table["image_id"].isin(seen)])
    assert set(result["split"][result["patient_id"].isin(patients)]) == {"train"}
    assert abs((result["split"] == "train").mean() - 0.75) < 0.03


def test_equal_holdout_has_as_many_patients_as_train() -> None:
    summary = split_summary(split(hospital(2), holdout="equal")).set_index("split")
    assert abs(summary.loc["train", "patients"] - summary.loc["holdout", "patients"]) <= 3
    assert abs(summary.loc["test", "images"] / summary["images"].sum() - 0.125) < 0.02


def test_a_class_of_two_images_is_refused_with_all_others_like_it() -> None:
    rows = [(f"p{number}", "", "a") for number in range(20)]
    rows += [("x", "", "rare"), ("y", "", "rare"), ("z", "", "one"), ("z", "", "one"), ("z", "", "one")]
    with pytest.raises(DataDoubleError) as caught:
        split(table_of(rows))
    assert "'rare': 2 images of 2 patients" in str(caught.value)
    assert "'one': 3 images of 1 patients" in str(caught.value)
    allowed = split(table_of(rows[:22]), train=0.75, holdout=0.25, test=0)  # two splits, two patients
    assert set(allowed["split"][-2:]) == {"train", "holdout"}


def test_a_class_seen_whole_by_an_encoder_is_refused() -> None:
    table = table_of([(f"p{number}", "", "ab"[number < 4]) for number in range(20)])
    with pytest.raises(DataDoubleError, match="4 kept in train"):
        split(table, keep_in_train=["i0000", "i0001", "i0002", "i0003"])


@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.1), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5), (0.5, "half", 0.1)])
def test_wrong_shares_are_refused(shares: tuple) -> None:
    with pytest.raises(DataDoubleError):
        split(hospital(0), train=shares[0], holdout=shares[1], test=shares[2])


def test_another_split_is_not_overwritten_unasked(tmp_path: Path) -> None:
    info = CohortInfo(name="t", origin="real", modality="ultrasound", classes=("a", "b"))
    with CohortWriter(tmp_path / "c", info) as writer:
        for number in range(24):
            image = np.full((4, 4), number, np.uint8)
            writer.add(
                image, image_id=f"i{number}", patient_id=f"p{number // 2}", label="ab"[number % 4 // 2]
            )
        writer.finish()
    first = split_cohort(tmp_path / "c")
    assert Cohort.open(tmp_path / "c").table["split"].tolist() == first.table["split"].tolist()
    split_cohort(tmp_path / "c")  # the same again is nothing new
    with pytest.raises(DataDoubleError, match="split already"):
        split_cohort(tmp_path / "c", train=0.5, holdout=0.25, test=0.25)
    split_cohort(tmp_path / "c", train=0.5, holdout=0.25, test=0.25, overwrite=True)
    seen = split_cohort(tmp_path / "c", keep_in_train=lambda cohort: {"i0"}, overwrite=True).table
    assert set(seen["split"][seen["patient_id"] == "p0"]) == {"train"}
