"""Holm's adjustment by hand, against statsmodels, and its order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datadouble.stats import holm


def test_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, then never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.8, 0.9]) == pytest.approx([1, 1])
    assert holm([0.2]) == pytest.approx([0.2])


def test_equals_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    for seed in range(20):
        values = np.random.default_rng(seed).random(seed + 1) ** 3
        assert holm(values) == pytest.approx(multitest.multipletests(values, method="holm")[1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_never_below_what_was_given_and_in_its_order(values):
    adjusted = holm(values)
    assert (adjusted >= np.array(values)).all()
    assert (np.argsort(adjusted[np.argsort(values)], kind="stable") == np.arange(len(values))).all()


@pytest.mark.parametrize(
    ("values", "message"), [([], "at least 1"), ([0.1, np.nan], "NaN"), ([1.1], "between")]
)
def test_wrong_input_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        holm(values)
