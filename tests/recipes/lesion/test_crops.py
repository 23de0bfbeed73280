"""Crops: picture and mask through one window, and back."""

import numpy as np
import pytest

from datadouble.recipes.lesion.crops import (
    MARGIN,
    box_of,
    cut,
    cut_window,
    to_patch,
    to_picture,
    window_at,
    window_of,
)


def letter(size: int = 96) -> np.ndarray:
    """An F: no mirror image or turn of it is the same."""
    mask = np.zeros((size, size), bool)
    mask[20:60, 30:38] = mask[20:28, 30:58] = mask[36:44, 30:50] = True
    return mask


def test_picture_and_mask_go_through_one_window() -> None:
    mask = letter()
    image = np.where(mask, 200, 40).astype(np.uint8)
    for centre, side, patch in (((40, 44), 70.0, 48), ((33.3, 51.7), 45.5, 32), ((40, 44), 24.0, 48)):
        found = cut(image, mask, centre, side, patch)
        assert ((found.image > 120) != found.mask).mean() < 0.005  # the filters differ in a corner
        assert found.image.shape == found.mask.shape == (patch, patch)
        assert not np.array_equal(found.mask, found.mask[:, ::-1])


def test_points_go_there_and_back() -> None:
    window = window_at((40.25, 30.5), 37.0, 96)
    points = np.random.default_rng(0).uniform(0, 48, (20, 2))
    there = to_picture(window, points, 48)
    np.testing.assert_allclose(to_patch(window, there, 48), points)
    # A patch's middle is its window's.
    middle = to_picture(window, np.array([[23.5, 23.5]]), 48)[0]
    np.testing.assert_allclose(middle, (40.25, 30.5))


def test_a_single_pixel_lands_where_the_geometry_says() -> None:
    image, mask = np.zeros((96, 96), np.uint8), np.zeros((96, 96), bool)
    mask[50, 33] = True
    window = window_at((44, 40), 32.0, 96)
    patch = cut_window(image, mask, window, 64)  # two patch pixels a pixel
    rows, columns = np.nonzero(patch.mask)
    expected = to_patch(window, np.array([[50, 33]]), 64)[0]
    np.testing.assert_allclose((rows.mean(), columns.mean()), expected, atol=0.51)


def test_a_window_is_centred_on_the_lesion_with_its_margin() -> None:
    mask = letter()
    assert box_of(mask) == (20, 30, 40, 28)
    window = window_of(mask)
    assert window.side == pytest.approx(MARGIN * 40)
    patch = cut_window(np.zeros((96, 96), np.uint8), mask, window, 64)
    assert patch.margin == pytest.approx(MARGIN, rel=0.03)
    top, left, height, width = box_of(patch.mask)
    assert abs((top + height / 2) - 32) <= 1 and abs((left + width / 2) - 32) <= 1


def test_windows_stay_inside_the_picture() -> None:
    mask = np.zeros((64, 64), bool)
    mask[0:10, 50:64] = True
    window = window_of(mask)
    assert window.top == -0.5 and window.left + window.side == pytest.approx(63.5)
    huge = window_at((5, 5), 500.0, 64)
    assert (huge.top, huge.left, huge.side) == (-0.5, -0.5, 64.0)
    np.testing.assert_array_equal(cut_window(mask.astype(np.uint8), mask, huge, 64).mask, mask)


def test_a_window_of_the_patchs_side_changes_no_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    mask = np.random.default_rng(1).random((64, 64)) > 0.5
    patch = cut(image, mask, (31.5, 27.5), 32, 32)
    np.testing.assert_array_equal(patch.image, image[16:48, 12:44])
    np.testing.assert_array_equal(patch.mask, mask[16:48, 12:44])
