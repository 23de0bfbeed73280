"""``datadouble study serve``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.output import say


def serve(
    study: Annotated[Path, typer.Argument(help="The study's folder.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Listen for other machines, without encryption.")
    ] = False,
    address: Annotated[
        str, typer.Option(help="Where readers reach the server, such as https://study.example.org.")
    ] = "",
) -> None:
    """Serve the study in the browser, and print each reader's link and the administrator's.

    Ctrl-C ends it. It may be ended, or killed, and started again at any time: every answer is stored.
    """
    from datadouble.study.web.serve import serve as serve_study

    serve_study(study, host=host, port=port, allow_remote=allow_remote, address=address, say=say)
