"""The permutation test against all ways of dealing patients, counted one by one."""

from itertools import combinations

import numpy as np
import pytest

from datadouble.audit.privacy.permutation import (
    permutation_test,
    ranks_within,
    two_sides,
    without_class_medians,
)
from datadouble.errors import DataDoubleError


def test_p_value_is_the_share_of_all_dealings():
    values = np.array([5.0, 1.0, 4.0, 2.5, 2.0, 3.0, 0.5, 7.0])
    member = np.array([True, False, True, False, False, True, False, True])
    sums = [values[list(chosen)].sum() for chosen in combinations(range(8), 4)]
    exact = np.mean(np.array(sums) >= values[member].sum())
    found = permutation_test(values, member, np.zeros(8, int), permutations=20_000, seed=1)
    assert found.p_value == pytest.approx(exact, abs=0.004)
    assert found.scores[0] == pytest.approx((values[member].sum() - np.mean(sums)) / np.std(sums))


def test_members_are_dealt_within_their_class():
    # Class 1 has high values and most of the members; within classes members are no higher.
    stratum = np.repeat([0, 1], 50)
    rng = np.random.default_rng(0)
    values = rng.normal(size=100) + 10 * stratum
    member = np.concatenate([np.arange(50) < 10, np.arange(50) < 40])
    assert permutation_test(values, member, np.zeros(100, int), permutations=999).p_value == 0.001
    assert permutation_test(values, member, stratum, permutations=999).p_value > 0.05


def test_several_statistics_have_one_p_value():
    rng = np.random.default_rng(2)
    member, stratum = np.arange(40) < 20, np.zeros(40, int)
    p_values = [
        permutation_test(rng.normal(size=(40, 6)), member, stratum, permutations=99, seed=i).p_value
        for i in range(200)
    ]
    # 10 expected; more than 20 has a probability of 0.1%.
    assert np.sum(np.array(p_values) <= 0.05) <= 20
    strong = rng.normal(size=(40, 6))
    strong[:20, 3] += 3
    found = permutation_test(strong, member, stratum, permutations=999)
    assert found.p_value == 0.001
    assert found.best_of(slice(0, 3)) > 0.001


def test_a_class_on_one_side_says_nothing():
    member = np.array([True] * 5 + [True, False] * 10)
    stratum = np.array([0] * 5 + [1] * 20)
    found = permutation_test(np.arange(25.0)[::-1], member, stratum, permutations=99)
    assert found.n == 20


def test_patients_and_their_classes():
    patients = two_sides(
        np.array(["a", "a", "b"]),
        np.array(["c", "d"]),
        np.array(["x", "x", "y"]),
        np.array(["x", "y"]),
        seed=0,
    )
    assert patients.code[0] == patients.code[1]
    assert sorted(patients.sizes) == [1, 1, 1, 2]
    assert patients.member[patients.code].tolist() == [True, True, True, False, False]
    same = patients.stratum[patients.code]
    assert same[0] == same[3] != same[2] == same[4]
    assert patients.informative.all()


@pytest.mark.parametrize(
    ("train", "holdout", "labels", "message"),
    [
        (["a", "b"], ["b"], (None, None), "patients are in train and in holdout"),
        (["a"], [], (None, None), "real pictures on both sides"),
        (["a"], ["b"], (["x"], ["y"]), "no class in common"),
    ],
)
def test_what_cannot_be_tested(train, holdout, labels, message):
    sides = [None if side is None else np.array(side) for side in labels]
    with pytest.raises(DataDoubleError, match=message):
        two_sides(np.array(train, dtype=str), np.array(holdout, dtype=str), sides[0], sides[1], seed=0)


def test_ranks_and_medians_by_class():
    values, stratum = np.array([3.0, 1.0, 10.0, 30.0, 20.0]), np.array([0, 0, 1, 1, 1])
    assert ranks_within(values, stratum).tolist() == [0.75, 0.25, 0.5 / 3, 2.5 / 3, 0.5]
    assert without_class_medians(values, stratum).tolist() == [1.0, -1.0, -10.0, 10.0, 0.0]
