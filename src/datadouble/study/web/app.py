"""The web app, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from datadouble.study.database import StoreError
from datadouble.study.links import LinkError
from datadouble.study.records import AnswerRefused, Clock
from datadouble.study.store import Store
from datadouble.study.web import admin, images, reader
from datadouble.study.web.desk import Desk, TooMany
from datadouble.study.web.pages import HERE, message_page
from datadouble.study.web.security import Shield

THREADS = 8
"""Requests worked on at once: each has its own connection, and only one of them can write."""

_REFUSALS = {"revoked": 403, "not-shown": 409, "stale": 409, "invalid": 400}


def make_app(study_path: Path | str, *, clock: Clock | None = None) -> FastAPI:
    """Return the web app of the study in the folder `study_path`.

    Parameters
    ----------
    clock
        For tests; default: the machine's.

    Raises
    ------
    DataDoubleError
        When it is no study, or its database is missing or damaged.
    """
    store = Store.open(study_path, clock=clock)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield
        store.close()

    app = FastAPI(title="DataDouble", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.desk = Desk(store)
    for module in (reader, images, admin):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    app.add_api_route("/favicon.ico", _no_icon, methods=["GET"])
    for kind, handler in (
        (LinkError, _link_error),
        (StoreError, _store_error),
        (AnswerRefused, _refused),
        (TooMany, _too_many),
        (RequestValidationError, _invalid),
        (HTTPException, _http_error),
    ):
        app.add_exception_handler(kind, handler)
    app.add_middleware(Shield)
    return app


def _no_icon() -> Response:
    return Response(status_code=204)


def _answer(request: Request, status: int, error: str, headers: dict[str, str] | None = None) -> Response:
    """Say it to a script as JSON, to a person as a page; neither says more than `error`."""
    if request.method == "GET":
        return HTMLResponse(message_page(error), status, headers)
    return JSONResponse({"error": error}, status, headers)


def _link_error(request: Request, error: Exception) -> Response:
    code = error.code if isinstance(error, LinkError) else "forged"
    if code == "forged" and request.app.state.desk.too_many_wrong_links(request):
        return _too_many(request, error)
    return _answer(request, 404 if code == "forged" else 403, "link")


def _store_error(request: Request, error: Exception) -> Response:
    return _answer(request, 503, "store", {"Retry-After": "2"})


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnswerRefused)
    if error.code == "revoked":
        return _answer(request, 403, "link")
    found = error.found if error.code == "invalid" else ""
    return JSONResponse({"error": error.code, "found": found}, _REFUSALS[error.code])


def _too_many(request: Request, error: Exception) -> Response:
    return _answer(request, 429, "busy", {"Retry-After": "2"})


def _invalid(request: Request, error: Exception) -> Response:
    return _answer(request, 400, "invalid")  # what was sent is not repeated


def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _answer(request, status, "link" if status in (403, 404, 405) else "invalid")
