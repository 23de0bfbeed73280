"""The administrator's page: progress, pace, monitors, links, export. No scores: they come with the analysis."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from datadouble.errors import DataDoubleError
from datadouble.study.database import StoreError
from datadouble.study.links import link_path
from datadouble.study.tables import answers_csv, overview
from datadouble.study.web.desk import Desk
from datadouble.study.web.pages import render

router = APIRouter(prefix="/admin/{token}")


class _Reader(BaseModel):
    model_config = ConfigDict(extra="forbid")
    reader: int


class _New(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=200)
    group: str = Field("", max_length=200)
    years: float | None = Field(None, allow_inf_nan=False)


def _desk(token: str, request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    desk.admit(token, "admin")
    return desk


@router.get("")
def page(token: str, request: Request) -> HTMLResponse:
    """Return the page."""
    desk = _desk(token, request)
    rows = overview(desk.store)
    values = {
        "protocol": desk.study.protocol,
        "study": desk.study,
        "rows": [_said(row) for row in rows],
        "answered": sum(part["done"] for row in rows for part in row["parts"]),
        "wanted": sum(part["total"] for row in rows for part in row["parts"]),
        "now": f"{desk.store.clock.now():%Y-%m-%d %H:%M}",
        "path": f"/admin/{token}",
    }
    return HTMLResponse(render("admin.html", values))


@router.get("/answers.csv")
def export(token: str, request: Request) -> Response:
    """Return all answers; the table names each image's origin."""
    desk = _desk(token, request)
    name = f"{desk.study.protocol.name}-answers.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(answers_csv(desk.store), media_type="text/csv; charset=utf-8", headers=headers)


@router.post("/link")
def new_link(token: str, body: _Reader, request: Request) -> Response:
    """Give a reader a new link; the older one stops working."""
    desk = _desk(token, request)
    with desk.lock:
        return _said_or_refused(lambda: {"path": link_path(desk.store.new_link(body.reader), "reader")})


@router.post("/revoke")
def revoke(token: str, body: _Reader, request: Request) -> Response:
    """Exclude a reader; the answers stay."""
    desk = _desk(token, request)

    def work() -> dict[str, Any]:
        desk.store.revoke(body.reader)
        return {}

    with desk.lock:
        return _said_or_refused(work)


@router.post("/add")
def add(token: str, body: _New, request: Request) -> Response:
    """Add a reader and give their link."""
    desk = _desk(token, request)

    def work() -> dict[str, Any]:
        reader = desk.store.add_reader(body.name, group=body.group, years=body.years)
        return {"path": link_path(desk.store.new_link(reader.id), "reader")}

    with desk.lock:
        return _said_or_refused(work)


def _said_or_refused(work: Callable[[], dict[str, Any]]) -> Response:
    try:
        return JSONResponse(work())
    except StoreError:
        raise
    except DataDoubleError as error:
        return JSONResponse({"error": "invalid", "found": error.what}, 400)


def _said(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the overview in words."""
    monitor = row["monitor"] or {}
    screen = " × ".join(str(side) for side in monitor.get("screen", ()))
    parts = [
        screen and f"{screen} @ {monitor.get('pixel_ratio', 1):g}",
        f"{monitor['colour_depth']} bit" if "colour_depth" in monitor else "",
        f"room {monitor['light']}" if monitor.get("light") else "",
        {True: "greys seen", False: "greys not seen"}.get(monitor.get("greys_seen"), ""),  # type: ignore[arg-type]
        "touch" if monitor.get("touch") else "",
    ]
    opens = row["opens_at"]
    states = {
        "open": "reading" if any(part["done"] for part in row["parts"]) else "not begun",
        "paused": "paused",
        "waiting": f"waits until {opens:%Y-%m-%d %H:%M}" if opens else "waits",
        "finished": "finished",
    }
    last = datetime.fromisoformat(row["last_at"]) if row["last_at"] else None
    return {
        **row,
        "said": "excluded" if row["revoked"] else states[row["state"]],
        "pace": "" if row["median_seconds"] is None else f"{row['median_seconds']:.1f} s",
        "rate": "" if row["per_minute"] is None else f"{row['per_minute']:.1f} a minute",
        "left": "" if row["seconds_left"] is None else f"{max(1, round(row['seconds_left'] / 60))} min",
        "last": f"{last:%Y-%m-%d %H:%M}" if last else "",
        "screen": ", ".join(part for part in parts if part),
    }
