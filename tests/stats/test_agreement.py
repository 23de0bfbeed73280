"""Agreement against Fleiss 1971, Gwet's package, statsmodels and the bounds of kappa."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import t

from datadouble.stats import Kappa, check_kappa, cohen_kappa, fleiss_kappa, gwet_ac1, kappa_minimum

# Fleiss 1971, Table 1: 30 patients, 6 psychiatrists, 5 diagnoses; counts of each diagnosis.
FLEISS_1971 = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""


def from_counts(text):
    rows = [[int(digit) for digit in word] for word in text.split()]
    return np.array([np.repeat(np.arange(len(row)), row) for row in rows])


def from_table(table):
    cells = [(i, j) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)]
    return np.array(cells)


def standard_error(kappa):
    return (kappa.high - kappa.low) / 2 / t.ppf(0.975, kappa.n - 1)


def test_fleiss_1971():
    ratings = from_counts(FLEISS_1971)
    kappa = fleiss_kappa(ratings)
    assert ratings.shape == (30, 6)
    assert round(kappa.value, 3) == 0.430
    assert kappa.n == 30
    assert kappa.minimum == -0.2


def test_first_half_of_fleiss_1971_as_gwet_s_package_prints():
    # R package irrCAC, distrib.6raters: coefficient, standard error, interval.
    ratings = from_counts(FLEISS_1971)[:15]
    kappa, ac1 = fleiss_kappa(ratings), gwet_ac1(ratings)
    assert (kappa.value, standard_error(kappa)) == pytest.approx((0.4139265, 0.08119291), abs=1e-7)
    assert (round(kappa.low, 3), round(kappa.high, 3)) == (0.240, 0.588)
    assert (ac1.value, standard_error(ac1)) == pytest.approx((0.4448007, 0.08418757), abs=1e-7)
    assert (round(ac1.low, 3), round(ac1.high, 3)) == (0.264, 0.625)


def test_two_abstractors_as_gwet_s_package_prints():
    # irrCAC, cont3x3abstractors; its tables divide by n where the items' spread divides by n - 1.
    ratings = from_table([[13, 0, 0], [0, 20, 7], [0, 4, 56]])
    for kappa, value, error in (
        (cohen_kappa(*ratings.T), 0.7964094, 0.05891072),
        (fleiss_kappa(ratings), 0.7962397, 0.05905473),
        (gwet_ac1(ratings), 0.8493305, 0.04321747),
    ):
        assert kappa.value == pytest.approx(value, abs=1e-7)
        assert standard_error(kappa) * np.sqrt(0.99) == pytest.approx(error, abs=1e-7)


def test_the_paradox_of_a_rare_category():
    # Gwet 2008: 118 of 125 agree on yes, none on no; kappa is below 0, AC1 near the raw agreement.
    ratings = from_table([[118, 5], [2, 0]])
    assert fleiss_kappa(ratings).value < 0
    assert gwet_ac1(ratings).value == pytest.approx(0.9408, abs=1e-4)


def test_fleiss_kappa_of_other_libraries():
    inter_rater = pytest.importorskip("statsmodels.stats.inter_rater")
    ratings = np.random.default_rng(0).integers(0, 4, (40, 5))
    table, _ = inter_rater.aggregate_raters(ratings)
    assert fleiss_kappa(ratings).value == pytest.approx(inter_rater.fleiss_kappa(table), abs=1e-12)


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_cohen_kappa_of_other_libraries(weights):
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(1)
    first = rng.integers(0, 4, 200)
    second = np.clip(first + rng.integers(-1, 2, 200), 0, 3)
    kappa = cohen_kappa(first, second, weights=weights)
    assert kappa.value == pytest.approx(cohen_kappa_score(first, second, weights=weights), abs=1e-12)
    inter_rater = pytest.importorskip("statsmodels.stats.inter_rater")
    table = np.zeros((4, 4))
    np.add.at(table, (first, second), 1)
    theirs = inter_rater.cohens_kappa(table, wt=weights)
    assert theirs.kappa == pytest.approx(kappa.value, abs=1e-12)
    # statsmodels divides the spread by n, and takes normal quantiles.
    assert standard_error(kappa) * np.sqrt(199 / 200) == pytest.approx(theirs.std_kappa, rel=1e-6)


@pytest.mark.parametrize("coefficient", [fleiss_kappa, gwet_ac1])
def test_standard_error_agrees_with_the_jackknife(coefficient):
    ratings = from_counts(FLEISS_1971)
    left_out = [coefficient(np.delete(ratings, i, axis=0)).value for i in range(30)]
    jackknife = np.sqrt(29 / 30 * np.sum((left_out - np.mean(left_out)) ** 2))
    assert standard_error(coefficient(ratings)) == pytest.approx(jackknife, rel=0.05)


def test_what_coldit_prints_is_refused():
    # "Fleiss' kappa -0.867" of three readers: its minimum is -0.5.
    assert kappa_minimum(3) == -0.5
    with pytest.raises(ValueError, match="-0.5 and 1"):
        check_kappa(-0.867, 3)
    with pytest.raises(ValueError, match="impossible"):
        Kappa(-0.867, -0.9, -0.8, 100, -0.5)
    good = fleiss_kappa(from_counts(FLEISS_1971))
    with pytest.raises(ValueError, match="impossible"):
        good._replace(value=-0.867)
    with pytest.raises(ValueError, match="impossible"):
        Kappa(float("nan"), -0.5, 1, 3, -0.5)
    with pytest.raises(ValueError, match="interval"):
        Kappa(0.5, 0.6, 0.7, 3, -0.5)
    assert check_kappa(-0.5, 3) == -0.5


def test_the_minimum_is_attained():
    # Every item splits the readers alike: as far apart as three readers can be.
    for ratings in ([[0, 1, 1]] * 20, [[0, 1, 2]] * 20, [["a", "b", "b"], ["b", "a", "b"]] * 10):
        kappa = fleiss_kappa(ratings)
        assert kappa.value == pytest.approx(-0.5)
        assert kappa.low == pytest.approx(-0.5)
        assert -0.5 < kappa.high < 0.2
    assert gwet_ac1(from_table([[0, 10], [10, 0]])).value == pytest.approx(-1)
    assert cohen_kappa([0, 1] * 10, [1, 0] * 10).value == pytest.approx(-1)


ratings_arrays = hnp.arrays(
    np.int64, st.tuples(st.integers(1, 8), st.integers(2, 5)), elements=st.integers(0, 3)
)


@given(ratings_arrays)
def test_ranges_hold(ratings):
    assume(len(np.unique(ratings)) > 1)
    for kappa in (
        fleiss_kappa(ratings),
        gwet_ac1(ratings),
        cohen_kappa(ratings[:, 0], ratings[:, 1], categories=range(4))
        if len(np.unique(ratings[:, :2])) > 1
        else fleiss_kappa(ratings),
    ):
        assert kappa.minimum - 1e-9 <= kappa.low <= kappa.value <= kappa.high <= 1
        assert kappa.high > kappa.low
    assert fleiss_kappa(ratings).minimum == -1 / (ratings.shape[1] - 1)


@given(ratings_arrays, st.permutations(range(4)))
def test_names_and_order_do_not_matter(ratings, names):
    assume(len(np.unique(ratings)) > 1)
    renamed = np.array(["abcd"[i] for i in names])[ratings]
    shuffled = renamed[::-1, ::-1]
    for coefficient in (fleiss_kappa, gwet_ac1):
        assert coefficient(shuffled)[:3] == pytest.approx(coefficient(ratings)[:3], abs=1e-9)


def test_perfect_agreement_keeps_a_width():
    ratings = np.repeat(np.arange(20) % 2, 3).reshape(20, 3)
    # 20 alike do not exclude that 1 - 0.025^(1/20) = 16.8% of items split: 2 : 1, an agreement of 1/3.
    expected = 1 - (1 - 0.025 ** (1 / 20)) * (2 / 3) / 0.5
    assert fleiss_kappa(ratings)[:3] == pytest.approx((1, expected, 1))
    many = np.repeat(np.arange(2000) % 2, 3).reshape(2000, 3)
    assert fleiss_kappa(many).low > 0.99
    same = cohen_kappa(ratings[:, 0], ratings[:, 1])
    assert same.value == 1 and same.low < 0.9


def test_one_category_only():
    ratings = np.ones((10, 3), int)
    with pytest.raises(ValueError, match="0 / 0"):
        fleiss_kappa(ratings)
    with pytest.raises(ValueError, match="0 / 0"):
        cohen_kappa(ratings[:, 0], ratings[:, 1])
    with pytest.raises(ValueError, match="categories="):
        gwet_ac1(ratings)
    assert gwet_ac1(ratings, categories=[0, 1]).value == 1


def test_intra_reader_agreement_by_hand():
    # 15 of 20 agree, margins even: (0.75 - 0.5) / (1 - 0.5).
    first = ["benign"] * 10 + ["malignant"] * 10
    second = ["benign"] * 7 + ["malignant"] * 3 + ["malignant"] * 8 + ["benign"] * 2
    kappa = cohen_kappa(first, second)
    pe = (0.5 * 9 + 0.5 * 11) / 20
    assert kappa.value == pytest.approx((0.75 - pe) / (1 - pe))


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        ([[1.0, np.nan], [1, 2]], "missing"),
        ([["a", None], ["a", "b"]], "missing"),
        ([[1], [2]], "2 raters"),
        ([1, 2, 3], "items, raters"),
        (np.empty((0, 3)), "no items"),
    ],
)
def test_wrong_ratings_are_refused(ratings, message):
    for coefficient in (fleiss_kappa, gwet_ac1):
        with pytest.raises(ValueError, match=message):
            coefficient(ratings)


def test_wrong_categories_and_weights():
    with pytest.raises(ValueError, match="outside the categories"):
        gwet_ac1([[1, 2], [1, 1]], categories=[1, 3])
    with pytest.raises(ValueError, match="repeat"):
        gwet_ac1([[1, 2], [1, 1]], categories=[1, 2, 2])
    with pytest.raises(ValueError, match="linear"):
        cohen_kappa([1, 2], [1, 2], weights="cubic")
    with pytest.raises(ValueError, match="as long"):
        cohen_kappa([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="2 raters"):
        kappa_minimum(1)


def test_order_of_categories_matters_for_weights():
    first, second = ["low", "mid", "high"] * 5, ["mid", "mid", "high"] * 5
    ordered = cohen_kappa(first, second, weights="linear", categories=["low", "mid", "high"])
    codes = {"low": 0, "mid": 1, "high": 2}
    numbers = cohen_kappa([codes[x] for x in first], [codes[x] for x in second], weights="linear")
    assert ordered == pytest.approx(numbers)
    assert ordered.value != pytest.approx(cohen_kappa(first, second, weights="linear").value)
