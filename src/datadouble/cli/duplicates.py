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
) -> None:
    """Find pictures that look alike, name their groups in metadata.csv, and list labels in conflict."""
    from datadouble.cohort import Cohort
    from datadouble.cohort.duplicates import THRESHOLD, mark_duplicates

    opened = Cohort.open(cohort)
    found = mark_duplicates(opened, threshold=THRESHOLD if threshold is None else threshold)
    rows = opened.table
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
