"""Sheets of pictures: rows with a name, for people who would rather look than read."""

from collections.abc import Sequence

import numpy as np

_MARGIN = 4
_NAME_HEIGHT = 18

OUTLINES = ((255, 210, 0), (255, 70, 70), (90, 230, 90), (235, 90, 255), (255, 140, 20), (70, 150, 255))
"""Colours of the mask ids from 1; they come round again."""
STRUCTURE_OUTLINE = (0, 190, 200)


def outlined(
    picture: np.ndarray, mask: np.ndarray, tile: int = 128, colours: Sequence[tuple[int, int, int]] = OUTLINES
) -> np.ndarray:
    """Return a square picture at (tile, tile, 3) with a line just inside each region of its mask.

    Parameters
    ----------
    picture
        (s, s), uint8 or uint16.
    mask
        (s, s) of class ids; 0 gets no line.
    colours
        Red, green and blue of the ids from 1.
    """
    from PIL import Image
    from scipy.ndimage import binary_erosion

    from datadouble.cohort.pixels import fit_square, to_unit

    grey = Image.fromarray((to_unit(picture) * 255).round().astype(np.uint8))
    canvas = np.asarray(grey.resize((tile, tile), Image.Resampling.BICUBIC).convert("RGB")).copy()
    enlarged = fit_square(mask.astype(np.uint8), tile, mask=True)
    for value in np.unique(enlarged[enlarged > 0]):
        inside = enlarged == value
        canvas[inside & ~binary_erosion(inside, border_value=1)] = colours[(int(value) - 1) % len(colours)]
    return canvas


def picture_sheet(
    rows: Sequence[tuple[str, Sequence[np.ndarray]]], tile: int = 128, *, colour: bool = False
) -> np.ndarray:
    """Return one picture with a row of tiles under each name: (h, w) uint8, or (h, w, 3) in colour.

    Parameters
    ----------
    rows
        (name, pictures); the pictures are (h, w) or (h, w, 3), uint8 or uint16.
    tile
        Side of a tile in pixels; pictures are fitted inside it with their proportions kept.
    colour
        Keep the colours of (h, w, 3); otherwise they become grey.
    """
    from PIL import Image, ImageDraw, ImageFont

    from datadouble.cohort.pixels import to_grey, to_unit

    columns = max((len(pictures) for _, pictures in rows), default=1)
    height = len(rows) * (tile + _MARGIN + _NAME_HEIGHT) + _MARGIN
    ground, ink = (24, 235) if not colour else ((24,) * 3, (235,) * 3)
    sheet = Image.new("RGB" if colour else "L", (columns * (tile + _MARGIN) + _MARGIN, height), ground)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for r, (name, pictures) in enumerate(rows):
        top = r * (tile + _MARGIN + _NAME_HEIGHT)
        draw.text((_MARGIN + 2, top + 2), name, fill=ink, font=font)
        for c, picture in enumerate(pictures):
            shown = picture if colour else to_grey(picture)
            image = Image.fromarray((to_unit(shown) * 255).round().astype(np.uint8))
            scale = tile / max(image.size)  # small pictures are enlarged: a sheet is for looking
            fitted = image.resize(
                [max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC
            )
            sheet.paste(fitted, (_MARGIN + c * (tile + _MARGIN), top + _NAME_HEIGHT + _MARGIN // 2))
    return np.asarray(sheet)
