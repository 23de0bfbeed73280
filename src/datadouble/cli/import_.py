"""``datadouble import``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datadouble.cli.output import say

if TYPE_CHECKING:
    from datadouble.cohort.importers import FolderColumns


def import_(
    kind: Annotated[str, typer.Argument(help="busi, busbra, breast-usg, folder, medmnist, dicom or nifti.")],
    source: Annotated[Path, typer.Argument(help="The folder or file as it was downloaded or exported.")],
    cohort: Annotated[Path, typer.Argument(help="The cohort to make, or to go on with.")],
    keep_annotations: Annotated[
        bool, typer.Option("--keep-annotations", help="Leave burned-in words, calipers and rulers.")
    ] = False,
    label: Annotated[
        str | None,
        typer.Option(
            help="busbra, breast-usg: birads (default) or pathology. medmnist: the label's column. dicom: annotation "
            "(default), folder, none or a CSV of patients and labels."
        ),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="The classes in their order, where they are yours.")
    ] = None,
    mask_classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="folder, nifti: masks hold class ids; their names, background first. dicom: structures to take.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=NAME",
            help="folder with a CSV: which column holds image, label, mask, patient, site, device or split; "
            "extra=NAME keeps one more. Repeatable.",
        ),
    ] = None,
    patient_pattern: Annotated[
        str,
        typer.Option(
            help="folder, nifti: a regular expression whose first group is the patient in a file name."
        ),
    ] = "",
    modality: Annotated[
        str, typer.Option(help="What the pictures are, say 'ultrasound' or 'CT'; dicom: import these only.")
    ] = "",
    licence: Annotated[str, typer.Option(help="folder: noted in cohort.json.")] = "",
    name: Annotated[str | None, typer.Option(help="The cohort's name; the source's by default.")] = None,
    key: Annotated[
        Path | None, typer.Option(help="The key of the patient pseudonyms; COHORT.key by default.")
    ] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out pictures that cannot be read.")
    ] = False,
    processes: Annotated[int, typer.Option(min=1, help="How many processes read and clean.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the cohort there.")] = False,
    window: Annotated[
        str, typer.Option(metavar="LEVEL/WIDTH", help="CT: the window in HU of 8-bit pictures.")
    ] = "0/400",
    depth: Annotated[int, typer.Option(help="CT: 8 bits, or 16 to keep all of -1024 to 3071 HU.")] = 8,
    crop: Annotated[
        str,
        typer.Option(
            help="dicom, nifti: none, lungs, regions (of ultrasound) or auto (regions if declared)."
        ),
    ] = "auto",
    margin: Annotated[float, typer.Option(min=0.0, metavar="MM", help="Left around the lungs.")] = 10.0,
    box_masks: Annotated[bool, typer.Option("--box-masks", help="dicom: draw masks from boxes.")] = False,
    incomplete_volumes: Annotated[
        bool,
        typer.Option("--incomplete-volumes", help="dicom, nifti: keep volumes with gaps or with one slice."),
    ] = False,
    rescale: Annotated[
        str | None,
        typer.Option(
            metavar="SLOPE/INTERCEPT", help="dicom, nifti: what makes stored values HU, if files do not say."
        ),
    ] = None,
    pair: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE,LABEL", help="nifti: names that go together, such as '{case}.nii,{case}_seg.nii'."
        ),
    ] = None,
) -> None:
    """Bring scans into a cohort: one format, pseudonymous patients, burned-in words removed."""
    from datadouble.cohort.importers import KINDS, VolumeOptions, import_cohort
    from datadouble.errors import suggest

    if kind not in KINDS:
        raise typer.BadParameter(f"there is no kind '{kind}': {suggest(kind, list(KINDS))}")
    names = _names(pair)
    if names is not None and len(names) != 2:
        raise typer.BadParameter(f"--pair takes two names with a comma between, not '{pair}'")
    volumes = VolumeOptions(
        window=_two(window, "--window"),
        depth=depth,
        crop=crop,
        margin_mm=margin,
        box_masks=box_masks,
        incomplete=incomplete_volumes,
        rescale=_two(rescale, "--rescale") if rescale else None,
        pair=(names[0], names[1]) if names else None,
    )
    made = import_cohort(
        kind,
        source,
        cohort,
        name=name,
        label=label,
        columns=_columns(column) if column else None,
        classes=_names(classes),
        mask_classes=_names(mask_classes),
        patient_pattern=patient_pattern,
        modality=modality,
        licence=licence,
        keep_annotations=keep_annotations,
        key=key,
        skip_broken=skip_broken,
        overwrite=overwrite,
        processes=processes,
        volumes=volumes,
        remark=lambda text: typer.echo(f"datadouble: {text}", err=True),
    )
    say(f"{len(made)} images in {cohort}")


def _names(text: str | None) -> list[str] | None:
    return [name.strip() for name in text.split(",")] if text else None


def _two(text: str, option: str) -> tuple[float, float]:
    """Read two numbers with a slash between."""
    try:
        first, second = (float(part) for part in text.split("/"))
    except ValueError:
        raise typer.BadParameter(f"{option} takes two numbers with a slash between, not '{text}'") from None
    return first, second


def _columns(pairs: list[str]) -> "FolderColumns":
    """Read FIELD=NAME pairs."""
    from dataclasses import fields

    from datadouble.cohort.importers import FolderColumns
    from datadouble.errors import suggest

    known = [field.name for field in fields(FolderColumns)]
    named: dict[str, str] = {}
    extra: list[str] = []
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not equals or not column:
            raise typer.BadParameter(f"--column takes FIELD=NAME, not '{pair}'")
        if field not in known:
            raise typer.BadParameter(f"--column has no field '{field}': {suggest(field, known)}")
        if field == "extra":
            extra.append(column)
        else:
            named[field] = column
    return FolderColumns(extra=tuple(extra), **named)
