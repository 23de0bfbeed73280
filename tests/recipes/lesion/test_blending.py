"""Blending: geometry against shapes that cannot be mistaken, greys against closed forms."""

import numpy as np
import pytest

from datadouble.errors import DataDoubleError
from datadouble.recipes.lesion.blending import BlendOptions, Placement, blend
from datadouble.recipes.lesion.crops import LesionPatch
from datadouble.recipes.lesion.descriptors import Descriptor, describe, ellipse_of, ring_of

SIDE = 96
PLAIN = BlendOptions(streaks=0.0, match_speckle=False, turn_limit=90.0)


def descriptor(size: float = 20.0, echo: float = -1.5, posterior: float = 0.0) -> Descriptor:
    return Descriptor(size, 40.0, 48.0, 2.0, 0.0, 1.2, echo, posterior)


def tissue(level: float = 110.0, seed: int = 0, spread: float = 12.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, spread, (SIDE, SIDE))
    return np.clip(np.round(level + noise), 1, 255).astype(np.uint8)


def letter(side: int = 48) -> LesionPatch:
    """An L: it has no symmetry, so that no transposed or mirrored axis goes unseen."""
    mask = np.zeros((side, side), dtype=bool)
    mask[10:36, 14:20] = True
    mask[30:36, 14:40] = True
    image = np.full((side, side), 120, dtype=np.uint8)
    image[mask] = 60
    return LesionPatch(image, mask, 1.6)


