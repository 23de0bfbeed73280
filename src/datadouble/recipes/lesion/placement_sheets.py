"""Sheets of the placement stage: where a lesion of each class may lie in a picture, as colour over it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datadouble import files
from datadouble.cohort.sheets import outlined, picture_sheet
from datadouble.recipes.lesion.placer import Placer


def heat(image: np.ndarray, density: np.ndarray, tile: int = 128) -> np.ndarray:
    """Return a picture (s, s) with a density (g, g) over it, uint8 (tile, tile, 3): the redder, the likelier.

    Full colour stands for the density's greatest value in this picture.
    """
    from PIL import Image

    from datadouble.cohort.pixels import fit_square

    share = Image.fromarray((density / max(density.max(), 1e-12)).astype(np.float32))
    share_ = np.clip(np.asarray(share.resize((tile, tile), Image.Resampling.BILINEAR)), 0, 1)[..., None]
    grey = np.asarray(Image.fromarray(fit_square(image, tile)).convert("RGB")).astype(np.float32)
    colour = np.array([255.0, 60.0, 0.0])
    return np.round(grey * (1 - 0.55 * share_) + 0.55 * share_ * colour).astype(np.uint8)


def draw_place_sheet(
    path: Path, placer: Placer, pictures: Sequence[np.ndarray], truths: Sequence[np.ndarray]
) -> None:
    """Write a sheet: the pictures with the lesions that were hidden in them, and a row of heat maps for each class.

    Parameters
    ----------
    pictures
        uint8 (s, s), lesions hidden.
    truths
        bool (s, s): what was hidden; empty in healthy pictures.
    """
    rows = [
        (
            "hidden",
            [outlined(image, mask.astype(np.uint8)) for image, mask in zip(pictures, truths, strict=True)],
        )
    ]
    for name in placer.classes:
        rows.append((name, [heat(image, placer.density(image, name)) for image in pictures]))
    files.save_png(path, picture_sheet(rows, colour=True))
