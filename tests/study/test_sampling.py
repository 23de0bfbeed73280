"""Shares: equal as far as they reach, and each patient once before any is seen twice."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from datadouble.study.sampling import make_pool, quotas

from .conftest import make_cohort


def test_shares_by_hand() -> None:
    one_each = [["a"], ["b"], ["c"]]
    assert quotas(one_each, 9, {"a": 9, "b": 9, "c": 9}, per_class=False, seed=0) == {"a": 3, "b": 3, "c": 3}
    # c has one: the other 8 are dealt to a and b.
    assert quotas(one_each, 9, {"a": 9, "b": 9, "c": 1}, per_class=False, seed=0) == {"a": 4, "b": 4, "c": 1}
    # Two answers, half each, and the second half shared by its two classes.
    by_answer = quotas([["a"], ["b", "c"]], 8, {"a": 9, "b": 9, "c": 9}, per_class=False, seed=0)
    assert by_answer == {"a": 4, "b": 2, "c": 2}
    assert quotas(one_each, 5, {"a": 9, "b": 5, "c": 3}, per_class=True, seed=0) == {"a": 5, "b": 5, "c": 3}


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(0, 100), st.integers(0, 99))
def test_shares_add_up_and_differ_by_one_where_there_is_room(room: list[int], count: int, seed: int) -> None:
    names = [f"c{i}" for i in range(len(room))]
    capacity = dict(zip(names, room, strict=True))
    shares = quotas([[name] for name in names], count, capacity, per_class=False, seed=seed)
    assert sum(shares.values()) == min(count, sum(room))
    assert all(0 <= shares[name] <= capacity[name] for name in names)
    roomy = [shares[name] for name in names if shares[name] < capacity[name]]
    if roomy:
        assert max(roomy) - min(roomy) <= 1
        assert max(shares.values()) <= max(roomy) + 1


def test_each_patient_once_before_any_twice_and_the_unseen_splits_first(tmp_path: Path) -> None:
    cohort = make_cohort(
        tmp_path / "r",
        "real",
        images=24,
        patients=8,
        splits=("test", "train", "holdout", "train"),
        classes=("3",),
    )
    pool = make_pool(cohort)  # patients 0, 2, 4, 6 are in test or holdout, three images each
    first = pool.draw("3", 4, 1, "x")
    assert len({pool.unit_of[row] for row in first}) == 4
    then = pool.draw("3", 8, 1, "y")
    assert set(cohort.table["split"].iloc[first + then]) == {"test", "holdout"}
    last = pool.draw("3", 4, 1, "z")
    assert set(cohort.table["split"].iloc[last]) == {"train"}
    assert len({pool.unit_of[row] for row in last}) == 4
    assert len(set(first + then + last)) == 16


def test_a_named_split_is_kept_to_and_excluded_images_never_come(tmp_path: Path) -> None:
    cohort = make_cohort(
        tmp_path / "r", "real", images=12, splits=("test", "train", "excluded"), classes=("3",)
    )
    assert len(make_pool(cohort, splits=("test",)).free("3")) == 4
    assert len(make_pool(cohort).free("3")) == 8
