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
    mend: Annotated[
        bool,
        typer.Option(
            "--mend",
            help="Keep train as it is; search look-alikes, and take those of train out of holdout and test.",
        ),
    ] = False,
    crops: Annotated[
        bool | None, typer.Option("--crops/--no-crops", help="With --mend: search for crops too; minutes.")
    ] = None,
) -> None:
    """Divide the patients into train, holdout and test, look-alikes kept together, classes balanced."""
    from datadouble.cohort.split import HOLDOUT, TEST, TRAIN, split_cohort, split_summary
    from datadouble.encoders import seen_images

    if mend:
        if overwrite or seed or not (train is None and holdout is None and test is None):
            raise typer.BadParameter("--mend keeps the split that there is: it takes --crops only")
        return _mend(cohort, crops)
    if crops is not None:
        raise typer.BadParameter("--crops is for --mend; elsewhere `datadouble duplicates` searches")
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


def _mend(path: Path, crops: bool | None) -> None:
    from datadouble.cli.duplicates import say_cost
    from datadouble.cohort import Cohort
    from datadouble.cohort.duplicates import MOST_SEARCHED
    from datadouble.cohort.mend import mend_split
    from datadouble.cohort.split import split_summary

    say_cost(len(Cohort.open(path)), crops, MOST_SEARCHED)
    done, mended = mend_split(path, crops=crops)
    for move in mended.moves:
        say(f"{move.image_id}: {move.before} -> {move.after}: {move.reason}")
    say(split_summary(done.table).to_string(index=False))
    say(f"{len(mended.moves)} pictures moved; train is as it was")
    if mended.within_train:
        say(
            f"{len(mended.within_train)} new pairs look alike within train: their groups stay, for a run has been "
            "trained by them"
        )


def _share(text: str) -> float | str:
    try:
        return text if text == "equal" else float(text)
    except ValueError:
        raise typer.BadParameter(f"--holdout takes a share or 'equal', not '{text}'") from None
