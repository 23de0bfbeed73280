"""``datadouble audit``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.output import say


def audit(
    double: Annotated[Path, typer.Argument(help="The synthetic cohort to judge, from whichever generator.")],
    real: Annotated[Path, typer.Option(help="The real cohort that it stands for.")],
    out: Annotated[Path, typer.Option(help="The folder for report.html and evidence.json.")],
    run: Annotated[Path | None, typer.Option(help="The run folder, to show its training curves.")] = None,
    extractor: Annotated[str, typer.Option(help="The features that are compared.")] = "efficientnet-lite0",
    reference: Annotated[
        str, typer.Option(help="The real split to compare with: test, holdout or unseen (both).")
    ] = "test",
    neighbours: Annotated[
        int, typer.Option(min=1, help="How many synthetic images are searched for in the training set.")
    ] = 500,
    seed: Annotated[int, typer.Option(help="Seed of the subsamples.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="How many processes extract features.")] = 1,
) -> None:
    """Write the first report on a double: distances beside their floor, nearest neighbours, sample sheets."""
    from datadouble.audit.report import first_report
    from datadouble.cohort import Cohort

    first_report(
        Cohort.open(double),
        Cohort.open(real),
        out,
        run=run,
        extractor=extractor,
        reference=reference,
        neighbours=neighbours,
        seed=seed,
        processes=processes,
    )
    say(f"the report: {out / 'report.html'}")
