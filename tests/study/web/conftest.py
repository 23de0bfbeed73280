"""A client of the app, with one reader and the administrator."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `study` is not installed")
from fastapi.testclient import TestClient

from datadouble.study.store import Store
from datadouble.study.web.app import make_app

ORIGIN = {"Origin": "http://testserver"}


class Web:
    """The app of a study and what a browser would know of it."""

    def __init__(self, path: Path, clock: Any) -> None:
        self.path, self.clock = path, clock
        with Store.open(path, clock=clock) as store:
            self.reader = store.add_reader("R1", group="junior", years=3)
            self.token = store.new_link(self.reader.id)
            self.admin_token = store.new_link(kind="admin")
        self.app = make_app(path, clock=clock)
        self.client = TestClient(self.app, raise_server_exceptions=False)
        self.store: Store = self.app.state.desk.store

    def post(self, action: str, body: Any = None, *, token: str = "", **more: Any) -> Any:
        headers = {**ORIGIN, **more.pop("headers", {})}
        path = f"/r/{token or self.token}/{action}"
        return self.client.post(path, json=body or {}, headers=headers, **more)

    def admin(self, action: str, body: Any) -> Any:
        return self.client.post(f"/admin/{self.admin_token}/{action}", json=body, headers=ORIGIN)

    def image(self, name: str) -> Any:
        return self.client.get(f"/r/{self.token}/image/{name}.png")

    def answer(self, shown_id: str, value: str = "real", **more: Any) -> Any:
        body = {"shown_id": shown_id, "answers": {"origin": {"value": value, **more}}, "seconds": 1.5}
        return self.post("answer", body)


@pytest.fixture
def web(study_path: Path, clock: Any) -> Iterator[Web]:
    made = Web(study_path, clock)
    with made.client:
        yield made
