"""The images that deceived most readers, as small pictures and as a contact sheet."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble import files

if TYPE_CHECKING:
    from datadouble.study.study import Study

SIDE, MOST, COLUMNS, GAP = 192, 16, 8, 4


def shown_images(task: dict[str, Any]) -> list[dict[str, Any]]:
    """The images of a task that are shown: those most readers got wrong, as many of each kind as there is room for."""
    images = (task.get("deceived") or {}).get("images", [])
    kinds = sorted({one["origin"] for one in images}, key=lambda origin: origin == "synthetic")
    room = MOST // max(1, len(kinds))
    return [one for kind in kinds for one in [i for i in images if i["origin"] == kind][:room]]


def write_pictures(study: Study, evidence: dict[str, Any], folder: Path) -> list[str]:
    """Write each shown image as ``IMAGE.png`` and each task's as ``contact-NUMBER.png``; return the names."""
    from datadouble.cohort.pixels import fit_square, read_image

    written = []
    for number, task in enumerate(evidence["tasks"], start=1):
        tiles = []
        for one in shown_images(task):
            tile = fit_square(read_image(study.image_path(one["image"])), SIDE).astype(np.uint8)
            files.save_png(folder / f"{one['image']}.png", tile)
            written.append(f"{one['image']}.png")
            tiles.append(tile)
        if tiles:
            files.save_png(folder / f"contact-{number}.png", contact_sheet(tiles))
            written.append(f"contact-{number}.png")
    return written


def contact_sheet(tiles: list[np.ndarray]) -> np.ndarray:
    """Equal square pictures (n, s, s) in rows of `COLUMNS` on black."""
    columns = min(COLUMNS, len(tiles))
    rows, step = -(-len(tiles) // columns), tiles[0].shape[0] + GAP
    sheet = np.zeros((rows * step - GAP, columns * step - GAP), dtype=np.uint8)
    for place, tile in enumerate(tiles):
        top, left = place // columns * step, place % columns * step
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet


def picture_address(folder: Path, image: str) -> str | None:
    """A picture that `write_pictures` wrote, as a data address; None where it is missing."""
    from PIL import Image

    path = folder / f"{image}.png"
    if not image.isalnum() or not path.is_file():
        return None
    stream = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("L").save(stream, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
