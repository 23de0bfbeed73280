"""The box of the lungs, in a chest drawn by hand."""

import numpy as np

from datadouble.cohort.importers.lungs import lung_box, subsample


def chest() -> np.ndarray:
    """HU (12, 80, 100): air around, a body, two lungs in slices 3 to 8, bowel gas in slice 1; 5 x 4 x 4 mm."""
    volume = np.full((12, 80, 100), -1000.0)
    volume[:, 10:70, 8:92] = 40
    volume[3:9, 22:58, 16:44] = -850
    volume[3:9, 24:56, 56:84] = -850
    volume[1, 30:34, 40:44] = -950
    return volume


def test_the_box_holds_both_lungs_and_the_margin() -> None:
    assert lung_box(chest(), (5, 4, 4), 0) == ((3, 9), (22, 58), (16, 84))
    assert lung_box(chest(), (5, 4, 4), 10) == ((1, 11), (19, 61), (13, 87))


def test_the_room_is_no_lung() -> None:
    volume = chest()
    volume[3:9, 22:58, 16:84] = 40
    assert lung_box(volume, (5, 4, 4)) is None


def test_a_thin_leak_to_the_room_does_not_join_it() -> None:
    volume = chest()
    volume[5, 40, :16] = -900
    found = lung_box(volume, (5, 4, 4), 0)
    assert found is not None
    np.testing.assert_allclose(found, ((3, 9), (22, 58), (16, 84)), atol=1)


def test_subsampling_leaves_at_most_128() -> None:
    small, step = subsample(np.zeros((512, 400)))
    assert small.shape == (128, 100)
    assert step == 4
