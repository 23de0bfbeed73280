"""The texture of a good double, and of blurred, brightened, noisy and constant ones."""

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from datadouble.audit.fidelity import Sizes
from datadouble.audit.fidelity.texture import assess_texture

SIZES = Sizes(60, 5)


def scans(n, seed, blur=1.2, gain=1.0):
    rng = np.random.default_rng(seed)
    speckle = gaussian_filter(rng.normal(size=(n, 48, 48)), (0, blur, blur + 0.4))
    level = gaussian_filter(rng.normal(size=(n, 48, 48)), (0, 9, 9))
    picture = 110 + 20 * speckle / speckle.std() + 15 * level / level.std()
    return (gain * picture).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def assess(make_pictures):
    real, other = make_pictures(scans(60, 0)), make_pictures(scans(60, 1), prefix="q")

    def run(array, labels=None, classes=()):
        return assess_texture(
            make_pictures(array, labels=labels, prefix="s"), real, other, sizes=SIZES, classes=classes
        )

    return run


def bad(entry):
    return entry["low"] > entry["floor"]["high"]


def test_a_fresh_draw_is_at_the_floor(assess):
    found, material = assess(scans(60, 2), classes=("a", "none"))
    overall = found["overall"]
    assert overall["n"] == 60
    assert not bad(overall["spectrum"]["gap"])
    assert not bad(overall["grey_levels"])
    assert not bad(overall["detail"])
    assert not any(bad(entry["wasserstein"]) for entry in overall["speckle"].values())
    assert [band["name"] for band in overall["spectrum"]["bands"]] == ["coarse", "medium", "fine", "finest"]
    assert found["classes"]["a"]["n"] == 60
    assert "too few" in found["classes"]["none"]["note"]
    assert found["at_size"] == 48
    curve = material.spectrum
    assert len(curve.frequency) == len(curve.difference) == len(curve.floor_high) == 23
    assert (curve.low <= curve.high).all()
    assert material.grey_real.sum() == pytest.approx(1)
    json.dumps(found)


def test_blur(assess):
    found = assess(gaussian_filter(scans(60, 3), (0, 1, 1)))[0]["overall"]
    assert bad(found["spectrum"]["gap"])
    assert bad(found["detail"])
    assert found["spectrum"]["bands"][-1]["high"] < -1  # dB missing of the finest
    assert abs(found["spectrum"]["bands"][0]["value"]) < 3
    for key in ("local_contrast", "lateral_width", "axial_width"):
        assert bad(found["speckle"][key]["wasserstein"]), key


def test_gain(assess):
    found = assess(scans(60, 4, gain=1.25))[0]["overall"]
    assert bad(found["grey_levels"])
    assert found["grey_levels"]["value"] == pytest.approx(0.25 * 110, rel=0.15)
    assert not bad(found["speckle"]["lateral_width"]["wasserstein"])


def test_added_noise(assess):
    noisy = scans(60, 5) + np.random.default_rng(0).normal(0, 8, (60, 48, 48))
    found = assess(noisy.clip(0, 255).astype(np.uint8))[0]["overall"]
    assert found["spectrum"]["bands"][-1]["low"] > 1
    assert bad(found["speckle"]["axial_width"]["wasserstein"])


def test_constant_pictures(assess):
    found = assess(np.full((60, 48, 48), 110, np.uint8))[0]["overall"]
    assert bad(found["spectrum"]["gap"])
    assert bad(found["grey_levels"])
    assert bad(found["detail"])
    assert bad(found["speckle"]["local_contrast"]["wasserstein"])
    assert found["speckle"]["lateral_width"]["synthetic"]["undefined"] == 60
    assert "too few" in found["speckle"]["lateral_width"]["note"]


def test_a_thumbnail_is_refused(make_pictures):
    small = make_pictures(np.zeros((20, 16, 16)))
    with pytest.raises(ValueError, match="32 px"):
        assess_texture(small, small, None)
