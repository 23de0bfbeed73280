"""``datadouble study analyse``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.output import say


def analyse(
    study: Annotated[Path, typer.Argument(help="The study's folder.")],
    out: Annotated[Path, typer.Option(help="The folder for analysis.html, the evidence and the tables.")],
    seed: Annotated[int, typer.Option(help="Seed of bootstraps.")] = 0,
) -> None:
    """Areas, agreement, equivalence, comparisons, times: as far as the readers have got. Changes nothing in the study.

    The page shows real scans and stays inside. For the audit's report: datadouble audit DOUBLE --study OUT.
    """
    from datadouble.study.analysis.analyse import analyse_study
    from datadouble.study.analysis.answers import answers

    evidence = analyse_study(study, out, seed=seed)
    for answer in answers(evidence):
        say(f"{answer.question} {answer.headline}. {answer.text}")
    for note in evidence["notes"]:
        say(f"note: {note}")
    say(f"the analysis: {out / 'analysis.html'}")
