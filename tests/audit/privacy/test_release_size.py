"""The curve over release size: grows where members are copied, stays flat where not, ends in the whole release."""

import numpy as np
import pytest

from datadouble.audit.privacy import distances
from datadouble.audit.privacy.membership import release_membership
from datadouble.audit.privacy.release_size import release_size_curve

from .patients import patients


def sides(seed: int):
    rng = np.random.default_rng(seed)
    return rng, patients(rng, 60, "a"), patients(rng, 60, "b")


def test_copies_give_more_away_the_more_are_released():
    rng, train, holdout = sides(0)
    release = train.array + 0.1 * rng.normal(size=train.array.shape)
    copied = np.arange(len(release)) % 4 == 0
    groups = {"train_groups": train.groups, "holdout_groups": holdout.groups}
    curve = release_size_curve(
        release, train.array, holdout.array, copies=copied, authentic=~copied, orders=3, **groups
    )
    auc = curve.of("auc")
    assert [p.size for p in auc] == sorted({p.size for p in auc})
    assert auc[-1].size == len(release)
    assert auc[0].value < 0.7 < 0.9 < auc[-1].value
    assert all(p.least <= p.value <= p.greatest for p in curve.points)
    assert curve.of("copies")[-1].value == pytest.approx(copied.mean())
    assert curve.of("auth_pct")[-1].value == pytest.approx(100 * (1 - copied.mean()))
    whole = release_membership(release, train.array, holdout.array, permutations=9, **groups)
    assert auc[-1].value == pytest.approx(whole.auc.value, abs=1e-9)
    assert curve.of("advantage")[-1].low > 0.5


def test_an_independent_release_stays_flat():
    _, train, holdout = sides(1)
    release = patients(np.random.default_rng(99), 150, "c").array
    curve = release_size_curve(
        release,
        train.array,
        holdout.array,
        train_groups=train.groups,
        holdout_groups=holdout.groups,
        sizes=[20, 100, 5000],
    )
    assert [p.size for p in curve.of("auc")] == [20, 100, len(release)]
    assert all(abs(p.value - 0.5) < 0.15 for p in curve.of("auc"))
    assert all(abs(p.value - 0.5) < 0.15 for p in curve.of("nearer"))
    assert set(curve.to_json()["measures"]) == {"auc", "advantage", "nearer"}


def test_blocks_change_nothing(monkeypatch):
    rng, train, holdout = sides(2)
    release = rng.normal(size=(70, 8))
    whole = release_size_curve(release, train.array, holdout.array, orders=2)
    monkeypatch.setattr(distances, "BLOCK_BYTES", 4000)
    blocks = release_size_curve(release, train.array, holdout.array, orders=2)
    for one, two in zip(whole.points, blocks.points):
        assert one.value == pytest.approx(two.value, abs=1e-6)
