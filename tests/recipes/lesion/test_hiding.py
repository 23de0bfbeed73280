"""Hiding: what it replaces, what it leaves alone, and that it does not say where something was hidden."""

import numpy as np
import pytest
from scipy import ndimage

from datadouble.cohort.phantom import ultrasound
from datadouble.recipes.lesion.decoys import add_decoys
from datadouble.recipes.lesion.descriptors import describe, largest_lesion
from datadouble.recipes.lesion.hiding import (
    Cover,
    Donors,
    cover_of,
    donors_of,
    hide,
    region_at,
    tissue_of,
)
from datadouble.stats import roc_auc

SIDE = 96


def ell(side: int = SIDE) -> np.ndarray:
    mask = np.zeros((side, side), dtype=bool)
    mask[20:40, 30:36] = True
    mask[34:40, 30:50] = True
    return mask


def noise(seed: int, level: float = 110.0) -> np.ndarray:
    speckle = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 60, (SIDE, SIDE)), 0.8)
    return np.clip(level + speckle, 0, 255).astype(np.uint8)


def nobody() -> Donors:
    return Donors(*(np.zeros((0, SIDE, SIDE), dtype=kind) for kind in (np.uint8, np.uint8, bool)))


@pytest.fixture(scope="module")
def phantoms() -> tuple[np.ndarray, np.ndarray]:
    """Healthy scans (n, s, s), and scans with lesions' masks to take shapes from."""
    healthy = np.stack([ultrasound.draw(i, 0, "normal", size=SIDE, seed=4).image for i in range(28)])
    masks = [ultrasound.draw(100 + i, 0, str(2 + i % 4), size=SIDE, seed=4).mask > 0 for i in range(8)]
    return healthy, np.stack([largest_lesion(mask) for mask in masks])


def test_the_region_holds_the_lesion_and_its_margin_where_it_lies() -> None:
    mask = ell()
    rows, columns = np.nonzero(mask)
    region = region_at(cover_of(mask, 0.0), rows.mean(), columns.mean(), SIDE)
    distance = ndimage.distance_transform_edt(~mask)
    np.testing.assert_array_equal(region[:30], distance[:30] <= 2)
    assert region[mask].all() and not region[60:].any()


def test_what_lies_under_a_shadowing_lesion_goes_down_to_the_bottom() -> None:
    mask = ell()
    rows, columns = np.nonzero(mask)
    region = region_at(cover_of(mask, -0.5), rows.mean(), columns.mean(), SIDE)
    assert region[41:, 30:50].all()
    assert not region[50:, :30].any() and not region[50:, 50:].any()


def test_a_mirrored_cover_is_the_mirror_image() -> None:
    mask = ell()
    cover = cover_of(mask, -0.5)
    plain = region_at(cover, 40, 47.5, SIDE)
    assert plain.any()
    np.testing.assert_array_equal(
        region_at(cover, 40, SIDE - 1 - 47.5 + 0.0, SIDE, mirrored=True)[:, ::-1].sum(), plain.sum()
    )
    moved = region_at(cover, 40, 30, SIDE, mirrored=True)
    assert (
        moved[25:30].any(axis=0).argmax() > moved[41:44].any(axis=0).argmax()
    )  # the tall leg is now on the right


def test_regions_beyond_the_picture_are_cut() -> None:
    cover = cover_of(ell(), 0.5)
    for row, column in ((0, 0), (SIDE - 1, SIDE - 1), (-40, 10), (10, 200)):
        region = region_at(cover, row, column, SIDE)
        assert region.shape == (SIDE, SIDE)
    assert not region.any()


def test_far_from_the_region_nothing_changes_and_in_it_the_lesion_is_gone() -> None:
    image, mask = noise(0), ell()
    image[mask] = 5
    rows, columns = np.nonzero(mask)
    region = region_at(cover_of(mask, 0.0), rows.mean(), columns.mean(), SIDE)
    hidden = hide(image, region, region, donors_of(noise(1)[None], np.zeros((1, SIDE, SIDE), bool)), rng())
    distance = ndimage.distance_transform_edt(~region)
    np.testing.assert_array_equal(hidden[distance >= 3], image[distance >= 3])
    assert hidden[mask].mean() == pytest.approx(110, abs=8)
    assert hidden[mask].std() == pytest.approx(image[distance > 10].std(), rel=0.35)
    assert abs(describe(hidden, mask).echo) < 0.5 < 3 < -describe(image, mask).echo


