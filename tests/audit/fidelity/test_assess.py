"""The whole assessment on features: every key, and doubles with a known fault."""

import json

import numpy as np
import pytest

from datadouble.audit.fidelity.assess import Sizes, assess_by_class, assess_fidelity

KEYS = ("fd", "kid", "cmmd", "precision", "recall", "density", "coverage", "fd_infinity")
SIZES = Sizes(40, 4)


def draw(n, seed, modes=(0, 6)):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    x[:, 0] += np.asarray(modes)[np.arange(n) % len(modes)]
    return x


@pytest.fixture(scope="module")
def real(make_features):
    return make_features(draw(120, 0)), make_features(draw(140, 1), prefix="q")


@pytest.fixture(scope="module")
def assess(make_features, plain_extractor, real):
    def run(array):
        return assess_fidelity(make_features(array, prefix="s"), *real, plain_extractor, sizes=SIZES)

    return run


def test_a_good_double_lies_at_the_floor(assess):
    found = assess(draw(120, 2))
    assert found["n"] == 120
    for key in KEYS:
        entry = found[key]
        assert {"name", "value", "low", "high", "n", "floor", "draws"} <= set(entry), key
        assert entry["n"] == entry["floor"]["n"] == 120
        assert entry["low"] <= entry["value"] <= entry["high"]
        reach = 2 * (entry["floor"]["high"] - entry["floor"]["low"]) + entry["high"] - entry["low"]
        assert abs(entry["value"] - entry["floor"]["value"]) < reach, key
    assert found["kid"]["standard_error"] > 0
    assert found["fd"]["name"] == "FD(plain)"
    assert found["cmmd"]["name"] == "MMD-rbf(plain)"
    assert set(found["inception_score"]) == {"name", "synthetic", "real", "log_synthetic", "log_real"}
    json.dumps(found)


def worse(entry, lower=False):
    floor = entry["floor"]
    return entry["high"] < floor["low"] if lower else entry["low"] > floor["high"]


def test_a_dropped_mode_is_seen(assess):
    found = assess(draw(120, 3, modes=(0,)))
    assert worse(found["fd"])
    assert worse(found["kid"])
    assert worse(found["recall"], lower=True)
    assert worse(found["coverage"], lower=True)
    assert found["fd_infinity"]["value"] > found["fd_infinity"]["floor"]["high"]
    assert not worse(found["precision"], lower=True)  # what it draws is right


def test_a_made_up_mode_is_seen(assess):
    found = assess(draw(120, 4, modes=(0, 6, -15)))
    assert worse(found["fd"])
    assert worse(found["precision"], lower=True)
    assert worse(found["density"], lower=True)


def test_one_picture_for_all(assess):
    found = assess(np.zeros((120, 5)) + [6, 0, 0, 0, 0])
    for key in ("fd", "kid", "cmmd"):
        assert worse(found[key]), key
    for key in ("recall", "coverage"):
        assert worse(found[key], lower=True), key
    assert found["inception_score"]["synthetic"]["value"] == pytest.approx(1.0)


def test_same_seed_same_numbers(assess):
    assert assess(draw(100, 5)) == assess(draw(100, 5))


def test_too_few(make_features, plain_extractor, real):
    found = assess_fidelity(make_features(draw(4, 6)), *real, plain_extractor, sizes=SIZES)
    assert "too few" in found["note"]
    assert "fd" not in found


def test_by_class_and_the_wrong_mix(make_features, plain_extractor):
    def labelled(n, seed, share_b, prefix):
        labels = np.where(np.arange(n) % 10 < 10 * share_b, "b", "a")
        x = draw(n, seed, modes=(0,))
        x[labels == "b", 0] += 8
        return make_features(x, labels, prefix, 1)

    real, other = labelled(200, 0, 0.5, "r"), labelled(200, 1, 0.5, "o")
    # Right within each class, in the wrong proportion.
    found = assess_by_class(
        labelled(200, 2, 0.2, "s"), real, other, plain_extractor, classes=("b", "a"), sizes=SIZES
    )
    assert list(found["classes"]) == ["b", "a"]
    assert worse(found["overall"]["fd"])
    assert not worse(found["classes"]["a"]["fd"])
    mix = found["class_mix"]["total_variation"]
    assert mix["value"] == pytest.approx(0.3, abs=0.02)
    assert worse(mix)
    assert found["class_mix"]["classes"]["b"]["synthetic"]["value"] == pytest.approx(0.2)
    # The classes exchanged: the mix is right and each class is wrong.
    swapped = labelled(200, 3, 0.5, "s")
    swapped.labels = np.where(swapped.labels == "a", "b", "a")
    found = assess_by_class(swapped, real, other, plain_extractor, sizes=SIZES)
    assert not worse(found["class_mix"]["total_variation"])
    assert not worse(found["overall"]["fd"])
    assert worse(found["classes"]["a"]["fd"])
    assert worse(found["classes"]["b"]["fd"])
