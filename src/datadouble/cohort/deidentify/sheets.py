"""Before/after sheets, for a person to look through what was removed."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from datadouble.cohort.deidentify.clean import Cleaned

COLOURS = {
    "text": (0, 200, 0),
    "logo": (230, 0, 230),
    "caliper": (255, 140, 0),
    "dotted-line": (255, 230, 0),
    "ruler": (0, 200, 230),
    "bar": (60, 90, 255),
    "frame": (255, 110, 110),
}
CELL = (540, 380)  # width and height of one pair, px


def pair(before: np.ndarray, cleaned: Cleaned) -> np.ndarray:
    """Return a picture and its cleaned version side by side, removed boxes outlined in the colour of their kind.

    Parameters
    ----------
    before
        uint8 array of shape (H, W), the picture as it was.
    cleaned
        What `clean_image` made of it.

    Returns
    -------
    numpy.ndarray
        uint8 array of shape (H, 2W + 4, 3), RGB.
    """
    from PIL import Image, ImageDraw

    marked = Image.fromarray(before).convert("RGB")
    draw = ImageDraw.Draw(marked)
    for item in cleaned.annotations.items:
        x0, y0, x1, y1 = item.box
        draw.rectangle((x0 - 1, y0 - 1, x1, y1), outline=COLOURS[item.kind])
    gap = np.zeros((before.shape[0], 4, 3), np.uint8)
    after = np.repeat(cleaned.image[:, :, None], 3, axis=2)
    return np.concatenate([np.asarray(marked), gap, after], axis=1)


def write_sheets(
    pairs: Iterable[tuple[str, np.ndarray, Cleaned]], folder: Path, *, columns: int = 3, rows: int = 4
) -> list[Path]:
    """Write review sheets as PNG pages.

    Parameters
    ----------
    pairs
        ``(image id, picture before, cleaned)``; consumed one page at a time.
    folder
        Where ``cleaning-001.png`` and so on go; made where missing.
    columns, rows
        How many pairs stand on a page.

    Returns
    -------
    list of pathlib.Path
        The pages written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    page: list[tuple[str, np.ndarray]] = []

    def flush() -> None:
        path = folder / f"cleaning-{len(written) + 1:03d}.png"
        _write_page(page, columns, rows, path)
        written.append(path)
        page.clear()

    for image_id, before, cleaned in pairs:
        page.append((image_id, pair(before, cleaned)))
        if len(page) == columns * rows:
            flush()
    if page:
        flush()
    return written


def _write_page(page: list[tuple[str, np.ndarray]], columns: int, rows: int, path: Path) -> None:
    from PIL import Image, ImageDraw

    from datadouble.files import save_png

    width, height = CELL
    used = min(rows, -(-len(page) // columns))
    sheet = Image.new("RGB", (columns * width, used * (height + 16)))
    draw = ImageDraw.Draw(sheet)
    for index, (image_id, both) in enumerate(page):
        left, top = index % columns * width, index // columns * (height + 16)
        scale = min(width / both.shape[1], height / both.shape[0], 1.5)
        size = (max(1, round(both.shape[1] * scale)), max(1, round(both.shape[0] * scale)))
        sheet.paste(Image.fromarray(both).resize(size, Image.Resampling.LANCZOS), (left, top + 16))
        draw.text((left + 2, top + 2), image_id, fill=(255, 255, 0))
    save_png(path, np.asarray(sheet))
