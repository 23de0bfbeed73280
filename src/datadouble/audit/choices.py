"""Choosing an entry of a table by its name, with one message for whoever mistypes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from datadouble.errors import DataDoubleError, suggest

Entry = TypeVar("Entry")


def choose(what: str, name: str | Entry, known: Mapping[str, Entry]) -> Entry:
    """The entry of that name; one that is given as such passes unchanged.

    Parameters
    ----------
    what : str
        What is chosen, in a word: ``"effort"``.

    Raises
    ------
    DataDoubleError
        For an unknown name.
    """
    if not isinstance(name, str):
        return name
    if name not in known:
        raise DataDoubleError(f"unknown {what}", where=what, found=name, remedy=suggest(name, list(known)))
    return known[name]
