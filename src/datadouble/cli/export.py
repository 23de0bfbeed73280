"""``datadouble export``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.output import say


def export(
    cohort: Annotated[Path, typer.Argument(help="The cohort or double.")],
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="nnunet.")],
    out: Annotated[Path, typer.Argument(help="Where to write it.")],
    train: Annotated[str, typer.Option(metavar="A,B,…", help="Splits to train on.")] = "train",
    test: Annotated[str, typer.Option(metavar="A,B,…", help="Splits to test on.")] = "test",
    dimensions: Annotated[
        str, typer.Option(help="2d: each picture is a case; 3d: each volume; auto: volumes if there are any.")
    ] = "auto",
    dataset_id: Annotated[int, typer.Option(min=1, max=999, help="nnunet: the data set's number.")] = 500,
    folds: Annotated[int, typer.Option(min=2, help="Folds of cross-validation, by patient.")] = 5,
    seed: Annotated[int, typer.Option(help="Another seed deals out other folds.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the export there.")] = False,
) -> None:
    """Write a cohort or a double in another format."""
    from datadouble.errors import suggest
    from datadouble.release.exporters import FORMATS, ExportOptions, export_cohort

    if form not in FORMATS:
        raise typer.BadParameter(f"there is no format '{form}': {suggest(form, list(FORMATS))}")
    options = ExportOptions(
        train=tuple(train.split(",")),
        test=tuple(test.split(",")),
        dimensions=dimensions,
        dataset_id=dataset_id,
        folds=folds,
        seed=seed,
        overwrite=overwrite,
    )
    made = export_cohort(cohort, form, out, options)
    for note in made.notes:
        typer.echo(f"datadouble: {note}", err=True)
    say(f"{made.cases} cases in {made.path}")
