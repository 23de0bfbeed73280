"""The database of answers: its tables, its transactions, and what its failures are called.

Plain ``sqlite3`` rather than an object mapper: what keeps answers from being counted twice are partial indexes,
triggers and ``BEGIN IMMEDIATE``, which a mapper would only pass through, and a server that does not load SQLAlchemy
starts a second sooner. The tables are STRICT: a wrong type is refused, not stored.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datadouble.errors import DataDoubleError

SCHEMA_VERSION = 1
BUSY_SECONDS = 5.0
"""How long a write waits for another program's."""

_SCHEMA = """
CREATE TABLE reader(
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    reader_group TEXT NOT NULL,
    years REAL,
    created_at TEXT NOT NULL,
    revoked_at TEXT,
    paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1))
) STRICT;

-- Links that were given out. A reader has one that works at most.
CREATE TABLE link(
    token_id TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('reader', 'admin')),
    reader INTEGER REFERENCES reader(id),
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    revoked_at TEXT,
    CHECK ((kind = 'admin') = (reader IS NULL))
) STRICT;
CREATE UNIQUE INDEX one_link ON link(reader) WHERE revoked_at IS NULL AND reader IS NOT NULL;

CREATE TABLE item(
    reader INTEGER NOT NULL REFERENCES reader(id),
    part TEXT NOT NULL,
    position INTEGER NOT NULL CHECK (position >= 0),
    image TEXT NOT NULL,
    practice INTEGER NOT NULL CHECK (practice IN (0, 1)),
    PRIMARY KEY (reader, part, position),
    UNIQUE (reader, image)
) STRICT, WITHOUT ROWID;

-- One image shown to one reader. active_seconds grows at each pause; running_since is the server's monotonic clock,
-- which means nothing to a server that was started later (`clock` says which one it was).
CREATE TABLE showing(
    id TEXT PRIMARY KEY,
    reader INTEGER NOT NULL,
    part TEXT NOT NULL,
    position INTEGER NOT NULL,
    sitting INTEGER NOT NULL REFERENCES sitting(id),
    shown_at TEXT NOT NULL,
    active_seconds REAL NOT NULL DEFAULT 0 CHECK (active_seconds >= 0),
    running_since REAL,
    clock TEXT NOT NULL,
    interrupted INTEGER NOT NULL DEFAULT 0 CHECK (interrupted IN (0, 1)),
    closed INTEGER NOT NULL DEFAULT 0 CHECK (closed IN (0, 1)),
    FOREIGN KEY (reader, part, position) REFERENCES item(reader, part, position)
) STRICT;
CREATE UNIQUE INDEX one_open_showing ON showing(reader) WHERE closed = 0;

CREATE TABLE answer(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    showing TEXT NOT NULL REFERENCES showing(id),
    reader INTEGER NOT NULL,
    part TEXT NOT NULL,
    position INTEGER NOT NULL,
    image TEXT NOT NULL,
    question TEXT NOT NULL,
    value TEXT NOT NULL,
    confidence REAL CHECK (confidence BETWEEN 0 AND 100),
    mark_x REAL CHECK (mark_x BETWEEN 0 AND 1),
    mark_y REAL CHECK (mark_y BETWEEN 0 AND 1),
    text TEXT NOT NULL DEFAULT '',
    seconds REAL CHECK (seconds >= 0),
    seconds_from TEXT NOT NULL CHECK (seconds_from IN ('client', 'server', '')),
    shown_at TEXT NOT NULL,
    answered_at TEXT NOT NULL,
    undone_at TEXT,
    CHECK ((mark_x IS NULL) = (mark_y IS NULL)),
    FOREIGN KEY (reader, part, position) REFERENCES item(reader, part, position)
) STRICT;
CREATE UNIQUE INDEX one_answer ON answer(reader, part, position, question) WHERE undone_at IS NULL;
CREATE UNIQUE INDEX once_a_showing ON answer(showing, question);
CREATE INDEX latest_answer ON answer(reader, id);

CREATE TRIGGER answers_stay BEFORE DELETE ON answer
BEGIN SELECT RAISE(ABORT, 'answers are never deleted'); END;
CREATE TRIGGER answers_are_only_undone BEFORE UPDATE ON answer
WHEN OLD.undone_at IS NOT NULL OR NEW.undone_at IS NULL
  OR (NEW.id, NEW.showing, NEW.reader, NEW.part, NEW.position, NEW.image, NEW.question, NEW.value, NEW.confidence,
      NEW.mark_x, NEW.mark_y, NEW.text, NEW.seconds, NEW.seconds_from, NEW.shown_at, NEW.answered_at)
  IS NOT (OLD.id, OLD.showing, OLD.reader, OLD.part, OLD.position, OLD.image, OLD.question, OLD.value,
      OLD.confidence, OLD.mark_x, OLD.mark_y, OLD.text, OLD.seconds, OLD.seconds_from, OLD.shown_at, OLD.answered_at)
BEGIN SELECT RAISE(ABORT, 'an answer is never changed, only undone once'); END;

-- A stretch of work without a long gap.
CREATE TABLE sitting(
    id INTEGER PRIMARY KEY,
    reader INTEGER NOT NULL REFERENCES reader(id),
    started_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    last_monotonic REAL NOT NULL,
    clock TEXT NOT NULL,
    active_seconds REAL NOT NULL DEFAULT 0,
    answers INTEGER NOT NULL DEFAULT 0,
    ended_at TEXT
) STRICT;
CREATE UNIQUE INDEX one_open_sitting ON sitting(reader) WHERE ended_at IS NULL;

-- What the reader's browser says of its screen (JSON).
CREATE TABLE monitor(
    id INTEGER PRIMARY KEY,
    reader INTEGER NOT NULL REFERENCES reader(id),
    seen_at TEXT NOT NULL,
    facts TEXT NOT NULL
) STRICT;
"""


