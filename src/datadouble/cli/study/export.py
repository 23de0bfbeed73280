"""``datadouble study export``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.output import say


def export(
    study: Annotated[Path, typer.Argument(help="The study's folder.")],
    out: Annotated[Path, typer.Argument(help="The CSV file to write.")],
    counted: Annotated[
        bool, typer.Option("--counted", help="Leave out practice and answers that were taken back.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file there.")] = False,
) -> None:
    """Write the answers, one row a reader, image and question. The table names each image's origin."""
    from datadouble.errors import DataDoubleError
    from datadouble.study.store import Store
    from datadouble.study.tables import export_answers

    if out.exists() and not overwrite:
        raise DataDoubleError(
            "the file is there already", where=out.name, remedy="choose another name, or --overwrite"
        )
    with Store.open(study) as store:
        rows = export_answers(store, out, practice=not counted, undone=not counted)
    say(f"{rows} answers in {out}")
