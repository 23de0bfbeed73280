"""What a segmenter sees of a training set: normalised pictures, or patches of volumes, in a seeded order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datadouble.randomness import generator_for

KEPT_VOLUMES = 64  # normalised, in memory


class Levels(NamedTuple):
    """How grey levels (on the 0..255 scale) are normalised; the numbers are those of rule ``"ct"``."""

    rule: str
    low: float = 0.0
    high: float = 255.0
    mean: float = 0.0
    spread: float = 1.0

    def apply(self, image: np.ndarray) -> np.ndarray:
        """float32 of the same shape."""
        if self.rule == "zscore":
            return ((image - image.mean()) / max(float(image.std()), 1e-8)).astype(np.float32)
        if self.rule == "ct":
            cut = np.clip(image, self.low, self.high)
            return ((cut - self.mean) / max(self.spread, 1e-8)).astype(np.float32)
        return ((image - 64.0) / 64.0).astype(np.float32)


def to_grey(image: np.ndarray) -> np.ndarray:
    """float32 on the 0..255 scale, from uint8 or uint16."""
    scale = 255.0 / 65535.0 if image.dtype == np.uint16 else 1.0
    return np.asarray(image, np.float32) * np.float32(scale)


def lesion_levels(
    images: Sequence[np.ndarray] | np.ndarray, masks: Sequence[np.ndarray] | np.ndarray
) -> Levels:
    """nnU-Net's rule for CT: percentiles 0.5 and 99.5, mean and spread of the training lesions' grey levels."""
    inside = np.concatenate([to_grey(i)[np.asarray(m) > 0] for i, m in zip(images, masks, strict=True)])
    low, high = np.percentile(inside, [0.5, 99.5])
    return Levels("ct", float(low), float(high), float(inside.mean()), float(inside.std()))


class Drawer:
    """Batches of a training set: every case once a round, in a new order each round; patches of volumes at random.

    Parameters
    ----------
    patch : tuple of int
        Of volumes; empty for pictures.
    foreground : float
        The last ``round(batch * foreground)`` of each batch show a lesion: cases that have one are drawn in their
        place, and patches are laid around one of its voxels.
    seed : int
        Of the order.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray] | np.ndarray,
        masks: Sequence[np.ndarray] | np.ndarray,
        levels: Levels,
        patch: tuple[int, ...],
        foreground: float,
        seed: int,
    ) -> None:
        self._images, self._masks, self._levels = images, masks, levels
        self._patch, self._share, self._seed = patch, foreground, seed
        self._with_lesion = np.array([bool(np.asarray(mask).any()) for mask in masks])
        self._orders: dict[int, np.ndarray] = {}
        self._normalised: dict[int, np.ndarray] = {}

    def draw(self, batch: int, step: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Pictures (b, 1, ...) float32 and masks (b, ...) int64 of a step; ``rng`` is the step's own."""
        rows = self._rows(batch, step)
        forced = round(batch * self._share)
        for place in range(batch - forced, batch):
            if not self._with_lesion[rows[place]]:
                rows[place] = rng.choice(np.flatnonzero(self._with_lesion))
        pictures, truth = [], []
        for place, row in enumerate(rows):
            mask = np.asarray(self._masks[row])
            if self._patch:
                image, mask = self._cut(int(row), mask, place >= batch - forced, rng)
            else:
                image = self._levels.apply(to_grey(np.asarray(self._images[row])))
            pictures.append(image)
            truth.append(mask)
        return np.stack(pictures)[:, None], np.stack(truth).astype(np.int64)

    def _rows(self, batch: int, step: int) -> np.ndarray:
        n = len(self._images)
        places = np.arange(step * batch, (step + 1) * batch)
        rounds = places // n
        self._orders = {number: order for number, order in self._orders.items() if number >= rounds[0]}
        for number in range(int(rounds[0]), int(rounds[-1]) + 1):
            if number not in self._orders:
                self._orders[number] = generator_for(self._seed, "round", number).permutation(n)
        return np.array([self._orders[int(r)][place % n] for r, place in zip(rounds, places, strict=True)])

    def _cut(
        self, row: int, mask: np.ndarray, around_lesion: bool, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """A patch at random, or around a lesion voxel; volumes smaller than it are padded with their edge."""
        if row not in self._normalised:
            if len(self._normalised) >= KEPT_VOLUMES:
                self._normalised.clear()
            self._normalised[row] = self._levels.apply(to_grey(np.asarray(self._images[row])))
        image = self._normalised[row]
        short = [max(0, wanted - have) for wanted, have in zip(self._patch, image.shape, strict=True)]
        if any(short):
            pad = [(amount // 2, amount - amount // 2) for amount in short]
            image, mask = np.pad(image, pad, mode="edge"), np.pad(mask, pad)
        room = np.array(image.shape, np.int64) - np.array(self._patch, np.int64)
        start = rng.integers(0, room + 1)
        if around_lesion and mask.any():
            voxels = np.argwhere(mask)
            start = np.clip(voxels[rng.integers(len(voxels))] - np.array(self._patch) // 2, 0, room)
        window = tuple(slice(int(a), int(a) + side) for a, side in zip(start, self._patch, strict=True))
        return image[window], mask[window]