def bar(angle: float = 0.0, side: int = 48) -> LesionPatch:
    """An ellipse, twice as long as broad, darker at the end to which its axis points; at `angle`."""
    rows, columns = np.indices((side, side)) - (side - 1) / 2
    along = rows * np.sin(angle) + columns * np.cos(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    mask = (along / 14) ** 2 + (across / 7) ** 2 <= 1
    image = np.where(mask, np.where(along > 0, 40, 80), 120).astype(np.uint8)
    return LesionPatch(image, mask, 1.6)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_a_patch_at_its_own_scale_and_angle_keeps_its_mask_exactly() -> None:
    patch = letter()
    row, column, _, angle = ellipse_of(patch.mask)
    size = float(np.sqrt(patch.mask.sum()))
    placement = Placement(row + 20, column + 31, size, angle)
    found = blend(tissue(), patch, placement, descriptor(size), PLAIN, rng())
    expected = np.zeros((SIDE, SIDE), dtype=bool)
    expected[20:68, 31:79] = patch.mask
    assert found.mask.dtype == bool
    np.testing.assert_array_equal(found.mask, expected)


def test_picture_and_mask_are_moved_by_one_transform() -> None:
    """Without any matching, the lesion's dark pixels are the mask's, at another scale and angle too."""
    patch = letter()
    angle = ellipse_of(patch.mask)[3]
    healthy = np.full((SIDE, SIDE), 120, dtype=np.uint8)
    for turn in (0.0, 0.4, -0.7):
        for scale in (0.7, 1.0, 1.5):
            size = scale * float(np.sqrt(patch.mask.sum()))
            placement = Placement(45.0, 50.0, size, angle + turn)
            want = descriptor(size, echo=-60.0)  # of a ring without contrast: 60 grey levels darker
            found = blend(healthy, patch, placement, want, PLAIN, rng())
            dark = found.image < 90
            overlap = 2 * (dark & found.mask).sum() / (dark.sum() + found.mask.sum())
            assert overlap > 0.9, (turn, scale, overlap)


@pytest.mark.parametrize("angle", [0.0, 0.5, -0.5, 1.2, np.pi / 2])
@pytest.mark.parametrize("own", [0.0, 0.6])
def test_size_place_and_angle_come_out_as_asked(angle: float, own: float) -> None:
    found = blend(tissue(), bar(own), Placement(40.0, 55.0, 22.0, angle), descriptor(22.0), PLAIN, rng())
    row, column, aspect, turned = ellipse_of(found.mask)
    assert (row, column) == (pytest.approx(40, abs=0.3), pytest.approx(55, abs=0.3))
    assert np.sqrt(found.mask.sum()) == pytest.approx(22, rel=0.03)
    assert aspect == pytest.approx(2.0, rel=0.1)
    assert np.cos(2 * (turned - angle)) > 0.99


def test_a_patch_is_turned_no_further_than_the_limit() -> None:
    limited = BlendOptions(turn_limit=30.0)
    found = blend(tissue(), bar(), Placement(48.0, 48.0, 22.0, 1.2), descriptor(22.0), limited, rng())
    assert ellipse_of(found.mask)[3] == pytest.approx(np.pi / 6, abs=0.04)


def test_a_positive_angle_falls_to_the_right() -> None:
    found = blend(tissue(), bar(), Placement(48.0, 48.0, 24.0, 0.6), descriptor(24.0), PLAIN, rng())
    rows, columns = np.nonzero(found.mask)
    right, left = rows[columns > 56].mean(), rows[columns < 40].mean()
    assert right > 50 > 46 > left  # deeper on the right


def test_a_patch_is_mirrored_rather_than_turned_far() -> None:
    """Axis at 0.6, wanted at -0.6: turned, its dark right end would stay on the right; mirrored, it is on the left."""
    found = blend(tissue(), bar(0.6), Placement(48.0, 48.0, 24.0, -0.6), descriptor(24.0), PLAIN, rng())
    columns = np.indices(found.mask.shape)[1]
    right, left = (found.image[found.mask & part].mean() for part in (columns > 50, columns < 46))
    assert right > left + 10


def test_pixels_outside_touched_are_equal_and_those_above_the_border_too() -> None:
    for seed in range(4):
        healthy = tissue(seed=seed)
        want = descriptor(22.0, posterior=-0.6 if seed % 2 else 0.4)
        found = blend(healthy, letter(), Placement(40.0, 40.0 + seed, 22.0, 0.3), want, BlendOptions(), rng())
        np.testing.assert_array_equal(found.image[~found.touched], healthy[~found.touched])
        assert found.touched[found.mask].all()
        changed = found.image != healthy
        first = np.flatnonzero(found.mask.any(axis=1))[0]
        assert not changed[: first - 6].any()  # never above but for the soft border
        assert found.touched.mean() < 0.6


def test_a_shadow_lowers_the_grey_below_by_the_asked_ratio_and_nothing_beside() -> None:
    healthy = np.full((SIDE, SIDE), 150, dtype=np.uint8)
    for ratio in (-0.5, -0.2):
        want = descriptor(22.0, posterior=ratio)
        found = blend(healthy, bar(), Placement(30.0, 48.0, 22.0, 0.0), want, PLAIN, rng())
        assert describe(found.image, found.mask).posterior == pytest.approx(ratio, abs=0.05)
        rows, columns = np.nonzero(found.mask)
        assert (found.image[:, : columns.min() - 8] == 150).all()
        below = found.image[SIDE - 1, columns.min() : columns.max() + 1].astype(float)
        assert below[len(below) // 2] < 150  # down to the picture's end
        # The middle, where the beam passes most of the lesion, is darker than the sides.
        level = found.image[rows.max() + 12].astype(float)
        assert level[48] < level[columns.min() + 2] <= 150


def test_enhancement_brightens_below() -> None:
    healthy = tissue(80.0, spread=20.0)
    found = blend(
        healthy, bar(), Placement(30.0, 48.0, 22.0, 0.0), descriptor(22.0, posterior=0.4), PLAIN, rng()
    )
    got = describe(found.image, found.mask).posterior - describe(healthy, found.mask).posterior
    assert 0.15 < got <= 0.45  # it levels off towards the brightest tissue


def test_no_posterior_feature_leaves_what_is_below_alone() -> None:
    healthy = tissue()
    found = blend(healthy, bar(), Placement(30.0, 48.0, 20.0, 0.0), descriptor(20.0), PLAIN, rng())
    last = np.flatnonzero(found.mask.any(axis=1))[-1]
    np.testing.assert_array_equal(found.image[last + 8 :], healthy[last + 8 :])


@pytest.mark.parametrize("echo", [-2.5, -1.0, 1.5])
def test_the_lesion_gets_the_echo_asked_for_at_any_level_of_the_tissue(echo: float) -> None:
    for level in (70.0, 140.0):
        healthy = tissue(level)
        found = blend(healthy, bar(), Placement(40.0, 48.0, 22.0, 0.3), descriptor(22.0, echo), PLAIN, rng())
        around = healthy[ring_of(found.mask, 0.4 * 22)].astype(float)
        wanted = around.mean() + echo * around.std()
        assert found.image[found.mask].mean() == pytest.approx(wanted, abs=1.0)


def test_surroundings_take_the_tissues_level_so_that_no_rim_is_seen() -> None:
    """A patch from bright tissue in dark tissue: just outside the lesion the grey is the scan's."""
    healthy = tissue(45.0, spread=5.0)
    found = blend(healthy, bar(), Placement(40.0, 48.0, 24.0, 0.0), descriptor(24.0), PLAIN, rng())
    from scipy.ndimage import distance_transform_edt

    distance = distance_transform_edt(~found.mask)
    rim = (distance > 2) & (distance < 5)
    assert found.image[rim].mean() == pytest.approx(45, abs=4)


def test_speckle_of_a_smooth_patch_is_raised() -> None:
    healthy = tissue(120.0, spread=15.0)
    smooth = LesionPatch(np.full((48, 48), 110, dtype=np.uint8), bar().mask, 1.6)
    placement, want = Placement(40.0, 48.0, 26.0, 0.0), descriptor(26.0, echo=-0.5)
    plain, matched = (
        blend(healthy, smooth, placement, want, BlendOptions(match_speckle=on), rng()) for on in (False, True)
    )
    assert plain.image[plain.mask].std() < 3
    assert 5 < matched.image[matched.mask].std() < 15


def test_a_lesion_that_would_stick_out_is_moved_inside() -> None:
    for row, column in ((1.0, 48.0), (94.0, 2.0), (50.0, 95.0)):
        found = blend(tissue(), bar(), Placement(row, column, 20.0, 0.3), descriptor(), PLAIN, rng())
        assert np.sqrt(found.mask.sum()) == pytest.approx(20, rel=0.04)


def test_a_lesion_a_little_longer_than_the_picture_is_made_smaller() -> None:
    found = blend(tissue(), bar(), Placement(48.0, 48.0, 75.0, 0.0), descriptor(), PLAIN, rng())
    columns = np.flatnonzero(found.mask.any(axis=0))
    assert columns[0] >= 0 and 88 < len(columns) <= SIDE - 2
    assert ellipse_of(found.mask)[2] == pytest.approx(2.0, rel=0.05)


def test_the_same_seed_gives_the_same_composite() -> None:
    want, placement = descriptor(posterior=-0.5), Placement(40.0, 48.0, 20.0, 0.1)
    a, b = (blend(tissue(), bar(), placement, want, BlendOptions(), rng()) for _ in range(2))
    np.testing.assert_array_equal(a.image, b.image)


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataDoubleError, match="larger than the healthy scan"):
        blend(tissue(), bar(), Placement(48.0, 48.0, 120.0, 0.0), descriptor(), PLAIN, rng())
    empty = LesionPatch(np.zeros((48, 48), np.uint8), np.zeros((48, 48), dtype=bool), 0.0)
    with pytest.raises(DataDoubleError, match="no lesion"):
        blend(tissue(), empty, Placement(48.0, 48.0, 20.0, 0.0), descriptor(), PLAIN, rng())
