"""Templates, and the page that says why there is no other."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).resolve().parent

_MESSAGES = {
    "link": (
        "This link does not work",
        "It may have been mistyped, replaced by a newer one, or its time is over. "
        "Please ask whoever runs the study for a new link. Answers that you gave are kept.",
    ),
    "store": (
        "One moment, please",
        "The study cannot store answers just now. Answers that you gave are kept. "
        "Load this page again in a minute; if it stays like this, tell whoever runs the study.",
    ),
    "busy": (
        "Too many requests",
        "Please wait a few seconds and load this page again. Answers that you gave are kept.",
    ),
    "broken": (
        "Something went wrong",
        "Answers that you gave are kept. Load this page again; if it stays like this, tell whoever runs the study.",
    ),
    "invalid": ("This cannot be shown", "Please load the page again from your personal link."),
}

_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, values: dict[str, Any]) -> str:
    """Return a page; every value is escaped."""
    return _templates.get_template(template).render(values)


def message_page(error: str) -> str:
    """Return the page of an error; the same for every reason that a link may have not to work."""
    title, text = _MESSAGES.get(error, _MESSAGES["broken"])
    return render("message.html", {"title": title, "text": text})
