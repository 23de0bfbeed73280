"""The store: each answer once, on the disk, with the time it took; no way around what was shown."""

import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datadouble.errors import DataDoubleError
from datadouble.study.database import StoreError
from datadouble.study.links import LinkError
from datadouble.study.order import order_for
from datadouble.study.protocol import protocol_from
from datadouble.study.records import AnswerRefused, Given, Shown, answer_seconds
from datadouble.study.store import Store

from .conftest import PLAIN, HandClock

REAL = {"origin": Given("real")}


def shown(store: Store, reader: int) -> Shown:
    item = store.next_item(reader)
    assert item is not None
    return item


def answer_all(store: Store, reader: int, part: str) -> int:
    count = 0
    while (item := store.next_item(reader)) is not None and item.part == part:
        store.record(reader, item.shown_id, REAL)
        count += 1
    return count


def counted(store: Store) -> int:
    db = sqlite3.connect(store.study.answers_path)
    found = db.execute("SELECT count(*) FROM answer WHERE undone_at IS NULL").fetchone()[0]
    db.close()
    return int(found)


# -- order and progress


def test_a_reader_sees_the_order_written_down(store: Store) -> None:
    reader = store.add_reader("R1", group="junior", years=3).id
    order = order_for(store.study, reader, "one")
    seen = []
    while (item := store.next_item(reader)) is not None:
        seen.append((item.position, item.image, item.practice, item.number, item.total))
        store.record(reader, item.shown_id, REAL)
    assert [s[:3] for s in seen] == [(i.position, i.image, i.practice) for i in order]
    assert [s[3:] for s in seen] == [(1, 2), (2, 2)] + [(n, 16) for n in range(1, 17)]


def test_the_washout_is_kept_by_date(store: Store, clock: HandClock) -> None:
    reader = store.add_reader("R1").id
    assert store.progress(reader).state == "open"
    assert answer_all(store, reader, "one") == 18
    progress = store.progress(reader)
    assert (progress.state, progress.part) == ("waiting", "two")
    assert progress.opens_at == clock.date + timedelta(days=14)
    assert store.upcoming(reader) == []
    clock.date += timedelta(days=13, hours=23)
    assert store.next_item(reader) is None
    clock.date -= timedelta(days=40)  # a clock set back opens nothing
    assert store.next_item(reader) is None
    clock.date += timedelta(days=40, hours=1)
    assert answer_all(store, reader, "two") == 12
    assert store.progress(reader).state == "finished"
    assert store.next_item(reader) is None


def test_a_part_finished_under_a_wrong_date_is_set_right_by_an_undo(store: Store, clock: HandClock) -> None:
    reader, today = store.add_reader("R1").id, clock.date
    clock.date = today + timedelta(days=5000)
    answer_all(store, reader, "one")
    clock.date = today
    assert store.progress(reader).opens_at == today + timedelta(days=5014)
    store.undo(reader)
    answer_all(store, reader, "one")
    assert store.progress(reader).opens_at == today + timedelta(days=14)


def test_the_time_left_is_the_median_times_what_is_left(store: Store, clock: HandClock) -> None:
    reader = store.add_reader("R1").id
    assert store.progress(reader).seconds_left is None
    for seconds in (2.0, 4.0, 90.0):
        item = shown(store, reader)
        clock.forward(seconds)
        store.record(reader, item.shown_id, REAL)
    assert store.progress(reader).seconds_left == pytest.approx(4 * 15)


def test_practice_tells_the_truth_and_the_rest_does_not(store: Store) -> None:
    reader = store.add_reader("R1").id
    for number in range(4):
        item = shown(store, reader)
        receipt = store.record(reader, item.shown_id, REAL)
        origin = store.study.truth()[item.image].origin
        assert item.practice == (number < 2)
        assert [tuple(f) for f in receipt.feedback] == ([("origin", "real", origin)] if number < 2 else [])


# -- once and once only


def test_a_double_click_counts_once(store: Store) -> None:
    reader = store.add_reader("R1").id
    item = shown(store, reader)
    assert not store.record(reader, item.shown_id, REAL).duplicate
    again = store.record(reader, item.shown_id, {"origin": Given("synthetic")})
    assert again.duplicate and not again.undone
    assert store.answers_table(practice=True)["value"].tolist() == ["real"]


def test_two_tabs_see_the_same_image_and_count_once(store: Store) -> None:
    reader = store.add_reader("R1").id
    first, second = shown(store, reader), shown(store, reader)
    assert first.shown_id == second.shown_id
    store.record(reader, first.shown_id, REAL)
    assert store.record(reader, second.shown_id, REAL).duplicate
    assert counted(store) == 1


