"""The crops that stage 1 learns from: lesions at shifted centres and scales, and tissue without one."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from datadouble.randomness import generator_for
from datadouble.recipes.lesion.crops import (
    MARGIN,
    MINIMUM_SIDE,
    LesionPatch,
    Window,
    box_of,
    cut_window,
    window_at,
)
from datadouble.recipes.lesion.descriptors import CONDITIONS, Descriptor, conditions_of, describe
from datadouble.recipes.lesion.material import Pictures

_TRIES = 12


class Standard(NamedTuple):
    """Mean and standard deviation of the conditions of the training lesions, (8,) each."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return conditions (n, 8) with zero mean and unit variance, at most four deviations out."""
        scaled = (values - np.array(self.mean)) / np.array(self.deviation)
        return np.clip(scaled, -4, 4).astype(np.float32)


def standard_of(descriptors: list[Descriptor], size: int) -> Standard:
    """Measure the training lesions' conditions."""
    values = conditions_of(descriptors, size)
    deviation = np.maximum(values.std(axis=0), 1e-3)
    return Standard(tuple(values.mean(axis=0).round(6).tolist()), tuple(deviation.round(6).tolist()))


class LesionCrops:
    """Crops of pictures: an item a lesion, and behind these an item a picture for tissue without one.

    Attributes
    ----------
    labels : (n,) int64
        Of each item: the lesion's class, or the number of classes for tissue.
    descriptors : list of Descriptor
        Of the lesion items, in their order.
    """

    def __init__(
        self,
        pictures: Pictures,
        classes: int,
        patch: int,
        standard: Standard | None = None,
        *,
        tissue: bool = True,
        only: int | None = None,
    ) -> None:
        self._pictures, self._patch, self._classes = pictures, patch, classes
        self._size = pictures.images.shape[1]
        rows = pictures.lesions
        self.descriptors = [describe(pictures.images[row], pictures.masks[row]) for row in rows]
        self._boxes = [box_of(pictures.masks[row]) for row in rows]
        # Of the lesions' windows, rising; none is larger than a picture.
        sides = (max(MARGIN * max(box[2:]), MINIMUM_SIDE) for box in self._boxes)
        self._sides = sorted(min(side, float(self._size)) for side in sides)
        self.standard = standard or standard_of(self.descriptors, self._size)
        chosen = [i for i, row in enumerate(rows) if only is None or pictures.labels[row] == only]
        self._lesions = np.array(chosen, dtype=np.int64)
        self._tissue = self._tissue_rows() if tissue and only is None else np.zeros(0, dtype=np.int64)
        self.labels = np.concatenate(
            [pictures.labels[rows[self._lesions]], np.full(len(self._tissue), classes, dtype=np.int64)]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def _tissue_rows(self) -> np.ndarray:
        """Return the pictures that show tissue: the healthy ones, or where there is none the others' free corners.

        Without a free corner of the smallest lesion's window a picture is left out.
        """
        healthy = self._pictures.healthy
        rows = healthy if len(healthy) else np.arange(len(self._pictures))
        if not self._boxes:
            return rows[:0]
        return np.array(
            [row for row in rows.tolist() if len(self._free_corners(row, self._sides[0]))], dtype=np.int64
        )

    def _marked(self, row: int) -> np.ndarray:
        """Return all that a picture's mask marks, bool (s, s)."""
        return np.asarray(self._pictures.masks[row] | self._pictures.others[row])

    def _free_corners(self, row: int, side: float) -> np.ndarray:
        """Return upper left pixels (n, 2) of the windows of a side that hold nothing marked."""
        whole = int(np.ceil(side))
        sums = np.pad(self._marked(row).cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))
        inside = sums[whole:, whole:] - sums[:-whole, whole:] - sums[whole:, :-whole] + sums[:-whole, :-whole]
        return np.argwhere(inside == 0)

    def image_id(self, item: int) -> str:
        """Return the id of an item's picture."""
        return self._pictures.ids[self._row(item)]

    def _row(self, item: int) -> int:
        if item < len(self._lesions):
            return int(self._pictures.lesions[self._lesions[item]])
        return int(self._tissue[item - len(self._lesions)])

    def crop(
        self,
        item: int,
        random: np.random.Generator | None,
        *,
        shift: float = 0.0,
        scale: float = 0.0,
        flip: bool = False,
    ) -> tuple[LesionPatch, np.ndarray]:
        """Cut an item, and return it with its conditions (8,), standardised.

        Parameters
        ----------
        random
            What shifts, scales and mirrors; None for none of these.
        shift
            Greatest shift of the window's centre, in sides of the window.
        scale
            Greatest logarithm of the window's side to its own.
        flip
            Mirror half of the crops left to right, picture and mask together. Never up and down: shadows fall.
        """
        row = self._row(item)
        image = self._pictures.images[row]
        # Always all of the numbers, so that switching one change off leaves the others as they were.
        chance = random.uniform(-1, 1, 4) if random is not None else np.zeros(4)
        mirrored = flip and chance[3] < 0
        if item < len(self._lesions):
            lesion = int(self._lesions[item])
            top, left, height, width = self._boxes[lesion]
            side = MARGIN * max(height, width) * np.exp(scale * chance[2])
            centre = (
                top + (height - 1) / 2 + shift * chance[0] * side,
                left + (width - 1) / 2 + shift * chance[1] * side,
            )
            patch = cut_window(
                image, self._pictures.masks[row], window_at(centre, side, self._size), self._patch
            )
            descriptor = self.descriptors[lesion]
            if mirrored:
                descriptor = descriptor._replace(angle=-descriptor.angle)
            told = self.standard.apply(conditions_of([descriptor], self._size))[0]
        else:
            window = self._free_window(row, random)
            patch = cut_window(image, np.zeros(image.shape, dtype=bool), window, self._patch)
            told = np.zeros(len(CONDITIONS), dtype=np.float32)
            place = np.array(self.standard.mean)
            place[0] = np.log(window.side / MARGIN / self._size)
            place[1] = (window.top + window.side / 2) / self._size
            told[:2] = self.standard.apply(place[None])[0, :2]
        if mirrored:
            patch = LesionPatch(patch.image[:, ::-1].copy(), patch.mask[:, ::-1].copy(), patch.margin)
        return patch, told

    def _free_window(self, row: int, random: np.random.Generator | None) -> Window:
        """Return a window of a lesion's side at a place where nothing is marked.

        Where some tries find none: one of the sides that are free somewhere, at one of these places.
        """
        random = random or generator_for(0, "tissue", row)
        marked = self._marked(row)
        for _ in range(_TRIES):
            box = self._boxes[int(random.integers(len(self._boxes)))]
            side = MARGIN * max(box[2:])
            centre = tuple(random.uniform(0, self._size, 2))
            window = window_at((centre[0], centre[1]), side, self._size)
            top, left = (int(np.floor(v + 0.5)) for v in (window.top, window.left))
            bottom, right = (int(np.ceil(v + 0.5 + window.side)) for v in (window.top, window.left))
            if not marked[top:bottom, left:right].any():
                return window
        # What is free holds all smaller windows: those up to the first that is nowhere free.
        fitting = bisect_left(self._sides, True, key=lambda side: not len(self._free_corners(row, side)))
        side = self._sides[int(random.integers(fitting))]
        corners = self._free_corners(row, side)
        top, left = corners[int(random.integers(len(corners)))].tolist()
        return Window(top - 0.5, left - 0.5, side)

    def batch(
        self,
        items: np.ndarray,
        randoms: Sequence[np.random.Generator | None] | None = None,
        *,
        shift: float = 0.0,
        scale: float = 0.0,
        flip: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return crops float32 (b, 2, p, p), grey and mask in [-1, 1], and their conditions (b, 8); see `crop`."""
        each = [None] * len(items) if randoms is None else randoms
        found = [
            self.crop(int(item), random, shift=shift, scale=scale, flip=flip)
            for item, random in zip(items, each, strict=True)
        ]
        return as_tensor([patch for patch, _ in found]), torch.from_numpy(np.stack([c for _, c in found]))


def as_tensor(patches: list[LesionPatch]) -> Tensor:
    """Return patches as float32 (b, 2, p, p): grey and mask in [-1, 1]."""
    grey = np.stack([patch.image for patch in patches]).astype(np.float32) / 127.5 - 1
    mask = np.stack([patch.mask for patch in patches]).astype(np.float32) * 2 - 1
    return torch.from_numpy(np.stack([grey, mask], axis=1))
