"""``datadouble generate``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.output import say


def generate(
    run: Annotated[Path, typer.Argument(help="The run folder that `fit` made.")],
    double: Annotated[Path, typer.Argument(help="The synthetic cohort to make, or to go on with.")],
    images: Annotated[
        int | None, typer.Option(min=1, help="How many images, in the class shares of the training set.")
    ] = None,
    per_class: Annotated[int | None, typer.Option(min=1, help="How many images of each class.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Sampling steps, in place of the run's own.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(min=0.0, help="Weight w in (1+w)·conditional - w·unconditional; 0 is none."),
    ] = None,
    sampler: Annotated[str, typer.Option(help="The sampler, in place of the run's own.")] = "",
    checkpoint: Annotated[str, typer.Option(help="best (least held-out loss) or last.")] = "best",
    seed: Annotated[int, typer.Option(help="Each image follows from the run, the seed and its number.")] = 0,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images drawn at once, in place of the run's own.")
    ] = None,
    autoguidance: Annotated[
        bool, typer.Option("--autoguidance", help="Guide against the run's early checkpoint.")
    ] = False,
    backgrounds: Annotated[
        Path | None,
        typer.Option(
            metavar="COHORT",
            help="Of recipe lesion: the healthy scans to draw into. Synthetic ones make a releasable double.",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE", help="Of recipe lesion: leave out placement, repair or verify. Repeatable."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the double there.")] = False,
) -> None:
    """Draw a double from a trained generator. To resume, run the same command again."""
    if (images is None) == (per_class is None):
        raise typer.BadParameter("give either --images or --per-class")
    from datadouble import recipes

    recipes.generate(
        run,
        double,
        images=images or 0,
        per_class=per_class or 0,
        steps=steps or 0,
        guidance_weight=guidance,
        sampler=sampler,
        checkpoint=checkpoint,
        seed=seed,
        batch=batch or 0,
        autoguidance=autoguidance,
        backgrounds=backgrounds,
        without=without or [],
        overwrite=overwrite,
        say=say,
    )
    say(f"the double is in {double}")
