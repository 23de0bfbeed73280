"""Pictures in which brightness tells the label, so that a small network learns it in seconds."""

import numpy as np
import pytest

from datadouble.audit.pictures import Pictures


def make(
    patients: range, seed: int, *, name: str = "real", side: int = 32, shuffled: bool = False
) -> Pictures:
    """Two pictures a patient; odd patients are labelled "4" and have a bright, larger disc, even ones "2"."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.array(patients), 2)
    sick = number % 2 == 1
    centre = rng.uniform(0.35 * side, 0.65 * side, (len(number), 2, 1, 1))
    grid = np.stack(np.mgrid[:side, :side])[None]
    radius = np.where(sick, 8, 5) + rng.uniform(-1, 1, len(number))
    masks = (((grid - centre) ** 2).sum(1) < radius[:, None, None] ** 2).astype(np.uint8)
    light = np.where(sick, 120, 60)[:, None, None]
    array = (rng.integers(0, 90, masks.shape) + light * masks).astype(np.uint8)
    labels = np.where(sick, "4", "2")
    if shuffled:
        labels = rng.permutation(labels)
    return Pictures(
        array,
        masks,
        np.ones(len(array), bool),
        np.array([f"{name}-{i}" for i in range(len(array))]),
        np.array([f"{name}-p{i}" for i in number]),
        labels,
        np.arange(len(array)),
    )


@pytest.fixture(scope="package")
def train_set() -> Pictures:
    return make(range(40), 0)


@pytest.fixture(scope="package")
def test_set() -> Pictures:
    return make(range(100, 140), 1)


@pytest.fixture(scope="package")
def good_double() -> Pictures:
    """Drawn from the same law."""
    return make(range(40), 2, name="synthetic")


@pytest.fixture(scope="package")
def useless_double() -> Pictures:
    """The same pictures under labels that mean nothing."""
    return make(range(40), 2, name="synthetic", shuffled=True)
