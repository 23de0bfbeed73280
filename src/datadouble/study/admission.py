"""Who may read: the readers of a study, the order each of them sees, and the links that let them in."""

import secrets
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Self

from datadouble.errors import DataDoubleError, suggest
from datadouble.study.database import BUSY_SECONDS, Database
from datadouble.study.given import clean_text
from datadouble.study.links import Claims, LinkError, make_link_token, read_token
from datadouble.study.order import order_for
from datadouble.study.records import Clock, Reader, SystemClock, moment, stamp
from datadouble.study.study import Study

LINK_DAYS = 90


class Admission:
    """Readers and links of one study: what the store has before anybody judges.

    Parameters
    ----------
    study
        The opened study.
    clock
        For tests and simulated readers; default: the machine's.
    busy_seconds
        How long a write waits for another program's.
    """

    def __init__(
        self, study: Study, *, clock: Clock | None = None, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self.study = study
        self.clock: Clock = clock or SystemClock()
        self.database = Database(study.answers_path, busy_seconds=busy_seconds)
        self._clock_id = secrets.token_hex(8)  # spans measured by another server mean nothing to this one
        _ = self.database.connection  # says at once what is wrong with the file

    @classmethod
    def open(
        cls, path: Path | str, *, clock: Clock | None = None, busy_seconds: float = BUSY_SECONDS
    ) -> Self:
        """Open the store of the study in the folder `path`.

        Raises
        ------
        DataDoubleError
            When it is no study, or its database is missing or damaged (`StoreError`).
        """
        return cls(Study.open(path), clock=clock, busy_seconds=busy_seconds)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_reader(self, name: str, *, group: str = "", years: float | None = None) -> Reader:
        """Add a reader and write down the order in which they will see every part.

        Raises
        ------
        DataDoubleError
            When the name is empty, too long or taken, or the years are no number of years.
        """
        name, group = clean_text(name, 80, "--name"), clean_text(group, 40, "--group")
        if not name:
            raise DataDoubleError("a reader needs a name", where="--name", remedy="a code such as R1 will do")
        if years is not None and not 0 <= years <= 80:
            raise DataDoubleError("this is no number of years", where="--years", found=f"{years:g}")
        with self.database.writing() as db:
            if db.execute("SELECT 1 FROM reader WHERE name = ?", (name,)).fetchone():
                raise DataDoubleError(
                    "there is a reader of that name",
                    where="--name",
                    found=name,
                    remedy="choose another, or give the one there a new link with `readers link`",
                )
            cursor = db.execute(
                "INSERT INTO reader(name, reader_group, years, created_at) VALUES (?, ?, ?, ?)",
                (name, group, years, stamp(self.clock.now())),
            )
            reader = int(cursor.lastrowid or 0)
            for part in self.study.protocol.parts:
                db.executemany(
                    "INSERT INTO item(reader, part, position, image, practice) VALUES (?, ?, ?, ?, ?)",
                    [
                        (reader, *item[:3], int(item.practice))
                        for item in order_for(self.study, reader, part.name)
                    ],
                )
            return reader_from(get_reader(db, reader))

    def readers(self) -> list[Reader]:
        """Return all readers, those excluded too."""
        with self.database.reading() as db:
            return [reader_from(row) for row in db.execute("SELECT * FROM reader ORDER BY id")]

    def reader(self, who: int | str) -> Reader:
        """Return the reader of an id or a name.

        Raises
        ------
        DataDoubleError
            When there is none.
        """
        with self.database.reading() as db:
            if isinstance(who, int):
                return reader_from(get_reader(db, who))
            row = db.execute("SELECT * FROM reader WHERE name = ?", (who,)).fetchone()
            if row is None:
                names = [str(row["name"]) for row in db.execute("SELECT name FROM reader")]
                remedy = suggest(who, names) if names else "add one with `datadouble study readers add`"
                raise DataDoubleError("there is no such reader", where="reader", found=who, remedy=remedy)
            return reader_from(row)

    def new_link(self, reader: int | None = None, *, kind: str = "reader", days: float = LINK_DAYS) -> str:
        """Return the token of a new link; a reader's older link stops working, and an excluded reader is back.

        Parameters
        ----------
        reader
            None for ``kind="admin"``.
        """
        if not 0 < days <= 3650:
            raise DataDoubleError("a link works for 0 to 3650 days", where="--days", found=f"{days:g}")
        now, token_id = self.clock.now(), secrets.token_hex(8)
        expires = (now + timedelta(days=days)).replace(microsecond=0) + timedelta(seconds=1)
        token = make_link_token(self.study.secret(), reader or 0, kind, expires, token_id=token_id)
        with self.database.writing() as db:
            if reader is not None:
                get_reader(db, reader)
                self._revoke_links(db, reader)
                db.execute("UPDATE reader SET revoked_at = NULL WHERE id = ?", (reader,))
            db.execute(
                "INSERT INTO link(token_id, kind, reader, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
                (token_id, kind, reader, stamp(now), stamp(expires)),
            )
        return token

    def authenticate(self, token: str, *, kind: str | None = None) -> Claims:
        """Return who a link lets in.

        Parameters
        ----------
        kind
            The only kind to accept.

        Raises
        ------
        LinkError
            ``forged``, ``expired`` or ``revoked``.
        """
        claims = read_token(self.study.secret(), token, now=self.clock.now())
        if kind is not None and claims.kind != kind:
            raise LinkError("forged")
        with self.database.reading() as db:
            row = db.execute(
                "SELECT l.revoked_at, l.kind, l.reader, r.revoked_at AS excluded FROM link l "
                "LEFT JOIN reader r ON r.id = l.reader WHERE l.token_id = ?",
                (claims.token_id,),
            ).fetchone()
        if row is None or row["kind"] != claims.kind or (row["reader"] or 0) != claims.reader:
            raise LinkError("forged")
        if row["revoked_at"] is not None or row["excluded"] is not None:
            raise LinkError("revoked")
        return claims

    def revoke(self, reader: int) -> None:
        """Exclude a reader: the link stops working and no answer is taken. What was answered stays."""
        with self.database.writing() as db:
            get_reader(db, reader)
            self._revoke_links(db, reader)
            now = stamp(self.clock.now())
            db.execute("UPDATE reader SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?", (now, reader))

    def revoke_admin_links(self) -> int:
        """Withdraw every administrator's link; return how many there were."""
        with self.database.writing() as db:
            return db.execute(
                "UPDATE link SET revoked_at = ? WHERE kind = 'admin' AND revoked_at IS NULL",
                (stamp(self.clock.now()),),
            ).rowcount

    def _revoke_links(self, db: sqlite3.Connection, reader: int) -> None:
        db.execute(
            "UPDATE link SET revoked_at = ? WHERE reader = ? AND revoked_at IS NULL",
            (stamp(self.clock.now()), reader),
        )


def get_reader(db: sqlite3.Connection, reader: int) -> sqlite3.Row:
    """Return a reader's row; DataDoubleError where there is none."""
    row: sqlite3.Row | None = db.execute("SELECT * FROM reader WHERE id = ?", (reader,)).fetchone()
    if row is None:
        raise DataDoubleError("there is no such reader", where="reader", found=str(reader))
    return row


def reader_from(row: sqlite3.Row) -> Reader:
    """Return a row of the table as a record."""
    created = moment(row["created_at"])
    assert created is not None
    return Reader(
        row["id"],
        row["name"],
        row["reader_group"],
        row["years"],
        created,
        moment(row["revoked_at"]),
        bool(row["paused"]),
    )
