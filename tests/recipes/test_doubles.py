"""How many images of each class, and what they are called."""

import pytest

from datadouble.errors import DataDoubleError
from datadouble.recipes.doubles import Drawing, GeneratorFacts, class_counts, image_name

FACTS = GeneratorFacts("c", "us", ("a", "b", "c"), (0.5, 0.3, 0.2), 8, {})


@pytest.mark.parametrize(
    ("images", "counts"),
    [(10, [5, 3, 2]), (7, [4, 2, 1]), (1, [1, 0, 0]), (1000, [500, 300, 200])],  # largest remainder, by hand
)
def test_images_are_shared_by_largest_remainder(images: int, counts: list[int]) -> None:
    assert class_counts(FACTS, Drawing(images=images)) == counts


def test_per_class_gives_each_as_many() -> None:
    assert class_counts(FACTS, Drawing(per_class=3)) == [3, 3, 3]


@pytest.mark.parametrize("drawing", [Drawing(), Drawing(images=3, per_class=3), Drawing(images=-1)])
def test_one_of_the_two_must_be_said(drawing: Drawing) -> None:
    with pytest.raises(DataDoubleError, match="how many"):
        class_counts(FACTS, drawing)


def test_names_are_safe_as_files() -> None:
    assert image_name("4a", 7) == "4a-000007"
    assert image_name("../no/lésion", 0) == "no-l-sion-000000"
