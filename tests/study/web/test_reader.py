"""The reader's page: what it shows and stores."""

import copy
import html
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from datadouble.cohort import Cohort
from datadouble.study.create import create_study
from datadouble.study.database import StoreError
from datadouble.study.protocol import protocol_from

from ..conftest import PLAIN
from .conftest import Web


def test_the_page_tells_no_truth(web: Any) -> None:
    page = web.client.get(f"/r/{web.token}")
    assert page.status_code == 200
    facts = json.loads(html.unescape(re.search(r'data-facts="([^"]*)"', page.text).group(1)))
    assert facts["questions"]["origin"]["answers"][0] == {"key": "r", "value": "real", "label": "Real"}
    assert facts["progress"]["total"] == 18
    text = json.dumps(facts)
    assert "truth" not in text and "positive" not in text and "synthetic_images" not in text
    for row in web.store.study.truth().values():
        assert row.image not in page.text


def test_the_page_has_no_inline_code_and_asks_nobody_else(web: Any) -> None:
    for path in (f"/r/{web.token}", f"/admin/{web.admin_token}", "/r/wrong"):
        text = web.client.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)", text)
        assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", text)
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)
    for name in ("reader.js", "questions.js", "viewer.js", "network.js", "admin.js", "study.css"):
        answer = web.client.get(f"/static/{name}")
        assert answer.status_code == 200
        assert "http" not in re.sub(r"//.*", "", answer.text)
        assert "innerHTML" not in answer.text and "eval(" not in answer.text


def test_looking_at_the_page_starts_no_clock(web: Any) -> None:
    web.client.get(f"/r/{web.token}")
    with web.store.database.reading() as db:
        assert db.execute("SELECT count(*) FROM showing").fetchone()[0] == 0


def test_an_answer_is_stored_before_the_next_image_shows(web: Any) -> None:
    first = web.post("next").json()["shown"]
    web.clock.forward(2)
    web.answer(first["shown_id"])
    (row,) = web.store.answers_table(practice=True).to_dict("records")
    assert (row["image"], row["value"], row["seconds"]) == (first["image"], "real", 1.5)


def test_practice_tells_the_truth_and_waits(web: Any) -> None:
    shown = web.post("next").json()["shown"]
    assert shown["practice"]
    truth = web.store.study.truth()[shown["image"]].origin
    answer = web.answer(shown["shown_id"], "real").json()
    assert answer["receipt"]["feedback"] == [{"question": "origin", "given": "real", "right": truth}]
    assert answer["shown"] is None and answer["progress"]["done"] == 1


def run_practice(web: Any) -> dict[str, Any]:
    shown = web.post("next").json()["shown"]
    while shown["practice"]:
        web.answer(shown["shown_id"])
        shown = web.post("next").json()["shown"]
    return shown


def test_the_next_image_comes_with_the_receipt_and_tells_nothing(web: Any) -> None:
    shown = run_practice(web)
    answer = web.answer(shown["shown_id"]).json()
    assert answer["receipt"]["feedback"] == []
    assert answer["shown"]["number"] == 2 and len(answer["upcoming"]) == 3
    assert not {"origin", "label", "repeat_of"} & (answer["shown"].keys() | answer["receipt"].keys())


def test_a_double_click_counts_once(web: Any) -> None:
    shown = run_practice(web)
    first, second = web.answer(shown["shown_id"]).json(), web.answer(shown["shown_id"], "synthetic").json()
    assert second["receipt"]["duplicate"] and second["shown"]["shown_id"] == first["shown"]["shown_id"]
    table = web.store.answers_table()
    assert list(table["value"]) == ["real"]


def test_undo_shows_the_image_again(web: Any) -> None:
    shown = run_practice(web)
    web.answer(shown["shown_id"])
    again = web.post("undo").json()
    assert again["undone"] and again["shown"]["image"] == shown["image"]
    assert again["shown"]["shown_id"] != shown["shown_id"]
    lost_reply = web.post("undo").json()
    assert not lost_reply["undone"] and lost_reply["shown"] == again["shown"]
    assert web.answer(shown["shown_id"]).json()["receipt"]["undone"]  # what a second tab still shows