class StoreError(DataDoubleError):
    """The database did not do it; `code` is ``full``, ``locked``, ``damaged``, ``readonly``, ``missing`` or ``io``.

    Nothing of the transaction was kept; all that was confirmed before is.
    """

    def __init__(self, code: str, found: str = "") -> None:
        self.code = code
        what, remedy = {
            "full": (
                "the disk is full",
                "free some space: the reader may answer again, nothing else was lost",
            ),
            "locked": (
                "the answers are locked by another program",
                "close what else has the file open (a backup, a database browser), then answer again",
            ),
            "damaged": (
                "the database of answers is damaged",
                "stop the server, keep the file and those ending in -wal and -shm, put back a copy or run "
                "`sqlite3 answers.sqlite .recover`",
            ),
            "readonly": (
                "the answers cannot be written",
                "give the server the right to write in the study folder",
            ),
            "missing": (
                "the database of answers is missing",
                "put it back from a copy; a new one would forget every answer",
            ),
            "io": ("the answers could not be read or written", "look after the disk, then answer again"),
        }[code]
        super().__init__(what, where="answers.sqlite", found=found, remedy=remedy)


_CODES = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
    sqlite3.SQLITE_SCHEMA: "damaged",
    sqlite3.SQLITE_READONLY: "readonly",
    sqlite3.SQLITE_PERM: "readonly",
    sqlite3.SQLITE_CANTOPEN: "io",
    sqlite3.SQLITE_IOERR: "io",
}


@contextmanager
def explained() -> Iterator[None]:
    """Turn SQLite's failures into `StoreError`; those of our own statements stay what they are."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = _CODES.get((getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF)
        if code is None:
            raise
        raise StoreError(code, str(error)) from error


class Database:
    """Connections to one database of answers, one for each thread.

    A durable transaction is on the disk when `writing` ends (``synchronous = FULL``): neither a killed server nor a
    power cut takes back an answer that was confirmed.
    """

    def __init__(self, path: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path, self._busy = path, busy_seconds
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._guard = threading.Lock()

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            if not self.path.is_file():
                raise StoreError("missing")
            with explained():
                found = sqlite3.connect(
                    f"{self.path.absolute().as_uri()}?mode=rw",
                    uri=True,
                    timeout=self._busy,
                    isolation_level=None,
                    check_same_thread=False,
                )
                found.row_factory = sqlite3.Row
                try:
                    found.execute("PRAGMA foreign_keys = ON")
                    version = found.execute("PRAGMA user_version").fetchone()[0]
                except BaseException:
                    found.close()
                    raise
            if version != SCHEMA_VERSION:
                found.close()
                raise DataDoubleError(
                    f"schema version {SCHEMA_VERSION} is expected",
                    where="answers.sqlite",
                    found=str(version),
                    remedy="use the version of DataDouble that wrote it",
                )
            self._local.connection = found
            with self._guard:
                self._all.append(found)
        return found

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Run a block in one transaction: all of it is stored, or nothing.

        Parameters
        ----------
        durable
            Wait for the disk. Without, a power cut (not a killed server) may take the transaction back, as long as no
            durable one follows: enough for what is only shown, and six times as quick.
        """
        connection = self.connection
        with explained():
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Run a block in which all queries see one state."""
        connection = self.connection
        with explained():
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close every thread's connection."""
        with self._guard:
            for connection in self._all:
                connection.close()
            self._all.clear()
        self._local = threading.local()


def create_database(path: Path) -> None:
    """Make an empty database of answers; one that stands already is left alone.

    Made beside its name and then linked to it, so that a killed creation leaves none or a whole one.
    """
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}.part")
    temporary.unlink(missing_ok=True)
    with explained():
        connection = sqlite3.connect(temporary, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        finally:
            connection.close()  # takes the write-ahead log into the file
    temporary.chmod(0o600)  # names and answers; the files beside it take over its rights
    temporary.replace(path)
