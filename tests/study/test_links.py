"""Links: genuine ones work until they expire; every other is turned away without a word on why it failed."""

import base64
import hashlib
import hmac
import json
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datadouble.errors import DataDoubleError
from datadouble.study.links import LinkError, ensure_secret, make_link_token, read_secret, read_token

SECRET = b"s" * 32
NOW = datetime(2030, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


def test_a_token_says_what_was_put_in() -> None:
    claims = read_token(SECRET, make_link_token(SECRET, 7, "reader", LATER, token_id="abc"), now=NOW)
    assert (claims.kind, claims.reader, claims.token_id, claims.expires) == ("reader", 7, "abc", LATER)


def test_the_signature_is_hmac_sha256_by_hand() -> None:
    body, signature = make_link_token(SECRET, 7, "reader", LATER, token_id="abc").split(".")
    digest = hmac.new(SECRET, b"datadouble study link\0" + body.encode(), hashlib.sha256).digest()
    assert signature == base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_expired_forged_and_foreign_tokens() -> None:
    token = make_link_token(SECRET, 7, "reader", LATER)
    with pytest.raises(LinkError) as caught:
        read_token(SECRET, token, now=LATER)
    assert caught.value.code == "expired"
    body = base64.urlsafe_b64encode(
        json.dumps({"v": 1, "k": "admin", "r": 0, "e": 9e9, "t": ""}).encode()
    ).decode()
    for forged in (
        make_link_token(b"x" * 32, 7, "reader", LATER),
        body.rstrip("=") + "." + token.split(".")[1],
        token[:-1],
        token + "=",
        token.upper(),
        "",
        ".",
        "é.é",
        "a" * 10_000,
    ):
        with pytest.raises(LinkError) as caught:
            read_token(SECRET, forged, now=NOW)
        assert caught.value.code == "forged"


@given(st.text(max_size=200))
def test_any_text_is_turned_away(text: str) -> None:
    with pytest.raises(LinkError):
        read_token(SECRET, text, now=NOW)


@given(st.integers(0, 10_000), st.integers(0, 63))
def test_any_changed_character_is_noticed(place: int, other: int) -> None:
    token = make_link_token(SECRET, 7, "reader", LATER, token_id="abc")
    place %= len(token)
    letter = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[other]
    changed = token[:place] + letter + token[place + 1 :]
    if changed == token:
        return
    with pytest.raises(LinkError):
        read_token(SECRET, changed, now=NOW)


def test_kinds_that_do_not_fit_and_dates_without_a_zone() -> None:
    for reader, kind in ((0, "reader"), (3, "admin"), (3, "root")):
        with pytest.raises(ValueError, match="kind"):
            make_link_token(SECRET, reader, kind, LATER)
    with pytest.raises(ValueError, match="time zone"):
        make_link_token(SECRET, 3, "reader", LATER.replace(tzinfo=None))


def test_the_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path, found = tmp_path / "secret.key", []
    threads = [threading.Thread(target=lambda: found.append(ensure_secret(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and len(found) == 8
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret.key"]
    path.chmod(0o644)
    assert read_secret(path) == found[0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "zz", "abcd"])
def test_a_damaged_secret_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret.key").write_text(content)
    with pytest.raises(DataDoubleError, match="copy"):
        read_secret(tmp_path / "secret.key")
