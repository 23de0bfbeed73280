"""The formats that a cohort can be exported in."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from datadouble.cohort.cohort import Cohort
from datadouble.errors import DataDoubleError, suggest


@dataclass(frozen=True)
class ExportOptions:
    """What can be asked of an export; a format takes what concerns it.

    Parameters
    ----------
    train, test
        Splits whose pictures are for training and for testing. Of a cohort without splits all are for training.
    dimensions
        ``"2d"``: each picture is a case; ``"3d"``: each volume; ``"auto"``: volumes where the cohort has them.
    dataset_id
        The number of an nnU-Net data set.
    folds
        How many folds of cross-validation, by patient.
    seed
        Another seed deals out the folds in another way.
    overwrite
        Replace the export that stands there.
    """

    train: tuple[str, ...] = ("train",)
    test: tuple[str, ...] = ("test",)
    dimensions: str = "auto"
    dataset_id: int = 500
    folds: int = 5
    seed: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class Exported:
    """What was written: the folder or file, how many cases, and what the user should know."""

    path: Path
    cases: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """A format; `module` in this package has ``export(cohort, out, options) -> Exported``."""

    name: str
    module: str
    title: str

    @property
    def export(self) -> Callable[[Cohort, Path, ExportOptions], Exported]:
        """The function that writes it."""
        return import_module(f"datadouble.release.exporters.{self.module}").export


FORMATS: dict[str, Format] = {
    each.name: each
    for each in (Format("nnunet", "nnunet", "nnU-Net v2 raw data set, to train its networks"),)
}


def export_cohort(
    cohort: Cohort | Path | str, form: str, out: Path | str, options: ExportOptions | None = None
) -> Exported:
    """Write a cohort in another format.

    Parameters
    ----------
    form
        One of `FORMATS`.
    out
        Where to; what stands there already is kept unless ``options.overwrite``.

    Raises
    ------
    DataDoubleError
        On an unknown format, or a cohort that does not fit it.
    """
    if form not in FORMATS:
        raise DataDoubleError(
            "there is no such format", where="--format", found=repr(form), remedy=suggest(form, list(FORMATS))
        )
    opened = cohort if isinstance(cohort, Cohort) else Cohort.open(cohort)
    return FORMATS[form].export(opened, Path(out), options or ExportOptions())


def write_folder(target: Path, write: Callable[[Path], None], *, overwrite: bool) -> None:
    """Have `write` fill a folder beside `target`, then put it in its place.

    Raises
    ------
    DataDoubleError
        When `target` is there and may not be replaced.
    """
    if target.exists() and not overwrite:
        raise DataDoubleError(
            "something stands there already",
            where=str(target),
            remedy="choose another folder, or pass --overwrite",
        )
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # a killed export's
    part.mkdir(parents=True)
    try:
        write(part)
        if target.exists():
            shutil.rmtree(target)
        os.replace(part, target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
