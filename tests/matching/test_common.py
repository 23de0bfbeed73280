"""What is common to many pictures goes, what only twins share stays."""

import numpy as np
from PIL import Image, ImageDraw

from datadouble.cohort.phantom import draw
from datadouble.matching.common import FEWEST, without_common


def pictures(n: int) -> np.ndarray:
    """Return simulated scans (n, 128, 128)."""
    return np.stack([draw("breast-ultrasound", p, 0, "3", size=128, seed=2).image for p in range(n)])


def burned(image: np.ndarray) -> np.ndarray:
    """Return the picture with the words of a device."""
    canvas = Image.fromarray(image)
    ImageDraw.Draw(canvas).text((8, 8), "DEVICE 12L", fill=255, font_size=14)
    return np.asarray(canvas)


def test_words_that_all_share_are_blurred_and_nothing_else() -> None:
    plain = pictures(20)
    words = np.stack([burned(image) for image in plain])
    result = without_common(words, np.arange(20))
    where = np.ptp(words.astype(int) - plain, axis=0) > 0
    assert (result[:, where].astype(int) < 200).mean() > 0.95  # the words are white
    far = np.ones((128, 128), bool)
    far[:40] = False
    assert (result[:, far] == words[:, far]).mean() > 0.99


def test_pictures_without_anything_in_common_stay_as_they_are() -> None:
    plain = pictures(20)
    assert (without_common(plain, np.arange(20)) == plain).mean() > 0.97


def test_twins_and_small_cohorts_stay_as_they_are() -> None:
    plain = pictures(20)
    plain[1], plain[2] = plain[0], plain[0]
    assert (without_common(plain, np.arange(20))[:3] == plain[:3]).mean() > 0.9
    few = np.stack([burned(image) for image in plain[: FEWEST - 1]])
    assert (without_common(few, np.arange(len(few))) == few).all()
    one_group = np.stack([burned(image) for image in plain])
    assert (without_common(one_group, np.zeros(20, int)) == one_group).all()
