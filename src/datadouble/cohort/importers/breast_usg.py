"""BrEaST-Lesions-USG: Pawlowska et al., Scientific Data 11:148, 2024 (The Cancer Imaging Archive).

Layout: one ``.xlsx`` with the clinical table, and a folder with ``case001.png``, ``case001_tumor.png`` and,
where there is more to see, ``case001_other1.png`` ... One picture a patient. BI-RADS 1 are healthy breasts
without masks.
"""

from pathlib import Path

from datadouble.cohort.importers.source import Item, Request, Source, pictures_in, require_columns
from datadouble.errors import DataDoubleError

BIRADS = ("1", "2", "3", "4a", "4b", "4c", "5")
PATHOLOGY = ("normal", "benign", "malignant")
_COLUMNS = (
    "CaseID",
    "Image_filename",
    "Mask_tumor_filename",
    "Mask_other_filename",
    "BIRADS",
    "Classification",
)
_NOT_KEPT = ("CaseID", "Image_filename", "Mask_tumor_filename", "Mask_other_filename")


def read(request: Request) -> Source:
    """List the pictures of BrEaST; `request.path` is the folder of the .xlsx, or the .xlsx itself."""
    import pandas as pd

    label = request.labelled_by("birads", "pathology")
    book = _find_table(request.path)
    table = pd.read_excel(book, dtype=str, keep_default_na=False)
    require_columns(table.columns, _COLUMNS, book.name)
    files = {path.name: path for path in _pictures_below(book.parent)}
    rows = [{str(key): str(value).strip() for key, value in row.items()} for row in table.to_dict("records")]
    items = tuple(_item(row, label, files) for row in rows)
    return Source(
        name="breast-usg",
        modality="ultrasound",
        classes=BIRADS if label == "birads" else PATHOLOGY,
        mask_classes=("background", "lesion", "other"),
        items=items,
        description="BrEaST-Lesions-USG: Pawlowska et al., Scientific Data 11:148, 2024",
        licence="CC BY 4.0",
    )


def _item(row: dict[str, str], label: str, files: dict[str, Path]) -> Item:
    picture = row["Image_filename"]
    masks = [(name, 1) for name in _names(row["Mask_tumor_filename"])]
    masks += [(name, 2) for name in _names(row["Mask_other_filename"])]
    extra = {key.lower(): value for key, value in row.items() if key not in _NOT_KEPT}
    return Item(
        key=Path(picture).stem,
        where=picture,
        label=row["BIRADS"].lower() if label == "birads" else row["Classification"],
        patient=row["CaseID"],
        # a file that is not there is reported when it is read, with all the others
        image=files.get(picture, Path(picture)),
        masks=tuple((files.get(name, Path(name)), class_id) for name, class_id in masks),
        blank_mask=row["Classification"] == "normal",
        extra={"source_file": picture, "mask_count": str(len(masks)), **extra},
    )


def _names(text: str) -> list[str]:
    """Return the file names in a cell, which joins several with ``&``."""
    return [
        name.strip() for name in text.replace(",", "&").split("&") if name.strip().lower().endswith(".png")
    ]


def _find_table(path: Path) -> Path:
    if path.suffix.lower() == ".xlsx" and path.is_file():
        return path
    books = (
        sorted(p for p in path.glob("*.xlsx") if not p.name.startswith(("~", "."))) if path.is_dir() else []
    )
    if len(books) != 1:
        raise DataDoubleError(
            "the clinical table is not found",
            where=str(path),
            found=f"{len(books)} .xlsx files",
            remedy="give the folder that holds the one .xlsx, or the .xlsx itself",
        )
    return books[0]


def _pictures_below(folder: Path) -> list[Path]:
    """Return the pictures beside the table and in the folders there."""
    folders = [folder, *sorted(p for p in folder.iterdir() if p.is_dir())]
    return [path for each in folders for path in pictures_in(each)]
