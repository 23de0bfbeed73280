"""``datadouble phantom``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.output import say


def phantom(
    cohort: Annotated[Path, typer.Argument(help="The cohort to make, or to go on with.")],
    kind: Annotated[
        str, typer.Option(help="breast-ultrasound, breast-lesions or chest-ct.")
    ] = "breast-ultrasound",
    patients: Annotated[int, typer.Option(min=1, help="How many; the classes take turns.")] = 200,
    size: Annotated[int, typer.Option(min=16, max=2048, help="Pixels on a side.")] = 128,
    annotations: Annotated[
        bool,
        typer.Option("--annotations", help="Burn in words, calipers and rulers, for tests of the cleaning."),
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same scans.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the cohort there.")] = False,
) -> None:
    """Make a cohort of simulated scans, with masks and patients."""
    from datadouble.cohort.phantom import KINDS
    from datadouble.cohort.phantom.cohort import make_phantom_cohort
    from datadouble.errors import suggest

    if kind not in KINDS:
        raise typer.BadParameter(f"there is no kind '{kind}': {suggest(kind, list(KINDS))}")
    made = make_phantom_cohort(
        cohort,
        kind=kind,
        patients=patients,
        size=size,
        seed=seed,
        annotations=annotations,
        overwrite=overwrite,
    )
    say(f"{len(made)} images in {cohort}")
