"""``datadouble fit``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.output import say


def fit(
    recipe: Annotated[
        str,
        typer.Argument(
            help="How the generator is built and trained: coldit, diffguard or lesion; baselines augment, asyndgan."
        ),
    ],
    cohort: Annotated[Path, typer.Argument(help="The cohort to learn from; its train split is used.")],
    run: Annotated[Path, typer.Argument(help="The run folder to make, or to go on with.")],
    preset: Annotated[
        str, typer.Option(help="A named set of settings, such as paper, gpu-256 or demo; see the reference.")
    ] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting. Repeatable.")
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(help="Of recipe lesion: train this stage alone. Repeatable.", metavar="STAGE"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved settings and the cost, and stop.")
    ] = False,
) -> None:
    """Train a generator on a cohort. To resume, run the same command again."""
    from datadouble import recipes

    recipes.fit(
        recipe,
        cohort,
        run,
        preset=preset,
        overrides=set_ or [],
        dry_run=dry_run,
        stages=stage or [],
        say=say,
    )
