"""Sheets of pictures: every tile is filled, whatever the size of the picture."""

import numpy as np

from datadouble.cohort.sheets import picture_sheet


def test_small_and_large_pictures_fill_their_tile_in_proportion() -> None:
    small, wide = np.full((16, 16), 13, np.uint8), np.full((100, 200), 2570, np.uint16)
    sheet = picture_sheet([("a", [small, wide]), ("b", [small])], tile=64)
    assert (sheet == 13).sum() == 2 * 64 * 64
    assert (sheet == 10).sum() == 64 * 32
