"""Numbers as a reader meets them, and safe steps into evidence of which any part may be missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, TypeGuard

import numpy as np

NONE = "–"


def at(evidence: Any, path: str) -> Any:
    """The value under a dotted path; None where a step is missing or no dictionary."""
    for key in path.split("."):
        if not isinstance(evidence, dict):
            return None
        evidence = evidence.get(key)
    return evidence


def section(evidence: Any, path: str) -> dict[str, Any]:
    """The dictionary under a dotted path; empty where there is none."""
    found = at(evidence, path)
    return found if isinstance(found, dict) else {}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number (a truth value is none)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def is_estimate(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a value is a dictionary with numbers for value, low and high."""
    return isinstance(value, dict) and all(is_number(value.get(key)) for key in ("value", "low", "high"))


def number(value: Any, digits: int = 3) -> str:
    """A number to so many significant digits, without exponents: 64.7, 0.00123, 1,234."""
    if not is_number(value):
        return NONE
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{min(decimals, 6)}f}".replace("-", "−")


def fixed(value: Any, decimals: int = 2) -> str:
    """A number with so many decimals."""
    return f"{value:,.{decimals}f}".replace("-", "−") if is_number(value) else NONE


def signed(value: Any, decimals: int = 3) -> str:
    """A number with its sign and so many decimals."""
    return f"{value:+.{decimals}f}".replace("-", "−") if is_number(value) else NONE


def percent(share: Any, decimals: int = 1) -> str:
    """A share as a percentage; small ones keep two significant digits: 0.037%."""
    if not is_number(share):
        return NONE
    value = 100 * share
    if 0 < abs(value) < 10**-decimals:
        return f"{number(value, 2)}%"
    return f"{value:.{decimals}f}%".replace("-", "−").replace(".0%", "%")


def count(value: Any) -> str:
    """A whole number with thousands set apart."""
    return f"{round(value):,}" if is_number(value) else NONE


def p_value(value: Any) -> str:
    """A P value to two digits, for a table: ``0.023``, or ``< 0.001``."""
    if not is_number(value):
        return NONE
    return "< 0.001" if value < 0.001 else number(value, 2)


def p_words(value: Any) -> str:
    """A P value in a sentence: ``P = 0.023``, or ``P < 0.001``."""
    found = p_value(value)
    return f"P {found}" if found.startswith("<") else f"P = {found}"


def interval(estimate: Any, form: Callable[[Any], str] = fixed) -> str:
    """``0.52 (0.46 to 0.58)``; the value alone where there is no interval."""
    if not isinstance(estimate, dict):
        return NONE
    value = form(estimate.get("value"))
    if not is_estimate(estimate):
        return value
    return f"{value} ({form(estimate['low'])} to {form(estimate['high'])})"


def without_paths(text: Any) -> str:
    """Text in which of every path only the last part is left, for error messages and settings of other people."""
    return re.sub(
        r"(?:[A-Za-z]:)?[\w.~@%+-]*[/\\](?:[^\s'\"<>|:,;()]*)",
        lambda found: PurePosixPath(found.group().replace("\\", "/")).name,
        str(text),
    )


def plural(n: int, one: str, many: str | None = None) -> str:
    """``1 picture``, ``2 pictures``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def sentence(text: str) -> str:
    """Text with a capital first letter and a full stop."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
