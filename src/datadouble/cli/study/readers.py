"""``datadouble study readers``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datadouble.cli.output import say

if TYPE_CHECKING:
    from datadouble.study.store import Store

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Add, list and exclude readers; their links."
)

StudyFolder = Annotated[Path, typer.Argument(help="The study's folder.")]
Days = Annotated[float, typer.Option(min=0.01, max=3650, help="How long the link works.")]
Address = Annotated[
    str, typer.Option("--address", help="Where the server is reached, such as https://host:8000.")
]


@app.command("add", short_help="Add a reader and give their link.")
def add(
    study: StudyFolder,
    name: Annotated[str, typer.Argument(help="A name or, better, a code.")],
    group: Annotated[str, typer.Option(help="junior, senior, or a word of your own.")] = "",
    years: Annotated[float | None, typer.Option(min=0, max=80, help="Years of experience.")] = None,
    days: Days = 90,
    address: Address = "",
) -> None:
    """Add a reader and print their personal link: whoever has it answers as them."""
    from datadouble.study.store import Store

    with Store.open(study) as store:
        _say_link(store, store.add_reader(name, group=group, years=years).id, days, address)


@app.command("link", short_help="Give a reader a new link.")
def link(
    study: StudyFolder,
    name: Annotated[str, typer.Argument(help="The reader's name.")],
    days: Days = 90,
    address: Address = "",
) -> None:
    """Print a new link; the older one stops working. A reader who was excluded is back."""
    from datadouble.study.store import Store

    with Store.open(study) as store:
        _say_link(store, store.reader(name).id, days, address)


@app.command("revoke", short_help="Exclude a reader.")
def revoke(study: StudyFolder, name: Annotated[str, typer.Argument(help="The reader's name.")]) -> None:
    """Withdraw a reader's link. The answers given so far stay; `readers link` lets them in again."""
    from datadouble.study.store import Store

    with Store.open(study) as store:
        store.revoke(store.reader(name).id)
    say(f"{name} is excluded; the answers given so far stay")


@app.command("list", short_help="List the readers and how far they are.")
def list_readers(study: StudyFolder) -> None:
    """Print each reader's group, state, progress and pace."""
    from datadouble.study.store import Store
    from datadouble.study.tables import overview

    with Store.open(study) as store:
        rows = overview(store)
    if not rows:
        say("no readers yet: datadouble study readers add STUDY NAME")
    for row in rows:
        state = "excluded" if row["revoked"] else row["state"]
        done = ", ".join(f"{part['part']} {part['done']}/{part['total']}" for part in row["parts"])
        seconds = row["median_seconds"]
        pace = f", {seconds:.1f} s an answer" if seconds is not None else ""
        opens = f", opens {row['opens_at']:%Y-%m-%d %H:%M} UTC" if row["opens_at"] else ""
        say(f"{row['name']} ({row['group'] or 'no group'}): {state}{opens}: {done}{pace}")


def _say_link(store: "Store", reader: int, days: float, address: str) -> None:
    from datadouble.study.links import link_path

    path = link_path(store.new_link(reader, days=days), "reader")
    say(f"{address.rstrip('/')}{path}")
    if not address:
        say("put the server's address before it, or pass --address")
