"""``datadouble adapters``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.output import say


def adapters(
    run: Annotated[Path, typer.Argument(help="A run of recipe lesion.")],
    merge: Annotated[
        tuple[str, Path] | None,
        typer.Option(metavar="NAME OUT", help="Write base and adapter as the weights of one network."),
    ] = None,
    swap: Annotated[
        tuple[str, Path] | None,
        typer.Option(metavar="NAME FOLDER", help="Put the adapter in a folder in this one's place."),
    ] = None,
) -> None:
    """List a run's low-rank adapters, or merge or swap one. An adapter fits the base it was trained on alone."""
    from datadouble.recipes.lesion import adapter_tools

    if merge is not None:
        adapter_tools.merge(run, *merge)
        say(f"base and adapter '{merge[0]}' are in {merge[1]}")
    if swap is not None:
        adapter_tools.swap(run, *swap)
        say(f"adapter '{swap[0]}' is now the one of {swap[1]}; the first one is kept in adapters-before")
    if merge is None and swap is None:
        for line in adapter_tools.table(run):
            say(line)
