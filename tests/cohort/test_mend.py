"""A split mended: train untouched, what it ties no longer unseen, nothing else moved."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.cohort.check import check
from datadouble.cohort.duplicates import DuplicateGroups, LookAlike
from datadouble.cohort.mend import Mended, mend, mend_split, train_units
from datadouble.cohort.phantom import draw
from datadouble.cohort.split import EXCLUDED, split, split_cohort, split_summary, units_of
from datadouble.errors import DataDoubleError


def table_of(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    """Return a table of (split, patient, look-alike group); the image ids are i0, i1 ..."""
    table = pd.DataFrame(rows, columns=["split", "patient_id", "duplicate_group"])
    table["image_id"] = [f"i{number}" for number in range(len(rows))]
    table["label"] = "a"
    return table


def mended(table: pd.DataFrame, *pairs: tuple[int, int]) -> Mended:
    """Mend with these pairs found."""
    alike = tuple(LookAlike(*pair, 0.9, kind="crop", overlap=0.5) for pair in pairs)
    return mend(table, DuplicateGroups((), alike, ()))


def test_a_picture_that_looks_like_train_leaves_with_its_patient() -> None:
    rows = [("train", "p", ""), ("test", "q", ""), ("test", "q", ""), ("test", "r", ""), ("holdout", "s", "")]
    result = mended(table_of(rows), (0, 1))
    assert list(result.table["split"]) == ["train", EXCLUDED, EXCLUDED, "test", "holdout"]
    assert [(move.image_id, move.before) for move in result.moves] == [("i1", "test"), ("i2", "test")]
    assert result.moves[0].reason == "looks like i0 of train (crop)"
    assert "tied to i0 of train" in result.moves[1].reason
    assert list(result.table["split_reason"][:2]) == ["", "looks like i0 of train (crop)"]
    groups = list(result.table["duplicate_group"])
    assert groups[0] == groups[1] != ""


def test_what_is_tied_through_others_leaves_too() -> None:
    # i0 of train - i1 of test (pair), i1 - i2 (group x), i2 - i3 of holdout (patient r)
    rows = [
        ("train", "p", ""),
        ("test", "q", "x"),
        ("test", "r", "x"),
        ("holdout", "r", ""),
        ("test", "t", ""),
    ]
    result = mended(table_of(rows), (0, 1))
    assert list(result.table["split"]) == ["train", EXCLUDED, EXCLUDED, EXCLUDED, "test"]


def test_holdout_and_test_join_where_more_of_them_are() -> None:
    rows = [
        ("train", "p", ""),
        ("holdout", "q", ""),
        ("test", "r", ""),
        ("test", "r", ""),
        ("holdout", "s", ""),
    ]
    result = mended(table_of(rows), (1, 2))
    assert list(result.table["split"]) == ["train", "test", "test", "test", "holdout"]
    assert result.moves[0].reason == "looks like i2 of test (crop)"
    assert len(set(result.table["duplicate_group"][1:4])) == 1


def test_train_keeps_the_units_that_a_run_was_trained_by() -> None:
    rows = [("train", "p", ""), ("train", "q", ""), ("train", "r", "x"), ("test", "s", "y")]
    table = table_of(rows)
    result = mended(table, (0, 1), (1, 2), (1, 3))
    assert train_units(result.table) == train_units(table)
    assert [(pair.first, pair.second) for pair in result.within_train] == [(0, 1), (1, 2)]
    assert list(result.table["split"][:3]) == ["train"] * 3


def test_rows_without_a_split_stay_and_tie_nothing() -> None:
    rows = [("train", "p", ""), ("", "q", ""), ("test", "r", "")]
    result = mended(table_of(rows), (0, 1), (1, 2))
    assert list(result.table["split"]) == ["train", "", "test"]
    assert result.moves == ()


def test_nothing_found_changes_nothing() -> None:
    table = table_of([("train", "p", "x"), ("holdout", "q", ""), ("test", "r", "")])
    pd.testing.assert_frame_equal(mended(table).table, table)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31))
def test_afterwards_no_tie_crosses_a_split(seed: int) -> None:
    chance = random.Random(seed)
    rows = [
        (chance.choice(["train", "train", "holdout", "test"]), f"p{chance.randrange(20)}", "")
        for _ in range(40)
    ]
    table = table_of(rows)
    pairs = [tuple(sorted(chance.sample(range(40), 2))) for _ in range(6)]
    result = mended(table, *pairs)  # type: ignore[arg-type]
    after = list(result.table["split"])
    assert all(after[row] == "train" for row in range(40) if rows[row][0] == "train")
    assert all(before[0] == "train" for before, now in zip(rows, after, strict=True) if now == "train")
    assert train_units(result.table) == train_units(table)
    for first, second in pairs:
        assert after[first] == after[second] or EXCLUDED in (after[first], after[second])
    unseen = result.table[result.table["split"] != EXCLUDED].reset_index(drop=True)
    for unit in units_of(unseen):
        assert len(set(unseen["split"].iloc[unit])) == 1
    assert mended(result.table, *pairs).moves == ()  # type: ignore[arg-type]


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """A split cohort of 9 patients in which a test picture is the crop of a train picture."""
    info = CohortInfo(name="t", origin="real", modality="ultrasound", classes=("3",))
    with CohortWriter(tmp_path / "c", info) as writer:
        for number in range(9):
            image = draw("breast-ultrasound", number, 0, "3", size=128, seed=5).image
            writer.add(image, image_id=f"i{number:02d}", patient_id=f"p{number}", label="3")
        writer.finish()
    done = split_cohort(tmp_path / "c", train=0.5, holdout=0.25, test=0.25)
    splits = done.table.groupby("split")["file_name"].first()
    from PIL import Image

    train = np.asarray(Image.open(done.path / splits["train"]))
    Image.fromarray(train[4:104, 20:120]).save(done.path / splits["test"])
    return done


def test_a_cohort_is_mended_in_place_once(cohort: Cohort) -> None:
    before = cohort.table
    done, result = mend_split(cohort.path)
    assert [move.before for move in result.moves] == ["test"]
    moved = Cohort.open(cohort.path).filter(split=EXCLUDED)
    assert list(moved.table["image_id"]) == [result.moves[0].image_id]
    assert "(crop)" in moved.table["split_reason"].iloc[0]
    kept = done.table["split"] == before["split"]
    assert (~kept).sum() == 1
    assert [problem for problem in check(cohort.path) if problem.severity == "error"] == []
    assert set(split_summary(done.table)["split"]) == {"train", "holdout", "test", EXCLUDED}
    again, twice = mend_split(cohort.path, crops=False)
    assert twice.moves == ()
    pd.testing.assert_frame_equal(again.table, done.table)
    anew = split(done.table, train=0.5, holdout=0.25, test=0.25)  # a split from the start knows no exclusion
    assert "split_reason" not in anew.columns
    assert EXCLUDED not in set(anew["split"])


def test_what_cannot_be_mended_is_refused(cohort: Cohort) -> None:
    table = cohort.table.copy()
    table.loc[table["split"] == "holdout", "patient_id"] = table["patient_id"][
        table["split"] == "train"
    ].iloc[0]
    cohort.replace_table(table)
    with pytest.raises(DataDoubleError, match="nothing would be left of holdout"):
        mend_split(cohort.path, crops=False)
    assert (Cohort.open(cohort.path).table["split"] == "holdout").any()
    cohort.replace_table(table.assign(split=""))
    with pytest.raises(DataDoubleError, match="no train pictures"):
        mend_split(cohort.path)
