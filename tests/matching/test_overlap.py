"""What aligned pictures share: cut from one another, so that the answer is known."""

import numpy as np
import pytest
from PIL import Image

from datadouble.cohort.phantom import draw
from datadouble.matching import alignment
from datadouble.matching.keypoints import to_working
from datadouble.matching.overlap import overlap, query_is_closer


def picture(patient: int) -> np.ndarray:
    """Return a simulated scan, (128, 128)."""
    return draw("breast-ultrasound", patient, 0, "3", size=128, seed=1).image


def crop(image: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """Return a square of a picture, enlarged to its size."""
    piece = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(piece.resize((128, 128), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def gain() -> object:
    return alignment.whitener(alignment.detail(to_working(np.stack([picture(p) for p in range(12)]))))


def laid(side: int, left: int, top: int) -> np.ndarray:
    """Return the transform from a crop to its picture: pixel centres lie at half."""
    a = side / 128
    return np.array([[a, a, left + 0.5 * a - 0.5, top + 0.5 * a - 0.5]], np.float32)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_crop_agrees_over_all_of_itself(gain, mirrored: bool) -> None:  # type: ignore[no-untyped-def]
    whole, transform = picture(3), laid(96, 20, 10)
    piece = crop(whole, 20, 10, 96)
    query = piece[:, ::-1] if mirrored else piece
    assert query_is_closer(transform)[0]
    seen = overlap(query[None], whole[None], transform, np.array([mirrored]), gain)
    inside = ((96 - 2 * alignment.EDGE) / 128) ** 2  # less the margin of the crop, which is a little smaller
    assert seen.textured[0] <= (96 / 128) ** 2
    assert seen.agreeing[0] > 0.85 * seen.textured[0] > 0.5 * inside
    assert seen.correlation[0] > 0.6
    left, right = seen.map[0][:, :20].sum(), seen.map[0][:, 116:].sum()
    assert left == right == 0  # outside the crop


def test_the_picture_in_its_crop_is_the_same_pair(gain) -> None:  # type: ignore[no-untyped-def]
    whole, there = picture(4), laid(80, 30, 40)
    piece = crop(whole, 30, 40, 80)
    a, b = there[0, 0], there[0, 2:]
    back = np.array([[1 / a, 1 / a, *(-b / a)]], np.float32)
    never = np.array([False])
    one = overlap(piece[None], whole[None], there, never, gain)
    other = overlap(whole[None], piece[None], back, never, gain)
    assert abs(one.agreeing[0] - other.agreeing[0]) < 0.01


def test_strangers_share_a_logo_only(gain) -> None:  # type: ignore[no-untyped-def]
    logo = np.kron(np.random.default_rng(0).integers(30, 220, (10, 15)), np.ones((2, 2))).astype(np.uint8)
    pair = [picture(5).copy(), picture(6).copy()]
    for image in pair:
        image[10:30, 10:40] = logo
    still = np.array([[1, 1, 0, 0]], np.float32)
    seen = overlap(pair[0][None], pair[1][None], still, np.array([False]), gain)
    assert 0.01 < seen.agreeing[0] < 0.08
    assert seen.agreeing[0] < 0.2 * seen.textured[0]


def test_clipped_places_do_not_count(gain) -> None:  # type: ignore[no-untyped-def]
    image = picture(7).copy()
    image[64:] = 0
    still, never = np.array([[1, 1, 0, 0]], np.float32), np.array([False])
    seen = overlap(image[None], image[None], still, never, gain)
    assert not seen.map[0][62:].any()
    assert seen.textured[0] < 0.5
    nothing = overlap(image[None][:0], image[None][:0], still[:0], never[:0], gain)
    assert len(nothing.agreeing) == 0
