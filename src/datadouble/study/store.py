"""The store: who reads, what is shown to whom, and every answer, on the disk before the next image shows.

Each method is one transaction. The web app, scripts and simulated readers all go through it.
"""

import json
import secrets
import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from datadouble.study import progress as standing
from datadouble.study.admission import Admission, get_reader
from datadouble.study.given import check_given
from datadouble.study.records import (
    AnswerRefused,
    Feedback,
    Given,
    Progress,
    Receipt,
    Shown,
    Undone,
    answer_seconds,
    stamp,
)

if TYPE_CHECKING:
    import pandas as pd

IDLE_SECONDS = 600.0
"""A page that comes back after so long without a pause: the time of its image is not known."""
SITTING_GAP_SECONDS = 1800.0
"""After a gap of this length a new sitting begins."""
MOST_FACTS = 4000  # characters of a monitor's report


class Store(Admission):
    """The answers of one study.

    May be used from several threads, and from several processes at once. Readers and their links:
    :class:`~datadouble.study.admission.Admission`.
    """

    def next_item(self, reader: int) -> Shown | None:
        """Return the image that the reader is to judge now; the same one until it is answered.

        None where there is nothing: `progress` says why (paused, washout, finished). Its clock starts with this call.

        Raises
        ------
        AnswerRefused
            ``revoked``.
        """
        with self.database.writing(durable=False) as db:
            row = self._working(db, reader)
            if row["paused"]:
                return None
            showing = _open_showing(db, reader)
            now = self.clock.monotonic()
            if showing is None:
                state = standing.current(db, self.study.protocol, reader, self.clock.now())
                position = standing.next_position(db, reader, state.part) if state.state == "open" else None
                if position is None:
                    return None
                sitting = self._sitting(db, reader)
                db.execute(
                    "INSERT INTO showing(id, reader, part, position, sitting, shown_at, running_since, clock) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        secrets.token_hex(8),
                        reader,
                        state.part,
                        position,
                        sitting,
                        stamp(self.clock.now()),
                        now,
                        self._clock_id,
                    ),
                )
                showing = _open_showing(db, reader)
                assert showing is not None
                elapsed = 0.0
            else:
                elapsed = self._go_on(db, showing, now)
            item = _item(db, showing)
            number, total = standing.number_of(db, item)
            return Shown(
                showing["id"],
                item["part"],
                item["position"],
                item["image"],
                bool(item["practice"]),
                number,
                total,
                elapsed,
            )

    def _go_on(self, db: sqlite3.Connection, showing: sqlite3.Row, now: float) -> float:
        """Let the clock of a showing run (again) and return its active seconds so far."""
        spent = self._spent(showing, now)
        idle = spent is not None and spent - showing["active_seconds"] > IDLE_SECONDS
        if spent is None or idle:
            db.execute(
                "UPDATE showing SET interrupted = 1, running_since = ?, clock = ? WHERE id = ?",
                (now, self._clock_id, showing["id"]),
            )
            return float(showing["active_seconds"])
        if showing["running_since"] is None:
            db.execute(
                "UPDATE showing SET running_since = ?, clock = ? WHERE id = ?",
                (now, self._clock_id, showing["id"]),
            )
        return spent

    def _spent(self, showing: sqlite3.Row, now: float) -> float | None:
        """Active seconds of a showing by the server's clock; None where another server's clock was running."""
        if showing["running_since"] is None:
            return float(showing["active_seconds"])
        if showing["clock"] != self._clock_id:
            return None
        return float(showing["active_seconds"]) + max(0.0, now - showing["running_since"])

    def record(
        self, reader: int, shown_id: str, answers: Mapping[str, Given], *, client_seconds: float | None = None
    ) -> Receipt:
        """Store the answers to every question about the image shown as `shown_id`.

        When this returns the answers are on the disk. Called again with the same `shown_id` (a double click, another
        tab, a network that lost the reply) it changes nothing and says so.

        Parameters
        ----------
        answers
            By the question's key: all questions of the part.
        client_seconds
            Active seconds by the browser, `Shown.elapsed` included.

        Raises
        ------
        AnswerRefused
            ``not-shown``, ``stale``, ``invalid`` or ``revoked``. Nothing was stored.
        StoreError
            Full disk, locked or damaged database. Nothing was stored; the same call may be made again.
        """
        with self.database.writing() as db:
            self._working(db, reader)
            showing = db.execute(
                "SELECT * FROM showing WHERE id = ? AND reader = ?", (shown_id, reader)
            ).fetchone()
            if showing is None:
                raise AnswerRefused(
                    "not-shown", "this image was not shown to you", remedy="load the page again"
                )
            item = _item(db, showing)
            known = db.execute("SELECT * FROM answer WHERE showing = ?", (shown_id,)).fetchall()
            if known:
                undone = known[0]["undone_at"] is not None
                given = {row["question"]: row["value"] for row in known}
                feedback = () if undone else self._feedback(item, given)
                return _receipt(item, shown_id, known[0]["seconds"], feedback, duplicate=True, undone=undone)
            if showing["closed"]:
                raise AnswerRefused(
                    "stale", "this image is not the present one any more", remedy="load the page again"
                )
            checked = check_given(self.study.protocol.questions_of(item["part"]), answers)
            spent = None if showing["interrupted"] else self._spent(showing, self.clock.monotonic())
            seconds, measured = (
                (None, "") if showing["interrupted"] else answer_seconds(spent, client_seconds)
            )
            now = stamp(self.clock.now())
            for question, one in checked.items():
                db.execute(
                    "INSERT INTO answer(showing, reader, part, position, image, question, value, confidence, mark_x, "
                    "mark_y, text, seconds, seconds_from, shown_at, answered_at) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        shown_id,
                        reader,
                        item["part"],
                        item["position"],
                        item["image"],
                        question,
                        one.value,
                        one.confidence,
                        *(one.mark or (None, None)),
                        one.text,
                        seconds,
                        measured,
                        showing["shown_at"],
                        now,
                    ),
                )
            db.execute("UPDATE showing SET closed = 1, running_since = NULL WHERE id = ?", (shown_id,))
            db.execute("UPDATE reader SET paused = 0 WHERE id = ?", (reader,))
            db.execute("UPDATE sitting SET answers = answers + 1 WHERE id = ?", (self._sitting(db, reader),))
            feedback = self._feedback(item, {key: one.value for key, one in checked.items()})
            return _receipt(item, shown_id, seconds, feedback)

    def _feedback(self, item: sqlite3.Row, given: Mapping[str, str]) -> tuple[Feedback, ...]:
        part = self.study.protocol.part(item["part"])
        if not item["practice"] or not part.feedback:
            return ()
        truth = self.study.truth()[item["image"]]
        return tuple(
            Feedback(
                question.key, given.get(question.key, ""), question.right_value(truth.origin, truth.label)
            )
            for question in self.study.protocol.questions_of(part)
        )

    def undo(self, reader: int) -> Undone | None:
        """Take back the reader's last answer, which stays in the history; its image is shown next.

        One step back, and not into a part that was finished before the present one began: None where there is none.
        """
        with self.database.writing() as db:
            self._working(db, reader)
            last = standing.undoable(db, reader)
            if last is None:
                return None
            db.execute(
                "UPDATE answer SET undone_at = ? WHERE showing = ?",
                (stamp(self.clock.now()), last["showing"]),
            )
            db.execute(
                "UPDATE showing SET closed = 1, running_since = NULL WHERE reader = ? AND closed = 0",
                (reader,),
            )
            return Undone(last["part"], last["position"], last["image"])

    def pause(self, reader: int) -> None:
        """Stop the clock; the reader may go on anywhere with `resume`."""
        with self.database.writing(durable=False) as db:
            self._working(db, reader)
            showing = _open_showing(db, reader)
            if showing is not None and showing["running_since"] is not None:
                spent = self._spent(showing, self.clock.monotonic())
                db.execute(
                    "UPDATE showing SET active_seconds = ?, running_since = NULL, interrupted = max(interrupted, ?) "
                    "WHERE id = ?",
                    (
                        showing["active_seconds"] if spent is None else spent,
                        int(spent is None),
                        showing["id"],
                    ),
                )
            db.execute("UPDATE reader SET paused = 1 WHERE id = ?", (reader,))
            if db.execute(
                "SELECT 1 FROM sitting WHERE reader = ? AND ended_at IS NULL", (reader,)
            ).fetchone():
                sitting = self._sitting(db, reader)
                db.execute("UPDATE sitting SET ended_at = ? WHERE id = ?", (stamp(self.clock.now()), sitting))

    def resume(self, reader: int) -> None:
        """End a pause; the clock runs again from the next `next_item`."""
        with self.database.writing(durable=False) as db:
            self._working(db, reader)
            db.execute("UPDATE reader SET paused = 0 WHERE id = ?", (reader,))

    def progress(self, reader: int) -> Progress:
        """Return where the reader stands."""
        with self.database.reading() as db:
            get_reader(db, reader)
            return standing.progress(db, self.study.protocol, reader, self.clock.now())

    def upcoming(self, reader: int, count: int = 3) -> list[str]:
        """Return the next images after the present one, for a page to load ahead; none of a part still closed."""
        with self.database.reading() as db:
            return standing.upcoming(db, self.study.protocol, reader, self.clock.now(), count)

    def may_see(self, reader: int, image: str, *, ahead: int = 3) -> bool:
        """Whether an image may be served to a reader: the present one, the one judged last, and those `upcoming`."""
        with self.database.reading() as db:
            row = db.execute("SELECT revoked_at FROM reader WHERE id = ?", (reader,)).fetchone()
            if row is None or row["revoked_at"] is not None:
                return False
            showing = _open_showing(db, reader)
            seen = [] if showing is None else [_item(db, showing)["image"]]
            last = standing.last_answer(db, reader)
            seen += [] if last is None else [last["image"]]
            return image in seen or image in standing.upcoming(
                db, self.study.protocol, reader, self.clock.now(), ahead
            )

    def add_monitor(self, reader: int, facts: Mapping[str, Any]) -> None:
        """Note what a reader's browser says of its screen (size, pixel ratio, depth, ambient light asked of them).

        Raises
        ------
        AnswerRefused
            ``invalid``: no JSON, or more than 4,000 characters.
        """
        try:
            text = json.dumps(dict(facts), ensure_ascii=False, allow_nan=False, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise AnswerRefused("invalid", "the monitor's facts are no JSON") from error
        if len(text) > MOST_FACTS:
            raise AnswerRefused(
                "invalid", "the monitor's facts are too long", found=f"{len(text)} characters"
            )
        with self.database.writing(durable=False) as db:
            self._working(db, reader)
            last = db.execute(
                "SELECT facts FROM monitor WHERE reader = ? ORDER BY id DESC LIMIT 1", (reader,)
            ).fetchone()
            if last is None or last["facts"] != text:
                db.execute(
                    "INSERT INTO monitor(reader, seen_at, facts) VALUES (?, ?, ?)",
                    (reader, stamp(self.clock.now()), text),
                )

    # -- what comes out (see `tables`)

    def answers_table(self, *, practice: bool = False, undone: bool = False) -> "pd.DataFrame":
        """Return the answers, one row a question; see :func:`datadouble.study.tables.answers_table`."""
        from datadouble.study.tables import answers_table

        return answers_table(self, practice=practice, undone=undone)

    def _working(self, db: sqlite3.Connection, reader: int) -> sqlite3.Row:
        row = get_reader(db, reader)
        if row["revoked_at"] is not None:
            raise AnswerRefused("revoked", "this reader was excluded from the study")
        return row

    def _sitting(self, db: sqlite3.Connection, reader: int) -> int:
        """Return the open sitting, brought up to now, or a new one after a gap or another server."""
        now, mono = stamp(self.clock.now()), self.clock.monotonic()
        row = db.execute("SELECT * FROM sitting WHERE reader = ? AND ended_at IS NULL", (reader,)).fetchone()
        if row is not None:
            gap = mono - row["last_monotonic"]
            if row["clock"] == self._clock_id and 0 <= gap <= SITTING_GAP_SECONDS:
                db.execute(
                    "UPDATE sitting SET last_at = ?, last_monotonic = ?, active_seconds = active_seconds + ? "
                    "WHERE id = ?",
                    (now, mono, gap, row["id"]),
                )
                return int(row["id"])
            db.execute("UPDATE sitting SET ended_at = last_at WHERE id = ?", (row["id"],))
        cursor = db.execute(
            "INSERT INTO sitting(reader, started_at, last_at, last_monotonic, clock) VALUES (?, ?, ?, ?, ?)",
            (reader, now, now, mono, self._clock_id),
        )
        return int(cursor.lastrowid or 0)


def _open_showing(db: sqlite3.Connection, reader: int) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM showing WHERE reader = ? AND closed = 0", (reader,)
    ).fetchone()
    return row


def _item(db: sqlite3.Connection, showing: sqlite3.Row) -> sqlite3.Row:
    row: sqlite3.Row = db.execute(
        "SELECT * FROM item WHERE reader = ? AND part = ? AND position = ?",
        (showing["reader"], showing["part"], showing["position"]),
    ).fetchone()
    return row


def _receipt(
    item: sqlite3.Row,
    shown_id: str,
    seconds: float | None,
    feedback: tuple[Feedback, ...],
    *,
    duplicate: bool = False,
    undone: bool = False,
) -> Receipt:
    return Receipt(
        shown_id, item["part"], item["position"], item["image"], seconds, duplicate, undone, feedback
    )
