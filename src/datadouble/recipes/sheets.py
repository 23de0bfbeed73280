"""Pictures of a training: the same seeds drawn again and again, and the training images nearest to them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datadouble import files
from datadouble.cohort.pixels import fit_square, to_unit
from datadouble.cohort.sheets import picture_sheet
from datadouble.recipes.doubles import Generator
from datadouble.recipes.runs import Material

COLUMNS = 8
_THUMBNAIL = 32  # pixels; enough to see that two pictures are the same scan


def draw_progress_sheets(
    generator: Generator, material: Material, size: int, folder: Path, images_seen: int
) -> None:
    """Write `<images seen>-sheet.png` (a row a class) and `<images seen>-nearest.png`.

    The second shows the first two drawings of each class, each above the training image that correlates best
    with it at 32 pixels: a copy is seen at once.
    """
    name = f"{images_seen:09d}"
    drawn = {label: generator.draw(i, range(COLUMNS), 0).images for i, label in enumerate(material.classes)}
    sheet = picture_sheet([(f"class {label}", list(pictures)) for label, pictures in drawn.items()])
    files.save_png(folder / f"{name}-sheet.png", sheet)
    queries = [picture for pictures in drawn.values() for picture in pictures[:2]][:COLUMNS]
    files.save_png(folder / f"{name}-nearest.png", nearest_sheet(queries, material, size))


def nearest_sheet(queries: Sequence[np.ndarray], material: Material, size: int) -> np.ndarray:
    """Return a sheet of pictures (s, s), each above the training image that correlates best with it at 32 pixels."""
    gallery = [fit_square(material.train.image(i), _THUMBNAIL) for i in range(len(material.train))]
    similarity = _standardised(queries) @ _standardised(gallery).T
    best = similarity.argmax(axis=1)
    nearest = [fit_square(material.train.image(int(i)), size) for i in best]
    caption = ", ".join(f"{value:.2f}" for value in similarity.max(axis=1))
    return picture_sheet([("drawn", queries), (f"nearest training images (correlation {caption})", nearest)])


def _standardised(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return thumbnails (n, 1024) with zero mean and unit length, so that a dot product is their correlation."""
    flat = np.stack([to_unit(fit_square(picture, _THUMBNAIL)).ravel() for picture in pictures])
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
