"""The fill is speckle like its surroundings, and touches nothing else."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from datadouble.cohort.deidentify.inpaint import inpaint_speckle


def _flat_speckle(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    field = [gaussian_filter(rng.standard_normal((200, 260)), (1.1, 2.2)) for _ in range(2)]
    envelope = np.hypot(*field)
    return np.clip(110 + 2.6 * 20 * np.log10(envelope / envelope.mean() + 1e-3), 0, 255).astype(np.uint8)


def _autocorrelation(image: np.ndarray, mask: np.ndarray, dy: int, dx: int) -> float:
    height, width = image.shape
    both = mask[: height - dy, : width - dx] & mask[dy:, dx:]
    a = image[: height - dy, : width - dx][both].astype(float)
    b = image[dy:, dx:][both].astype(float)
    return float(np.corrcoef(a, b)[0, 1])


@pytest.fixture(scope="module")
def hole() -> np.ndarray:
    mask = np.zeros((200, 260), bool)
    mask[80:94, 60:200] = True
    mask[140:180, 120:135] = True
    return mask


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_statistics_of_the_fill_are_those_of_the_surroundings(seed: int, hole: np.ndarray) -> None:
    image = _flat_speckle(seed)
    damaged = np.where(hole, 255, image).astype(np.uint8)
    filled = inpaint_speckle(damaged, hole)
    inside, outside = filled[hole].astype(float), image[~hole].astype(float)
    assert abs(inside.mean() - outside.mean()) < 0.25 * outside.std()
    assert 0.8 < inside.std() / outside.std() < 1.2
    for dy, dx in ((1, 0), (0, 1), (0, 3), (2, 0)):
        assert abs(_autocorrelation(filled, hole, dy, dx) - _autocorrelation(image, ~hole, dy, dx)) < 0.13


def test_only_masked_pixels_change_and_the_result_is_reproducible(hole: np.ndarray) -> None:
    image = _flat_speckle(5)
    first, second = inpaint_speckle(image, hole), inpaint_speckle(image.copy(), hole.copy())
    assert (first[~hole] == image[~hole]).all()
    assert (first == second).all()
    assert (first[hole] != image[hole]).mean() > 0.8


def test_the_fill_does_not_depend_on_what_stood_in_the_hole(hole: np.ndarray) -> None:
    image = _flat_speckle(6)
    white, black = np.where(hole, 255, image), np.where(hole, 0, image)
    assert (
        inpaint_speckle(white.astype(np.uint8), hole) == inpaint_speckle(black.astype(np.uint8), hole)
    ).all()


def test_a_gradient_is_carried_across_the_hole() -> None:
    image = np.tile(np.linspace(40, 200, 220), (120, 1)).astype(np.uint8)
    mask = np.zeros_like(image, bool)
    mask[50:62, 60:160] = True
    filled = inpaint_speckle(np.where(mask, 255, image).astype(np.uint8), mask)
    assert np.abs(filled.astype(int) - image)[mask].max() <= 8


def test_nothing_to_fill_and_nothing_to_copy_from() -> None:
    image = _flat_speckle(7)[:40, :40]
    assert (inpaint_speckle(image, np.zeros_like(image, bool)) == image).all()
    assert (inpaint_speckle(image, np.ones_like(image, bool)) == image).all()
    nearly = np.ones_like(image, bool)
    nearly[:2] = False
    assert (inpaint_speckle(image, nearly)[:2] == image[:2]).all()
