"""Abuse: forged, expired and revoked links, other sites, large bodies, many requests, logs."""

import logging
from datetime import timedelta
from typing import Any

import pytest

from datadouble.study.links import make_link_token
from datadouble.study.web.limits import MOST_KEYS, Limiter
from datadouble.study.web.security import MOST_BYTES


def test_headers_on_every_response(web: Any) -> None:
    shown = web.post("next").json()["shown"]
    for answer in (
        web.client.get(f"/r/{web.token}"),
        web.image(shown["image"]),
        web.client.get("/static/reader.js"),
        web.client.get("/nowhere"),
        web.post("next"),
        web.client.get("/r/wrong"),
        web.client.post(f"/r/{web.token}/next"),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert web.client.get(f"/r/{web.token}").headers["cache-control"] == "no-store, private"


def test_links_that_do_not_work_look_alike(web: Any) -> None:
    later = web.clock.now() + timedelta(days=1)
    forged = [
        make_link_token(b"x" * 32, 1, "reader", later),
        make_link_token(web.store.study.secret(), 1, "reader", later),  # signed, never given out
        web.token[:-1] + ("A" if web.token[-1] != "A" else "B"),
        web.token.split(".")[0],
        "x",
        "..",
        "%00",
        "é",
        "a" * 5000,
    ]
    other = web.store.add_reader("R2")
    revoked = web.store.new_link(other.id)
    web.store.revoke(other.id)
    pages = [web.client.get(f"/r/{token}") for token in forged]
    assert [page.status_code for page in pages] == [404] * len(forged)
    pages.append(web.client.get(f"/r/{revoked}"))
    web.clock.date += timedelta(days=91)
    pages.append(web.client.get(f"/r/{web.token}"))
    assert [page.status_code for page in pages[-2:]] == [403, 403]
    assert len({page.text for page in pages}) == 1
    assert "This link does not work" in pages[0].text
    for action in ("next", "answer", "undo", "pause", "monitor"):
        assert web.post(action, token="forged").status_code in (400, 404)
    assert web.post("next").status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver.evil.example"},
        {"Origin": "http://testserver", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://testserver", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://testserver", "Content-Type": "text/plain"},
        {"Origin": "http://testserver", "Content-Type": "application/x-www-form-urlencoded"},
        {},
    ],
)
def test_posts_of_other_sites_are_refused(web: Any, headers: dict[str, str]) -> None:
    headers = {"Content-Type": "application/json", **headers}
    for path in (f"/r/{web.token}/next", f"/admin/{web.admin_token}/revoke"):
        answer = web.client.post(path, content=b'{"reader": 1}', headers=headers)
        assert (answer.status_code, answer.json()) == (403, {"error": "origin"})
    assert web.store.reader(web.reader.id).revoked_at is None


def test_a_browser_behind_a_proxy_is_let_in(web: Any) -> None:
    headers = {"Origin": "https://study.example.org", "Sec-Fetch-Site": "same-origin"}
    assert web.client.post(f"/r/{web.token}/next", json={}, headers=headers).status_code == 200


def test_other_methods_change_nothing(web: Any) -> None:
    for method in ("put", "delete", "patch"):
        headers = {"Origin": "http://testserver", "Content-Type": "application/json"}
        assert getattr(web.client, method)(f"/r/{web.token}/next", headers=headers).status_code == 405


def test_large_bodies_are_refused(web: Any) -> None:
    headers = {"Origin": "http://testserver", "Content-Type": "application/json"}
    path = f"/r/{web.token}/answer"
    assert web.client.post(path, content=b" " * (MOST_BYTES + 1), headers=headers).status_code == 413

    def endless() -> Any:  # without a length said before
        for _ in range(100):
            yield b" " * 1024 * 16

    assert web.client.post(path, content=endless(), headers=headers).status_code == 413
    lying = {**headers, "Content-Length": "99999999999999999999999"}
    assert web.client.post(path, content=b"{}", headers=lying).status_code == 413


def test_one_link_may_not_ask_without_end(web: Any) -> None:
    codes = [web.client.get(f"/r/{web.token}/image/x.png").status_code for _ in range(90)]
    assert codes[0] == 404 and codes[-1] == 429
    assert web.client.get(f"/admin/{web.admin_token}").status_code == 200  # others are not touched


def test_wrong_links_of_one_address_are_counted_and_good_ones_go_on(web: Any) -> None:
    codes = [web.client.get(f"/r/wrong{number}").status_code for number in range(30)]
    assert codes[0] == 404 and codes[-1] == 429
    assert web.client.get(f"/r/{web.token}").status_code == 200


def test_a_limiter_fills_again_and_forgets() -> None:
    limiter = Limiter(per_second=2, burst=3)
    assert [limiter.allow("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert limiter.allow("b", 0.0)
    assert [limiter.allow("a", 1.0) for _ in range(3)] == [True, True, False]
    assert not limiter.allow("a", 0.5)  # a clock that goes back gives nothing
    for number in range(MOST_KEYS + 50):
        limiter.allow(number, 2.0)
    assert len(limiter) == MOST_KEYS


def test_tokens_are_not_logged(
    web: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG, logger="datadouble")
    caplog.set_level(logging.DEBUG, logger="uvicorn")

    def broken(*args: Any, **named: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(web.store, "progress", broken)
    answer = web.client.get(f"/r/{web.token}")
    assert answer.status_code == 500 and "Something went wrong" in answer.text and "bug" not in answer.text
    assert answer.headers["referrer-policy"] == "no-referrer"
    ours = [record for record in caplog.records if record.name.startswith(("datadouble", "uvicorn"))]
    assert any("a request failed" in record.getMessage() for record in ours)
    assert web.token not in "".join(logging.Formatter().format(record) for record in ours)


def test_nothing_tells_how_the_server_is_made(web: Any) -> None:
    for path in ("/docs", "/openapi.json", "/redoc", "/private/truth.csv", "/answers.sqlite", "/study.json"):
        assert web.client.get(path).status_code == 404
