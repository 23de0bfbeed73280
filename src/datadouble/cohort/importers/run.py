"""`import_cohort`: from a source to a cohort, resumable."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from datadouble.cohort.cohort import Cohort, CohortInfo
from datadouble.cohort.duplicates import find_duplicates, group_names, mark_duplicates
from datadouble.cohort.importers.prepare import prepare_all
from datadouble.cohort.importers.pseudonyms import Pseudonyms, pseudonyms_from
from datadouble.cohort.importers.registry import Kind, kind_named
from datadouble.cohort.importers.review import write_review
from datadouble.cohort.importers.source import FolderColumns, Item, Request, Source
from datadouble.cohort.importers.volume_options import VolumeOptions
from datadouble.cohort.writer import CohortWriter
from datadouble.errors import DataDoubleError, Problem
from datadouble.progress import Bar, track

MOST_COMPARED = 20_000
"""Look-alikes are marked in cohorts of up to so many pictures; beyond, call `mark_duplicates`."""

_PROBLEMS_SHOWN = 50


def import_cohort(
    kind: str,
    source: Path | str,
    path: Path | str,
    *,
    name: str | None = None,
    label: str | None = None,
    columns: FolderColumns | None = None,
    classes: Sequence[str] | None = None,
    mask_classes: Sequence[str] | None = None,
    patient_pattern: str = "",
    modality: str = "",
    licence: str = "",
    keep_annotations: bool = False,
    key: Path | str | None = None,
    skip_broken: bool = False,
    overwrite: bool = False,
    processes: int = 1,
    volumes: VolumeOptions | None = None,
    remark: Callable[[str], object] | None = None,
) -> Cohort:
    """Import the pictures of `source` as a cohort.

    Patient ids become keyed hashes (HMAC-SHA256, 16 hexadecimal digits). Ultrasound pictures are cleaned of
    burned-in words and markers, and before/after sheets go to ``<path>-review``. Look-alikes are marked in
    the column `duplicate_group`. The same call again goes on where an earlier one was cut off.

    Parameters
    ----------
    kind
        One of `KINDS`.
    source
        The folder or file to read.
    path
        The cohort's folder, to be made.
    name
        The cohort's name; the source's by default.
    label
        What the label means where the source offers more: ``"birads"`` (default) or ``"pathology"`` for
        ``busbra`` and ``breast-usg``; the number of the label column for a ``medmnist`` file with several.
        Kind ``dicom``: ``"annotation"`` (default), ``"folder"``, ``"none"``, or a CSV of patients and labels.
    columns
        Kinds ``folder`` and ``nifti`` with a CSV, and a CSV of labels: which column holds what.
    classes
        Kinds ``folder``, ``medmnist``, ``dicom`` and ``nifti``: the classes in their order; sorted names by
        default.
    mask_classes
        Kinds ``folder`` and ``nifti``: the masks hold class ids, and these are their names, background first.
        By default a mask of ``folder`` has two values, and all but 0 is the lesion. Kind ``dicom``: which
        structures to take, background first; ``GTV*`` takes all whose name begins so.
    patient_pattern
        Kinds ``folder`` and ``nifti``: a regular expression matched at the start of the file name; its first
        group is the patient.
    modality, licence
        Noted in ``cohort.json`` for your own pictures. With modality ``"ultrasound"`` they are cleaned. Kind
        ``dicom``: import only this one, such as ``"CT"``.
    keep_annotations
        Leave words and markers in.
    key
        File with the key of the patient pseudonyms; by default ``<path>.key``, made at random, mode 0600.
        Keep it apart from the cohort. The same key gives the same pseudonyms.
    skip_broken
        Leave out pictures that cannot be read, instead of refusing.
    overwrite
        Replace the cohort that stands at `path`.
    processes
        How many processes read and clean.
    volumes
        Kinds ``dicom`` and ``nifti``: window, crop, what to do with gaps.
    remark
        Called with each thing to know that is no error: what was skipped, what was assumed.

    Raises
    ------
    DataDoubleError
        When the source is not as its kind should be; when pictures are broken, naming every one.
    """
    the_kind, path = kind_named(kind), Path(path)
    request = Request(
        kind=kind,
        path=Path(source),
        label=label,
        columns=columns,
        classes=tuple(classes) if classes else None,
        mask_classes=tuple(mask_classes) if mask_classes else None,
        patient_pattern=patient_pattern,
        modality=modality,
        skip_broken=skip_broken,
        volumes=volumes or VolumeOptions(),
    )
    if not request.path.exists():
        raise DataDoubleError("the source is missing", where=str(source), remedy="check the path")
    found = the_kind.read(request)
    if remark is not None:
        for text in found.remarks:
            remark(text)
    _check_labels(found)
    clean = the_kind.annotated and found.modality == "ultrasound" and not keep_annotations
    if clean:
        _try_cleaning()
    info = _info(found, name, licence, clean)
    with CohortWriter(path, info, overwrite=overwrite) as writer:
        pseudonyms = pseudonyms_from(Path(key) if key else None, path)
        items = _by_image_id(found, the_kind, pseudonyms)
        groups: dict[str, str] = {}
        if found.groups_are_patients:
            items, groups = _groups_as_patients(items)
        problems = _write_all(writer, items, groups, the_kind, pseudonyms, clean, processes)
        if problems and not skip_broken:
            raise _broken(problems)
        cohort = writer.finish()
    # Slices of a volume look like their neighbours, and all chests like each other: groups would join patients.
    alike = found.groups_are_patients or any(item.volume for item in found.items)
    if not alike and len(cohort) <= MOST_COMPARED:
        mark_duplicates(cohort)
    if clean:
        write_review(cohort, items, path.with_name(path.name + "-review"), overwrite=overwrite)
    return cohort


def _info(source: Source, name: str | None, licence: str, clean: bool) -> CohortInfo:
    # what was done is part of the source's description, so that a run with other options is not mixed in
    done = "burned-in annotations removed on import" if clean else "annotations as in the source"
    return CohortInfo(
        name=name or source.name,
        origin="real",
        modality=source.modality,
        classes=source.classes,
        mask_classes=source.mask_classes,
        intensity=source.intensity,
        source="; ".join(part for part in (source.description, done) if part),
        licence=licence or source.licence,
    )


def _check_labels(source: Source) -> None:
    wrong = [item for item in source.items if item.label not in source.classes]
    if wrong:
        found = sorted({repr(item.label) for item in wrong})
        raise DataDoubleError(
            "labels are none of the classes",
            where=", ".join(item.where for item in wrong[:5]) + (" ..." if len(wrong) > 5 else ""),
            found=", ".join(found[:20]),
            remedy="use " + ", ".join(source.classes),
        )


def _try_cleaning() -> None:
    """Fail now, not at each picture, where the text reader is not installed."""
    from datadouble.cohort.deidentify import clean_image

    clean_image(np.zeros((64, 64), np.uint8))


def _by_image_id(source: Source, kind: Kind, pseudonyms: Pseudonyms) -> dict[str, Item]:
    ids = (item.key if kind.public else pseudonyms.of("image", item.key) for item in source.items)
    items: dict[str, Item] = {}
    for image_id, item in zip(ids, source.items, strict=True):
        if image_id in items:
            raise DataDoubleError(
                "the picture is listed twice", where=item.where, remedy="drop one of its rows"
            )
        items[image_id] = item
    return items


def _groups_as_patients(items: dict[str, Item]) -> tuple[dict[str, Item], dict[str, str]]:
    """Give each group of look-alikes one patient, named after its first picture; name the groups too."""

    ids = list(items)
    pictures = (_picture_or_blank(item) for item in track(items.values(), "look-alikes", total=len(items)))
    found = find_duplicates(pictures, [item.label for item in items.values()])
    patients = {image_id: image_id for image_id in ids}
    for group in found.groups:
        first = min(ids[index] for index in group)
        patients |= {ids[index]: first for index in group}
    named = dict(zip(ids, group_names(found, ids), strict=True))
    return {i: replace(item, patient=patients[i]) for i, item in items.items()}, named


def _picture_or_blank(item: Item) -> np.ndarray:
    try:
        assert item.image is not None
        return replace(item, masks=()).read()[0]
    except DataDoubleError:  # reported with all others when it is written
        return np.zeros((64, 64), np.uint8)


def _write_all(
    writer: CohortWriter,
    items: dict[str, Item],
    groups: dict[str, str],
    kind: Kind,
    pseudonyms: Pseudonyms,
    clean: bool,
    processes: int,
) -> list[Problem]:
    """Write every picture that is not there yet; return what is wrong with the others."""
    waiting = {image_id: item for image_id, item in items.items() if not writer.has(image_id)}
    realm = kind.name if kind.public else "patient"
    mask_classes = len(writer.info.mask_classes) or 2
    prepared = prepare_all(
        list(waiting.values()), clean=clean, mask_classes=mask_classes, processes=processes
    )
    problems = []
    with Bar(f"import {kind.name}", len(items), done=len(items) - len(waiting)) as bar:
        for image_id, one in zip(waiting, prepared, strict=True):
            bar.advance()
            if one.problem is not None or one.image is None:
                problems.append(one.problem or Problem("the picture was not read", one.item.where))
                continue
            item = one.item
            writer.add(
                one.image,
                image_id=image_id,
                patient_id=pseudonyms.of(realm, item.patient) if item.patient else "",
                label=item.label,
                mask=one.mask,
                split=item.split,
                duplicate_group=groups.get(image_id, ""),
                site=pseudonyms.of("site", item.site) if kind.clinical and item.site else item.site,
                device=item.device,
                extra=item.extra | _volume_column(item, pseudonyms) | one.columns,
            )
    return problems


def _volume_column(item: Item, pseudonyms: Pseudonyms) -> dict[str, str]:
    return {"volume_id": pseudonyms.of("volume", item.volume)} if item.volume else {}


def _broken(problems: list[Problem]) -> DataDoubleError:
    lines = [str(problem) for problem in problems[:_PROBLEMS_SHOWN]]
    if len(problems) > _PROBLEMS_SHOWN:
        lines.append(f"and {len(problems) - _PROBLEMS_SHOWN} more")
    count = "1 picture" if len(problems) == 1 else f"{len(problems)} pictures"
    return DataDoubleError(
        f"{count} cannot be imported:\n  " + "\n  ".join(lines) + "\n",
        remedy="mend them and run the same command again, which goes on, or pass --skip-broken",
    )
