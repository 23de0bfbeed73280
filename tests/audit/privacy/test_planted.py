import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from datadouble.audit.privacy.planted import KINDS, leak, plant, redraw, redrawn
from datadouble.cohort.phantom import draw


@pytest.fixture(scope="module")
def scans() -> tuple[np.ndarray, np.ndarray]:
    drawn = [draw("breast-ultrasound", p, 0, "4", size=64, seed=1) for p in range(6)]
    return np.stack([d.image for d in drawn]), np.stack([d.mask for d in drawn])


@pytest.mark.parametrize("kind", KINDS)
def test_a_leak_depends_on_its_arguments_alone(kind: str, scans: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = scans
    first, again = (
        leak(kind, images[0], seed=3, key=5, background=images[1], mask=masks[0]) for _ in range(2)
    )
    np.testing.assert_array_equal(first.picture, again.picture)
    assert first.picture.dtype == np.uint8 and first.picture.shape == (64, 64)
    if kind not in ("copies", "flips", "stitched"):
        other = leak(kind, images[0], seed=4, key=5, background=images[1], mask=masks[0])
        assert (other.picture != first.picture).any()


def test_copies_and_flips_are_what_they_say(scans: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = scans
    np.testing.assert_array_equal(leak("copies", images[0], seed=0).picture, images[0])
    np.testing.assert_array_equal(leak("flips", images[0], seed=0).picture, images[0][:, ::-1])


def test_a_shift_moves_pixels_without_changing_them(scans: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = scans
    moved = leak("shifts", images[0], seed=2).picture
    found = [
        (dy, dx)
        for dy in range(-6, 7)
        for dx in range(-6, 7)
        if (np.roll(images[0], (dy, dx), (0, 1))[8:-8, 8:-8] == moved[8:-8, 8:-8]).all()
    ]
    assert len(found) == 1 and found[0] != (0, 0)


@pytest.mark.parametrize("kind", ["stitched", "lesion-only"])
def test_outside_the_box_a_lesion_leak_is_its_background(
    kind: str, scans: tuple[np.ndarray, np.ndarray]
) -> None:
    images, masks = scans
    picture, (left, top, right, bottom) = leak(kind, images[0], seed=1, background=images[1], mask=masks[0])
    outside = np.ones((64, 64), bool)
    outside[max(0, top - 4) : bottom + 4, max(0, left - 4) : right + 4] = False
    np.testing.assert_array_equal(picture[outside], images[1][outside])
    assert (picture != images[1]).any()


def test_plant_replaces_the_share_and_at_least_one(scans: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = scans
    double = np.zeros((40, 64, 64), np.uint8)
    for share, count in ((0.001, 1), (0.1, 4)):
        planted = plant(double, images, "copies", share=share, seed=0, masks=masks)
        assert len(planted.rows) == len(planted.sources) == count
        changed = np.flatnonzero(planted.pictures.any((1, 2)))
        np.testing.assert_array_equal(changed, planted.rows)
        np.testing.assert_array_equal(planted.pictures[planted.rows], images[planted.sources])
    assert not double.any()
    with pytest.raises(ValueError, match="share"):
        plant(double, images, "copies", share=0.0, seed=0)
    with pytest.raises(ValueError, match="no such kind"):
        plant(double, images, "rotations", share=0.1, seed=0)


def test_a_redrawn_picture_keeps_structure_and_loses_speckle() -> None:
    source = draw("breast-ultrasound", 1, 0, "5", size=128, seed=2).image
    new = redraw(source, seed=0, warp=0.0)

    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])

    a, b = source.astype(float), new.astype(float)
    assert correlation(gaussian_filter(a, 4), gaussian_filter(b, 4)) > 0.95
    assert correlation(a - gaussian_filter(a, 1.5), b - gaussian_filter(b, 1.5)) < 0.5
    assert 0.6 < (b - gaussian_filter(b, 2)).std() / (a - gaussian_filter(a, 2)).std() < 1.5


def test_redrawn_covers_the_training_set_evenly(scans: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = scans
    pictures, sources = redrawn(images, 12, seed=0)
    assert pictures.shape == (12, 64, 64)
    np.testing.assert_array_equal(np.bincount(sources), [2] * 6)
