"""Orders: random by reader, the same every time, repeats after and apart from their image."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datadouble.randomness import generator_for
from datadouble.study.order import _spread, order_for
from datadouble.study.study import Study, Truth


def truth(image: str, repeat_of: str = "") -> Truth:
    return Truth(image, "p", "real", "3", False, repeat_of, "", "", "", "", "")


@given(st.integers(2, 120), st.floats(0, 0.5), st.integers(0, 1000))
def test_a_repeat_comes_after_its_image_with_others_between(n: int, share: float, seed: int) -> None:
    rows = [truth(f"i{k}") for k in range(n)] + [truth(f"r{k}", f"i{k}") for k in range(round(share * n))]
    order = _spread(rows, generator_for(seed))
    assert sorted(order) == sorted(row.image for row in rows)
    between = max(1, min(20, n // 3))
    for row in rows:
        if row.repeat_of:
            assert order.index(row.image) - order.index(row.repeat_of) > between


def test_every_place_is_as_likely_for_an_image_that_is_not_repeated() -> None:
    rows = [truth(f"i{k}") for k in range(4)]
    places = [_spread(rows, generator_for(seed)).index("i0") for seed in range(400)]
    counts = [places.count(place) for place in range(4)]
    assert (
        sum((count - 100) ** 2 / 100 for count in counts) < 16.3
    )  # chi-squared, 3 degrees of freedom, P 0.001


def test_practice_first_and_every_reader_has_an_order(made: Path) -> None:
    study = Study.open(made)
    orders = [order_for(study, reader, "one") for reader in (1, 2)]
    for items in orders:
        assert [item.position for item in items] == list(range(len(items)))
        assert [item.practice for item in items] == [True] * 2 + [False] * (len(items) - 2)
        assert {item.image for item in items} == {r.image for r in study.truth().values() if r.part == "one"}
    assert orders[0] != orders[1]
    assert orders[0] == order_for(Study.open(made), 1, "one")
    with pytest.raises(KeyError):
        order_for(study, 1, "three")
