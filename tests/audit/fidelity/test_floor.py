"""The real-against-real floor keeps patients apart and sizes equal."""

import numpy as np
import pytest

from datadouble.audit.fidelity import frechet_distance, plan_comparison
from datadouble.audit.fidelity.comparison import plan_floor, real_floor_values
from datadouble.audit.fidelity.floor import Floor, real_pairs


def floor_of_real(x, n, other=None, groups=None, repeats=5, metric=frechet_distance) -> Floor:
    """The floor beside a comparison with n synthetic pictures."""
    plan = plan_comparison(
        np.arange(n),
        np.arange(len(x)) if groups is None else groups,
        None if other is None else len(x) + np.arange(len(other)),
        repeats=repeats,
    )
    return plan_floor(*real_floor_values(metric, x, other, plan), plan)


def test_halves_share_no_patient_and_are_equal():
    groups = np.repeat(np.arange(15), [1, 2, 3, 4, 5] * 3)
    features = groups[:, None].astype(float)  # the feature is the patient
    seen = []

    def metric(first, second):
        assert not set(first.ravel()) & set(second.ravel())
        assert len(first) == len(second)
        seen.append(len(first))
        return 1.0

    floor = floor_of_real(features, 45, groups=groups, repeats=10, metric=metric)
    assert floor.value == 1.0
    assert floor.between == "halves"
    assert floor.n == min(seen) >= 15  # 45 pictures, nearly half


def test_two_splits_at_the_size_of_the_double():
    rng = np.random.default_rng(0)
    floor = floor_of_real(rng.normal(size=(90, 3)), 40, rng.normal(size=(60, 3)))
    assert (floor.n, floor.between, floor.repeats) == (40, "splits", 5)
    assert floor.low <= floor.value <= floor.high


def test_the_floor_falls_with_n():
    x = np.random.default_rng(1).normal(size=(2000, 8))
    assert floor_of_real(x, 50).value > 3 * floor_of_real(x, 1000).value


def test_one_patient_has_no_floor():
    with pytest.raises(ValueError, match="two patients"):
        real_pairs(np.zeros(4), None, None, np.random.default_rng(0))


def test_the_spread_is_over_patients_even_where_each_draw_takes_all():
    # Two splits of 40, compared whole: every draw is the same pair, and yet other patients would have given others.
    rng = np.random.default_rng(2)
    floor = floor_of_real(
        rng.normal(size=(40, 1)),
        40,
        rng.normal(size=(40, 1)),
        repeats=60,
        metric=lambda x, y: float(x.mean() - y.mean()),
    )
    # A difference of two means of 40 has a standard deviation of sqrt(2 / 40).
    assert floor.high - floor.low == pytest.approx(2 * 1.96 * np.sqrt(2 / 40), rel=0.3)
    assert floor.low < floor.value < floor.high