def test_gain_is_matched_to_the_place() -> None:
    """Tissue of a scan twice as bright comes in at the level that it has round the region."""
    image, mask = noise(0, 60.0), ell()
    region = region_at(cover_of(mask, 0.0), 30, 40, SIDE)
    bright = donors_of(noise(1, 130.0)[None], np.zeros((1, SIDE, SIDE), bool))
    nothing = np.ones((SIDE, SIDE), dtype=bool)  # of this picture, nothing may be taken
    hidden = hide(image, region, nothing, bright, rng())
    assert hidden[region].mean() == pytest.approx(60, abs=6)


def test_a_lesion_is_never_used_as_tissue() -> None:
    """Half of the donor is a lesion, white: where there is clean tissue, none of the white comes in."""
    white = noise(2)
    avoid = np.zeros((SIDE, SIDE), dtype=bool)
    avoid[:, 48:] = True
    white[avoid] = 255
    donors = donors_of(white[None], avoid[None])
    small = Cover(np.ones((12, 12), dtype=bool), 6, 6, np.zeros(12, dtype=bool), 0)
    for seed in range(10):
        region = region_at(small, 40, 20, SIDE)
        hidden = hide(noise(seed), region, np.ones((SIDE, SIDE), bool), donors, np.random.default_rng(seed))
        assert hidden[region].max() < 250


def test_an_empty_region_changes_nothing() -> None:
    image = noise(0)
    np.testing.assert_array_equal(
        hide(image, np.zeros((SIDE, SIDE), bool), image > 300, nobody(), rng()), image
    )


def test_tissue_leaves_out_the_skin_and_what_was_not_imaged() -> None:
    image = noise(0)
    assert not tissue_of(image)[0].any() and tissue_of(image)[10:].all()
    image[:30] = 0
    found = tissue_of(image)
    assert not found[:28].any() and found[40:].mean() > 0.95


def test_decoys_depend_on_the_seed_alone_and_lie_in_tissue(phantoms) -> None:
    healthy, masks = phantoms
    covers = [cover_of(mask, -0.3) for mask in masks]
    donors = donors_of(healthy[1:], np.zeros(healthy[1:].shape, bool))
    tissue = tissue_of(healthy[0])
    a, b = (add_decoys(healthy[0], tissue, covers, donors, 3, rng()) for _ in range(2))
    np.testing.assert_array_equal(a.image, b.image)
    assert len(a.places) == 3
    assert all(tissue[int(r), int(c)] for r, c in a.places)
    changed = a.image != healthy[0]
    near = ndimage.distance_transform_edt(~a.regions.any(axis=0)) < 3
    assert not (changed & ~near).any()


def features(image: np.ndarray, region: np.ndarray) -> list[float]:
    """What gives a clumsy hiding away: level and texture inside against outside, and edges along the border."""
    grey = image.astype(float)
    distance = ndimage.distance_transform_edt(~region)
    around, border = (
        (distance > 3) & (distance < 9),
        (distance < 3) & (ndimage.distance_transform_edt(region) < 3),
    )
    fine = grey - ndimage.gaussian_filter(grey, 1.0)
    edges = np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1))
    return [
        grey[region].mean() - grey[around].mean(),
        np.log((fine[region].std() + 1) / (fine[around].std() + 1)),
        np.log((edges[border].mean() + 1) / (edges[around].mean() + 1)),
        np.log((fine[border].std() + 1) / (fine[around].std() + 1)),
    ]


def test_hiding_does_not_tell_where_something_was_hidden(phantoms) -> None:
    """No simple measure tells hidden places from untouched ones; filling with grey is told at once."""
    healthy, masks = phantoms
    covers = [cover_of(mask, 0.0) for mask in masks]
    donors = donors_of(healthy[14:], np.zeros(healthy[14:].shape, bool))
    random = rng()
    rows: dict[str, list[list[float]]] = {"hidden": [], "untouched": [], "filled": []}
    nothing = np.zeros((SIDE, SIDE), dtype=bool)
    for image in healthy[:14]:
        for cover in covers[:3]:
            region = region_at(cover, random.uniform(30, 60), random.uniform(25, 70), SIDE)
            rows["untouched"].append(features(image, region))
            rows["hidden"].append(features(hide(image, region, nothing, donors, random), region))
            filled = np.where(region, np.uint8(image[region].mean()), image)
            rows["filled"].append(features(filled, region))
    found = {name: np.array(values) for name, values in rows.items()}
    count = len(found["hidden"])
    truth = np.repeat([0, 1], count)

    def auc(name: str, feature: int) -> float:
        scores = np.concatenate([found["untouched"][:, feature], found[name][:, feature]])
        value = roc_auc(truth, scores).value
        return max(value, 1 - value)

    assert max(auc("filled", k) for k in range(4)) > 0.95
    # 42 against 42: a measure without information stays below 0.67 in 99 of 100 cases.
    assert max(auc("hidden", k) for k in range(4)) < 0.67


def rng() -> np.random.Generator:
    return np.random.default_rng(11)
