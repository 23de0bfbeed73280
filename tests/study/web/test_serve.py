"""Serving: which addresses, which links."""

import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from datadouble.cli.app import app
from datadouble.errors import DataDoubleError
from datadouble.study.store import Store
from datadouble.study.web.serve import check_host, current_tokens, link_lines, listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_this_machine_alone(host: str) -> None:
    check_host(host, allow_remote=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "study.example.org", ""])
def test_others_only_when_allowed(host: str) -> None:
    with pytest.raises(DataDoubleError, match="not encrypted.*TLS.*--allow-remote"):
        check_host(host, allow_remote=False)
    check_host(host, allow_remote=True)


def test_the_command_refuses_and_says_why(made: Path) -> None:
    result = CliRunner().invoke(app, ["study", "serve", str(made), "--host", "0.0.0.0"])
    assert result.exit_code == 2
    assert "not encrypted" in result.stderr


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(DataDoubleError, match="choose another port"):
            listen("127.0.0.1", taken.getsockname()[1])


def test_links_that_work_are_printed_not_replaced(store: Store, clock: Any) -> None:
    assert "no readers yet" in link_lines(store, "http://x")[-1]
    first, second, third = (store.add_reader(name).id for name in ("R1", "R2", "R3"))
    token = store.new_link(first, days=30)
    store.new_link(third)
    store.revoke(third)
    assert current_tokens(store)[first] == token
    lines = link_lines(store, "https://study.example.org")
    assert lines[0].startswith("administration: https://study.example.org/admin/")
    assert lines[1] == f"R1: https://study.example.org/r/{token}"
    assert lines[2].startswith("R2: ") and len(lines) == 3
    assert link_lines(store, "https://study.example.org") == lines
    assert store.authenticate(lines[2].rsplit("/", 1)[1]).reader == second
    clock.date += timedelta(days=31)
    assert store.authenticate(link_lines(store, "")[1].rsplit("/", 1)[1]).reader == first
