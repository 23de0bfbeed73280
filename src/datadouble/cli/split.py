"""``datadouble split``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.output import say


def split(
    cohort: Annotated[Path, typer.Argument(help="The cohort to split.")],
    train: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Share of the images; 0.75.")] = None,
    holdout: Annotated[
        str | None,
        typer.Option(metavar="SHARE|equal", help="0.125, or 'equal': as large as train."),
    ] = None,
    test: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Share of the images; 0.125.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same split.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another split.")] = False,
) -> None:
    """Divide the patients into train, holdout and test, look-alikes kept together, classes balanced."""
    from datadouble.cohort.split import HOLDOUT, TEST, TRAIN, split_cohort, split_summary
    from datadouble.encoders import seen_images

    done = split_cohort(
        cohort,
        train=TRAIN if train is None else train,
        holdout=HOLDOUT if holdout is None else _share(holdout),  # type: ignore[arg-type]
        test=TEST if test is None else test,
        seed=seed,
        keep_in_train=seen_images,
        overwrite=overwrite,
    )
    say(split_summary(done.table).to_string(index=False))
    if seen := len(seen_images(done)):
        say(f"{seen} pictures stay in train with their patients: a shipped encoder was trained on them")


def _share(text: str) -> float | str:
    try:
        return text if text == "equal" else float(text)
    except ValueError:
        raise typer.BadParameter(f"--holdout takes a share or 'equal', not '{text}'") from None
