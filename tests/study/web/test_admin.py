"""The administrator's page."""

import csv
import io
from typing import Any

import pytest

from datadouble.study.links import read_token


def test_progress_without_scores(web: Any) -> None:
    shown = web.post("next").json()["shown"]
    web.clock.forward(2)
    web.answer(shown["shown_id"])
    text = web.client.get(f"/admin/{web.admin_token}").text
    assert "R1" in text and "1/18" in text and "junior, 3 years" in text and "1.5 s" in text
    assert not {"sensitivity", "AUC", "correct", "accuracy"} & set(text.split())


def test_export_holds_all_and_no_formula(web: Any) -> None:
    evil = web.store.add_reader("=HYPERLINK(1)")
    shown = web.store.next_item(evil.id)
    token = web.store.new_link(evil.id)
    body = {"shown_id": shown.shown_id, "answers": {"origin": {"value": "real"}}, "seconds": 1}
    assert web.post("answer", body, token=token).status_code == 200
    answer = web.client.get(f"/admin/{web.admin_token}/answers.csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="plain-answers.csv"'
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row["reader_name"] == "'=HYPERLINK(1)" and row["value"] == "real"


def test_a_new_link_replaces_the_old(web: Any) -> None:
    path = web.admin("link", {"reader": web.reader.id}).json()["path"]
    assert web.client.get(path).status_code == 200
    assert web.client.get(f"/r/{web.token}").status_code == 403
    assert web.post("next").status_code == 403


def test_exclude_and_let_in_again(web: Any) -> None:
    assert web.admin("revoke", {"reader": web.reader.id}).status_code == 200
    assert web.post("next").status_code == 403
    assert "excluded" in web.client.get(f"/admin/{web.admin_token}").text
    path = web.admin("link", {"reader": web.reader.id}).json()["path"]
    assert (
        web.client.post(f"{path}/next", json={}, headers={"Origin": "http://testserver"}).status_code == 200
    )


def test_add_a_reader(web: Any) -> None:
    path = web.admin("add", {"name": "R9", "group": "senior", "years": 12.5}).json()["path"]
    assert web.client.get(path).status_code == 200
    twice = web.admin("add", {"name": "R9"})
    assert twice.status_code == 400 and "reader of that name" in twice.json()["found"]


@pytest.mark.parametrize(
    ("action", "body"),
    [("link", {"reader": 99}), ("revoke", {"reader": 99}), ("add", {"name": ""}), ("add", {"name": "x" * 999}),
     ("link", {}), ("revoke", {"reader": "all"})],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(web: Any, action: str, body: Any) -> None:
    assert web.admin(action, body).status_code == 400


def test_a_reader_is_no_administrator(web: Any) -> None:
    assert web.client.get(f"/admin/{web.token}").status_code == 404
    assert web.client.get(f"/admin/{web.token}/answers.csv").status_code == 404
    assert web.client.get(f"/r/{web.admin_token}").status_code == 404
    headers = {"Origin": "http://testserver"}
    for action in ("link", "revoke"):
        answer = web.client.post(f"/admin/{web.token}/{action}", json={"reader": 1}, headers=headers)
        assert answer.status_code == 404
    assert read_token(web.store.study.secret(), web.token, now=web.clock.now()).reader == web.reader.id
