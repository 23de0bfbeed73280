"""A lesion in eight numbers: measured from real pictures and masks, and drawn anew as a generator's conditions.

All geometry is in pixels of the square picture, rows before columns; angles are those of the long axis against the
horizontal, in (-pi/2, pi/2], positive where it falls to the right: its direction is (sin a, cos a) in (row, column).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datadouble import files
from datadouble.errors import DataDoubleError

MINIMUM_AREA = 12  # pixels: with fewer, axes and outline mean nothing
RING = 0.4  # width of the ring round a lesion, as a share of its size
BELOW = 1.0  # depth under a lesion that is compared with its sides, as a share of its size
CONDITIONS = ("size", "row", "aspect", "irregularity", "echo", "posterior", "cos 2 angle", "sin 2 angle")
"""What a network is told of a lesion, in this order; see `conditions_of`."""
_ANGLE, _ANGLE_NOISE = 4, 0.15
_LOGARITHMS = (0, 3, 5)  # size, aspect, irregularity: positive, skewed


class Descriptor(NamedTuple):
    """What a lesion is like.

    Attributes
    ----------
    size
        Square root of the area, pixels.
    row, column
        Centre of mass, pixels; the centre of the first pixel is at 0.
    aspect
        Long to short axis of the ellipse of equal second moments, from 1.
    angle
        Of the long axis, radians.
    irregularity
        Perimeter^2 / (4 pi area), from 1 of a disc.
    echo
        Mean grey in the lesion less that in the ring round it, in standard deviations of the ring's grey.
    posterior
        Mean logarithm of the grey under the lesion to that beside it at the same depth: below 0 a shadow, above 0
        enhancement.
    """

    size: float
    row: float
    column: float
    aspect: float
    angle: float
    irregularity: float
    echo: float
    posterior: float


def largest_lesion(mask: np.ndarray) -> np.ndarray:
    """Return the largest piece of a mask bool (h, w) (8 neighbours), its holes filled."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if not count:
        return np.zeros(mask.shape, dtype=bool)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(pieces == sizes.argmax()), dtype=bool)


def describe(image: np.ndarray, mask: np.ndarray) -> Descriptor:
    """Measure a lesion.

    Parameters
    ----------
    image
        uint8 (s, s).
    mask
        bool (s, s), of this lesion alone.

    Raises
    ------
    DataDoubleError
        When the mask has fewer than `MINIMUM_AREA` pixels.
    """
    area = int(mask.sum())
    if area < MINIMUM_AREA:
        raise DataDoubleError(
            "the lesion is too small to be measured",
            where="mask",
            found=f"{area} pixels, at least {MINIMUM_AREA} are needed",
            remedy="work at a larger data.size, or drop the picture",
        )
    row, column, aspect, angle = ellipse_of(mask)
    perimeter = crofton_perimeter(mask)
    return Descriptor(
        float(np.sqrt(area)),
        row,
        column,
        aspect,
        angle,
        max(1.0, perimeter**2 / (4 * np.pi * area)),
        _echo(image, mask),
        _posterior(image, mask),
    )


def ellipse_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Return row, column, aspect and angle of the ellipse with the mask's second moments (h, w)."""
    rows, columns = np.nonzero(mask)
    row, column = rows.mean(), columns.mean()
    # A pixel is a square, not a point: its own second moment is 1/12.
    covariance = np.cov(np.stack([rows, columns]), bias=True) + np.eye(2) / 12
    values, vectors = np.linalg.eigh(covariance)
    angle = float(np.arctan2(vectors[0, 1], vectors[1, 1]))
    return float(row), float(column), float(np.sqrt(values[1] / values[0])), wrapped(angle)


def wrapped(angle: float) -> float:
    """Return an axis's angle in (-pi/2, pi/2]."""
    return float(np.pi / 2 - (np.pi / 2 - angle) % np.pi)


