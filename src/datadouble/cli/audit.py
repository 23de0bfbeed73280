"""``datadouble audit``."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from datadouble.cli.failures import PROBLEMS
from datadouble.cli.output import say


def audit(
    double: Annotated[Path, typer.Argument(help="The synthetic cohort to judge, from whichever generator.")],
    real: Annotated[Path, typer.Option(help="The real cohort that it stands for.")],
    out: Annotated[Path, typer.Option(help="The folder for report.html and evidence.json.")],
    only: Annotated[
        list[str] | None,
        typer.Option(help="fidelity, privacy, usefulness or realism; repeatable. Default: all."),
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Thresholds, fixed before; default: ours.")] = None,
    effort: Annotated[str, typer.Option(help="demo, standard, thorough or paper.")] = "standard",
    run: Annotated[Path | None, typer.Option(help="The run folder, to show its training curves.")] = None,
    model_access: Annotated[
        bool, typer.Option("--model-access", help="Also attack the weights in the run folder.")
    ] = False,
    study: Annotated[
        Path | None, typer.Option(help="A folder of `study analyse`: its section goes into the report.")
    ] = None,
    other_double: Annotated[
        Path | None, typer.Option(help="A double from a generator that was trained on the holdout.")
    ] = None,
    grouping: Annotated[
        str,
        typer.Option(help="The classes that networks tell apart, such as 2,3|4,5; default: in the middle."),
    ] = "",
    extractor: Annotated[str, typer.Option(help="The features that are compared.")] = "efficientnet-lite0",
    reference: Annotated[
        str, typer.Option(help="The real split to compare with: test, holdout or unseen (both).")
    ] = "unseen",
    seed: Annotated[int, typer.Option(help="Seed of subsamples, permutations and controls.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="How many processes extract features.")] = 1,
) -> None:
    """Judge a double: fidelity, privacy with its controls, usefulness, realism, and a verdict.

    Exits with 1 where the verdict is not `passed`.
    """
    from datadouble.audit.audit import audit as judge
    from datadouble.cohort import Cohort
    from datadouble.errors import DataDoubleError

    section = ""
    if study is not None:  # first: hours later is too late to learn that it is no analysis
        from datadouble.study.analysis import read_analysis, section_html

        section = section_html(read_analysis(study), study)
    attack = None
    if model_access:
        if run is None:
            raise DataDoubleError(
                "an attack on the weights needs the weights", where="--model-access", remedy="give --run RUN"
            )
        attack = _attack(run, real, seed)
    evidence = judge(
        Cohort.open(double),
        Cohort.open(real),
        out,
        only=only or (),
        policy=policy,
        effort=effort,
        run=run,
        other_double=None if other_double is None else Cohort.open(other_double),
        model_access=attack,
        grouping=grouping,
        extractor=extractor,
        reference=reference,
        seed=seed,
        processes=processes,
        study=section,
        say=say,
    )
    say(f"verdict: {evidence.verdict}")
    for reason in evidence.reasons:
        say(f"  {reason}")
    say(f"the report: {out / 'report.html'}")
    if evidence.verdict != "passed":
        raise typer.Exit(PROBLEMS)


def _attack(run: Path, real: Path, seed: int) -> Callable[[Path], dict[str, Any]]:
    """The attack on a run's weights, as the audit calls it: with a folder for what it keeps."""

    def attack(cache: Path) -> dict[str, Any]:
        from datadouble.audit.privacy.model_access import audit_model_access
        from datadouble.cohort import Cohort
        from datadouble.recipes.attack import attack_run

        return attack_run(run, Cohort.open(real), audit_model_access, cache=cache, seed=seed, say=say)

    return attack
