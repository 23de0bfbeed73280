"""What every request passes: its size, its origin; and what every response carries."""

import logging
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datadouble.study.web.pages import message_page

MOST_BYTES = 64 * 1024
"""Of a request's body: the longest answers to a dozen questions take a third of it."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Robots-Tag": "noindex, nofollow",
}


class _TooLarge(Exception):
    pass


_log = logging.getLogger(__name__)


class Shield:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what is too large or comes from another site, and add the headers to every response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, received = False, 0
        cache = "no-cache" if scope["path"].startswith("/static/") else "no-store, private"

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if received > MOST_BYTES:
                    message["status"] = 413  # the framework calls it a body that cannot be parsed
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["Cache-Control"] = cache
            await send(message)

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MOST_BYTES:
                raise _TooLarge
            return message

        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:12]) > MOST_BYTES:
            await JSONResponse({"error": "too-large"}, 413)(scope, receive, guarded_send)
        elif scope["method"] not in ("GET", "HEAD") and not same_origin(headers):
            await JSONResponse({"error": "origin"}, 403)(scope, receive, guarded_send)
        else:
            try:
                await self.app(scope, counted_receive, guarded_send)
            except _TooLarge:
                if not started:
                    await JSONResponse({"error": "too-large"}, 413)(scope, receive, guarded_send)
            except Exception:
                # Not left to the server: its log would name the address, and with it the link.
                _log.exception("a request failed")
                if not started:
                    await HTMLResponse(message_page("broken"), 500)(scope, receive, guarded_send)


def same_origin(headers: Headers) -> bool:
    """Whether a request that changes something comes from our own page.

    ``Sec-Fetch-Site``, which no page can forge, decides where a browser sends it (over TLS and to this machine);
    else ``Origin`` must name the host that was asked. A request with neither is none of a page's. The body must be
    JSON, which no form of another site can send.
    """
    if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc.lower() == headers.get("host", "").lower() != ""
