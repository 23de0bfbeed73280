"""Personal links: a signed token says who comes, as what, and until when.

A token is ``payload.signature``, both in URL-safe base64: the payload is JSON with a kind, a reader, an id and an
expiry; the signature is its HMAC-SHA256 under the study's own secret. Whether a link was revoked stands in the store,
under the token's id (:meth:`datadouble.study.store.Store.authenticate`).
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from datadouble.errors import DataDoubleError

KINDS = ("reader", "admin")
_VERSION = 1
_LONGEST = 512  # characters: nothing longer is looked at
_SECRET_BYTES = 32


class LinkError(DataDoubleError):
    """A link that lets nobody in; `code` is ``"forged"``, ``"expired"`` or ``"revoked"``."""

    def __init__(self, code: str) -> None:
        self.code = code
        what = {
            "forged": "this link is not valid",
            "expired": "this link has expired",
            "revoked": "this link was withdrawn",
        }[code]
        super().__init__(what, remedy="ask for a new one whoever runs the study")


@dataclass(frozen=True)
class Claims:
    """What a genuine token says: `reader` is 0 for an administrator."""

    kind: str
    reader: int
    token_id: str
    expires: datetime


def make_link_token(
    secret: bytes, reader_id: int, kind: str, expires: datetime, *, token_id: str = ""
) -> str:
    """Return a signed token.

    Parameters
    ----------
    reader_id
        0 for an administrator.
    kind
        ``"reader"`` or ``"admin"``.
    expires
        Aware of its time zone; whole seconds count.
    token_id
        By which the store knows and revokes it; random if empty.
    """
    if kind not in KINDS or (kind == "admin") != (reader_id == 0):
        raise ValueError(f"kind {kind!r} does not go with reader {reader_id}")
    if expires.tzinfo is None:
        raise ValueError("expires has no time zone")
    payload = {
        "v": _VERSION,
        "k": kind,
        "r": reader_id,
        "e": int(expires.timestamp()),
        "t": token_id or secrets.token_hex(8),
    }
    body = _encode(json.dumps(payload, separators=(",", ":")).encode())
    return f"{body}.{_encode(_sign(secret, body))}"


def read_token(secret: bytes, token: str, *, now: datetime | None = None) -> Claims:
    """Return what a token says, after its signature (compared in constant time) and its expiry were checked.

    Raises
    ------
    LinkError
        ``forged`` or ``expired``.
    """
    body, _, signature = token.partition(".") if len(token) <= _LONGEST else ("", "", "")
    try:
        given = _decode(signature)
        genuine = hmac.compare_digest(given, _sign(secret, body)) and _encode(given) == signature
        if not genuine:
            raise LinkError("forged")
        payload = json.loads(_decode(body))
        claims = Claims(
            str(payload["k"]), int(payload["r"]), str(payload["t"]), datetime.fromtimestamp(payload["e"], UTC)
        )
    except (ValueError, KeyError, TypeError, OverflowError, binascii.Error) as error:
        raise LinkError("forged") from error
    if payload.get("v") != _VERSION or claims.kind not in KINDS:
        raise LinkError("forged")
    if (now or datetime.now(UTC)) >= claims.expires:
        raise LinkError("expired")
    return claims


def link_path(token: str, kind: str) -> str:
    """Return the path of a link on the server: ``/r/TOKEN`` for a reader, ``/admin/TOKEN`` for an administrator."""
    return f"/{'r' if kind == 'reader' else 'admin'}/{token}"


def ensure_secret(path: Path) -> bytes:
    """Return the secret in `path`; made at random, readable by its owner alone, where there is none.

    Two processes that come at once get the same secret: the file is made beside and linked to its name, which only
    the first can.
    """
    if not path.exists():
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(_SECRET_BYTES))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                pass
            except OSError:  # a share that knows no hard links
                if not path.exists():
                    os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return read_secret(path)


def read_secret(path: Path) -> bytes:
    """Return the secret in `path`, and take the right to read it from everybody but its owner.

    Raises
    ------
    DataDoubleError
        When the file is missing or holds no secret.
    """
    try:
        if path.stat().st_mode & 0o077:
            with contextlib.suppress(OSError):  # a share that knows no rights
                path.chmod(0o600)
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except FileNotFoundError as error:
        raise DataDoubleError(
            "the study's secret is missing",
            where=path.name,
            remedy="put it back from a copy; without it no link that was sent works",
        ) from error
    except ValueError as error:
        raise DataDoubleError("this is no secret", where=path.name, remedy="put back a copy") from error
    if len(secret) < _SECRET_BYTES:
        raise DataDoubleError("the secret is cut short", where=path.name, remedy="put back a copy")
    return secret


def _sign(secret: bytes, body: str) -> bytes:
    return hmac.new(secret, b"datadouble study link\0" + body.encode(), hashlib.sha256).digest()


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
