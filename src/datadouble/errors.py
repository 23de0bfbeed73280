"""What went wrong, said so that the reader can mend it.

Every error and every finding of a check has the same four parts: what is wrong, where, what was found,
and the remedy.
"""

from dataclasses import dataclass


def _sentence(what: str, where: str, found: str, remedy: str) -> str:
    text = f"{where}: {what}" if where else what
    if found:
        text += f" (found {found})"
    return f"{text}: {remedy}" if remedy else text


class DataDoubleError(Exception):
    """An error that a user can act on.

    Parameters
    ----------
    what
        What is wrong.
    where
        The file, row, key or option concerned. Never a patient id.
    found
        What was found there.
    remedy
        What to do about it.
    """

    def __init__(self, what: str, *, where: str = "", found: str = "", remedy: str = "") -> None:
        self.what, self.where, self.found, self.remedy = what, where, found, remedy
        super().__init__(_sentence(what, where, found, remedy))


@dataclass(frozen=True)
class Problem:
    """One finding of a check; `severity` is ``"error"`` or ``"warning"``."""

    what: str
    where: str = ""
    found: str = ""
    remedy: str = ""
    severity: str = "error"

    def __str__(self) -> str:
        return _sentence(self.what, self.where, self.found, self.remedy)


def suggest(name: str, known: list[str]) -> str:
    """Return ``"did you mean 'x'?"`` for the nearest known name, or the list of all of them."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else "choose one of " + ", ".join(sorted(known))
