"""``datadouble study create``."""

from pathlib import Path
from typing import Annotated

import typer

from datadouble.cli.output import say


def create(
    double: Annotated[Path, typer.Argument(help="The synthetic cohort.")],
    real: Annotated[Path, typer.Option(help="The real cohort that it stands for.")],
    out: Annotated[Path, typer.Option(help="The study's folder.")],
    protocol: Annotated[
        str,
        typer.Option(help="coldit-1, coldit-2, coldit-3, diffguard, trained, demo, or a .toml file."),
    ] = "coldit-1",
    real_images: Annotated[
        int | None, typer.Option("--real-images", min=0, help="In place of the protocol's number.")
    ] = None,
    synthetic_images: Annotated[
        int | None, typer.Option("--synthetic-images", min=0, help="In place of the protocol's number.")
    ] = None,
    practice: Annotated[
        int | None, typer.Option(min=0, help="Practice cases, in place of the protocol's number.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides the images and each reader's order.")] = 0,
) -> None:
    """Choose images of both cohorts, and write them so that nothing but the pixels tells them apart.

    The same command run again continues what was cut off. A study that stands is never overwritten.
    """
    from datadouble.cohort import Cohort
    from datadouble.study.create import create_study
    from datadouble.study.protocol import read_protocol, with_counts

    chosen = with_counts(
        read_protocol(protocol), real=real_images, synthetic=synthetic_images, practice=practice
    )
    study = create_study(chosen, Cohort.open(real), Cohort.open(double), out, seed=seed, say=say)
    say(f"{study.images} images of {study.size} x {study.size} pixels in {out}")
    say(f"keep {out / 'private'} from the readers; next: datadouble study readers add {out} NAME")