def test_pause_stops_the_clock_and_another_machine_goes_on(web: Any) -> None:
    shown = web.post("next").json()["shown"]
    web.clock.forward(3)
    assert web.post("pause").json()["progress"]["state"] == "paused"
    web.clock.forward(1000)
    assert web.post("next").json()["shown"] is None
    again = web.post("next", {"resume": True}).json()["shown"]
    assert again["shown_id"] == shown["shown_id"] and again["elapsed"] == 3


def test_the_washout_closes_the_second_part(web: Any) -> None:
    view = web.post("next").json()
    while view["shown"]:
        view = web.answer(view["shown"]["shown_id"]).json()
        if view["shown"] is None and view["progress"]["state"] == "open":
            view = web.post("next").json()
    assert view["progress"]["state"] == "waiting" and view["progress"]["opens_at"].startswith("2030-01-15")
    web.clock.forward(14 * 86400 + 1)
    assert web.post("next").json()["shown"]["part"] == "two"


def test_images_only_when_they_are_due(web: Any) -> None:
    shown = run_practice(web)
    view = web.post("next").json()
    assert [web.image(name).status_code for name in [shown["image"], *view["upcoming"]]] == [200] * 4
    answer = web.image(shown["image"])
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "no-store, private"
    rows = web.store.study.truth()
    others = set(rows) - {shown["image"], *view["upcoming"]}
    later = [name for name in others if rows[name].part == "two" or not rows[name].practice]
    assert all(web.image(name).status_code == 404 for name in later[:15])


@pytest.mark.parametrize(
    "name",
    [
        "..%2fprivate%2ftruth.csv",
        "../private/truth",
        "%2e%2e/study",
        "0" * 16,
        "x",
        "a" * 400,
        "0%00",
        "..\\study",
    ],
)
def test_no_path_leads_out(web: Any, name: str) -> None:
    web.post("next")
    for path in (f"/r/{web.token}/image/{name}.png", f"/r/{web.token}/image/{name}", f"/static/{name}"):
        answer = web.client.get(path)
        assert answer.status_code in (400, 404)
        assert "origin" not in answer.text and "patient" not in answer.text


@pytest.mark.parametrize(
    ("answers", "seconds"),
    [
        ({}, 1),
        ({"origin": {"value": "maybe"}}, 1),
        ({"other": {"value": "real"}}, 1),
        ({"origin": {"value": "real", "confidence": 50}}, 1),
        ({"origin": {"value": "real", "mark": [2, 0]}}, 1),
        ({"origin": {"value": "real", "extra": 1}}, 1),
        ({"origin": ["real"]}, 1),
        ({"origin": {"value": "real"}}, "soon"),
    ],
)
def test_what_does_not_answer_the_question_is_refused(web: Any, answers: Any, seconds: Any) -> None:
    shown = run_practice(web)
    answer = web.post("answer", {"shown_id": shown["shown_id"], "answers": answers, "seconds": seconds})
    assert answer.status_code == 400 and answer.json()["error"] == "invalid"
    assert len(web.store.answers_table()) == 0
    assert web.post("next").json()["shown"]["shown_id"] == shown["shown_id"]


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"\xff", b'{"shown_id": NaN}', b"null", b'{"seconds": 1e999}']
)
def test_what_is_no_json_is_refused(web: Any, content: bytes) -> None:
    headers = {"Origin": "http://testserver", "Content-Type": "application/json"}
    answer = web.client.post(f"/r/{web.token}/answer", content=content, headers=headers)
    assert answer.status_code == 400 and answer.json() == {"error": "invalid"}


def test_an_image_that_was_not_shown_cannot_be_answered(web: Any) -> None:
    other = web.store.add_reader("R2")
    shown = web.store.next_item(other.id)
    for shown_id in (shown.shown_id, "0" * 16, "' OR 1=1 --"):
        answer = web.answer(shown_id)
        assert (answer.status_code, answer.json()["error"]) == (409, "not-shown")
    assert len(web.store.answers_table(practice=True)) == 0


