"""The verbs, gathered."""

from typing import Annotated

import typer

from datadouble.cli import (
    adapters,
    audit,
    check,
    demo,
    duplicates,
    export,
    fit,
    generate,
    import_,
    phantom,
    split,
    study,
)
from datadouble.cli.failures import CleanGroup

app = typer.Typer(
    cls=CleanGroup,
    name="datadouble",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # rich's help costs a tenth of a second at every start
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from datadouble import __version__

        typer.echo(f"datadouble {__version__}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Data doubles: synthetic medical images with labels and masks, and the evidence on them.

    The way from scans to a report: import, check, split, fit, generate, audit. The same command run again
    continues what was cut off. Exit codes: 0 done, 1 problems found, 2 wrong use.
    """


app.command("demo", short_help="Simulated scans, training, a double, a report.")(demo.demo)
app.command("import", short_help="Bring scans into a cohort.")(import_.import_)
app.command("phantom", short_help="Make a cohort of simulated scans.")(phantom.phantom)
app.command("check", short_help="List every problem of a cohort.")(check.check)
app.command("duplicates", short_help="Find pictures that look alike.")(duplicates.duplicates)
app.command("split", short_help="Divide patients: train, holdout, test.")(split.split)
app.command("fit", short_help="Train a generator on a cohort.")(fit.fit)
app.command("generate", short_help="Draw a double from a generator.")(generate.generate)
app.command("adapters", short_help="List, merge or swap a run's adapters.")(adapters.adapters)
app.command("audit", short_help="Judge a double: faithful, useful, safe?")(audit.audit)
app.command("export", short_help="Write a cohort in another format.")(export.export)
app.add_typer(study.app, name="study", short_help="Reader studies in the browser.")
