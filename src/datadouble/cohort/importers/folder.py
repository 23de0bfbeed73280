"""Your own pictures: a folder a class, or a CSV that names the pictures.

Class folders: ``benign/a.png`` with, beside it, ``a_mask.png`` and ``a_mask_1.png`` ... if there are masks.
A CSV: one row a picture; `FolderColumns` says which column holds what.

File names may identify people: none of them enters the cohort. Image ids are keyed hashes, as patient ids
are.
"""

import re
from pathlib import Path

from datadouble.cohort.cohort import SPLITS
from datadouble.cohort.importers.source import (
    FolderColumns,
    Item,
    Request,
    Source,
    natural_key,
    pictures_in,
    require_columns,
    require_folder,
)
from datadouble.errors import DataDoubleError

_MASK = re.compile(r"(?P<picture>.+)_mask(_\d+)?")


def read(request: Request) -> Source:
    """List the pictures in class folders, or those that a CSV names."""
    path = request.path
    if path.suffix.lower() == ".csv":
        table: Path | None = path
    else:
        require_folder(path, "class folders or a .csv")
        table = _only_csv(path) if request.columns is not None or not _class_folders(path) else None
    items = _from_table(table, request) if table else _from_folders(path, request)
    if not items:
        raise DataDoubleError(
            "no picture is there",
            where=path.name,
            remedy="put the pictures into one folder a class, or name them in a .csv",
        )
    has_masks = any(item.masks for item in items)
    classes = request.classes or tuple(sorted({item.label for item in items if item.label}, key=natural_key))
    return Source(
        name=(path.parent if table == path else path).resolve().name,
        modality=request.modality or "unknown",
        classes=classes,
        mask_classes=(request.mask_classes or ("background", "lesion")) if has_masks else (),
        items=tuple(items),
    )


def _from_folders(root: Path, request: Request) -> list[Item]:
    items = []
    for folder in _class_folders(root):
        masks: dict[str, list[Path]] = {}
        pictures = []
        for path in pictures_in(folder):
            match = _MASK.fullmatch(path.stem)
            if match:
                masks.setdefault(match["picture"], []).append(path)
            else:
                pictures.append(path)
        for path in pictures:
            found = masks.pop(path.stem, [])
            items.append(_item(request, path, f"{folder.name}/{path.name}", folder.name, found))
        if masks:
            raise DataDoubleError(
                "masks have no picture",
                where=folder.name,
                found=", ".join(sorted(p.name for paths in masks.values() for p in paths)[:8]),
                remedy="name each mask after its picture: a.png and a_mask.png",
            )
    return items


def _from_table(path: Path, request: Request) -> list[Item]:
    import pandas as pd

    names, default = request.columns or FolderColumns(), FolderColumns()
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise DataDoubleError("the file is missing", where=str(path), remedy="give the .csv") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataDoubleError("this is no CSV table", where=path.name, found=str(error)[:120]) from error
    optional = ("mask", "patient", "site", "device", "split")
    named = [getattr(names, key) for key in optional if getattr(names, key) != getattr(default, key)]
    require_columns(table.columns, [names.image, names.label, *named, *names.extra], path.name)
    rows = [{str(key): str(value).strip() for key, value in row.items()} for row in table.to_dict("records")]
    _check_rows(rows, names, path.name)
    return [_row_item(request, path.parent, row, names) for row in rows]


def _row_item(request: Request, root: Path, row: dict[str, str], names: FolderColumns) -> Item:
    mask = row.get(names.mask, "")
    return _item(
        request,
        root / row[names.image],
        row[names.image],
        row[names.label],
        [root / mask] if mask else [],
        patient=row.get(names.patient, ""),
        split=row.get(names.split, ""),
        site=row.get(names.site, ""),
        device=row.get(names.device, ""),
        extra={name: row[name] for name in names.extra},
    )


def _check_rows(rows: list[dict[str, str]], names: FolderColumns, where: str) -> None:
    """Report every row that cannot be used, at once; rows count from 2, as a spreadsheet shows them."""
    faults: list[str] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        if not row[names.image]:
            faults.append(f"row {number}: no image")
        elif row[names.image] in seen:
            faults.append(f"row {number}: the image of row {seen[row[names.image]]} again")
        if not row[names.label]:
            faults.append(f"row {number}: no label")
        if row.get(names.split, "") not in ("", *SPLITS):
            faults.append(f"row {number}: split {row[names.split]!r} is none of {', '.join(SPLITS)}")
        seen.setdefault(row[names.image], number)
    if faults:
        shown = faults[:20] + ([f"and {len(faults) - 20} more"] if len(faults) > 20 else [])
        raise DataDoubleError(
            "rows cannot be used", where=where, found="; ".join(shown), remedy="correct or drop these rows"
        )


def _item(
    request: Request,
    path: Path,
    where: str,
    label: str,
    masks: list[Path],
    *,
    patient: str = "",
    split: str = "",
    site: str = "",
    device: str = "",
    extra: dict[str, str] | None = None,
) -> Item:
    class_id = 0 if request.mask_classes else 1
    return Item(
        key=where,
        where=where,
        label=label,
        patient=patient or _patient_in_name(request.patient_pattern, path.stem, where),
        image=path,
        masks=tuple((mask, class_id) for mask in masks),
        split=split,
        site=site,
        device=device,
        extra={"mask_count": str(len(masks)), **(extra or {})},
    )


def _patient_in_name(pattern: str, stem: str, where: str) -> str:
    if not pattern:
        return ""
    match = re.match(pattern, stem)
    if match is None:
        raise DataDoubleError(
            "the patient pattern does not match the file name",
            where=where,
            found=pattern,
            remedy="correct the pattern; its first group, or all it matches, is the patient",
        )
    return match[1] if match.groups() else match[0]


def _class_folders(root: Path) -> list[Path]:
    folders = (p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    return sorted((p for p in folders if pictures_in(p)), key=lambda p: natural_key(p.name))


def _only_csv(folder: Path) -> Path | None:
    tables = sorted(p for p in folder.glob("*.csv") if not p.name.startswith("."))
    if len(tables) > 1:
        raise DataDoubleError(
            "there are several tables",
            where=folder.name,
            found=", ".join(p.name for p in tables),
            remedy="give the .csv itself as the source",
        )
    return tables[0] if tables else None
