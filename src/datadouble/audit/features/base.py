"""What an extractor is, and the features it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


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
    """

    name: str
    input_size: int
    dimension: int
    fingerprint: str
    preprocessing: str

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """(n, input_size, input_size) float32 on the 0..255 scale -> (n, dimension) float32."""
        ...

    def logits(self, features: np.ndarray) -> np.ndarray | None:
        """Class scores (n, classes) before softmax of (n, dimension) features, or None where there is no classifier."""
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

    @property
    def groups(self) -> np.ndarray:
        """Patient of each row; a picture without a patient is a patient of its own (str, (n,))."""
        alone = np.array([f"image:{i}" for i in self.image_ids], dtype=object)
        return np.where(self.patients == "", alone, self.patients).astype(str)
