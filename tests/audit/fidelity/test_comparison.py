"""Plans of equal size by patient, and intervals over patients."""

import numpy as np
import pytest

from datadouble.audit.fidelity import Sizes, plan_comparison
from datadouble.audit.fidelity.comparison import centred_interval, patient_counts, patient_share


def test_all_sides_have_n_rows_and_halves_share_no_patient():
    real = np.repeat(np.arange(30), 3)
    plan = plan_comparison(np.arange(70), real, repeats=4)
    assert (plan.patients, plan.between, plan.note) == (30, "halves", "")
    assert (len(plan.draws), len(plan.floor), plan.parted) == (4, 8, [])
    for a, b in [*plan.draws, *plan.floor]:
        assert len(a) == len(b) == plan.n == 45
    for a, b in plan.floor:
        assert not set(real[a]) & set(real[b])


def test_a_second_split_gives_the_floor_and_few_are_refused():
    plan = plan_comparison(np.arange(25), np.arange(60), np.arange(40))
    assert (plan.n, plan.between) == (25, "splits")
    assert len(plan.parted) == 2 * len(plan.floor)
    assert any(max(a) >= 60 for a, _ in plan.parted)  # rows of both real sets, mixed
    assert not any(set(a) & set(b) for a, b in plan.parted)
    assert "too few pictures" in plan_comparison(np.arange(5), np.arange(60)).note
    assert "3 patients" in plan_comparison(np.arange(50), np.repeat(np.arange(3), 20)).note


def test_counts_hold_whole_patients():
    groups = np.array(["a", "b", "a", "c"])
    counts = patient_counts(groups, 500, 0)
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert counts.mean() == pytest.approx(1.0, abs=0.1)


def test_a_single_patient_gives_no_interval():
    # All 40 pictures are of one patient: drawing that one again and again must not look like certainty.
    values = np.random.default_rng(0).normal(size=40)
    counts = patient_counts(np.zeros(40), 100, 0)
    found = centred_interval(values.mean(), counts @ values / counts.sum(axis=1), 40)
    assert np.isnan([found.low, found.high]).all()
    share = patient_share(values > 0, np.zeros(40))
    assert 0 < share.value < 1
    assert np.isnan([share.low, share.high]).all()


def test_interval_is_centred_on_the_value():
    found = centred_interval(2.0, np.linspace(4, 6, 1001), 7)
    assert found == pytest.approx((2.0, 1.05, 2.95, 7))
    assert centred_interval(0.5, np.linspace(0, 2, 101), 1, limits=(0.0, 1.0)).high == 1.0


def test_share_by_patient():
    flags, groups = np.repeat([True, False], 50), np.repeat(np.arange(20), 5)
    share = patient_share(flags, groups, Sizes(500))
    assert share.value == 0.5
    assert share.high - share.low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 20), rel=0.2)
    # Of 20 patients none: the upper bound is that of 0 of 20, not 0 of 100.
    assert patient_share(np.zeros(100, bool), groups).high == pytest.approx(0.2, abs=0.01)
    assert patient_share(np.zeros(0, bool), groups[:0]).n == 0
