"""Drawn calipers, dots, rulers and bars are found; tissue is not."""

import numpy as np
import pytest

from datadouble.cohort.deidentify.borders import find_bars, find_border_marks, find_frames, find_glyphs
from datadouble.cohort.deidentify.dots import dotted_lines, find_dots
from datadouble.cohort.deidentify.markers import find_calipers, find_dotted_lines

from .speckle import cross, speckle, with_layers


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("arm", [4, 5, 6])
def test_calipers_are_found_whole(arm: int, diagonal: bool) -> None:
    image = speckle(1)
    burnt = [cross(image, x, y, arm, diagonal) for x, y in ((88, 110), (192, 110), (140, 76), (140, 145))]
    found = find_calipers(image)
    covered = np.any([one.pixels for one in found], axis=0)
    assert sum((covered & one).sum() >= 0.9 * one.sum() for one in burnt) == 4


@pytest.mark.parametrize("seed", [11, 12, 13, 14])
def test_tissue_is_left_alone(seed: int) -> None:
    image = with_layers(speckle(seed))
    found = find_calipers(image) + find_glyphs(image) + find_bars(image) + find_frames(image)
    found += dotted_lines(find_dots(image)) + find_border_marks(image)
    replaced = np.zeros(image.shape, bool)
    for one in found:
        replaced |= one.pixels
    assert replaced.mean() < 0.004
    assert not replaced[95:130, 120:160].any()  # the calcifications
    assert len(find_calipers(image)) <= 1


def test_dotted_line_between_calipers() -> None:
    image = speckle(2)
    cross(image, 80, 100)
    cross(image, 200, 120)
    dots = np.zeros(image.shape, bool)
    for t in np.linspace(0.08, 0.92, 26):
        x, y = round(80 + 120 * t), round(100 + 20 * t)
        dots[y : y + 2, x : x + 2] = True
    image[dots] = 220
    found = find_dotted_lines(image, find_calipers(image)) + dotted_lines(find_dots(image))
    covered = np.any([one.pixels for one in found], axis=0)
    assert {one.item.kind for one in found} == {"dotted-line"}
    assert (covered & dots).sum() >= 0.9 * dots.sum()


def test_ruler_dots_at_the_border() -> None:
    image = speckle(3)
    ticks = np.zeros(image.shape, bool)
    for y in range(20, 290, 30):
        ticks[y : y + 2, 5:8] = True
    image[ticks] = 230
    covered = np.any([one.pixels for one in find_border_marks(image)], axis=0)
    assert (covered & ticks).sum() >= 0.9 * ticks.sum()


def test_grey_bar_at_the_right() -> None:
    image = speckle(4)
    bar = np.zeros(image.shape, bool)
    bar[30:150, 262:272] = True
    image[30:150, 262:272] = np.linspace(240, 150, 120)[:, None].astype(np.uint8)
    found = find_bars(image)
    assert found and all(one.item.kind == "bar" for one in found)
    covered = np.any([one.pixels for one in found], axis=0)
    assert (covered & bar).sum() >= 0.95 * bar.sum()
    assert covered[:, :240].sum() == 0


def test_frame_of_a_zoom_window() -> None:
    image = speckle(5)
    frame = np.zeros(image.shape, bool)
    frame[60, 70:210] = frame[160, 70:210] = frame[60:161, 70] = frame[60:161, 209] = True
    image[frame] = np.minimum(image[frame].astype(int) + 90, 255).astype(np.uint8)
    covered = np.any([one.pixels for one in find_frames(image)], axis=0)
    assert (covered & frame).sum() >= 0.9 * frame.sum()
