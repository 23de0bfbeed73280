"""Serving a study: its address, its links, its server."""

import ipaddress
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from datadouble.errors import DataDoubleError
from datadouble.study.links import link_path, make_link_token
from datadouble.study.store import Store


def serve(
    study_path: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    allow_remote: bool = False,
    address: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Serve a study until it is interrupted.

    Parameters
    ----------
    port
        0: any that is free.
    allow_remote
        Listen on an address that other machines reach, though what is sent there is not encrypted.
    address
        Where readers reach the server, as printed before each link: such as ``https://study.example.org``.
    say
        Told the links.

    Raises
    ------
    DataDoubleError
        When it is no study, the host is not this machine's own (without `allow_remote`), or the port is taken.
    """
    import uvicorn

    from datadouble.study.web.app import make_app

    check_host(host, allow_remote)
    app = make_app(study_path)
    with listen(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host
        base = address.rstrip("/") or f"http://{shown}:{listening.getsockname()[1]}"
        with Store.open(study_path) as store:
            for line in link_lines(store, base):
                say(line)
        # No log of requests: their addresses hold the links.
        config = uvicorn.Config(
            app, access_log=False, log_level="warning", server_header=False, timeout_graceful_shutdown=5
        )
        uvicorn.Server(config).run(sockets=[listening])


def check_host(host: str, allow_remote: bool) -> None:
    """Refuse an address that other machines reach, unless it was allowed."""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local and not allow_remote:
        raise DataDoubleError(
            "other machines would reach the server, and what they send and get, the links too, is not encrypted",
            where="--host",
            found=host,
            remedy="keep 127.0.0.1 and put a proxy that speaks TLS before it (see the guide), or pass "
            "--allow-remote on a network where nobody listens",
        )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that a taken port is said before any link is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: only then does asyncio turn off Nagle's algorithm, which costs 40 ms an answer.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        raise DataDoubleError(
            "nothing can be served there",
            where="--port",
            found=f"{host}:{port}, {getattr(error, 'strerror', None) or error}",
            remedy="choose another port",
        ) from error
    return listening


def link_lines(store: Store, base: str) -> list[str]:
    """Return a line for the administrator's link and each reader's; those that work are kept, not replaced."""
    tokens = current_tokens(store)
    admin = tokens.get(0) or store.new_link(kind="admin")
    lines = [f"administration: {base}{link_path(admin, 'admin')}"]
    readers = [reader for reader in store.readers() if reader.revoked_at is None]
    for reader in readers:
        token = tokens.get(reader.id) or store.new_link(reader.id)
        lines.append(f"{reader.name}: {base}{link_path(token, 'reader')}")
    if not readers:
        lines.append("no readers yet: add them on the page above, or with `datadouble study readers add`")
    return lines


def current_tokens(store: Store) -> dict[int, str]:
    """Return the tokens that work, by reader; 0 is the administrator.

    The store keeps none of them, only their ids and dates, which with the study's secret give the same token again.
    """
    now, tokens = store.clock.now(), {}
    with store.database.reading() as db:
        rows = db.execute(
            "SELECT token_id, kind, reader, expires_at FROM link WHERE revoked_at IS NULL ORDER BY created_at"
        ).fetchall()
    for row in rows:
        expires = datetime.fromisoformat(row["expires_at"])
        if now < expires:
            reader = row["reader"] or 0
            tokens[reader] = make_link_token(
                store.study.secret(), reader, row["kind"], expires, token_id=row["token_id"]
            )
    return tokens
