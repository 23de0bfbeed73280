"""What the placement network sees in training: pictures whose lesion is hidden, with and without decoys."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datadouble.networks.placement import Truth
from datadouble.randomness import generator_for
from datadouble.recipes.lesion.decoys import add_decoys
from datadouble.recipes.lesion.descriptors import describe, wrapped
from datadouble.recipes.lesion.hiding import Cover, cover_of, donors_of, hide, region_at, tissue_of
from datadouble.recipes.lesion.material import HEALTHY, Pictures
from datadouble.recipes.lesion.placement_prior import Found


class View(NamedTuple):
    """A picture without its lesion.

    Attributes
    ----------
    decoyed, plain
        uint8 (s, s): with decoys and without; the lesion is hidden in both, by the same tissue.
    decoys
        bool (s, s): what the decoys replaced.
    tissue
        bool (s, s): where a lesion's centre may lie.
    """

    decoyed: np.ndarray
    plain: np.ndarray
    decoys: np.ndarray
    tissue: np.ndarray


def found_in(pictures: Pictures) -> tuple[Found, np.ndarray]:
    """Return where the lesions of pictures are, and the logarithm of their aspects (n,); rows as `pictures.lesions`."""
    side = pictures.images.shape[1]
    rows = pictures.lesions
    all_of = [describe(pictures.images[row], pictures.masks[row]) for row in rows]
    d = np.array(all_of, dtype=np.float64).reshape(-1, 8)
    # The first pixel's centre is at 0: its upper edge, at -1/2, is where the picture begins.
    found = Found(
        np.clip((d[:, 1] + 0.5) / side, 0, 1 - 1e-9),
        np.clip((d[:, 2] + 0.5) / side, 0, 1 - 1e-9),
        np.log(d[:, 0] / side),
        d[:, 4],
        pictures.labels[rows],
    )
    return found, np.log(d[:, 3])


class Views:
    """Pictures with their lesions hidden; each in a few variants, made when first asked for and kept.

    A variant follows from (seed, id of the picture, variant) alone: a run that goes on makes the same ones again.

    Parameters
    ----------
    pictures
        Those to be shown.
    sources
        Those whose tissue and whose lesions' shapes are used: training pictures only.
    decoys
        At most so many in a view, and at least one.
    """

    def __init__(self, pictures: Pictures, sources: Pictures, *, seed: int, decoys: int) -> None:
        self._pictures, self._seed, self._most = pictures, seed, decoys
        own = _covers(pictures)
        covers = own if sources is pictures else _covers(sources)
        self._shapes = list(covers.values())
        self._donors = donors_of(sources.images, _regions(sources, covers))
        self._regions = _regions(pictures, own)
        self._made: dict[tuple[int, int], View] = {}

    def __len__(self) -> int:
        return len(self._pictures)

    def of(self, row: int, variant: int) -> View:
        """Return a variant of a picture."""
        if (row, variant) not in self._made:
            self._made[row, variant] = self._make(row, variant)
        return self._made[row, variant]

    def _make(self, row: int, variant: int) -> View:
        rng = generator_for(self._seed, "views", self._pictures.ids[row], variant)
        image, region = self._pictures.images[row], self._regions[row]
        plain = hide(image, region, np.zeros_like(region), self._donors, rng)
        tissue = tissue_of(plain)
        count = int(rng.integers(1, self._most + 1))
        decoyed = add_decoys(plain, tissue, self._shapes, self._donors, count, rng)
        return View(decoyed.image, plain, np.asarray(decoyed.regions.any(axis=0)), tissue)


def _covers(pictures: Pictures) -> dict[int, Cover]:
    return {
        int(row): cover_of(
            pictures.masks[row] | pictures.others[row],
            describe(pictures.images[row], pictures.masks[row]).posterior,
        )
        for row in pictures.lesions
    }


def _regions(pictures: Pictures, covers: dict[int, Cover]) -> np.ndarray:
    """Return what hides the lesions of pictures, bool (n, s, s)."""
    side = pictures.images.shape[1]
    regions = pictures.others.copy()
    for row, cover in covers.items():
        found = np.argwhere(pictures.masks[row] | pictures.others[row]).mean(axis=0)
        regions[row] = region_at(cover, float(found[0]), float(found[1]), side)
    return regions


def labels_or(pictures: Pictures, classes: int, seed: int) -> np.ndarray:
    """Return the class of each picture, int64 (n,); of a healthy one a class of chance: what it is asked about."""
    rng = generator_for(seed, "asked")
    return np.where(pictures.labels == HEALTHY, rng.integers(classes, size=len(pictures)), pictures.labels)


class Truths:
    """Where the lesions of pictures are, by row; healthy pictures have a truth of no meaning."""

    def __init__(self, pictures: Pictures, classes: int, seed: int) -> None:
        self.found, aspects = found_in(pictures)
        self.number = np.full(len(pictures), -1)
        self.number[pictures.lesions] = np.arange(len(pictures.lesions))
        self._real = pictures.labels != HEALTHY
        self._labels = labels_or(pictures, classes, seed)
        values = np.tile(np.array([0.5, 0.5, np.log(0.2), 0.0, 0.0]), (len(pictures), 1))
        angles = np.array([wrapped(float(a)) for a in self.found.angle])
        values[pictures.lesions] = np.stack([*self.found[:3], angles, aspects], axis=1).reshape(-1, 5)
        self._values = torch.from_numpy(values).float()

    def of(self, rows: np.ndarray) -> tuple[Truth, Tensor, Tensor, Tensor]:
        """Return truths, log-aspects, classes and whether there is a lesion, of rows (b,)."""
        values = self._values[rows]
        truth = Truth(*values[:, :4].unbind(1))
        return (
            truth,
            values[:, 4],
            torch.from_numpy(self._labels[rows]).long(),
            torch.from_numpy(self._real[rows]),
        )
