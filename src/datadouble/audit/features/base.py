"""What an extractor is, and the features it gives."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np


class ExtractorSource(NamedTuple):
    """What ``load_extractor`` was called with: a worker process loads the same extractor from it."""

    name: str
    weights: Path | str | None
    precision: str


class Extractor(Protocol):
    """Turns grey pictures into feature vectors; built by one registry entry.

    Attributes
    ----------
    name : str
        Registry name; distances carry it: ``FD(efficientnet-lite0)``.
    input_size : int
        Side in pixels to which ``cohort.pixels.fit_square`` brings every picture.
    dimension : int
        Length of a feature vector.
    fingerprint : str
        Stands for weights, preprocessing and precision: features are comparable only where it is equal.
    preprocessing : str
        The preprocessing in words.
    source : ExtractorSource or None
        How the registry loaded it; None where it was built by hand, and then it runs in one process.

    Notes
    -----
    One whose columns have different units says so by an attribute ``mixed_units = True``: see :func:`standardise`.
    """

    source: ExtractorSource | None
    name: str
    input_size: int
    dimension: int
    fingerprint: str
    preprocessing: str

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """(n, input_size, input_size) float32 on the 0..255 scale -> (n, dimension) float32."""
        ...

    def logits(self, features: np.ndarray) -> np.ndarray | None:
        """Class scores (n, classes) before softmax of (n, dimension) features; None without a classifier."""
        ...


@dataclass
class Features:
    """Feature vectors of a set of pictures, with what identifies each.

    Parameters
    ----------
    array : ndarray
        (n, d) float32, one row a readable picture.
    image_ids, patients, labels : ndarray of str
        (n,); ``""`` where unknown.
    rows : ndarray of int
        (n,): position of each row in the cohort or sequence that was given.
    fingerprint : str
        That of the extractor.
    broken : list of (image id, reason)
        Pictures that could not be read, left out above.
    """

    array: np.ndarray
    image_ids: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    fingerprint: str
    broken: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.array)

    def where(self, keep: np.ndarray) -> Features:
        """The rows picked by a boolean mask or an index array; ``broken`` stays with the whole set."""
        return Features(
            self.array[keep],
            self.image_ids[keep],
            self.patients[keep],
            self.labels[keep],
            self.rows[keep],
            self.fingerprint,
        )

    @cached_property
    def groups(self) -> np.ndarray:
        """Patient of each row; a picture without a patient is a patient of its own (str, (n,))."""
        alone = np.array([f"image:{i}" for i in self.image_ids], dtype=object)
        return np.where(self.patients == "", alone, self.patients).astype(str)


def standardise(features: Features, by: Features) -> Features:
    """Each column minus its mean in ``by``, over its standard deviation there; columns without spread become 0.

    For features whose columns have different units (``radiomics``): bring both sides to one scale by the real
    pictures before any distance.

    Raises
    ------
    ValueError
        Where the two come from different extractors.
    """
    if features.fingerprint != by.fingerprint:
        raise ValueError(f"features of different extractors: {features.fingerprint} and {by.fingerprint}")
    deviation = by.array.std(axis=0, dtype=np.float64)
    flat = deviation < 1e-9
    scaled = (features.array - by.array.mean(axis=0, dtype=np.float64)) / np.where(flat, 1.0, deviation)
    return replace(features, array=np.where(flat, 0.0, scaled).astype(np.float32))