@pytest.mark.parametrize("code", ["full", "locked", "damaged", "readonly", "io"])
def test_a_store_that_fails_asks_for_the_same_again(
    web: Any, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run_practice(web)

    def fail(*args: Any, **named: Any) -> None:
        raise StoreError(code)

    with monkeypatch.context() as patch:
        patch.setattr(web.store, "record", fail)
        answer = web.answer(shown["shown_id"])
        assert answer.status_code == 503 and answer.json() == {"error": "store"}
        assert answer.headers["retry-after"] == "2"
        patch.setattr(web.store, "progress", fail)
        assert web.client.get(f"/r/{web.token}").status_code == 503
    assert not web.answer(shown["shown_id"]).json()["receipt"]["duplicate"]


def test_an_answer_is_confirmed_although_the_next_image_fails(
    web: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run_practice(web)

    def fail(*args: Any, **named: Any) -> None:
        raise StoreError("full")

    with monkeypatch.context() as patch:
        patch.setattr(web.store, "next_item", fail)
        answer = web.answer(shown["shown_id"])
    assert answer.status_code == 200 and answer.json()["shown"] is None
    assert len(web.store.answers_table()) == 1


def test_a_locked_database_is_told_and_nothing_lost(web: Any) -> None:
    shown = run_practice(web)
    web.store.database.close()
    web.store.database._busy = 0.05
    other = sqlite3.connect(web.path / "answers.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert web.answer(shown["shown_id"]).status_code == 503
    other.execute("ROLLBACK")
    other.close()
    assert web.answer(shown["shown_id"]).status_code == 200
    assert len(web.store.answers_table()) == 1


def test_html_in_names_is_text(web: Any) -> None:
    evil = '<img src=x onerror="alert(1)">'
    other = web.store.add_reader(evil, group="<b>g</b>")
    page = web.client.get(f"/r/{web.store.new_link(other.id)}").text
    admin = web.client.get(f"/admin/{web.admin_token}").text
    for text in (page, admin):
        assert "<img" not in text and "&lt;img" in text
    assert "<b>g" not in admin


def test_html_in_free_text_is_stored_as_it_is_and_shown_nowhere(
    tmp_path: Path, cohorts: tuple[Cohort, Cohort], clock: Any
) -> None:
    values = copy.deepcopy(PLAIN)
    values["questions"][0]["free_text"] = True
    create_study(protocol_from(values), *cohorts, tmp_path / "study")
    web = Web(tmp_path / "study", clock)
    evil = "</textarea><script>alert(1)</script>\u202e=1+1"
    with web.client:
        shown = web.post("next").json()["shown"]
        reply = web.answer(shown["shown_id"], text=evil)
        assert reply.status_code == 200 and "script" not in reply.text
        assert web.store.answers_table(practice=True)["text"].iloc[0] == evil.replace("\u202e", "")
        for path in (f"/r/{web.token}", f"/admin/{web.admin_token}"):
            assert "alert(1)" not in web.client.get(path).text
        assert web.answer(web.post("next").json()["shown"]["shown_id"], text="x" * 8001).status_code == 400


def test_monitor(web: Any) -> None:
    facts = {
        "screen": [1366, 768],
        "window": [1366, 650],
        "pixel_ratio": 1.25,
        "colour_depth": 24,
        "touch": False,
    }
    assert web.post("monitor", {**facts, "light": "dim", "greys_seen": True}).status_code == 200
    assert web.post("monitor", {**facts, "light": "x" * 5000}).status_code == 400
    text = web.client.get(f"/admin/{web.admin_token}").text
    assert "1366 × 768 @ 1.25, 24 bit, room dim, greys seen" in text


def test_pictures_all_look_alike_on_the_wire(web: Any) -> None:
    shown = run_practice(web)
    names = [shown["image"], *web.post("next").json()["upcoming"]]
    headers = []
    for name in names:
        given = dict(web.image(name).headers)
        headers.append(given)
    assert all(one == headers[0] for one in headers)
