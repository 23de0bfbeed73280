"""nnU-Net's cases and a cohort's rows: the numbering that both the export and the predictions' way back use."""

from dataclasses import dataclass

import numpy as np

from datadouble import files
from datadouble.cohort.cohort import Cohort
from datadouble.cohort.volumes import VolumeRows, volume_rows
from datadouble.errors import DataDoubleError

KEY = "datadouble"
"""Our entry in ``dataset.json``; nnU-Net copies the file beside its predictions."""


@dataclass(frozen=True)
class Case:
    """One case: a picture, or a volume. `rows` are rows of the whole cohort, from the lowest slice."""

    name: str
    rows: np.ndarray
    volume: VolumeRows | None = None


@dataclass(frozen=True)
class Numbering:
    """All cases of a cohort and what stands for their order; `three` says whether they are volumes."""

    cohort: Cohort
    cases: tuple[Case, ...]
    three: bool
    fingerprint: str


def number_cases(cohort: Cohort, dimensions: str = "auto") -> Numbering:
    """Number the cases of the whole cohort to which `cohort`, perhaps a view, belongs.

    Names are ``case_0001`` and so on in the order of image or volume ids; they tell nothing of patients.

    Raises
    ------
    DataDoubleError
        When volumes are asked for and there are none, or they have gaps.
    """
    whole = Cohort.open(cohort.path)
    if dimensions not in ("auto", "2d", "3d"):
        raise DataDoubleError(
            "there is no such choice", where="--dimensions", found=dimensions, remedy="auto, 2d, 3d"
        )
    three = dimensions == "3d" or (
        dimensions == "auto"
        and "volume_id" in whole.table.columns
        and bool((whole.table["volume_id"] != "").all())
    )
    if three:
        found = volume_rows(whole)
        width = max(4, len(str(len(found))))
        cases = tuple(Case(f"case_{i:0{width}d}", v.rows, v) for i, v in enumerate(found, start=1))
        names = [volume.volume_id for volume in found]
    else:
        order = np.argsort(whole.table["image_id"].to_numpy(dtype=str), kind="stable")
        width = max(4, len(str(len(order))))
        cases = tuple(Case(f"case_{i:0{width}d}", np.array([row])) for i, row in enumerate(order, start=1))
        names = sorted(str(image_id) for image_id in whole.table["image_id"])
    return Numbering(whole, cases, three, files.fingerprint("nnunet", "3d" if three else "2d", *names))
