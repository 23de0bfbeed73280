"""McNemar's test against statsmodels and a published table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datadouble.stats import McNemar, mcnemar

APPROVAL = [[794, 86], [150, 570]]  # Agresti, Categorical Data Analysis, Table 10.1


def test_agresti():
    result = mcnemar(APPROVAL, method="chi2-cc")
    assert isinstance(result, McNemar)
    assert result.statistic == pytest.approx(16.82, abs=0.005)  # R: 16.8178
    assert mcnemar(APPROVAL, method="chi2").statistic == pytest.approx(17.36, abs=0.005)  # z = -4.17
    # Agresti: difference 0.04, 95% interval (0.02, 0.06).
    assert (round(-result.value, 2), round(-result.high, 2), round(-result.low, 2)) == (0.04, 0.02, 0.06)
    assert (result.n, result.discordant) == (1600, 236)


@pytest.mark.parametrize("cells", [(12, 5, 9, 30), (0, 1, 0, 0), (40, 0, 17, 3), (5, 8, 8, 5)])
def test_equals_statsmodels(cells):
    theirs = pytest.importorskip("statsmodels.stats.contingency_tables")
    table = np.array(cells).reshape(2, 2)
    for method, options in (
        ("exact", {"exact": True}),
        ("chi2", {"exact": False, "correction": False}),
    ):
        expected = theirs.mcnemar(table, **options)
        assert mcnemar(table, method=method)[:2] == pytest.approx(
            (expected.statistic, min(expected.pvalue, 1.0))
        )


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_symmetry_and_range(pairs):
    first, second = np.array(pairs).T
    one, other = mcnemar(first, second), mcnemar(second, first)
    assert one.value == pytest.approx(first.mean() - second.mean())
    assert -1 <= one.low <= one.value <= one.high <= 1
    assert one.low < one.high
    assert (other.p_value, other.value, other.low, other.high) == pytest.approx(
        (one.p_value, -one.value, -one.high, -one.low)
    )
    table = [[sum(first & second), sum(first & ~second)], [sum(~first & second), sum(~first & ~second)]]
    assert mcnemar(table) == one


def test_nothing_discordant():
    for method in ("exact", "chi2", "chi2-cc"):
        result = mcnemar([1, 1, 0, 0], [1, 1, 0, 0], method=method)
        assert (result.statistic, result.p_value, result.value) == (0, 1, 0)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="0 and 1"):
        mcnemar([0, 2], [0, 1])
    with pytest.raises(ValueError, match="unequal lengths"):
        mcnemar([0, 1], [0])
    for table in ([[1, 2, 3]], [[1, -2], [3, 4]], [[0.5, 1], [1, 1]]):
        with pytest.raises(ValueError, match="2 x 2"):
            mcnemar(table)
    with pytest.raises(ValueError, match="empty"):
        mcnemar([[0, 0], [0, 0]])
    with pytest.raises(ValueError, match="chi2-cc"):
        mcnemar(APPROVAL, method="midp")
