"""Telling real from synthetic: found where there is something to find, and only there."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datadouble.audit.features import Features
from datadouble.audit.pictures import Pictures
from datadouble.audit.realism import (
    REALISM_PRESETS,
    assess_realism,
    first_order,
    linear_probe,
    match,
    plant_artefact,
)
from datadouble.errors import DataDoubleError

QUICK = replace(REALISM_PRESETS["demo"], precision="fp32")


def speckle(patients: range, seed: int, *, smooth: bool = False, name: str = "real") -> Pictures:
    """Two pictures of noise a patient, of two labels; smooth ones lack the finest grain."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.array(patients), 2)
    array = rng.gamma(4.0, 15.0, (len(number), 32, 32))
    if smooth:
        array = (array + np.roll(array, 1, 1) + np.roll(array, 1, 2) + np.roll(array, (1, 1), (1, 2))) / 4
    return Pictures(
        np.clip(array, 0, 255).astype(np.uint8),
        None,
        np.zeros(len(number), bool),
        np.array([f"{name}-{i}" for i in range(len(number))]),
        np.array([f"{name}-p{i}" for i in number]),
        np.where(number % 2 == 1, "4", "2"),
        np.arange(len(number)),
    )


def as_features(pictures: Pictures, array: np.ndarray) -> Features:
    """Shares of grey levels as features."""
    return Features(
        first_order(array), pictures.image_ids, pictures.patients, pictures.labels, pictures.rows, "none"
    )


@pytest.fixture(scope="module")
def real() -> Pictures:
    return speckle(range(40), 0)


def test_the_grid_is_faint_and_where_it_should_be() -> None:
    flat = np.full((1, 64, 64), 100, np.uint8)
    change = plant_artefact(flat, strength=8.0).astype(int) - 100
    assert change.max() == 8 and change.min() == 0
    assert (
        (change[0, ::8] == 8).all() and (change[0, :, ::8] == 8).all() and (change[0, 1::8, 1::8] == 0).all()
    )
    assert plant_artefact(np.full((1, 16, 16), 255, np.uint8)).max() == 255


def test_labels_are_matched() -> None:
    labels, other = np.repeat(["2", "4"], [30, 10]), np.repeat(["4", "2", "9"], [20, 15, 5])
    here, there, matched = match(labels, other, None, 0)
    assert matched and sorted(labels[here]) == sorted(other[there]) == ["2"] * 15 + ["4"] * 10
    assert len(match(labels, other, 10, 0)[0]) == 10
    assert match(labels, np.array(["", ""]), None, 0)[2] is False


def test_smooth_pictures_are_told_apart_and_the_controls_come_out(real: Pictures, tmp_path: Path) -> None:
    double = speckle(range(40), 1, smooth=True, name="synthetic")
    found = assess_realism(real, double, preset=QUICK, cache=tmp_path, resamples=200)
    assert found["auc"]["value"] > 0.95 and found["n"] == found["n_double"] == 80
    assert found["grey_levels_only"]["value"] > 0.9  # smoothing narrows the histogram as well
    assert found["controls"]["real_against_real"]["passed"]
    assert 0.25 < found["controls"]["real_against_real"]["auc"]["value"] < 0.75
    assert "real-p" not in json.dumps(found, allow_nan=False)
    trained = sorted(tmp_path.rglob("*.json"))
    times = [path.stat().st_mtime_ns for path in trained]
    assert assess_realism(real, double, preset=QUICK, cache=tmp_path, resamples=200) == found
    assert times == [path.stat().st_mtime_ns for path in trained] and len(trained) == 6


def test_a_probe_finds_what_is_in_the_features_and_nothing_else(real: Pictures) -> None:
    planted = as_features(real, plant_artefact(real.array, strength=60.0))
    same = speckle(range(40), 2, name="synthetic")
    brighter = np.minimum(same.array.astype(int) + 40, 255).astype(np.uint8)
    features = as_features(real, real.array)
    indistinguishable = linear_probe(features, as_features(same, same.array), planted=planted)
    assert indistinguishable["auc"]["low"] < 0.5 < indistinguishable["auc"]["high"]
    assert indistinguishable["controls_passed"] is True
    distinct = linear_probe(features, as_features(same, brighter), name="grey levels")
    assert distinct["auc"]["value"] > 0.99 and distinct["controls_passed"] is None
    assert distinct["name"] == "linear probe(grey levels)"


def test_faults_are_named(real: Pictures) -> None:
    with pytest.raises(DataDoubleError, match="too few pictures"):
        assess_realism(real.where(np.arange(4)), real, preset=QUICK)
    with pytest.raises(DataDoubleError, match="not those of the real"):
        features = as_features(real, real.array)
        linear_probe(features, features, planted=features.where(np.arange(10)))
