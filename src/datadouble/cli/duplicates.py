"""``datadouble duplicates``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.output import say


def duplicates(
    cohort: Annotated[Path, typer.Argument(help="The cohort to search.")],
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1.0, help="Least correlation of a look-alike; the default was measured on BUSI."
        ),
    ] = None,
    crops: Annotated[
        bool | None,
        typer.Option(
            "--crops/--no-crops", help="Search for crops too; minutes. Up to 2,000 pictures unasked."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Change the groups of a cohort that is split already.")
    ] = False,
) -> None:
    """Find pictures that look alike, name their groups in metadata.csv, and list labels in conflict."""
    from datadouble.cohort import Cohort
    from datadouble.cohort.duplicates import MOST_SEARCHED, THRESHOLD, find_duplicates, grouped
    from datadouble.cohort.mend import train_units
    from datadouble.errors import DataDoubleError

    opened = Cohort.open(cohort)
    say_cost(len(opened), crops, MOST_SEARCHED)
    found = find_duplicates(opened, threshold=THRESHOLD if threshold is None else threshold, crops=crops)
    rows = opened.table
    for pair in found.pairs:
        first, second = rows.iloc[pair.first], rows.iloc[pair.second]
        if pair.kind != "whole":
            turned = ", mirrored" if pair.mirrored else ""
            say(
                f"{pair.kind}: {first['image_id']}, {second['image_id']} share {pair.overlap:.0%} of the wider "
                f"picture{turned} (similarity {pair.similarity:.2f})"
            )
    for pair in found.conflicts:
        first, second = rows.iloc[pair.first], rows.iloc[pair.second]
        say(
            f"conflict: {first['image_id']} is {first['label']}, {second['image_id']} is {second['label']} "
            f"(similarity {pair.similarity:.2f})"
        )
    say(
        f"{found.pictures} of {len(opened)} pictures look alike, in {len(found.groups)} groups; "
        f"{len(found.conflicts)} pairs with conflicting labels"
    )
    table = grouped(opened, found)
    if opened.has_splits and not overwrite and train_units(table) != train_units(rows):
        raise DataDoubleError(
            "the cohort is split, and the new groups would change what a run on it takes for validation",
            where=cohort.name,
            remedy="mend the split with `datadouble split --mend`, or pass --overwrite, split again and train again",
        )
    opened.replace_table(table)


def say_cost(pictures: int, crops: bool | None, unasked: int) -> None:
    """Say what a search for crops will take, or that there will be none."""
    from datadouble.cohort.crops import minutes

    if crops is None and pictures > unasked:
        say(
            f"crops are not searched among {pictures} pictures: pass --crops (about {minutes(pictures):.0f} min)"
        )
    elif crops is not False and pictures > 100:
        say(f"search for crops among {pictures} pictures: about {minutes(pictures):.0f} min on one core")
