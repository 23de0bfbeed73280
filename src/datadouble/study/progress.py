"""Where a reader stands, from the rows of the database."""

import sqlite3
from datetime import datetime
from statistics import median
from typing import NamedTuple

from datadouble.study.protocol import Protocol
from datadouble.study.records import PartProgress, Progress, days_after, moment

LATEST = 30
"""The time left is judged by so many answers."""


class Standing(NamedTuple):
    """The part a reader is in, and whether it is open yet."""

    state: str
    part: str
    opens_at: datetime | None
    parts: tuple[PartProgress, ...]


def current(db: sqlite3.Connection, protocol: Protocol, reader: int, now: datetime) -> Standing:
    """Return the first part that is not finished; a washout counts from the last answer of the part before.

    The last by its number, not by its date: where the clock was wrong, an undo and the answer again set it right.
    """
    totals = {
        row["part"]: row["n"]
        for row in db.execute(
            "SELECT part, count(*) AS n FROM item WHERE reader = ? GROUP BY part", (reader,)
        )
    }
    done = {
        row["part"]: (row["n"], row["latest"])
        for row in db.execute(
            "SELECT part, count(DISTINCT position) AS n, answered_at AS latest, max(id) FROM answer "
            "WHERE reader = ? AND undone_at IS NULL GROUP BY part",
            (reader,),
        )
    }
    parts = []
    for part in protocol.parts:
        answered, latest = done.get(part.name, (0, None))
        total = totals.get(part.name, 0)
        finished = moment(latest) if answered >= total else None
        parts.append(PartProgress(part.name, part.title or part.name, answered, total, finished))
    before: datetime | None = None
    for part, there in zip(protocol.parts, parts, strict=True):
        if there.done < there.total:
            opens_at = days_after(before, part.after_days) if before is not None and part.after_days else None
            waiting = there.done == 0 and opens_at is not None and now < opens_at
            return Standing("waiting" if waiting else "open", part.name, opens_at, tuple(parts))
        before = there.finished_at
    return Standing("finished", "", None, tuple(parts))


def progress(db: sqlite3.Connection, protocol: Protocol, reader: int, now: datetime) -> Progress:
    """Return what the reader's page and the administrator's say of a reader."""
    standing = current(db, protocol, reader, now)
    here = next((part for part in standing.parts if part.part == standing.part), None)
    paused = db.execute("SELECT paused FROM reader WHERE id = ?", (reader,)).fetchone()[0]
    times = [
        row[0]
        for row in db.execute(
            "SELECT seconds FROM answer WHERE reader = ? AND part = ? AND undone_at IS NULL AND seconds IS NOT NULL "
            "GROUP BY showing ORDER BY max(id) DESC LIMIT ?",
            (reader, standing.part, LATEST),
        )
    ]
    position = next_position(db, reader, standing.part) if here else None
    practice = position is not None and bool(
        db.execute(
            "SELECT practice FROM item WHERE reader = ? AND part = ? AND position = ?",
            (reader, standing.part, position),
        ).fetchone()[0]
    )
    return Progress(
        "paused" if paused and standing.state == "open" else standing.state,  # type: ignore[arg-type]
        standing.part,
        practice,
        here.done if here else 0,
        here.total if here else 0,
        standing.parts,
        standing.opens_at if standing.state == "waiting" else None,
        median(times) * (here.total - here.done) if here and times else None,
        undoable(db, reader) is not None,
    )


def next_position(db: sqlite3.Connection, reader: int, part: str) -> int | None:
    """Return the first position of a part without an answer."""
    found: int | None = db.execute(
        "SELECT min(position) FROM item i WHERE reader = ? AND part = ? AND NOT EXISTS (SELECT 1 FROM answer a "
        "WHERE a.reader = i.reader AND a.part = i.part AND a.position = i.position AND a.undone_at IS NULL)",
        (reader, part),
    ).fetchone()[0]
    return found


def upcoming(db: sqlite3.Connection, protocol: Protocol, reader: int, now: datetime, count: int) -> list[str]:
    """Return the images after the present one, as many as `count`, of an open part."""
    standing = current(db, protocol, reader, now)
    if standing.state != "open":
        return []
    rows = db.execute(
        "SELECT image FROM item i WHERE reader = ? AND part = ? AND NOT EXISTS (SELECT 1 FROM answer a "
        "WHERE a.reader = i.reader AND a.part = i.part AND a.position = i.position AND a.undone_at IS NULL) "
        "ORDER BY position LIMIT ?",
        (reader, standing.part, count + 1),
    )
    return [row["image"] for row in rows][1:]


def number_of(db: sqlite3.Connection, item: sqlite3.Row) -> tuple[int, int]:
    """Return an item's number among the practice cases or among the others, and how many those are."""
    row = db.execute(
        "SELECT sum(position <= ?) AS number, count(*) AS total FROM item "
        "WHERE reader = ? AND part = ? AND practice = ?",
        (item["position"], item["reader"], item["part"], item["practice"]),
    ).fetchone()
    return row["number"], row["total"]


def last_answer(db: sqlite3.Connection, reader: int) -> sqlite3.Row | None:
    """Return the answer a reader gave last, undone or not."""
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM answer WHERE reader = ? ORDER BY id DESC LIMIT 1", (reader,)
    ).fetchone()
    return row


def undoable(db: sqlite3.Connection, reader: int) -> sqlite3.Row | None:
    """Return the answer that an undo would take back: the last, not undone yet, and of the part shown last."""
    last = last_answer(db, reader)
    if last is None or last["undone_at"] is not None:
        return None
    shown = db.execute(
        "SELECT part FROM showing WHERE reader = ? ORDER BY rowid DESC LIMIT 1", (reader,)
    ).fetchone()
    return last if shown["part"] == last["part"] else None
