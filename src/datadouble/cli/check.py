"""``datadouble check``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.failures import PROBLEMS
from datadouble.cli.output import say


def check(cohort: Annotated[Path, typer.Argument(help="The cohort to check.")]) -> None:
    """List every problem of a cohort at once, each with its remedy. Exits with 1 where there is an error."""
    from datadouble.cohort.check import check as find_problems

    problems = find_problems(cohort)
    for problem in problems:
        say(f"{problem.severity}: {problem}")
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    say(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}" if problems else "no problems")
    if errors:
        raise typer.Exit(PROBLEMS)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
