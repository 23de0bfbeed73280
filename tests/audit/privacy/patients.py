"""Simulated patients with several pictures each, as feature vectors."""

from typing import NamedTuple

import numpy as np


class Side(NamedTuple):
    """Features (n, d), the patient and the class of each."""

    array: np.ndarray
    groups: np.ndarray
    labels: np.ndarray


def patients(
    rng: np.random.Generator, count: int, name: str, *, pictures: int = 3, d: int = 8, likeness: float = 0.7
) -> Side:
    """`count` patients with 1 to `pictures` pictures each, correlated within patients; two classes lie apart."""
    sizes = rng.integers(1, pictures + 1, count)
    label = np.arange(count) % 2
    centre = rng.normal(size=(count, d))
    centre[:, 0] += 2 * label
    who = np.repeat(np.arange(count), sizes)
    array = likeness**0.5 * centre[who] + (1 - likeness) ** 0.5 * rng.normal(size=(len(who), d))
    return Side(array, np.array([f"{name}{i}" for i in who]), np.array(["benign", "malignant"])[label[who]])
