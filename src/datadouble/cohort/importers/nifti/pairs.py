"""Which label volume belongs to which volume, by layout, by name, or by a table."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from datadouble.cohort.importers.findings import Findings, some
from datadouble.cohort.importers.source import FolderColumns, Request, natural_key, require_columns
from datadouble.errors import DataDoubleError

_SUFFIXES = (".nii.gz", ".nii")
_LABEL_ENDS = ("_seg", "-seg", "_label", "_labels", "_mask", "_gt", "_segmentation", "-label", "-mask")


@dataclass(frozen=True)
class Pair:
    """A volume and its label volume, or None."""

    case: str
    image: Path
    mask: Path | None
    patient: str = ""
    label: str = ""
    split: str = ""
    site: str = ""
    device: str = ""
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """The pairs found, and what ``dataset.json`` says: modality, and the names of the class ids, background first."""

    pairs: tuple[Pair, ...]
    modality: str = ""
    mask_classes: tuple[str, ...] = ()
    name: str = ""
    licence: str = ""
    description: str = ""


def find_pairs(request: Request, findings: Findings) -> Layout:
    """Return the pairs of a source.

    Raises
    ------
    DataDoubleError
        When it holds no NIfTI file.
    """
    path = request.path
    if path.is_file() and path.suffix.lower() == ".csv":
        return Layout(tuple(_from_table(path, request, findings)))
    root = _decathlon(path)
    if root is not None:
        return _from_decathlon(root, findings)
    files = [path] if path.is_file() else sorted(_volumes_below(path), key=lambda p: natural_key(str(p)))
    files = [file for file in files if stem_of(file)]
    if not files:
        raise DataDoubleError(
            "no volume is there",
            where=path.name,
            remedy="give the folder of the .nii or .nii.gz files, or a .csv that names them",
        )
    by_name = _by_pattern(files, request.volumes.pair) if request.volumes.pair else _by_ending(files)
    return Layout(tuple(_matched(by_name, path, findings)))


def stem_of(path: Path) -> str:
    """Return the name without ``.nii`` or ``.nii.gz``, ``""`` for other files."""
    for suffix in _SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return ""


def _volumes_below(root: Path) -> Iterable[Path]:
    return (p for p in root.rglob("*.nii*") if p.is_file() and not p.name.startswith("."))


def _decathlon(path: Path) -> Path | None:
    if not path.is_dir():
        return None
    if (path / "imagesTr").is_dir():
        return path
    inner = [child for child in path.iterdir() if (child / "imagesTr").is_dir()]
    return inner[0] if len(inner) == 1 else None


def _from_decathlon(root: Path, findings: Findings) -> Layout:
    """Read the layout of the Medical Segmentation Decathlon, or nnU-Net's, which numbers the channels in the names."""
    images = {stem_of(p): p for p in _volumes_below(root / "imagesTr")}
    labels = (
        {stem_of(p): p for p in _volumes_below(root / "labelsTr")} if (root / "labelsTr").is_dir() else {}
    )
    if labels and not set(images) & set(labels):
        numbered = {re.sub(r"_0000$", "", name): p for name, p in images.items() if name.endswith("_0000")}
        if len(numbered) < len(images):
            findings.skipped["channels after the first"] += len(images) - len(numbered)
        images = numbered
    unlabelled = len(list(_volumes_below(root / "imagesTs"))) if (root / "imagesTs").is_dir() else 0
    if unlabelled:
        findings.skipped["volumes of imagesTs, which have no labels"] += unlabelled
    pairs = [Pair(name, images[name], labels.get(name)) for name in sorted(images, key=natural_key)]
    _report(
        [f"imagesTr/{pair.image.name}" for pair in pairs if labels and pair.mask is None],
        [f"labelsTr/{labels[name].name}" for name in sorted(set(labels) - set(images))],
        findings,
    )
    pairs = [pair for pair in pairs if pair.mask is not None or not labels]
    about = _dataset_json(root / "dataset.json", findings)
    channels = about.get("channel_names") or about.get("modality") or {}
    modality = str(next(iter(channels.values()), "")) if isinstance(channels, dict) else ""
    return Layout(
        tuple(pairs),
        modality=modality,
        mask_classes=_class_names(about.get("labels"), findings),
        name=str(about.get("name", "")),
        licence=str(about.get("licence", about.get("license", ""))),
        description=str(about.get("reference", "")),
    )


def _dataset_json(path: Path, findings: Findings) -> dict:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(value, dict):
            return value
        found = "not an object"
    except ValueError as error:
        found = str(error)[:120]
    findings.problem("this is no JSON of a data set", path.name, found, "correct it or take it away")
    return {}


