"""Writing files so that nothing half-written ever stands under a final name.

Everything is written beside its final name and then renamed, which POSIX makes atomic. A full disk therefore
leaves the old file, or none, and an error that says so.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from datadouble.errors import DataDoubleError

if TYPE_CHECKING:
    import numpy as np


def write_with(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write` with a file opened beside `path`, then rename it to `path`.

    Raises
    ------
    DataDoubleError
        When the disk is full. What stood under `path` before is untouched.
    """
    temporary = path.with_name(
        f".{path.name}.part"
    )  # the same name each time: a killed writer's is taken over
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataDoubleError(
                "the disk is full",
                where=path.name,
                remedy="free some space and run the same command again; it goes on where it stopped",
            ) from error
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one atomic step."""
    write_with(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path` in one atomic step."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path`; NaN is refused, for JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def save_png(path: Path, image: "np.ndarray") -> None:
    """Save an image as PNG: uint8 (H, W) or (H, W, 3), or uint16 (H, W)."""
    from PIL import Image

    picture = Image.fromarray(image)
    write_with(path, lambda file: picture.save(file, format="PNG", compress_level=4))


def fingerprint(*parts: bytes | str) -> str:
    """Return 16 hexadecimal digits that stand for `parts` (SHA-256)."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()[:16]
