"""Lesions measured on drawn shapes, and doubles whose lesions are moved, too large, of another shape or absent."""

import json

import numpy as np
import pytest

from datadouble.audit.fidelity import Sizes
from datadouble.audit.fidelity.lesions import PROPERTIES, assess_lesions, measure_lesions

SIZES = Sizes(60, 5)
Y, X = np.mgrid[:64, :64]


def ellipse(x, y, a, b, turn=0.0):
    """Half axes a (along the turned horizontal) and b; turn in degrees, anticlockwise on the screen."""
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    u, v = (X - x) * c - (Y - y) * s, (X - x) * s + (Y - y) * c
    return ((u / a) ** 2 + (v / b) ** 2 <= 1).astype(np.uint8)


def one(mask):
    found = measure_lesions(mask[None], 1)
    return {key: float(values[0]) for key, values in found.values.items()}


def test_a_disc():
    disc = one(ellipse(40, 20, 12, 12))
    assert disc["area"] == pytest.approx(np.pi * 144 / 64**2, rel=0.03)
    assert disc["x"] == pytest.approx(40.5 / 64)
    assert disc["depth"] == pytest.approx(20.5 / 64)
    assert disc["taller_than_wide"] == 1.0
    assert disc["eccentricity"] < 0.05
    assert disc["circularity"] > 0.9
    assert disc["solidity"] > 0.94


@pytest.mark.parametrize("turn", [0, 30, 90, 150])
def test_an_ellipse(turn):
    found = one(ellipse(32, 32, 20, 10, turn))
    assert found["eccentricity"] == pytest.approx(np.sqrt(1 - 0.25), abs=0.02)
    assert found["orientation"] == pytest.approx(min(turn, 180 - turn), abs=2)
    if turn in (0, 90):
        assert found["taller_than_wide"] == pytest.approx(0.5 if turn == 0 else 2.0, rel=0.06)
    assert found["circularity"] < 0.9


def test_a_cross_is_indented():
    cross = ((abs(X - 32) < 3) & (abs(Y - 32) < 20)) | ((abs(Y - 32) < 3) & (abs(X - 32) < 20))
    found = one(cross.astype(np.uint8))
    assert found["solidity"] < 0.5
    assert found["circularity"] < 0.5


def test_everything_is_counted():
    masks = np.zeros((5, 64, 64), np.uint8)
    masks[0] = ellipse(15, 15, 6, 6) | ellipse(45, 45, 8, 8)  # two lesions
    masks[1] = 2 * ellipse(30, 30, 9, 9)  # of another class
    masks[2, 3, 3] = 1  # a speck
    has_mask = np.array([True, True, True, True, False])
    found = measure_lesions(masks, 1, has_mask)
    assert found.counts() == {
        "pictures": 5,
        "without_mask": 1,
        "empty_masks": 3,
        "lesions": 2,
        "specks": 1,
    }
    assert found.picture.tolist() == [0, 0]
    assert measure_lesions(masks, 2, has_mask).picture.tolist() == [1]
    part = found.where(np.array([True, False, False, False, True]))
    assert part.counts() == {"pictures": 2, "without_mask": 1, "empty_masks": 0, "lesions": 2, "specks": 0}


def masks_of(n, seed, shift=0.0, grow=1.0, turn=0.0, empty=0):
    rng = np.random.default_rng(seed)
    masks = np.stack(
        [
            ellipse(
                32 + rng.normal(0, 4) + shift,
                32 + rng.normal(0, 4),
                grow * rng.uniform(10, 13),
                grow * rng.uniform(6, 8),
                turn + rng.normal(0, 10),
            )
            for _ in range(n)
        ]
    )
    masks[:empty] = 0
    return masks