def crofton_perimeter(mask: np.ndarray) -> float:
    """Return the length of a mask's outline by Crofton's formula over four directions, in pixels.

    Counting pixel edges would make a disc's outline 4/pi too long, and any tilted one's as well. The lesion's
    outline is where lines of each direction cross it: the length is pi/2 times the mean density of crossings.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    straight = sum(np.abs(np.diff(padded, axis=axis)).sum() for axis in (0, 1))
    falling = np.abs(padded[1:, 1:] - padded[:-1, :-1]).sum()
    rising = np.abs(padded[1:, :-1] - padded[:-1, 1:]).sum()
    # Parallel lines are 1 pixel apart along the axes, 1 / sqrt 2 along the diagonals.
    return float(np.pi / 2 * (straight + (falling + rising) / np.sqrt(2)) / 4)


def ring_of(mask: np.ndarray, width: float) -> np.ndarray:
    """Return the pixels outside a lesion up to `width` pixels from it, bool (h, w)."""
    from scipy import ndimage

    return (ndimage.distance_transform_edt(~mask) <= width) & ~mask


def _echo(image: np.ndarray, mask: np.ndarray) -> float:
    ring = ring_of(mask, max(2.0, RING * np.sqrt(mask.sum())))
    if not ring.any():
        return 0.0
    around = image[ring].astype(float)
    return float((image[mask].mean() - around.mean()) / max(around.std(), 1.0))


def _posterior(image: np.ndarray, mask: np.ndarray) -> float:
    """Compare the tissue under the middle of a lesion with that on both sides of it, row by row."""
    rows, columns = np.nonzero(mask)
    bottom, left, right = rows.max(), columns.min(), columns.max()
    size = np.sqrt(mask.sum())
    top, end = bottom + 2, min(image.shape[0], round(bottom + 2 + BELOW * size))
    inset, gap, width = 0.2 * (right - left + 1), max(1, round(0.15 * size)), max(2, round(0.5 * size))
    under = image[top:end, int(left + inset) : int(right - inset) + 1].astype(float)
    beside = [
        image[top:end, max(0, left - gap - width) : max(0, left - gap)],
        image[top:end, right + gap + 1 : right + gap + 1 + width],
    ]
    sides = np.concatenate(beside, axis=1).astype(float)
    if end - top < 2 or not under.size or not sides.size:
        return 0.0
    return float(np.mean(np.log(under.mean(axis=1) + 4) - np.log(sides.mean(axis=1) + 4)))


def conditions_of(descriptors: Sequence[Descriptor], size: int) -> np.ndarray:
    """Return what a network is told, float64 (n, 8), before it is standardised; `CONDITIONS` in order.

    Size, aspect and irregularity as logarithms, the depth as a share of the picture's side `size`. An angle counts for
    more the longer the lesion: its cosine and sine are scaled by 1 - 1 / aspect.
    """
    d = np.array(descriptors, dtype=np.float64).reshape(-1, 8)
    weight = 1 - 1 / d[:, 3]
    return np.stack(
        [
            np.log(d[:, 0] / size),
            d[:, 1] / size,
            np.log(d[:, 3]),
            np.log(d[:, 5]),
            d[:, 6],
            d[:, 7],
            weight * np.cos(2 * d[:, 4]),
            weight * np.sin(2 * d[:, 4]),
        ],
        axis=1,
    )


class DescriptorBank:
    """The distribution of descriptors of each class, to draw new ones from.

    A draw takes a training lesion of the class, moves it towards the class's mean and adds Gaussian noise of the
    class's covariance: a smoothed bootstrap whose first two moments are those of the class (Silverman 1986, section
    6.4.1), with his bandwidth for eight dimensions. No draw is a training lesion's.

    Attributes
    ----------
    size : int
        Side of the pictures in pixels.
    classes : tuple of str
    rows : dict
        By class, float64 (n, 8): transformed descriptors; numbers without names.
    """

    def __init__(self, size: int, rows: dict[str, np.ndarray]) -> None:
        self.size, self.rows = size, rows
        self.classes = tuple(rows)

    @classmethod
    def fit(
        cls, descriptors: Sequence[Descriptor], labels: Sequence[str], classes: Sequence[str], size: int
    ) -> "DescriptorBank":
        """Keep the training lesions' descriptors, sorted by size: their order says nothing of patients.

        Raises
        ------
        DataDoubleError
            When a class has fewer than two.
        """
        rows = {}
        for name in classes:
            own = [d for d, label in zip(descriptors, labels, strict=True) if label == name]
            if len(own) < 2:
                raise DataDoubleError(
                    "a class needs lesions to know their distribution",
                    where=name,
                    found=str(len(own)),
                    remedy="leave the class out with data.classes",
                )
            rows[name] = _transform(np.array(sorted(own)), size)
        return cls(size, rows)

    def save(self, path: Path) -> None:
        """Write JSON."""
        values = {name: rows.round(5).tolist() for name, rows in self.rows.items()}
        files.write_json(path, {"size": self.size, "rows": values})

    @classmethod
    def load(cls, path: Path) -> "DescriptorBank":
        """Read what `save` wrote.

        Raises
        ------
        DataDoubleError
            When it is missing.
        """
        import json

        if not path.is_file():
            raise DataDoubleError("the file is missing", where=path.name, remedy="run `datadouble fit` again")
        values: dict[str, Any] = json.loads(path.read_text())
        return cls(values["size"], {name: np.array(rows) for name, rows in values["rows"].items()})

    def sample(self, label: str, rng: np.random.Generator) -> Descriptor:
        """Draw a descriptor of a class.

        Raises
        ------
        DataDoubleError
            When the bank has no such class.
        """
        if label not in self.rows:
            raise DataDoubleError(
                "the run knows no lesions of this class",
                where=label,
                remedy=f"use {', '.join(self.classes)}",
            )
        rows = self.rows[label]
        count, dimensions = rows.shape
        mean = rows.mean(axis=0)
        width = (4 / (dimensions + 2)) ** (1 / (dimensions + 4)) * count ** (-1 / (dimensions + 4))
        width = min(width, 0.9)
        # A kernel of full rank also where a class has fewer lesions than dimensions.
        covariance = np.cov(rows.T) + np.diag(1e-4 + 0.05 * rows.var(axis=0))
        noise = rng.multivariate_normal(np.zeros(dimensions), covariance)
        chosen = rows[rng.integers(count)]
        drawn = mean + np.sqrt(1 - width**2) * (chosen - mean) + width * noise
        drawn[_ANGLE] = chosen[_ANGLE] + rng.normal(
            0, _ANGLE_NOISE
        )  # an axis has no mean: it comes round again
        low, high = rows.min(axis=0), rows.max(axis=0)
        slack = 0.1 * (high - low)
        slack[_ANGLE] = np.pi
        return _back(np.clip(drawn, low - slack, high + slack), self.size)


def _transform(values: np.ndarray, size: int) -> np.ndarray:
    """Return descriptors (n, 8) with logarithms and the picture's side as the unit; angles as they are."""
    result = values.astype(np.float64).copy()
    result[:, :3] /= size
    result[:, _LOGARITHMS] = np.log(result[:, _LOGARITHMS])
    return result


def _back(values: np.ndarray, size: int) -> Descriptor:
    """Undo `_transform` for one row, inside what a descriptor may be."""
    size_, row, column, aspect, angle, irregularity, echo, posterior = values.tolist()
    return Descriptor(
        float(np.clip(np.exp(size_) * size, np.sqrt(MINIMUM_AREA), size)),
        float(np.clip(row * size, 0, size - 1)),
        float(np.clip(column * size, 0, size - 1)),
        float(np.exp(abs(aspect))),  # reflected at 1
        wrapped(angle),
        float(np.exp(abs(irregularity))),
        echo,
        posterior,
    )
