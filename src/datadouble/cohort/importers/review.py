"""Before/after sheets of a cleaning, for people to look through. They hold uncleaned pixels."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datadouble import files
from datadouble.cohort.cohort import Cohort
from datadouble.cohort.importers.prepare import make_grey
from datadouble.cohort.importers.source import Item
from datadouble.progress import track

_COLUMNS, _ROWS = 4, 5
_TILE = 220  # pixels on the long side
_CAPTION = 14


def write_review(
    cohort: Cohort, items: Mapping[str, Item], folder: Path, *, overwrite: bool = False
) -> list[Path]:
    """Write sheets of 20 pictures, each before and after, those with most pixels replaced first.

    Pictures in which nothing was found come last: what was missed is among them. Sheets that are there
    already are kept.

    Parameters
    ----------
    items
        The source's pictures by image id.
    folder
        Where ``review_001.png`` and so on go; made if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        for old in folder.glob("review_*.png"):
            old.unlink()
    fraction = cohort.table["cleaned_fraction"].replace("", "0").astype(float).to_numpy()
    order = [
        int(i) for i in np.argsort(-fraction, kind="stable") if str(cohort.table["image_id"].iloc[i]) in items
    ]
    page_size = _COLUMNS * _ROWS
    paths = []
    for number in track(range(1, -(-len(order) // page_size) + 1), "review sheets"):
        path = folder / f"review_{number:03d}.png"
        paths.append(path)
        if not path.exists():
            _write_sheet(path, cohort, items, order[(number - 1) * page_size : number * page_size])
    return paths


def _write_sheet(path: Path, cohort: Cohort, items: Mapping[str, Item], rows: list[int]) -> None:
    from PIL import Image, ImageDraw

    width, height = 2 * _TILE + 10, _TILE + _CAPTION
    sheet = Image.new("L", (_COLUMNS * width, -(-len(rows) // _COLUMNS) * height), 255)
    draw = ImageDraw.Draw(sheet)
    for place, index in enumerate(rows):
        image_id = str(cohort.table["image_id"].iloc[index])
        x, y = place % _COLUMNS * width, place // _COLUMNS * height
        before = make_grey(items[image_id].read()[0])[0]
        for side, picture in enumerate((before, cohort.image(index))):
            tile = Image.fromarray(picture)
            tile.thumbnail((_TILE, _TILE))
            sheet.paste(tile, (x + side * _TILE, y + _CAPTION))
        row = cohort.table.iloc[index]
        words, marks = row["cleaned_text"], row["cleaned_calipers"]
        draw.text((x, y), f"{image_id}  text {words}, calipers {marks}, {fraction_text(row)}", fill=0)
    files.save_png(path, np.asarray(sheet))


def fraction_text(row: Mapping) -> str:
    """Return the share of pixels replaced as a percentage."""
    return f"{100 * float(row['cleaned_fraction'] or 0):.1f}%"
