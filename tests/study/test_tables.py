"""What comes out: the long table, the overview, and CSV that no spreadsheet runs."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datadouble.study.records import Given
from datadouble.study.store import Store
from datadouble.study.tables import ANSWER_COLUMNS, answers_csv, export_answers, overview, safe_cell, to_csv

from .conftest import HandClock


def judge(store: Store, clock: HandClock, reader: int, seconds: float) -> None:
    while (item := store.next_item(reader)) is not None:
        clock.forward(seconds)
        store.record(reader, item.shown_id, {"origin": Given("synthetic")})


def test_the_long_table_says_what_was_shown_and_what_was_right(store: Store, clock: HandClock) -> None:
    judge(store, clock, store.add_reader("R1", group="junior", years=2).id, 3.0)
    judge(store, clock, store.add_reader("R2", group="senior").id, 5.0)
    table = store.answers_table()
    assert list(table.columns) == list(ANSWER_COLUMNS)
    assert len(table) == 2 * 16  # 12 images and 4 repeats, no practice
    assert not table["practice"].any()
    assert (table["right_value"] == table["origin"]).all()
    assert table.groupby("reader")["seconds"].median().tolist() == [3, 5]
    assert table.groupby("group")["years"].first().isna().tolist() == [False, True]
    repeats = table[table["repeat_of"] != ""]
    assert len(repeats) == 8
    assert set(repeats["repeat_of"]) <= set(table["image"])
    assert len(store.answers_table(practice=True)) == 2 * 18


def test_an_empty_study_has_a_table_too(store: Store) -> None:
    table = store.answers_table()
    assert len(table) == 0
    assert table["seconds"].dtype == float


def test_the_overview_has_pace_and_no_score(store: Store, clock: HandClock) -> None:
    reader = store.add_reader("R1", group="junior").id
    store.add_reader("R2")
    judge(store, clock, reader, 6.0)
    store.add_monitor(reader, {"width": 1366})
    first, second = overview(store)
    assert (first["state"], first["done"], first["total"]) == ("waiting", 0, 12)
    assert first["median_seconds"] == pytest.approx(6)
    assert first["per_minute"] == pytest.approx(10)  # 18 answers in 108 s
    assert first["monitor"]["width"] == 1366
    assert (second["state"], second["per_minute"], second["monitor"]) == ("open", None, None)


def test_a_new_sitting_after_a_long_gap(store: Store, clock: HandClock) -> None:
    reader = store.add_reader("R1").id
    for gap in (2.0, 4000.0, 2.0):
        item = store.next_item(reader)
        assert item is not None
        clock.forward(gap)
        store.record(reader, item.shown_id, {"origin": Given("real")})
    assert overview(store)[0]["sittings"] == 2


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'  =1"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("＝1", "'＝1"),
        ("a=1", "a=1"),
        (-0.5, -0.5),
        (float("nan"), ""),
        (None, ""),
        (True, 1),
    ],
)
def test_cells(value: object, cell: object) -> None:
    assert safe_cell(value) == cell


@given(st.text(max_size=40))
def test_no_cell_begins_like_a_formula_and_all_of_it_is_there(text: str) -> None:
    text = text.replace("\x00", "")
    line = to_csv(["a", "b"], [{"a": text, "b": "x"}])
    cell = list(csv.reader(io.StringIO(line, newline="")))[1][0]
    assert cell in (text, f"'{text}")
    assert not cell.strip().startswith(("=", "+", "-", "@"))


def test_the_export_is_whole_or_not_there(store: Store, clock: HandClock, tmp_path: Path) -> None:
    judge(store, clock, store.add_reader('=HYPERLINK("http://x","R1")').id, 1.0)
    assert export_answers(store, tmp_path / "answers.csv") == 18
    rows = list(csv.DictReader(io.StringIO((tmp_path / "answers.csv").read_bytes().decode(), newline="")))
    assert len(rows) == 18
    assert {row["reader_name"] for row in rows} == {'\'=HYPERLINK("http://x","R1")'}
    assert sum(row["practice"] == "1" for row in rows) == 2
    assert len(answers_csv(store, practice=False).splitlines()) == 17