def _class_names(labels: object, findings: Findings) -> tuple[str, ...]:
    """Return the names of class ids 0, 1, 2 ...; ``{"0": "background"}`` (Decathlon) and the reverse (nnU-Net)."""
    if not isinstance(labels, dict) or not labels:
        return ()
    try:
        if all(str(key).isdigit() for key in labels):
            by_id = {int(key): str(value) for key, value in labels.items()}
        else:
            by_id = {int(value): str(key) for key, value in labels.items()}
    except (TypeError, ValueError):
        remedy = "regions are not read: give each class one id"
        findings.problem("labels are no class ids", "dataset.json", str(labels)[:80], remedy)
        return ()
    if sorted(by_id) != list(range(len(by_id))):
        found = ", ".join(f"{key} {by_id[key]}" for key in sorted(by_id))
        findings.problem(
            "class ids skip numbers",
            "dataset.json",
            found,
            f"number the classes 0 to {len(by_id) - 1}, in volumes too",
        )
        return ()
    return tuple(by_id[key] for key in range(len(by_id)))


def _by_pattern(files: list[Path], pair: tuple[str, str]) -> tuple[dict[str, Path], dict[str, Path]]:
    found: list[dict[str, Path]] = []
    for name in pair:
        before, after = name.split("{case}")
        pattern = re.compile(re.escape(before) + r"(?P<case>.+)" + re.escape(after))
        matches = ((pattern.fullmatch(file.name), file) for file in files)
        found.append({match["case"]: file for match, file in matches if match})
    # "{case}.nii.gz" matches label volumes as well
    masks = set(found[1].values())
    return {case: file for case, file in found[0].items() if file not in masks}, found[1]


def _by_ending(files: list[Path]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Match ``a`` with ``a_seg``, and ``images/a`` with ``labels/a``."""
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    for file in files:
        name, folder = stem_of(file), file.parent.name.lower()
        ending = next((end for end in _LABEL_ENDS if name.lower().endswith(end)), "")
        in_labels = folder in ("labels", "masks", "label", "mask", "segmentations")
        key = name[: -len(ending)] if ending else name
        images_or_masks = masks if ending or in_labels else images
        if key in images_or_masks:
            key = f"{file.parent.name}/{key}"  # one name in several patients' folders
        images_or_masks[key] = file
    return images, masks


def _matched(found: tuple[dict[str, Path], dict[str, Path]], root: Path, findings: Findings) -> list[Pair]:
    images, masks = found
    _report(
        [str(images[case].name) for case in images if masks and case not in masks],
        [str(masks[case].name) for case in masks if case not in images],
        findings,
    )
    return [
        Pair(case, image, masks.get(case)) for case, image in images.items() if not masks or case in masks
    ]


def _report(without_label: list[str], without_image: list[str], findings: Findings) -> None:
    if without_label:
        remedy = "add the label volumes (all 0 where there is nothing), or take the volumes away"
        found = f"{len(without_label)} of them"
        findings.problem("volumes have no label volume", some(without_label), found, remedy)
    if without_image:
        remedy = "add the volumes, or say how names go together with --pair"
        findings.problem(
            "label volumes have no volume", some(without_image), f"{len(without_image)} of them", remedy
        )


def _from_table(path: Path, request: Request, findings: Findings) -> list[Pair]:
    import pandas as pd

    names, default = request.columns or FolderColumns(), FolderColumns()
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataDoubleError("this is no CSV table", where=path.name, found=str(error)[:120]) from error
    optional = ("mask", "label", "patient", "site", "device", "split")
    named = [getattr(names, key) for key in optional if getattr(names, key) != getattr(default, key)]
    require_columns(table.columns, [names.image, *named, *names.extra], path.name)
    pairs = []
    for number, row in enumerate(table.to_dict("records"), start=2):
        values = {str(key): str(value).strip() for key, value in row.items()}
        if not values[names.image]:
            findings.problem(
                "the row names no volume", f"{path.name}, row {number}", remedy="fill it in or drop it"
            )
            continue
        mask = values.get(names.mask, "")
        pairs.append(
            Pair(
                case=values[names.image],
                image=path.parent / values[names.image],
                mask=path.parent / mask if mask else None,
                patient=values.get(names.patient, ""),
                label=values.get(names.label, ""),
                split=values.get(names.split, ""),
                site=values.get(names.site, ""),
                device=values.get(names.device, ""),
                extra={name: values[name] for name in names.extra},
            )
        )
    return pairs