@pytest.fixture(scope="module")
def assess(make_pictures):
    def pictures(masks, prefix, **settings):
        return make_pictures(np.zeros(masks.shape), masks, prefix=prefix, **settings)

    real, other = pictures(masks_of(60, 0), "r"), pictures(masks_of(60, 1), "q")

    def run(masks, **settings):
        return assess_lesions(
            pictures(masks, "s", **settings), real, other, mask_classes=("background", "lesion"), sizes=SIZES
        )

    return run


def bad(found):
    properties = found["mask_classes"]["lesion"]["properties"]
    return {
        key
        for key, entry in properties.items()
        if entry["wasserstein"]["low"] > entry["wasserstein"]["floor"]["high"]
        and entry["kolmogorov_smirnov"]["low"] > entry["kolmogorov_smirnov"]["floor"]["high"]
    }


def test_a_fresh_draw_is_at_the_floor(assess):
    found, drawn = assess(masks_of(60, 2))
    assert found["measured"]
    assert bad(found) == set()
    assert set(found["mask_classes"]["lesion"]["properties"]) == set(PROPERTIES)
    assert len(drawn["lesion"]["area"][0]) == 60
    json.dumps(found)


def test_each_fault_shows_where_it_is(assess):
    assert bad(assess(masks_of(60, 3, shift=10))[0]) == {"x"}
    assert {"area"} <= bad(assess(masks_of(60, 4, grow=1.3))[0]) <= {"area", "circularity", "solidity"}
    upright = bad(assess(masks_of(60, 5, turn=90))[0])
    assert {"taller_than_wide", "orientation"} <= upright
    assert not upright & {"area", "x", "eccentricity"}


def test_empty_masks_lower_the_share_and_none_has_no_distance(assess):
    found = assess(masks_of(60, 6, empty=30))[0]["mask_classes"]["lesion"]
    assert found["counts"]["synthetic"]["empty_masks"] == 30
    assert found["present"]["synthetic"]["value"] == 0.5
    assert found["present"]["synthetic"]["high"] < found["present"]["real"]["low"]
    none = assess(masks_of(60, 7, empty=60))[0]["mask_classes"]["lesion"]
    assert none["present"]["synthetic"]["value"] == 0
    assert all("too few" in entry["note"] for entry in none["properties"].values())
    half = assess(masks_of(60, 8), has_mask=np.arange(60) % 2 == 0)[0]["mask_classes"]["lesion"]
    assert half["counts"]["synthetic"]["without_mask"] == 30


def test_by_label(make_pictures):
    labels = np.where(np.arange(80) % 4 < 2, "benign", "malignant")
    shift = 12 * (labels == "malignant")

    def pictures(seed, prefix, of):
        rng = np.random.default_rng(seed)
        masks = np.stack([ellipse(26 + d + rng.normal(0, 2), 32, 9, 7) for d in of])
        return make_pictures(np.zeros(masks.shape), masks, labels, prefix)

    real, other = pictures(0, "r", shift), pictures(1, "q", shift)
    exchanged = pictures(2, "s", 12 - shift)  # right overall, wrong in each class
    found, _ = assess_lesions(
        exchanged, real, other, mask_classes=("background", "lesion"), classes=("benign",), sizes=SIZES
    )
    overall = found["mask_classes"]["lesion"]
    assert overall["properties"]["x"]["wasserstein"]["value"] < 0.05
    assert overall["classes"]["benign"]["properties"]["x"]["wasserstein"]["value"] == pytest.approx(
        12 / 64, abs=0.02
    )
    assert overall["classes"]["benign"]["counts"]["real"]["pictures"] == 40


def test_without_masks_it_says_so(make_pictures):
    plain, masked = (
        make_pictures(np.zeros((20, 64, 64))),
        make_pictures(np.zeros((20, 64, 64)), masks_of(20, 0)),
    )
    found, drawn = assess_lesions(plain, masked, None, mask_classes=("background", "lesion"))
    assert found == {"measured": False, "note": "not measured: no masks in the double"}
    assert drawn == {}
    assert not assess_lesions(masked, masked, None, mask_classes=())[0]["measured"]
