"""How many images of each class, and what they are called."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datadouble.errors import DataDoubleError
from datadouble.recipes.doubles import (
    Drawing,
    Drawn,
    GeneratorFacts,
    Limit,
    class_counts,
    image_name,
    write_double,
)

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


def test_classes_that_share_a_stem_are_told_apart() -> None:
    """Letters that no file name has are dropped: two names in Chinese, or two that differ in a sign, were one file."""
    classes = ("良性", "恶性", "α lesion", "β lesion", "4 a", "4-a", "class", "benign", "no finding")
    names = [image_name(name, 3, classes) for name in classes]
    assert len(set(names)) == len(classes) and all(name.isascii() for name in names)
    assert [image_name(name, 3, classes) for name in classes] == names
    assert names[5:] == ["4-a-000003", "class-000003", "benign-000003", "no-finding-000003"]
    # Whatever else there is, a class has the name that it had with the same ones.
    assert [image_name(name, 3, classes[::-1]) for name in classes] == names


def test_a_double_of_two_classes_without_a_latin_letter(tmp_path: Path) -> None:
    """Cut off and gone on with: the numbers of one class are not taken for the other's."""

    class Grey:
        facts = GeneratorFacts("c", "us", ("良性", "恶性"), (0.5, 0.5), 2, {})

        def draw(self, label: int, numbers: range, seed: int) -> Drawn:
            return Drawn(np.full((len(numbers), 4, 4), 100 * label, dtype=np.uint8))

    for count in (2, 5):
        double = write_double(Grey(), Drawing(per_class=count), tmp_path / "double", say=lambda _: None)
        assert double.table["label"].value_counts().to_dict() == {"良性": count, "恶性": count}
        assert [double.image(row).mean() for row in range(len(double))] == [
            100 * (label == "恶性") for label in double.table["label"]
        ]


def test_more_than_there_are_is_refused_before_anything_is_drawn() -> None:
    facts = replace(FACTS, limits={"b": Limit(2, "there are 2", "ask for fewer")})
    assert class_counts(facts, Drawing(per_class=2)) == [2, 2, 2]
    assert class_counts(facts, Drawing(images=7)) == [4, 2, 1]
    for drawing in (Drawing(per_class=3), Drawing(images=10)):
        with pytest.raises(
            DataDoubleError, match=r"class b: there are 2 \(found 3 asked for\): ask for fewer"
        ):
            class_counts(facts, drawing)
