"""Progress bars with the time left, on the terminal's error stream."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int | None = None, done: int = 0) -> Iterator[T]:
    """Yield `items` behind a progress bar; on anything but a terminal a line is written now and then.

    Parameters
    ----------
    total
        How many items there are in all; taken from ``len(items)`` where it has one.
    done
        How many of them were finished by an earlier, interrupted run.
    """
    if total is None and hasattr(items, "__len__"):
        total = done + len(items)  # type: ignore[arg-type]
    with Bar(description, total, done) as bar:
        for item in items:
            yield item
            bar.advance()


class Bar:
    """A progress bar to move by hand: `advance` by any amount, with a short `note` at its end."""

    _PLAIN_INTERVAL_S = 30.0  # a line each half minute in a log file

    def __init__(self, description: str, total: int | None, done: int = 0) -> None:
        import sys
        import time

        self._description, self._total, self._done, self._start_done = description, total, done, done
        self._clock = time.monotonic
        self._started = self._printed = self._clock()
        self._rich = None
        self._stream = sys.stderr
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._rich = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self._task = self._rich.add_task(description, total=total, completed=done, note="")

    def __enter__(self) -> "Bar":
        if self._rich:
            self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._rich:
            self._rich.stop()

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Move the bar by `amount`."""
        self._done += amount
        if self._rich:
            self._rich.update(self._task, advance=amount, note=note)
            return
        now = self._clock()
        if now - self._printed < self._PLAIN_INTERVAL_S:
            return
        self._printed = now
        line = f"{self._description}: {self._done:g}"
        if self._total:
            rate = (self._done - self._start_done) / (now - self._started)
            left = (self._total - self._done) / rate if rate > 0 else 0.0
            line += f" of {self._total:g}, {left / 60:.1f} min left"
        self._stream.write(f"{line} {note}".rstrip() + "\n")
        self._stream.flush()
