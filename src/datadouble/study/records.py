"""What the store takes and gives: readers, what is shown, answers, receipts, progress."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Literal, NamedTuple, Protocol

from datadouble.errors import DataDoubleError

SLACK_SECONDS = 1.0
"""A browser's report may exceed the server's own measure by this much."""
LONGEST_SECONDS = 3600.0
"""A longer time is no time that anybody looked at an image: it is not known."""


class Clock(Protocol):
    """Where the store gets its time: dates from `now`, spans from `monotonic`, which no change of date moves."""

    def now(self) -> datetime:
        """Return the date, aware of its time zone."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Return the date in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since the machine was started."""
        return time.monotonic()


class AnswerRefused(DataDoubleError):
    """An answer or a request that is not taken; nothing was changed.

    `code`: ``"not-shown"`` (never shown to this reader), ``"stale"`` (shown, but given up by an undo since),
    ``"invalid"`` (does not fit the question), ``"revoked"`` (the reader was excluded).
    """

    def __init__(self, code: str, what: str, *, found: str = "", remedy: str = "") -> None:
        self.code = code
        super().__init__(what, found=found, remedy=remedy)


@dataclass(frozen=True)
class Reader:
    """A reader; `group` is ``"junior"``, ``"senior"`` or free, `years` of experience may be unknown."""

    id: int
    name: str
    group: str
    years: float | None
    created_at: datetime
    revoked_at: datetime | None
    paused: bool


class Shown(NamedTuple):
    """An image to be judged now.

    ``number`` counts from 1 to ``total`` within the practice or within the rest of the part. ``elapsed``: active
    seconds that went by before this call (a page that was loaded again); the page adds its own and reports the sum.
    """

    shown_id: str
    part: str
    position: int
    image: str
    practice: bool
    number: int
    total: int
    elapsed: float


class Given(NamedTuple):
    """The answer to one question. ``mark``: (x, y) as shares of width and height, from the upper left."""

    value: str = ""
    confidence: float | None = None
    mark: tuple[float, float] | None = None
    text: str = ""


class Feedback(NamedTuple):
    """After a practice case: the value given and the right one (``""`` where there is none)."""

    question: str
    given: str
    right: str


class Receipt(NamedTuple):
    """What became of an answer: it is on the disk. ``duplicate``: it had been before, and this call changed nothing;
    ``undone``: it was taken back since."""

    shown_id: str
    part: str
    position: int
    image: str
    seconds: float | None
    duplicate: bool
    undone: bool
    feedback: tuple[Feedback, ...]


class Undone(NamedTuple):
    """The item whose answer was taken back: it is shown next."""

    part: str
    position: int
    image: str


class PartProgress(NamedTuple):
    """How far a reader is in one part. Practice and repeats count."""

    part: str
    title: str
    done: int
    total: int
    finished_at: datetime | None


class Progress(NamedTuple):
    """Where a reader stands.

    ``state``: ``"open"`` (there is something to judge), ``"paused"``, ``"waiting"`` (for ``opens_at``: the washout) or
    ``"finished"``. ``part`` is the present part, ``""`` when finished. ``seconds_left``: in this part, from the median
    of the last answers; None before there are some.
    """

    state: Literal["open", "paused", "waiting", "finished"]
    part: str
    practice: bool
    done: int
    total: int
    parts: tuple[PartProgress, ...]
    opens_at: datetime | None
    seconds_left: float | None
    can_undo: bool


def answer_seconds(server: float | None, client: float | None) -> tuple[float | None, str]:
    """Return the time that an answer took, and who measured it.

    The browser knows when the image was really on the screen, the server cannot be lied to: the browser's report is
    taken where it is not longer than the server's span (with `SLACK_SECONDS`), else the server's.

    Parameters
    ----------
    server
        Active seconds by the server's monotonic clock; None where it was restarted in between.
    client
        The browser's report; None without.

    Returns
    -------
    tuple
        Seconds or None, and ``"client"``, ``"server"`` or ``""``.
    """
    longest = LONGEST_SECONDS if server is None else min(LONGEST_SECONDS, server + SLACK_SECONDS)
    if client is not None and isfinite(client) and 0 <= client <= longest:
        return float(client), "client"
    return (None, "") if server is None or server > LONGEST_SECONDS else (server, "server")


def stamp(moment: datetime) -> str:
    """Return a date as it is stored: UTC, milliseconds, so that text sorts as time does."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def moment(text: str | None) -> datetime | None:
    """Return a stored date."""
    return None if text is None else datetime.fromisoformat(text)


def days_after(start: datetime, days: float) -> datetime:
    """Return the date some days later."""
    return start + timedelta(days=days)
