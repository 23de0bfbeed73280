"""What an audit found, as plain JSON: every number with its interval and n. No patient id and no path is in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from datadouble import files

SCHEMA_VERSION = 1


@dataclass
class Evidence:
    """The record behind a report; :meth:`to_json` gives the layout of ``evidence.json``.

    Parameters
    ----------
    verdict : str
        ``"passed"``, ``"failed"`` or ``"inconclusive"``; without privacy controls always the last.
    reasons : list of str
        Why.
    software, double, real, extractor, settings : dict
        Versions; what was audited against what; the extractor's name, fingerprint and preprocessing; seeds and sizes.
    fidelity, privacy : dict
        Measurements.
    usefulness, realism, controls : dict or None
        None: not measured.
    policy : dict, optional
        The rules that the verdict was taken against, and what each found.
    notes : list of str
        What a reader must know before using the numbers.
    """

    verdict: str
    reasons: list[str]
    software: dict[str, str]
    double: dict[str, Any]
    real: dict[str, Any]
    extractor: dict[str, Any]
    settings: dict[str, Any]
    fidelity: dict[str, Any]
    privacy: dict[str, Any]
    usefulness: dict[str, Any] | None = None
    realism: dict[str, Any] | None = None
    controls: dict[str, Any] | None = None
    policy: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; numbers that do not exist (NaN) become null."""
        values: dict[str, Any] = plain(asdict(self))
        return values

    def write(self, path: Path) -> None:
        """Write ``evidence.json`` in one atomic step."""
        files.write_json(path, self.to_json())


def named(value: Any) -> dict[str, Any]:
    """A small named type (Estimate, Floor, ...) as a dictionary."""
    return dict(value._asdict())


def plain(value: Any) -> Any:
    """JSON values of nested dictionaries, lists, tuples and NumPy scalars; NaN and infinities become None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):  # a NumPy scalar
        value = value.item()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
