"""The finished parts of an audit on disk, so that a killed audit goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble import files
from datadouble.audit.evidence import plain

if TYPE_CHECKING:
    from datadouble.cohort.cohort import Cohort


@dataclass
class Part:
    """What one part of an audit found.

    Parameters
    ----------
    evidence : dict
        Plain JSON values, for ``evidence.json``.
    arrays : dict of str to ndarray
        What the report draws besides: rows of pictures, curves, boxes.
    """

    evidence: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


class PartStore:
    """Keeps parts in one folder, each under a name that stands for all that it depends on.

    Parameters
    ----------
    folder : Path
        Made where absent.
    depends : str
        Cohorts, versions and settings that every part depends on.
    """

    def __init__(self, folder: Path, *depends: str) -> None:
        self._folder, self._depends = Path(folder), depends

    def get(self, name: str, compute: Callable[[], Part], *depends: str) -> Part:
        """The stored part ``name`` where what it depends on is unchanged; otherwise ``compute`` it and store it."""
        path = self._folder / f"{name}-{files.fingerprint(*self._depends, *depends)}.safetensors"
        if path.is_file():
            return _load(path)
        part = compute()
        self._folder.mkdir(parents=True, exist_ok=True)
        _save(path, part)
        return _load(path)  # equal values, whether it was just made or found


@cache
def source_fingerprint(*names: str, without: str = "") -> str:
    """Changes with any line of the package's own code under these files and folders, such as ``"audit/parts.py"``.

    Read once: what is imported stays what it is while a program runs.

    Parameters
    ----------
    without : str
        A folder among them that does not count.
    """
    import datadouble

    package = Path(datadouble.__file__).parent
    paths = [path for name in names for path in [package / name, *(package / name).rglob("*.py")]]
    texts = {path.relative_to(package).as_posix(): path for path in paths if path.is_file()}
    if without:
        texts = {name: path for name, path in texts.items() if not name.startswith(f"{without}/")}
    return files.fingerprint(*(part for name in sorted(texts) for part in (name, texts[name].read_bytes())))


def cohort_fingerprint(cohort: Cohort) -> str:
    """Changes with any row of the table, and with any picture's length or time of writing."""
    digest = hashlib.sha256(cohort.table.to_csv(index=False).encode())
    digest.update(json.dumps(cohort.info.to_json(), sort_keys=True).encode())
    for column in ("file_name", "mask_file_name"):
        for name in cohort.table[column]:
            digest.update(_state(cohort.path / str(name)) if name else b"-")
    return digest.hexdigest()[:16]


def folder_fingerprint(folder: Path) -> str:
    """Changes with any file of a folder: its name, length or time of writing."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return files.fingerprint(*(path.name.encode() + _state(path) for path in paths))


def _state(path: Path) -> bytes:
    try:
        stat = path.stat()
    except OSError:
        return b"-"
    return f"{stat.st_size}:{stat.st_mtime_ns}".encode()


def _save(path: Path, part: Part) -> None:
    from safetensors.numpy import save

    text = json.dumps(plain(part.evidence), allow_nan=False)
    arrays = {key: np.ascontiguousarray(value) for key, value in part.arrays.items()}
    arrays["_"] = np.zeros(1, np.uint8)  # the format wants one
    files.write_bytes(path, save(arrays, metadata={"evidence": text}))


def _load(path: Path) -> Part:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as stored:
        text = stored.metadata()["evidence"]
        arrays = {key: stored.get_tensor(key) for key in stored.keys() if key != "_"}  # noqa: SIM118
    return Part(json.loads(text), arrays)
