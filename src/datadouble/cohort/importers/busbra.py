"""BUS-BRA: Gomez-Flores, Gregorio-Calas, Pereira, Medical Physics, 2024.

Layout: ``bus_data.csv``, ``Images/bus_0001-l.png``, ``Masks/mask_0001-l.png``.

Two things are easily mistaken. `Side` is the half of the scanner's two-picture screen, not the breast: both
halves show one lesion, and a picture of the "left" side may say MAMA DIREITA. It becomes the column `view`.
`BBOX` counts pixels from 1 and gives last less first as its size (checked against the masks); the column
`bbox` counts from 0 and gives the number of pixels.
"""

import json
from pathlib import Path

from datadouble.cohort.importers.source import Item, Request, Source, require_columns, require_folder
from datadouble.errors import DataDoubleError

BIRADS = ("2", "3", "4", "5")
PATHOLOGY = ("benign", "malignant")
_COLUMNS = ("ID", "Case", "Histology", "Pathology", "BIRADS", "Device", "Side", "BBOX")


def read(request: Request) -> Source:
    """List the pictures of BUS-BRA; `request.path` is the folder of ``bus_data.csv`` or the one above it."""
    import pandas as pd

    label = request.labelled_by("birads", "pathology")
    root = request.path
    if not (root / "bus_data.csv").is_file() and (root / "BUSBRA" / "bus_data.csv").is_file():
        root = root / "BUSBRA"
    if not (root / "bus_data.csv").is_file():
        raise DataDoubleError(
            "the file is missing",
            where=str(root / "bus_data.csv"),
            remedy="give the folder that holds bus_data.csv",
        )
    table = pd.read_csv(root / "bus_data.csv", dtype=str, keep_default_na=False)
    require_columns(table.columns, _COLUMNS, "bus_data.csv")
    images = require_folder(root / "Images", "BUS-BRA's Images")
    masks = require_folder(root / "Masks", "BUS-BRA's Masks")
    rows = [{str(key): str(value) for key, value in row.items()} for row in table.to_dict("records")]
    return Source(
        name="busbra",
        modality="ultrasound",
        classes=BIRADS if label == "birads" else PATHOLOGY,
        mask_classes=("background", "lesion"),
        items=tuple(_item(row, label, images, masks) for row in rows),
        description="BUS-BRA: Gomez-Flores, Gregorio-Calas, Pereira, Medical Physics, 2024",
        licence="as in the LICENSE.txt beside the data: free use, must cite",
    )


def _item(row: dict[str, str], label: str, images: Path, masks: Path) -> Item:
    name = row["ID"]
    return Item(
        key=name,
        where=f"Images/{name}.png",
        label=row["BIRADS"] if label == "birads" else row["Pathology"],
        patient=row["Case"],
        image=images / f"{name}.png",
        masks=((masks / f"{name.replace('bus_', 'mask_', 1)}.png", 1),),
        device=row["Device"],
        extra={
            "source_file": f"Images/{name}.png",
            "mask_count": "1",
            "birads": row["BIRADS"],
            "pathology": row["Pathology"],
            "histology": row["Histology"],
            "view": row["Side"],
            "bbox": zero_based_box(row["BBOX"], name),
        },
    )


def zero_based_box(text: str, where: str) -> str:
    """Return BUS-BRA's ``[x, y, last - first, ...]`` from 1 as ``[x, y, width, height]`` from 0, in pixels.

    Raises
    ------
    DataDoubleError
        When `text` is no list of four integers.
    """
    try:
        x, y, width, height = (int(value) for value in json.loads(text))
    except (ValueError, TypeError) as error:
        raise DataDoubleError(
            "BBOX is no box",
            where=f"bus_data.csv, {where}",
            found=repr(text),
            remedy="write it as [x,y,width,height]",
        ) from error
    return json.dumps([max(x - 1, 0), max(y - 1, 0), width + 1, height + 1])  # rescaling rounds some to 0
