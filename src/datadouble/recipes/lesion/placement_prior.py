"""Where lesions of a class lie, how large and at what angle, without a look at the picture: the placement baseline.

Smoothed histograms by class. How smooth, and how far a class leans on all classes together, is what predicts left-out
patients best. Mirrored lesions count as well: left and right mean nothing here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datadouble import files

LOG_SIZES = (-4.6, 0.0)  # range of log(size / side): a hundredth of the side to all of it
SIZE_BINS, ANGLE_BINS = 92, 36
_FLOOR = 0.01  # share of an even distribution in every density
_WIDTHS = {
    "place": (0.04, 0.06, 0.09, 0.13, 0.2),
    "size": (0.1, 0.2, 0.3, 0.45),
    "angle": (0.1, 0.2, 0.35, 0.6),
}
_SHARED = (2.0, 10.0, 50.0, 250.0)  # lesions that all classes together count for
_FOLDS = 5


class Found(NamedTuple):
    """Lesions that were found, one entry each.

    Attributes
    ----------
    row, column
        float (n,), of the centre as shares of the side in [0, 1).
    size
        float (n,), log(size / side).
    angle
        float (n,), radians.
    label
        int (n,).
    """

    row: np.ndarray
    column: np.ndarray
    size: np.ndarray
    angle: np.ndarray
    label: np.ndarray

    def take(self, rows: np.ndarray) -> "Found":
        """Return some of them."""
        return Found(*(values[rows] for values in self))


@dataclass(frozen=True)
class PlacePrior:
    """Histograms by class; each sums to 1.

    Attributes
    ----------
    place
        float64 (classes, g, g): probability of each patch.
    size
        float64 (classes, SIZE_BINS) over `LOG_SIZES`.
    angle
        float64 (classes, ANGLE_BINS) over (-pi/2, pi/2].
    """

    place: np.ndarray
    size: np.ndarray
    angle: np.ndarray

    @classmethod
    def fit(cls, found: Found, units: Iterable[str], classes: int, grid: int) -> "PlacePrior":
        """Estimate the histograms.

        Parameters
        ----------
        found
            Training lesions.
        units
            Of each, so that none is in two folds: patients with those whose pictures look alike.
        grid
            Patches along a side.
        """
        numbers = np.unique(list(units), return_inverse=True)[1]
        folds = numbers % min(_FOLDS, max(2, int(numbers.max()) + 1))
        parts = {}
        for kind, (counts, index) in _counts(found, classes, grid).items():
            width, shared = _choose(kind, counts, index, folds, found.label, classes)
            total = np.stack([counts[found.label == label].sum(0) for label in range(classes)])
            parts[kind] = _density(kind, total, width, shared)
        return cls(**parts)

    def log_place(self, label: int, allowed: np.ndarray) -> np.ndarray:
        """Return log-probabilities of the patches (g, g) over those `allowed`, bool (g, g); all where none is."""
        if not allowed.any():
            allowed = np.ones_like(allowed)
        kept = self.place[label] * allowed
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(kept / kept.sum()))

    def log_size(self, label: int, size: np.ndarray | float) -> np.ndarray:
        """Return the log-density of log-sizes."""
        low, high = LOG_SIZES
        where = np.clip((np.asarray(size) - low) / (high - low) * SIZE_BINS, 0, SIZE_BINS - 1).astype(int)
        return np.log(self.size[label][where] * SIZE_BINS / (high - low))

    def log_angle(self, label: int, angle: np.ndarray | float) -> np.ndarray:
        """Return the log-density of angles, per radian over an interval of length pi."""
        return np.log(self.angle[label][_angle_bin(np.asarray(angle))] * ANGLE_BINS / np.pi)

    def evidence(self, label: int, wanted: float, tolerance: float) -> float:
        """Return the density of a log-size of the class that is seen with Gaussian noise of width `tolerance`."""
        low, high = LOG_SIZES
        middles = low + (np.arange(SIZE_BINS) + 0.5) * (high - low) / SIZE_BINS
        noise = np.exp(-0.5 * ((middles - wanted) / tolerance) ** 2) / (tolerance * np.sqrt(2 * np.pi))
        return float(self.size[label] @ noise)

    def sample_size(
        self,
        label: int,
        count: int,
        rng: np.random.Generator,
        *,
        wanted: float = 0.0,
        tolerance: float = np.inf,
    ) -> np.ndarray:
        """Draw log-sizes (count,): of the class's, weighted by a Gaussian about `wanted` of width `tolerance`."""
        low, high = LOG_SIZES
        step = (high - low) / SIZE_BINS
        middles = low + (np.arange(SIZE_BINS) + 0.5) * step
        weights = self.size[label] * np.exp(-0.5 * ((middles - wanted) / tolerance) ** 2)
        bins = rng.choice(SIZE_BINS, size=count, p=weights / weights.sum())
        return low + (bins + rng.random(count)) * step

    def sample_angle(self, label: int, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw angles (count,), radians."""
        bins = rng.choice(ANGLE_BINS, size=count, p=self.angle[label])
        return np.pi / 2 - (bins + rng.random(count)) * np.pi / ANGLE_BINS

    def save(self, path: Path) -> None:
        """Write JSON."""
        values = {name: getattr(self, name).round(10).tolist() for name in ("place", "size", "angle")}
        files.write_json(path, values)

    @classmethod
    def load(cls, path: Path) -> "PlacePrior":
        """Read what `save` wrote."""
        import json

        values = {name: np.array(value) for name, value in json.loads(path.read_text()).items()}
        sums = {name: v.reshape(len(v), -1).sum(1) for name, v in values.items()}
        return cls(**{name: v / sums[name].reshape(-1, *[1] * (v.ndim - 1)) for name, v in values.items()})


def _angle_bin(angle: np.ndarray) -> np.ndarray:
    """Return the bin of angles; bin 0 ends at pi/2, which belongs to it."""
    share = np.mod(np.pi / 2 - angle, np.pi) / np.pi
    return np.minimum((share * ANGLE_BINS).astype(int), ANGLE_BINS - 1)


def _counts(found: Found, classes: int, grid: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return each lesion's counts (n, ...), half of it mirrored, and the flat bin in which it lies (n,)."""
    n, each = len(found.label), np.arange(len(found.label))
    place = np.zeros((n, grid, grid))
    r, c = (np.clip((v * grid).astype(int), 0, grid - 1) for v in (found.row, found.column))
    place[each, r, c] += 0.5
    place[each, r, grid - 1 - c] += 0.5
    low, high = LOG_SIZES
    bins = np.clip((found.size - low) / (high - low) * SIZE_BINS, 0, SIZE_BINS - 1).astype(int)
    size = np.zeros((n, SIZE_BINS))
    size[each, bins] = 1
    angle = np.zeros((n, ANGLE_BINS))
    turned = _angle_bin(found.angle)
    angle[each, turned] += 0.5
    angle[each, _angle_bin(-found.angle)] += 0.5
    return {"place": (place, r * grid + c), "size": (size, bins), "angle": (angle, turned)}


def _density(kind: str, counts: np.ndarray, width: float, shared: float) -> np.ndarray:
    """Smooth counts (classes, ...) and let each class lean on all of them: (classes, ...), each summing to 1."""
    from scipy import ndimage

    if kind == "place":
        sigma = width * counts.shape[-1]
        smooth = ndimage.gaussian_filter(counts, (0, sigma, sigma), mode="reflect")
    elif kind == "size":
        sigma = width / (LOG_SIZES[1] - LOG_SIZES[0]) * SIZE_BINS
        smooth = ndimage.gaussian_filter1d(counts, sigma, axis=1, mode="reflect")
    else:
        smooth = ndimage.gaussian_filter1d(counts, width / np.pi * ANGLE_BINS, axis=1, mode="wrap")
    flat = np.maximum(smooth.reshape(len(counts), -1), 0)
    together = flat.sum(0) / max(flat.sum(), 1e-12)
    own = flat + shared * together
    own /= np.maximum(own.sum(1, keepdims=True), 1e-12)
    density = (1 - _FLOOR) * own + _FLOOR / flat.shape[1]
    return np.asarray((density / density.sum(1, keepdims=True)).reshape(counts.shape))


def _choose(
    kind: str, counts: np.ndarray, index: np.ndarray, folds: np.ndarray, labels: np.ndarray, classes: int
) -> tuple[float, float]:
    """Return the width and the lean under which left-out folds are likeliest."""
    totals = np.stack(
        [
            [counts[(folds == fold) & (labels == label)].sum(0) for label in range(classes)]
            for fold in range(folds.max() + 1)
        ]
    )
    best, highest = (_WIDTHS[kind][-1], _SHARED[-1]), -np.inf
    for width in _WIDTHS[kind]:
        for shared in _SHARED:
            score = 0.0
            for fold in range(len(totals)):
                density = _density(kind, totals.sum(0) - totals[fold], width, shared).reshape(classes, -1)
                out = folds == fold
                score += float(np.log(density[labels[out], index[out]]).sum())
            if score > highest:
                best, highest = (width, shared), score
    return best
