"""``datadouble study demo``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.output import say


def demo(
    out: Annotated[Path, typer.Argument(help="The folder for all that it makes.")] = Path("study-demo"),
    seed: Annotated[int, typer.Option(help="Seed of scans, readers and bootstraps.")] = 0,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the analysis in a browser.")] = True,
) -> None:
    """A study of simulated scans, answered by simulated readers of known ability, and its analysis; under a minute."""
    from datadouble.study.demo import run_demo

    page = run_demo(out, seed=seed, say=say)
    say(f"the analysis: {page}")
    if show:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
