"""A reader's page and what it asks for."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from datadouble.study.records import Given
from datadouble.study.study import Study
from datadouble.study.web.desk import Desk
from datadouble.study.web.pages import render

router = APIRouter(prefix="/r/{token}")

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Given(_Body):
    value: str = Field("", max_length=200)
    confidence: _Finite | None = None
    mark: tuple[_Finite, _Finite] | None = None
    text: str = Field("", max_length=8000)


class _Answer(_Body):
    shown_id: str = Field(max_length=64)
    answers: dict[str, _Given] = Field(max_length=100)
    seconds: _Finite | None = None


class _Next(_Body):
    resume: bool = False


class _Monitor(_Body):
    """What a browser knows of its screen, and what the reader says of the room."""

    screen: tuple[int, int]
    window: tuple[int, int]
    pixel_ratio: _Finite
    colour_depth: int
    touch: bool
    light: str = Field("", max_length=20)
    greys_seen: bool | None = None
    browser: str = Field("", max_length=300)


class _Nothing(_Body):
    pass


@router.get("")
def page(token: str, request: Request) -> HTMLResponse:
    """Return the page; what it shows it asks for itself."""
    desk: Desk = request.app.state.desk
    who = desk.store.reader(desk.admit(token, "reader").reader)
    protocol = desk.study.protocol
    facts = {**study_facts(desk.study), "reader": who.id, "progress": desk.progress(who.id)}
    values = {"protocol": protocol, "name": who.name, "facts": json.dumps(facts)}
    return HTMLResponse(render("reader.html", values))


@router.post("/next")
def next_image(token: str, body: _Next, request: Request) -> Response:
    """Return the image to judge now; the clock starts."""
    desk: Desk = request.app.state.desk
    return JSONResponse(desk.next(desk.admit(token, "reader").reader, resume=body.resume))


@router.post("/answer")
def answer(token: str, body: _Answer, request: Request) -> Response:
    """Store the answers to one image; sent again, it changes nothing and says the same."""
    desk: Desk = request.app.state.desk
    reader = desk.admit(token, "reader").reader
    given = {key: Given(one.value, one.confidence, one.mark, one.text) for key, one in body.answers.items()}
    return JSONResponse(desk.answer(reader, body.shown_id, given, body.seconds))


@router.post("/undo")
def undo(token: str, body: _Nothing, request: Request) -> Response:
    """Take the last answer back."""
    desk: Desk = request.app.state.desk
    return JSONResponse(desk.undo(desk.admit(token, "reader").reader))


@router.post("/pause")
def pause(token: str, body: _Nothing, request: Request) -> Response:
    """Stop the clock."""
    desk: Desk = request.app.state.desk
    return JSONResponse(desk.pause(desk.admit(token, "reader").reader))


@router.post("/monitor")
def monitor(token: str, body: _Monitor, request: Request) -> Response:
    """Note what the browser says of the screen."""
    desk: Desk = request.app.state.desk
    reader = desk.admit(token, "reader").reader
    with desk.lock:
        desk.store.add_monitor(reader, body.model_dump(mode="json"))
    return JSONResponse({})


def study_facts(study: Study) -> dict[str, Any]:
    """Return what a reader's page must know of the protocol: no truth, no counts by origin."""
    protocol = study.protocol
    return {
        "study": study.truth_fingerprint[:16],
        "size": study.size,
        "parts": {
            part.name: {
                "title": part.title or part.name,
                "instructions": part.instructions,
                "feedback": part.feedback,
                "questions": [question.key for question in protocol.questions_of(part)],
            }
            for part in protocol.parts
        },
        "questions": {
            question.key: {
                "text": question.text,
                "answers": [
                    {"key": one.key, "value": one.value, "label": one.label} for one in question.answers
                ],
                "confidence": question.confidence,
                "mark": question.mark,
                "free_text": question.free_text,
            }
            for question in protocol.questions
        },
    }
