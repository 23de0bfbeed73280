"""Sheets of pictures: rows with a name, for people who would rather look than read."""

from collections.abc import Sequence

import numpy as np

_MARGIN = 4
_NAME_HEIGHT = 18


def picture_sheet(rows: Sequence[tuple[str, Sequence[np.ndarray]]], tile: int = 128) -> np.ndarray:
    """Return one grey picture with a row of tiles under each name.

    Parameters
    ----------
    rows
        (name, pictures); the pictures are (h, w) or (h, w, 3), uint8 or uint16.
    tile
        Side of a tile in pixels; pictures are fitted inside it with their proportions kept.
    """
    from PIL import Image, ImageDraw, ImageFont

    from datadouble.cohort.pixels import to_grey, to_unit

    columns = max((len(pictures) for _, pictures in rows), default=1)
    height = len(rows) * (tile + _MARGIN + _NAME_HEIGHT) + _MARGIN
    sheet = Image.new("L", (columns * (tile + _MARGIN) + _MARGIN, height), 24)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for r, (name, pictures) in enumerate(rows):
        top = r * (tile + _MARGIN + _NAME_HEIGHT)
        draw.text((_MARGIN + 2, top + 2), name, fill=235, font=font)
        for c, picture in enumerate(pictures):
            grey = Image.fromarray((to_unit(to_grey(picture)) * 255).round().astype(np.uint8))
            scale = tile / max(grey.size)  # small pictures are enlarged: a sheet is for looking
            fitted = grey.resize(
                [max(1, round(side * scale)) for side in grey.size], Image.Resampling.BICUBIC
            )
            sheet.paste(fitted, (_MARGIN + c * (tile + _MARGIN), top + _NAME_HEIGHT + _MARGIN // 2))
    return np.asarray(sheet)
