"""The desk at which every request reports: who comes, how often, and one writer at a time."""

import threading
from collections.abc import Mapping
from typing import Any

from fastapi import Request

from datadouble.study.database import StoreError
from datadouble.study.links import Claims
from datadouble.study.records import Given, Progress, Receipt, Shown
from datadouble.study.store import Store
from datadouble.study.web.limits import Limiter

AHEAD = 3
"""Images that a page may load before they are shown."""


class TooMany(Exception):
    """More requests than one reader makes, or more wrong links than one address mistypes."""


class Desk:
    """The store with what the web adds to it.

    A lock lets requests write one after the other: SQLite alone would let them try again after ever longer naps.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.study = store.study
        self.lock = threading.Lock()
        self._of_links = Limiter(per_second=20, burst=60)
        self._of_strangers = Limiter(per_second=0.5, burst=20)

    def admit(self, token: str, kind: str) -> Claims:
        """Return who holds a link. Raises LinkError, or TooMany.

        A good link is never refused for what others of its address did: a hospital has one address.
        """
        claims = self.store.authenticate(token, kind=kind)
        if not self._of_links.allow(claims.token_id, self.store.clock.monotonic()):
            raise TooMany
        return claims

    def too_many_wrong_links(self, request: Request) -> bool:
        """Note a wrong link; say whether its address tries too many."""
        address = request.client.host if request.client else ""
        return not self._of_strangers.allow(address, self.store.clock.monotonic())

    def next(self, reader: int, *, resume: bool = False) -> dict[str, Any]:
        """Return what a reader's page shows now; with `resume` a pause ends."""
        with self.lock:
            if resume:
                self.store.resume(reader)
            shown = self.store.next_item(reader)
        return self._view(reader, shown)

    def answer(
        self, reader: int, shown_id: str, answers: Mapping[str, Given], seconds: float | None
    ) -> dict[str, Any]:
        """Store an answer, then return the next image unless feedback or another part comes first."""
        with self.lock:
            receipt = self.store.record(reader, shown_id, answers, client_seconds=seconds)
        view: dict[str, Any] = {"receipt": _receipt(receipt)}
        try:  # the answer is stored whatever happens now: the page asks again for the image alone
            progress = self.store.progress(reader)
            practised = self.study.truth()[receipt.image].practice
            goes_on = (
                progress.state == "open"
                and progress.part == receipt.part
                and progress.practice == practised
                and not receipt.feedback
            )
            if receipt.undone:
                return view | self.next(reader)
            shown, upcoming = None, []
            if goes_on:
                with self.lock:
                    shown = self.store.next_item(reader)
                upcoming = [] if shown is None else self.store.upcoming(reader, AHEAD)
            return view | {
                "progress": _progress(progress),
                "shown": None if shown is None else shown._asdict(),
                "upcoming": upcoming,
            }
        except StoreError:
            return view | {"progress": None, "shown": None, "upcoming": []}

    def undo(self, reader: int) -> dict[str, Any]:
        """Take the last answer back and return its image."""
        with self.lock:
            self.store.resume(reader)
            undone = self.store.undo(reader)
        return {"undone": undone is not None} | self.next(reader)

    def pause(self, reader: int) -> dict[str, Any]:
        """Stop the clock."""
        with self.lock:
            self.store.pause(reader)
        return {"progress": _progress(self.store.progress(reader))}

    def _view(self, reader: int, shown: Shown | None) -> dict[str, Any]:
        return {
            "progress": self.progress(reader),
            "shown": None if shown is None else shown._asdict(),
            "upcoming": [] if shown is None else self.store.upcoming(reader, AHEAD),
        }

    def progress(self, reader: int) -> dict[str, Any]:
        """Return where a reader stands, for the page."""
        return _progress(self.store.progress(reader))


def _progress(progress: Progress) -> dict[str, Any]:
    return {
        "state": progress.state,
        "part": progress.part,
        "practice": progress.practice,
        "done": progress.done,
        "total": progress.total,
        "seconds_left": progress.seconds_left,
        "can_undo": progress.can_undo,
        "opens_at": None if progress.opens_at is None else progress.opens_at.isoformat(),
        "parts": [
            {"part": p.part, "title": p.title, "done": p.done, "total": p.total} for p in progress.parts
        ],
    }


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {
        "shown_id": receipt.shown_id,
        "duplicate": receipt.duplicate,
        "undone": receipt.undone,
        "feedback": [one._asdict() for one in receipt.feedback],
    }
