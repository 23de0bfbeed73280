"""Sheets of a training that draws pictures with masks: drawn above real, with the masks' outlines in colour."""

from pathlib import Path
from typing import Protocol

import numpy as np

from datadouble import files
from datadouble.cohort.sheets import OUTLINES, STRUCTURE_OUTLINE, outlined, picture_sheet
from datadouble.recipes.diffguard_generator import Pairs
from datadouble.recipes.doubles import GeneratorFacts
from datadouble.recipes.runs import Material
from datadouble.recipes.sheets import COLUMNS, nearest_sheet
from datadouble.training.pixels import PixelStore


class DrawsPairs(Protocol):
    """A generator of pictures with masks."""

    facts: GeneratorFacts

    def draw_pairs(self, label: int, numbers: range, seed: int) -> Pairs:
        """Draw pictures with masks that hold the structure too."""


def draw_pair_sheets(
    generator: DrawsPairs, material: Material, store: PixelStore, folder: Path, images_seen: int
) -> None:
    """Write `<images seen>-sheet.png` (drawn and real pictures of each class) and `<images seen>-nearest.png`.

    The second shows drawings, each above the training image that correlates best with it: a copy is seen at once.
    """
    kinds, labels = generator.facts.kinds, material.label_indices(material.train)
    drawn = {kind: generator.draw_pairs(i, range(COLUMNS), 0) for i, kind in enumerate(kinds)}
    colours = (STRUCTURE_OUTLINE, *OUTLINES) if store.structure != "none" else OUTLINES
    rows = []
    for i, (kind, pairs) in enumerate(drawn.items()):
        here = np.arange(len(store)) if len(kinds) < len(material.classes) else np.flatnonzero(labels == i)
        real = here[np.linspace(0, len(here) - 1, min(COLUMNS, len(here))).astype(int)]
        rows.append((f"{kind}, drawn", _tiles(pairs, colours)))
        rows.append(
            (f"{kind}, real", _tiles(Pairs(store.images[real], store.masks[real], np.empty(0)), colours))
        )
    name = f"{images_seen:09d}"
    files.save_png(folder / f"{name}-sheet.png", picture_sheet(rows, colour=True))
    queries = [picture for pairs in drawn.values() for picture in pairs.images[:2]][:COLUMNS]
    files.save_png(folder / f"{name}-nearest.png", nearest_sheet(queries, material, store.size))


def _tiles(pairs: Pairs, colours: tuple[tuple[int, int, int], ...]) -> list[np.ndarray]:
    return [
        outlined(image, mask, colours=colours) for image, mask in zip(pairs.images, pairs.drawn, strict=True)
    ]
