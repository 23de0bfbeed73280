"""The images: only those a reader is to see now, and never by a path."""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from datadouble.errors import DataDoubleError
from datadouble.study.web.desk import AHEAD, Desk

router = APIRouter()


@router.get("/r/{token}/image/{name}.png")
def image(token: str, name: str, request: Request) -> Response:
    """Return the present image, the one judged last, or one of the next few."""
    desk: Desk = request.app.state.desk
    reader = desk.admit(token, "reader").reader
    path = _path(desk, name)
    if path is None or not desk.store.may_see(reader, name, ahead=AHEAD):
        raise HTTPException(404)
    try:
        content = path.read_bytes()  # whole: sent in pieces it takes three times as long
    except FileNotFoundError as error:
        raise HTTPException(404) from error
    return Response(content, media_type="image/png")


def _path(desk: Desk, name: str) -> Path | None:
    try:
        return desk.study.image_path(name)
    except DataDoubleError:
        return None
