"""Patient pseudonyms: keyed hashes whose key stays outside the cohort."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from datadouble.errors import DataDoubleError

_LEAST_KEY_BYTES = 16


class Pseudonyms:
    """HMAC-SHA256 with one key, cut to 16 hexadecimal digits.

    The same key gives the same pseudonyms, so that one patient can be followed through several imports;
    without it a pseudonym can neither be undone nor made again.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, *names: str) -> str:
        """Return the pseudonym of the thing that `names` name together."""
        message = "\x00".join(names).encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:16]


def pseudonyms_from(key_file: Path | None, cohort: Path) -> Pseudonyms:
    """Return the pseudonyms made with the key in `key_file`.

    Without a file the key is the one in ``<cohort>.key`` beside the cohort's folder, made at random if it is
    not there, readable by its owner only.

    Raises
    ------
    DataDoubleError
        When the file is missing or its key too short, or would lie inside the cohort.
    """
    if key_file is None:
        key_file = cohort.with_name(cohort.name + ".key")
        if not key_file.exists():
            _make_key(key_file)
    elif key_file.resolve().is_relative_to(cohort.resolve()):
        raise DataDoubleError(
            "the key lies inside the cohort",
            where=key_file.name,
            remedy="keep it elsewhere: whoever has both can tell who is who",
        )
    try:
        key = key_file.read_bytes().strip()
    except FileNotFoundError as error:
        raise DataDoubleError(
            "the key file is missing",
            where=str(key_file),
            remedy="give the file that an earlier import made, or leave the option out to make a new key",
        ) from error
    if len(key) < _LEAST_KEY_BYTES:
        raise DataDoubleError(
            "the key is too short",
            where=key_file.name,
            found=f"{len(key)} bytes",
            remedy=f"use at least {_LEAST_KEY_BYTES} random bytes, for example 64 hexadecimal digits",
        )
    return Pseudonyms(key)


def _make_key(path: Path) -> None:
    """Write a new random key, as 64 hexadecimal digits, for the owner's eyes only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
