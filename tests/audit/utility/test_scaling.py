"""The scaling curve: nested parts, its stop, and going on where it was cut off."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datadouble.audit.pictures import Pictures
from datadouble.audit.utility import scaling
from datadouble.audit.utility.scaling import nested_rows, release_membership, scaling_curve
from datadouble.audit.utility.segmenter_data import cases_of
from datadouble.audit.utility.segmenter_scores import CaseScores
from datadouble.audit.utility.segmenter_settings import SEGMENTERS
from datadouble.errors import DataDoubleError
from datadouble.stats import Estimate

TYPES = {"2": 1, "4": 2}
QUICK = replace(SEGMENTERS["demo"]["unet"], steps=6, width=4)


def test_parts_are_nested_and_balanced() -> None:
    labels = np.array(["a"] * 30 + ["b"] * 12)
    small, large = nested_rows(labels, 5, 0), nested_rows(labels, 20, 0)
    assert set(small) <= set(large) and len(large) == 32
    assert np.unique(labels[small], return_counts=True)[1].tolist() == [5, 5]


def test_it_stops_when_it_gains_too_little(
    good_double: Pictures, test_set: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    double, test = cases_of(good_double, 32, types=TYPES), cases_of(test_set, 32, types=TYPES)
    reached = {10: 0.5, 20: 0.7, 30: 0.703, 40: 0.9}

    def trained(cases, test, *rest: object) -> tuple[CaseScores, float]:
        n = len(test)
        return CaseScores(np.full(n, reached[len(cases) // 2]), np.zeros(n, int)), 2.0

    monkeypatch.setattr(scaling, "_trained", trained)
    found = scaling_curve(
        double,
        good_double.labels,
        test,
        3,
        sizes=(10, 20, 30, 40, 400),
        membership=lambda rows: Estimate(len(rows) / 1000, 0.0, 0.1, 9),
        draw_seconds=0.5,
    )
    assert [p["per_class"] for p in found["points"]] == [10, 20, 30]
    assert (found["stopped_at"], found["advice"]) == (30, 20)
    assert [p["membership"]["value"] for p in found["points"]] == [0.02, 0.04, 0.06]
    assert found["points"][0]["compute_seconds"] == 2.0 + 0.5 * 20
    patient = scaling_curve(double, good_double.labels, test, 3, sizes=(10, 20, 30, 40, 400), threshold=0.001)
    assert patient["stopped_at"] is None and patient["advice"] == 40
    assert patient["notes"] == ["400 a class: the double has 40"]


def test_it_goes_on_from_its_cache(good_double: Pictures, test_set: Pictures, tmp_path: Path) -> None:
    double, test = cases_of(good_double, 32, types=TYPES), cases_of(test_set, 32, types=TYPES)
    options = {"preset": QUICK, "sizes": (5, 10), "threshold": -1.0, "cache": tmp_path, "resamples": 50}
    first = scaling_curve(double, good_double.labels, test, 3, **options)
    assert len(list(tmp_path.glob("scaling-unet-*.json"))) == 2
    assert scaling_curve(double, good_double.labels, test, 3, **options) == first


def test_more_of_a_copying_double_tells_more() -> None:
    rng = np.random.default_rng(0)
    train, holdout = rng.normal(size=(60, 16)), rng.normal(size=(60, 16))
    copies = train + 0.01 * rng.normal(size=train.shape)
    advantage = release_membership(copies, train, holdout)
    assert advantage(np.arange(60)).value > 0.9 > 0.6 > advantage(np.arange(20)).value


def test_bad_sizes_are_refused(good_double: Pictures, test_set: Pictures) -> None:
    double, test = cases_of(good_double, 32, types=TYPES), cases_of(test_set, 32, types=TYPES)
    with pytest.raises(DataDoubleError, match="too small"):
        scaling_curve(double, good_double.labels, test, 3, sizes=(500,))
    with pytest.raises(DataDoubleError, match="must rise"):
        scaling_curve(double, good_double.labels, test, 3, sizes=(20, 10))
