"""``datadouble study``: the verbs of reader studies, one module each, gathered here."""

import typer

from datadouble.cli.study import analyse, create, demo, export, readers, serve

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Reader studies in the browser: make one, invite readers, serve it, analyse it.",
)

app.command("create", short_help="Choose and prepare the images of a study.")(create.create)
app.add_typer(readers.app, name="readers", short_help="Add, list and exclude readers; their links.")
app.command("export", short_help="Write the answers as CSV.")(export.export)
app.command("serve", short_help="Serve a study in the browser; print the links.")(serve.serve)
app.command("analyse", short_help="Evidence, tables, plots and a page.")(analyse.analyse)
app.command("demo", short_help="A phantom study with simulated readers.")(demo.demo)
