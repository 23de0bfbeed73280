"""nnU-Net v2's raw data set (Isensee et al., Nature Methods 2021;18:203): `Dataset500_Name` with `imagesTr`,
`labelsTr`, `imagesTs`, `labelsTs`, `dataset.json` and `splits_final.json`.

Pictures become PNG cases, volumes NIfTI cases in HU with their spacing. Training takes the split train, `imagesTs` the
split test; holdout patients, the privacy control, are not exported. The folds keep patients and look-alikes whole: copy
``splits_final.json`` to nnU-Net's folder of preprocessed data before training, or it makes folds by case.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from datadouble import files
from datadouble.cohort.cohort import Cohort
from datadouble.cohort.hounsfield import to_hounsfield
from datadouble.cohort.pixels import to_grey
from datadouble.cohort.split import units_of
from datadouble.errors import DataDoubleError
from datadouble.progress import track
from datadouble.randomness import seed_for
from datadouble.release.exporters.nnunet_cases import KEY, Case, Numbering, number_cases
from datadouble.release.exporters.nnunet_predictions import read_predictions
from datadouble.release.exporters.registry import Exported, ExportOptions, write_folder

__all__ = ["export", "read_predictions"]


def export(cohort: Cohort, out: Path, options: ExportOptions) -> Exported:
    """Write `cohort` as an nnU-Net data set.

    Parameters
    ----------
    out
        The data set's folder, if it is named like ``Dataset500_Breast``; else the folder to make it in.

    Raises
    ------
    DataDoubleError
        When no picture for training has a mask, or something stands there.
    """
    if len(cohort.info.mask_classes) < 2:
        raise DataDoubleError(
            "the cohort has no masks",
            where=str(cohort.path.name),
            remedy="nnU-Net segments: export a cohort with masks",
        )
    numbering = number_cases(cohort, options.dimensions)
    here = {str(image_id) for image_id in cohort.table["image_id"]}
    cases = [case for case in numbering.cases if _ids(numbering, case) <= here]
    train, test, notes = _roles(numbering, cases, options)
    target = out if re.fullmatch(r"Dataset\d{3}_\w+", out.name) else out / _folder_name(cohort, options)
    folds = _folds(numbering, train, options)
    if not folds:
        notes.append("one patient alone: no folds are written, nnU-Net would divide the patient")

    def write(folder: Path) -> None:
        for role, members in (("Tr", train), ("Ts", test)):
            for kind in ("images", "labels"):
                (folder / f"{kind}{role}").mkdir()
            for case in track(members, f"export images{role}"):
                _write_case(numbering, case, folder, role)
        files.write_json(folder / "dataset.json", _dataset_json(cohort, numbering, len(train)))
        if folds:
            files.write_json(folder / "splits_final.json", folds)

    write_folder(target, write, overwrite=options.overwrite)
    return Exported(target, len(train) + len(test), tuple(notes))


def _ids(numbering: Numbering, case: Case) -> set[str]:
    return {str(numbering.cohort.table["image_id"].iloc[row]) for row in case.rows}


def _folder_name(cohort: Cohort, options: ExportOptions) -> str:
    if not 1 <= options.dataset_id <= 999:
        raise DataDoubleError(
            "nnU-Net numbers data sets from 1 to 999", where="--dataset-id", found=str(options.dataset_id)
        )
    name = re.sub(r"\W+", "", cohort.info.name.title()) or "Cohort"
    return f"Dataset{options.dataset_id:03d}_{name}"


def _roles(
    numbering: Numbering, cases: list[Case], options: ExportOptions
) -> tuple[list[Case], list[Case], list[str]]:
    """Return the cases for training and for testing, and what is left out."""
    table = numbering.cohort.table
    splits = {case.name: str(table["split"].iloc[case.rows[0]]) for case in cases}
    wanted = options.train if any(splits.values()) else ("",)
    train = [case for case in cases if splits[case.name] in wanted]
    test = [case for case in cases if splits[case.name] in options.test and splits[case.name] not in wanted]
    notes = []
    if left := len(cases) - len(train) - len(test):
        others = sorted({splits[case.name] or "none" for case in cases} - {*wanted, *options.test})
        notes.append(f"{left} cases of split {', '.join(others)} are not exported")
    masked = (table["mask_file_name"] != "").to_numpy()
    bare = [case for case in train if not masked[case.rows].all()]
    if bare:
        notes.append(f"{len(bare)} cases for training have no mask and are not exported")
        train = [case for case in train if masked[case.rows].all()]
    if not train:
        raise DataDoubleError(
            "no case for training has a mask",
            where="metadata.csv",
            found=f"{len(cases)} cases, {len(bare)} without a mask",
            remedy="split the cohort with `datadouble split`, or name the splits with --train",
        )
    return train, test, notes


def _write_case(numbering: Numbering, case: Case, folder: Path, role: str) -> None:
    cohort = numbering.cohort
    masks = [cohort.mask(int(row)) for row in case.rows]
    has_mask = all(mask is not None for mask in masks)
    if case.volume is None:
        files.save_png(
            folder / f"images{role}" / f"{case.name}_0000.png", to_grey(cohort.image(int(case.rows[0])))
        )
        if has_mask:
            files.save_png(folder / f"labels{role}" / f"{case.name}.png", masks[0])  # type: ignore[arg-type]
        return
    image = np.stack([to_grey(cohort.image(int(row))) for row in case.rows])
    if cohort.info.intensity.get("unit") == "HU":
        image = np.round(to_hounsfield(image, cohort.info.intensity)).astype(np.int16)
    save_nifti(folder / f"images{role}" / f"{case.name}_0000.nii.gz", image, case.volume.spacing)
    if has_mask:
        stack = np.stack([mask for mask in masks if mask is not None])
        save_nifti(folder / f"labels{role}" / f"{case.name}.nii.gz", stack, case.volume.spacing)


def save_nifti(path: Path, volume: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """Save a volume (z, y, x), lowest slice first, the front above and the right side on the left, as NIfTI.

    Parameters
    ----------
    spacing
        Millimetres (z, y, x). The origin is the middle of the first pixel: where the patient lay is not kept.
    """
    import gzip

    import nibabel

    z, y, x = spacing
    image = nibabel.Nifti1Image(np.ascontiguousarray(volume.T), np.diag([-x, -y, z, 1.0]))
    image.header.set_xyzt_units("mm")
    # mtime 0: the same cohort gives the same bytes
    files.write_bytes(path, gzip.compress(image.to_bytes(), compresslevel=4, mtime=0))


def _dataset_json(cohort: Cohort, numbering: Numbering, training: int) -> dict[str, Any]:
    info = cohort.info
    is_ct = info.intensity.get("unit") == "HU"
    value: dict[str, Any] = {
        # by this name nnU-Net chooses how to normalise: CT by the foreground's percentiles, others picture by picture
        "channel_names": {"0": "CT" if is_ct else info.modality or "picture"},
        "labels": {"background": 0, **{name: i for i, name in enumerate(info.mask_classes) if i}},
        "numTraining": training,
        "file_ending": ".nii.gz" if numbering.three else ".png",
        "name": info.name,
        "description": info.source,
        "licence": info.licence,
        KEY: {
            "cases": numbering.fingerprint,
            "dimensions": "3d" if numbering.three else "2d",
            "origin": info.origin,
            "contains_real_pixels": info.contains_real_pixels,
        },
    }
    if not numbering.three:
        value["overwrite_image_reader_writer"] = "NaturalImage2DIO"
    return value


def _folds(numbering: Numbering, train: list[Case], options: ExportOptions) -> list[dict[str, list[str]]]:
    """Return nnU-Net's folds, patients and look-alikes whole, of even size; none where there is one patient."""
    unit_of = {row: unit for unit, rows in enumerate(units_of(numbering.cohort.table)) for row in rows}
    units: dict[int, list[str]] = {}
    for case in train:
        units.setdefault(unit_of[int(case.rows[0])], []).append(case.name)
    count = min(options.folds, len(units))
    if count < 2:
        return []
    held: list[list[str]] = [[] for _ in range(count)]
    order = sorted(
        units.values(), key=lambda names: (-len(names), seed_for(options.seed, "nnunet", names[0]))
    )
    for names in order:
        min(held, key=len).extend(names)
    everything = sorted(case.name for case in train)
    return [
        {"train": [name for name in everything if name not in set(fold)], "val": sorted(fold)}
        for fold in held
    ]
