"""What a command says."""

import os

import typer


def say(text: str) -> None:
    """Write a line to standard output, from the first process only where torchrun started several."""
    if os.environ.get("RANK", "0") == "0":
        typer.echo(text)
