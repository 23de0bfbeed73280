"""Decoys: places of chance where the very same is done to a picture as where a lesion was hidden (see `hiding`)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datadouble.recipes.lesion.hiding import Cover, Donors, hide, region_at


class Decoys(NamedTuple):
    """A picture whose lesion is hidden, and where else the same was done.

    Attributes
    ----------
    image
        uint8 (s, s).
    places
        float64 (k, 2): row and column of the decoys' centres.
    regions
        bool (k, s, s): what was replaced at each.
    """

    image: np.ndarray
    places: np.ndarray
    regions: np.ndarray


def add_decoys(
    image: np.ndarray,
    tissue: np.ndarray,
    covers: Sequence[Cover],
    donors: Donors,
    count: int,
    rng: np.random.Generator,
) -> Decoys:
    """Hide, at places of chance, lesions that were never there.

    Parameters
    ----------
    image
        uint8 (s, s), its lesion hidden.
    tissue
        bool (s, s): centres are drawn evenly from it.
    covers
        Shapes of real lesions, drawn from evenly, mirrored half the time.
    count
        How many.
    """
    side = len(image)
    candidates = np.argwhere(tissue)
    nothing = np.zeros_like(tissue)
    places, regions = [], []
    for _ in range(count if len(candidates) and len(covers) else 0):
        row, column = candidates[int(rng.integers(len(candidates)))]
        cover = covers[int(rng.integers(len(covers)))]
        region = region_at(cover, float(row), float(column), side, mirrored=bool(rng.random() < 0.5))
        image = hide(image, region, nothing, donors, rng)
        places.append((float(row), float(column)))
        regions.append(region)
    return Decoys(
        image, np.array(places).reshape(-1, 2), np.array(regions, dtype=bool).reshape(-1, side, side)
    )
