"""nnU-Net's predictions, back as masks of a cohort's pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from datadouble.cohort.cohort import Cohort
from datadouble.cohort.pixels import read_image
from datadouble.errors import DataDoubleError, Problem
from datadouble.progress import track
from datadouble.release.exporters.nnunet_cases import KEY, Case, Numbering, number_cases

_SHOWN = 20


def read_predictions(folder: Path | str, cohort: Cohort) -> dict[str, np.ndarray]:
    """Read what ``nnUNetv2_predict`` wrote for cases that `cohort` was exported as.

    Parameters
    ----------
    folder
        nnU-Net's output folder: one ``case_0001.png`` or ``case_0001.nii.gz`` a case.
    cohort
        The cohort, unchanged since the export, or a view of it: then only its pictures are returned.

    Returns
    -------
    dict of str to numpy.ndarray
        By image id, uint8 (H, W) of class ids of the picture's size. `volumes(cohort, masks=...)` stacks them.

    Raises
    ------
    DataDoubleError
        When there are none, or the cohort is another one; naming every prediction that cannot be read, has another
        size, or holds ids that are no classes.
    """
    folder = Path(folder)
    found = {_case_name(p): p for p in sorted(folder.glob("*")) if _case_name(p)} if folder.is_dir() else {}
    if not found:
        raise DataDoubleError(
            "no predictions are there",
            where=str(folder),
            remedy="give the folder that nnUNetv2_predict wrote, with case_0001.png or case_0001.nii.gz in it",
        )
    three = any(path.name.endswith(".nii.gz") for path in found.values())
    numbering = number_cases(cohort, "3d" if three else "2d")
    _check_cohort(folder, numbering)
    by_name = {case.name: case for case in numbering.cases}
    wanted = {str(image_id) for image_id in cohort.table["image_id"]}
    problems: list[Problem] = []
    masks: dict[str, np.ndarray] = {}
    for name, path in track(list(found.items()), "predictions"):
        if name not in by_name:
            problems.append(Problem("the cohort has no such case", path.name, "", "take the file away"))
            continue
        for image_id, mask in _masks(path, by_name[name], numbering, problems).items():
            if image_id in wanted:
                masks[image_id] = mask
    if problems:
        shown = [str(problem) for problem in problems[:_SHOWN]]
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise DataDoubleError(
            "predictions do not fit the cohort:\n  " + "\n  ".join(shown + more) + "\n",
            where=folder.name,
            remedy="predict again from this cohort's export",
        )
    return masks


def _case_name(path: Path) -> str:
    for ending in (".nii.gz", ".png"):
        if path.name.startswith("case_") and path.name.endswith(ending):
            return path.name[: -len(ending)]
    return ""


def _check_cohort(folder: Path, numbering: Numbering) -> None:
    """Compare the order of the cases with what the copied ``dataset.json`` says, where there is one."""
    file = folder / "dataset.json"
    if not file.is_file():
        return
    try:
        said = json.loads(file.read_text(encoding="utf-8")).get(KEY, {}).get("cases")
    except (ValueError, AttributeError) as error:
        raise DataDoubleError("this is no JSON", where=file.name, found=str(error)[:120]) from error
    if said is not None and said != numbering.fingerprint:
        raise DataDoubleError(
            "the predictions are those of another cohort",
            where=folder.name,
            found=f"cases {said}, the cohort's are {numbering.fingerprint}",
            remedy="give the cohort that was exported; pictures added since change the numbers of the cases",
        )


def _masks(path: Path, case: Case, numbering: Numbering, problems: list[Problem]) -> dict[str, np.ndarray]:
    """Return the masks of one case by image id, none after noting what is wrong."""
    cohort = numbering.cohort
    try:
        stack = _read(path)
    except DataDoubleError as error:
        problems.append(Problem(error.what, error.where, error.found, error.remedy))
        return {}
    shape = (len(case.rows), *cohort.image(int(case.rows[0])).shape[:2])
    if stack.shape != shape:
        sizes = [" x ".join(map(str, each)) for each in (stack.shape, shape)]
        problems.append(Problem(f"prediction is {sizes[0]}, case is {sizes[1]}", path.name))
        return {}
    classes = len(cohort.info.mask_classes)
    if stack.min() < 0 or stack.max() >= classes:
        found = f"{stack.min():g} to {stack.max():g}"
        problems.append(
            Problem("values are no class ids", path.name, found, f"the cohort has 0 to {classes - 1}")
        )
        return {}
    ids = [str(cohort.table["image_id"].iloc[int(row)]) for row in case.rows]
    return {
        image_id: np.ascontiguousarray(mask.astype(np.uint8))
        for image_id, mask in zip(ids, stack, strict=True)
    }


def _read(path: Path) -> np.ndarray:
    """Return a prediction as (z, h, w); a picture has one slice."""
    if path.suffix == ".png":
        return read_image(path)[None]
    import zlib

    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        # as it lies in the file: nnU-Net writes predictions on the grid of the case
        volume: Any = nibabel.load(path)
        return np.asanyarray(volume.dataobj).T
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise DataDoubleError(
            "the volume cannot be read",
            where=path.name,
            found=str(error).replace(str(path), path.name)[:120],
            remedy="it is truncated: predict again",
        ) from error