def test_many_threads_at_once_count_once(study_path: Path) -> None:
    with Store.open(study_path) as store:
        reader = store.add_reader("R1").id
        item = shown(store, reader)
        receipts = []
        gate = threading.Barrier(8)

        def press() -> None:
            gate.wait()
            receipts.append(store.record(reader, item.shown_id, REAL))

        threads = [threading.Thread(target=press) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(r.duplicate for r in receipts) == [False] + [True] * 7
        assert counted(store) == 1


def test_the_database_itself_refuses_a_second_answer_and_any_change(store: Store) -> None:
    reader = store.add_reader("R1").id
    store.record(reader, shown(store, reader).shown_id, REAL)
    db = sqlite3.connect(store.study.answers_path, isolation_level=None)
    columns = [row[1] for row in db.execute("PRAGMA table_info(answer)") if row[1] not in ("id", "showing")]
    copy = f"INSERT INTO answer(showing, {', '.join(columns)}) SELECT 'x', {', '.join(columns)} FROM answer"
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        db.execute(copy)
    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        db.execute("UPDATE answer SET value = 'synthetic'")
    with pytest.raises(sqlite3.IntegrityError, match="never deleted"):
        db.execute("DELETE FROM answer")
    db.execute("UPDATE answer SET undone_at = 'now'")
    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        db.execute("UPDATE answer SET undone_at = NULL")
    db.close()


def test_what_was_not_shown_is_not_taken(store: Store) -> None:
    one, two = store.add_reader("R1").id, store.add_reader("R2").id
    item = shown(store, one)
    for reader, shown_id in ((two, item.shown_id), (one, "nonsense"), (one, "")):
        with pytest.raises(AnswerRefused) as caught:
            store.record(reader, shown_id, REAL)
        assert caught.value.code == "not-shown"
    assert counted(store) == 0


# -- undo


def test_undo_goes_one_step_back_and_keeps_the_history(store: Store) -> None:
    reader = store.add_reader("R1").id
    assert store.undo(reader) is None
    first = shown(store, reader)
    store.record(reader, first.shown_id, REAL)
    second = shown(store, reader)
    assert store.progress(reader).can_undo
    undone = store.undo(reader)
    assert undone is not None and undone.image == first.image
    assert store.undo(reader) is None  # one step
    # Late answers of other tabs change nothing.
    assert store.record(reader, first.shown_id, REAL).undone
    with pytest.raises(AnswerRefused) as caught:
        store.record(reader, second.shown_id, REAL)
    assert caught.value.code == "stale"
    again = shown(store, reader)
    assert again.image == first.image and again.shown_id != first.shown_id
    store.record(reader, again.shown_id, {"origin": Given("synthetic")})
    assert shown(store, reader).image == second.image
    table = store.answers_table(practice=True, undone=True)
    assert table["value"].tolist() == ["real", "synthetic"]
    assert (table["undone_at"] != "").tolist() == [True, False]
    assert len(store.answers_table(practice=True)) == 1


def test_the_last_answer_of_a_part_can_be_undone_until_the_next_begins(
    store: Store, clock: HandClock
) -> None:
    reader = store.add_reader("R1").id
    answer_all(store, reader, "one")
    assert store.undo(reader) is not None
    answer_all(store, reader, "one")
    clock.date += timedelta(days=15)
    assert shown(store, reader).part == "two"
    assert store.undo(reader) is None


# -- time


def test_pauses_do_not_count(store: Store, clock: HandClock) -> None:
    reader = store.add_reader("R1").id
    item = shown(store, reader)
    clock.forward(3)
    store.pause(reader)
    assert store.progress(reader).state == "paused"
    assert store.next_item(reader) is None
    clock.forward(5000)
    store.resume(reader)
    clock.forward(50)  # until the page asks for its image nothing counts
    again = shown(store, reader)
    assert (again.shown_id, again.elapsed) == (item.shown_id, 3)
    clock.forward(4)
    assert store.record(reader, item.shown_id, REAL).seconds == pytest.approx(7)


def test_an_answer_in_a_pause_is_taken_and_ends_it(store: Store, clock: HandClock) -> None:
    reader = store.add_reader("R1").id
    item = shown(store, reader)
    clock.forward(3)
    store.pause(reader)
    clock.forward(100)
    assert store.record(reader, item.shown_id, REAL).seconds == pytest.approx(3)
    assert store.progress(reader).state == "open"


def test_a_clock_set_back_or_forward_changes_no_time(store: Store, clock: HandClock) -> None:
    reader = store.add_reader("R1").id
    for jump in (timedelta(days=-3000), timedelta(days=3000)):
        item = shown(store, reader)
        clock.date += jump
        clock.seconds += 6
        assert store.record(reader, item.shown_id, REAL).seconds == pytest.approx(6)
    answered = store.answers_table(practice=True)
    assert answered["seconds"].tolist() == [6, 6]


def test_the_browser_is_believed_only_where_it_can_be_right() -> None:
    assert answer_seconds(10.0, 8.5) == (8.5, "client")
    assert answer_seconds(10.0, 10.9) == (10.9, "client")
    assert answer_seconds(10.0, 11.5) == (10.0, "server")
    assert answer_seconds(10.0, -1.0) == (10.0, "server")
    assert answer_seconds(10.0, float("nan")) == (10.0, "server")
    assert answer_seconds(10.0, None) == (10.0, "server")
    assert answer_seconds(36_000.0, 8.5) == (8.5, "client")
    assert answer_seconds(36_000.0, None) == (None, "")
    assert answer_seconds(36_000.0, 35_000.0) == (None, "")
    assert answer_seconds(None, 8.5) == (8.5, "client")
    assert answer_seconds(None, 1e9) == (None, "")
    assert answer_seconds(None, None) == (None, "")


@given(st.none() | st.floats(0, 1e5), st.none() | st.floats())
def test_no_report_makes_a_time_longer_than_it_was(server: float | None, client: float | None) -> None:
    seconds, source = answer_seconds(server, client)
    assert (seconds is None) == (source == "")
    if seconds is not None:
        assert 0 <= seconds <= (3600 if server is None else server + 1)


def test_a_server_started_anew_does_not_know_its_predecessors_time(
    study_path: Path, clock: HandClock
) -> None:
    with Store.open(study_path, clock=clock) as store:
        reader = store.add_reader("R1").id
        item = shown(store, reader)
        clock.forward(5)
    late = HandClock()
    late.seconds = 3.0  # the machine was restarted
    with Store.open(study_path, clock=late) as store:
        # The page that stayed open knows; without it nobody does.
        assert store.record(reader, item.shown_id, REAL, client_seconds=5.5).seconds == 5.5
        item = shown(store, reader)
    with Store.open(study_path, clock=late) as store:
        assert shown(store, reader).shown_id == item.shown_id  # the page was loaded again
        late.forward(2)
        assert store.record(reader, item.shown_id, REAL, client_seconds=2).seconds is None


def test_a_page_that_was_left_open_overnight_gives_no_time(store: Store, clock: HandClock) -> None:
    reader = store.add_reader("R1").id
    item = shown(store, reader)
    clock.forward(36_000)
    shown(store, reader)
    clock.forward(3)
    assert store.record(reader, item.shown_id, REAL, client_seconds=3).seconds is None


# -- what is sent


def rich(study_path: Path) -> Store:
    """A store whose question asks for everything."""
    import json

    value = json.loads((study_path / "study.json").read_text())
    question = value["protocol"]["questions"][0]
    question.update(confidence=True, mark=True, free_text=True)
    (study_path / "study.json").write_text(json.dumps(value))
    return Store.open(study_path)


@pytest.mark.parametrize(
    ("answers", "fault"),
    [
        ({}, "'origin' is not answered"),
        ({"origin": Given("real", 5), "other": Given("x")}, "'other' was not asked"),
        ({"origin": Given("maybe", 5)}, "none of real, synthetic"),
        ({"origin": Given("", 5)}, "none of real, synthetic"),
        ({"origin": Given("real")}, "confidence is missing"),
        ({"origin": Given("real", 101)}, "between 0 and 100"),
        ({"origin": Given("real", float("nan"))}, "between 0 and 100"),
        ({"origin": Given("real", 5, (1.2, 0))}, "outside the image"),
        ({"origin": Given("real", 5, (0, float("nan")))}, "outside the image"),
        ({"origin": Given("real", 5, text="x" * 2001)}, "more than 2000"),
    ],
)
def test_answers_that_do_not_fit_are_refused_whole(
    study_path: Path, answers: dict[str, Given], fault: str
) -> None:
    with rich(study_path) as store:
        reader = store.add_reader("R1").id
        item = shown(store, reader)
        with pytest.raises(AnswerRefused, match=fault) as caught:
            store.record(reader, item.shown_id, answers)
        assert caught.value.code == "invalid"
        assert counted(store) == 0
        kept = Given("real", 100, (0, 1), " <b>edge</b>\x00\u202e ")
        store.record(reader, item.shown_id, {"origin": kept})
        row = store.answers_table(practice=True).iloc[0]
        assert (row["confidence"], row["mark_x"], row["mark_y"], row["text"]) == (100, 0, 1, "<b>edge</b>")


def test_what_was_not_asked_is_refused(store: Store) -> None:
    reader = store.add_reader("R1").id
    item = shown(store, reader)
    for given_ in (Given("real", 50), Given("real", mark=(0, 0)), Given("real", text="x")):
        with pytest.raises(AnswerRefused):
            store.record(reader, item.shown_id, {"origin": given_})


# -- readers, links, images


def test_names(store: Store) -> None:
    assert store.add_reader("  <script>\x07 R\t1 ").name == "<script> R 1"
    for name, fault in (("<script> R 1", "of that name"), ("  ", "needs a name"), ("x" * 81, "too long")):
        with pytest.raises(DataDoubleError, match=fault):
            store.add_reader(name)
    with pytest.raises(DataDoubleError, match="years"):
        store.add_reader("R2", years=-1)
    assert [r.name for r in store.readers()] == ["<script> R 1"]
    with pytest.raises(DataDoubleError, match="no such reader"):
        store.reader("nobody")


def test_links_are_revoked_replaced_and_expire(store: Store, clock: HandClock) -> None:
    reader = store.add_reader("R1").id
    old = store.new_link(reader, days=10)
    assert store.authenticate(old).reader == reader
    new = store.new_link(reader, days=10)
    for token, code in ((old, "revoked"), (new[:-2] + "AA", "forged")):
        with pytest.raises(LinkError) as caught:
            store.authenticate(token)
        assert caught.value.code == code
    with pytest.raises(LinkError):
        store.authenticate(new, kind="admin")
    admin = store.new_link(kind="admin")
    assert store.authenticate(admin, kind="admin").reader == 0
    item = shown(store, reader)
    store.revoke(reader)
    with pytest.raises(LinkError) as caught:
        store.authenticate(new)
    assert caught.value.code == "revoked"
    for forbidden in (lambda: store.next_item(reader), lambda: store.record(reader, item.shown_id, REAL)):
        with pytest.raises(AnswerRefused) as refused:
            forbidden()
        assert refused.value.code == "revoked"
    assert not store.may_see(reader, item.image)
    back = store.new_link(reader, days=1)  # let in again
    assert shown(store, reader).image == item.image
    clock.date += timedelta(days=1, seconds=2)
    with pytest.raises(LinkError) as caught:
        store.authenticate(back)
    assert caught.value.code == "expired"
    assert store.revoke_admin_links() == 1
    with pytest.raises(LinkError):
        store.authenticate(admin)


def test_a_link_of_another_study_lets_nobody_in(store: Store, made: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(made, tmp_path / "other")
    (tmp_path / "other" / "private" / "secret.key").write_text("ab" * 32)
    with Store.open(tmp_path / "other") as other:
        token = other.new_link(other.add_reader("R1").id)
    store.add_reader("R1")
    with pytest.raises(LinkError):
        store.authenticate(token)


def test_only_images_near_the_present_one_are_served(store: Store) -> None:
    reader = store.add_reader("R1").id
    order = [item.image for item in order_for(store.study, reader, "one")]
    assert not store.may_see(999, order[0])
    first = shown(store, reader)
    assert store.upcoming(reader, 3) == order[1:4]
    assert [store.may_see(reader, image) for image in order[:6]] == [True] * 4 + [False] * 2
    store.record(reader, first.shown_id, REAL)
    second = shown(store, reader)
    store.record(reader, second.shown_id, REAL)
    shown(store, reader)
    assert [store.may_see(reader, image) for image in order[:3]] == [False, True, True]
    two = {item.image for item in order_for(store.study, reader, "two")}
    assert not any(store.may_see(reader, image) for image in two)


def test_monitor_facts(store: Store) -> None:
    reader = store.add_reader("R1").id
    for facts in ({"width": 1366, "height": 768}, {"width": 1366, "height": 768}, {"width": 1920}):
        store.add_monitor(reader, facts)
    with store.database.reading() as db:
        assert db.execute("SELECT count(*) FROM monitor").fetchone()[0] == 2
    for bad in ({"x": float("nan")}, {"x": {1}}, {"x": "y" * 5000}):
        with pytest.raises(AnswerRefused):
            store.add_monitor(reader, bad)


# -- accidents


def test_a_full_disk_loses_nothing_and_is_said(store: Store) -> None:
    reader = store.add_reader("R1").id
    db = store.database.connection
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    done = 0
    with pytest.raises(StoreError) as caught:
        while True:
            db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
            item = shown(store, reader)
            store.record(reader, item.shown_id, REAL)
            done += 1
            with store.database.writing() as filling:
                filling.execute(
                    "INSERT INTO monitor(reader, seen_at, facts) VALUES (?, '', ?)", (reader, "x" * 300)
                )
    assert caught.value.code == "full"
    assert "free some space" in str(caught.value)
    assert counted(store) >= done
    db.execute("PRAGMA max_page_count = 1000000")
    before = counted(store)
    store.record(reader, shown(store, reader).shown_id, REAL)
    assert counted(store) == before + 1


def test_a_locked_database_is_said_and_the_answer_can_be_given_again(study_path: Path) -> None:
    with Store.open(study_path, busy_seconds=0.05) as store:
        reader = store.add_reader("R1").id
        item = shown(store, reader)
        other = sqlite3.connect(study_path / "answers.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as caught:
            store.record(reader, item.shown_id, REAL)
        assert caught.value.code == "locked"
        assert store.progress(reader).done == 0  # reading goes on
        other.execute("ROLLBACK")
        other.close()
        assert not store.record(reader, item.shown_id, REAL).duplicate


def test_a_log_cut_in_the_middle_of_a_write_loses_only_that_write(study_path: Path, tmp_path: Path) -> None:
    import shutil

    with Store.open(study_path) as store:
        reader = store.add_reader("R1").id
        for _ in range(3):
            store.record(reader, shown(store, reader).shown_id, REAL)
        wal = study_path / "answers.sqlite-wal"
        whole = wal.stat().st_size
        shown(store, reader)  # one more transaction
        shutil.copytree(study_path, tmp_path / "torn")
    torn = tmp_path / "torn" / "answers.sqlite-wal"
    assert torn.stat().st_size > whole
    with open(torn, "r+b") as file:
        file.truncate(whole + (torn.stat().st_size - whole) // 2)
    (tmp_path / "torn" / "answers.sqlite-shm").unlink()
    with Store.open(tmp_path / "torn") as store:
        assert store.progress(reader).done == 3
        store.record(reader, shown(store, reader).shown_id, REAL)
        assert store.progress(reader).done == 4


@pytest.mark.parametrize("kind", ["garbage", "missing", "cut"])
def test_a_damaged_database_is_said_and_left_as_it_is(study_path: Path, kind: str) -> None:
    path = study_path / "answers.sqlite"
    if kind == "missing":
        path.unlink()
    elif kind == "garbage":
        path.write_bytes(b"no database " * 1000)
    else:
        path.write_bytes(path.read_bytes()[: 4096 * 3])
    before = path.read_bytes() if path.exists() else b""
    with pytest.raises(StoreError) as caught, Store.open(study_path) as store:
        store.add_reader("R1")
    assert caught.value.code == ("missing" if kind == "missing" else "damaged")
    assert "copy" in str(caught.value)
    assert (path.read_bytes() if path.exists() else b"") == before


def test_a_server_killed_at_work_has_every_answer_it_confirmed(study_path: Path) -> None:
    code = """
        import os, sys
        from datadouble.study.records import Given
        from datadouble.study.store import Store
        store = Store.open(sys.argv[1])
        reader = store.add_reader("R1").id
        for number in range(9):
            item = store.next_item(reader)
            store.record(reader, item.shown_id, {"origin": Given("real")})
            sys.stdout.write(item.image + chr(10)); sys.stdout.flush()
        item = store.next_item(reader)
        with store.database.writing() as db:
            db.execute("UPDATE reader SET name = 'half'")
            os.kill(os.getpid(), 9)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(study_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Store.open(study_path) as store:
        assert store.answers_table(practice=True)["image"].tolist() == done.stdout.split()
        assert [r.name for r in store.readers()] == ["R1"]
        assert store.next_item(1) is not None


def test_two_questions_are_stored_together(study_path: Path) -> None:
    import json

    value = json.loads((study_path / "study.json").read_text())
    second = {**PLAIN["questions"][0], "key": "sure", "truth": "", "positive": ""}  # type: ignore[index]
    second["answers"] = [{"key": k, "value": k, "label": k, "truth": []} for k in "yn"]
    value["protocol"]["questions"].append(second)
    protocol_from(value["protocol"])
    (study_path / "study.json").write_text(json.dumps(value))
    with Store.open(study_path) as store:
        reader = store.add_reader("R1").id
        item = shown(store, reader)
        with pytest.raises(AnswerRefused):
            store.record(reader, item.shown_id, REAL)
        store.record(reader, item.shown_id, {**REAL, "sure": Given("y")})
        assert store.progress(reader).done == 1
        store.undo(reader)
        assert store.progress(reader).done == 0
