"""``datadouble demo``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.output import say


def demo(
    out: Annotated[Path, typer.Argument(help="The folder for all that it makes.")] = Path("demo"),
    recipe: Annotated[
        str,
        typer.Option(
            help="coldit on breast ultrasound, diffguard with masks on chest CT, or lesion into healthy scans."
        ),
    ] = "coldit",
) -> None:
    """Simulated scans, a generator, a double and its report, in minutes and without a download."""
    from datadouble.demo import run_demo

    say(f"the report: {run_demo(out, recipe=recipe, say=say)}")
