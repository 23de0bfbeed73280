"""Sheets of pictures: every tile is filled, whatever the size of the picture."""

import numpy as np

from datadouble.cohort.sheets import OUTLINES, outlined, picture_sheet


def test_small_and_large_pictures_fill_their_tile_in_proportion() -> None:
    small, wide = np.full((16, 16), 13, np.uint8), np.full((100, 200), 2570, np.uint16)
    sheet = picture_sheet([("a", [small, wide]), ("b", [small])], tile=64)
    assert (sheet == 13).sum() == 2 * 64 * 64
    assert (sheet == 10).sum() == 64 * 32


def test_outlines_lie_just_inside_the_masks_regions_and_sheets_keep_their_colours() -> None:
    """A square of 2x2 pixels enlarged by 8 is 16x16: its line is 60 pixels long, all else is the picture."""
    mask = np.zeros((8, 8), np.uint8)
    mask[2:4, 2:4], mask[6:, 6:] = 1, 2
    tile = outlined(np.full((8, 8), 50, np.uint8), mask, 64)
    assert [(tile == colour).all(axis=2).sum() for colour in OUTLINES[:2]] == [
        60,
        31,
    ]  # the border needs no line
    assert (tile == 50).all(axis=2).sum() == 64 * 64 - 91
    sheet = picture_sheet([("a", [tile])], tile=64, colour=True)
    assert (sheet == OUTLINES[0]).all(axis=2).sum() == 60
