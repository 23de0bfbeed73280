"""Descriptors against closed forms: ellipses, a disc, a square; and draws against the distribution they come from."""

from pathlib import Path

import numpy as np
import pytest

from datadouble.errors import DataDoubleError
from datadouble.recipes.lesion.descriptors import (
    Descriptor,
    DescriptorBank,
    conditions_of,
    crofton_perimeter,
    describe,
    largest_lesion,
    wrapped,
)

SIZE = 128


def ellipse(
    row: float, column: float, long: float, short: float, angle: float, size: int = SIZE
) -> np.ndarray:
    """An ellipse with half axes `long` and `short`; its long axis falls to the right by `angle`."""
    y, x = np.mgrid[:size, :size].astype(float)
    along = (x - column) * np.cos(angle) + (y - row) * np.sin(angle)
    across = -(x - column) * np.sin(angle) + (y - row) * np.cos(angle)
    return (along / long) ** 2 + (across / short) ** 2 <= 1


@pytest.mark.parametrize("angle", [-1.2, -0.4, 0.0, 0.6, 1.4])
def test_an_ellipse_is_measured_as_it_was_drawn(angle: float) -> None:
    found = describe(np.full((SIZE, SIZE), 90, np.uint8), ellipse(50, 70, 24, 10, angle))
    assert found.size == pytest.approx(np.sqrt(np.pi * 24 * 10), rel=0.02)
    assert (found.row, found.column) == pytest.approx((50, 70), abs=0.3)
    assert found.aspect == pytest.approx(2.4, rel=0.02)
    assert found.angle == pytest.approx(angle, abs=0.02)


def test_outlines_are_as_long_as_geometry_says() -> None:
    for radius in (8, 15, 30):
        disc = ellipse(64, 64, radius, radius, 0)
        assert crofton_perimeter(disc) == pytest.approx(2 * np.pi * radius, rel=0.05)
        assert describe(np.zeros((SIZE, SIZE), np.uint8), disc).irregularity == pytest.approx(1, abs=0.11)
    # Ramanujan's formula for an ellipse's perimeter.
    a, b = 30.0, 12.0
    h = ((a - b) / (a + b)) ** 2
    length = np.pi * (a + b) * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h)))
    assert crofton_perimeter(ellipse(64, 64, a, b, 0.5)) == pytest.approx(length, rel=0.03)
    star = ellipse(64, 64, 30, 6, 0.2) | ellipse(64, 64, 30, 6, 1.4) | ellipse(64, 64, 30, 6, -0.9)
    assert describe(np.zeros((SIZE, SIZE), np.uint8), star).irregularity > 2


def test_echo_and_shadow_are_those_that_were_painted() -> None:
    random = np.random.default_rng(0)
    mask = ellipse(50, 64, 20, 14, 0.0)
    image = np.clip(random.normal(120, 10, (SIZE, SIZE)), 0, 255)
    image[mask] -= 40
    shadowed = image.copy()
    shadowed[66:, 50:79] *= 0.5
    for picture, posterior in ((image, 0.0), (shadowed, np.log(0.5))):
        found = describe(picture.astype(np.uint8), mask)
        assert found.posterior == pytest.approx(posterior, abs=0.06)
    # The ring's own deviation is 10, so that 40 grey values are 4 of them.
    assert describe(image.astype(np.uint8), mask).echo == pytest.approx(-4, abs=0.3)
    # Grey is counted in the ring's own spread: a gain changes nothing.
    assert describe((image * 0.5).astype(np.uint8), mask).echo == pytest.approx(
        describe(image.astype(np.uint8), mask).echo, rel=0.05
    )


def test_nothing_is_under_a_lesion_at_the_bottom() -> None:
    found = describe(np.full((SIZE, SIZE), 90, np.uint8), ellipse(120, 64, 12, 7, 0.0))
    assert found.posterior == 0.0


def test_the_largest_piece_without_holes() -> None:
    mask = ellipse(40, 40, 12, 12, 0) & ~ellipse(40, 40, 4, 4, 0)
    both = mask | ellipse(100, 100, 5, 5, 0)
    np.testing.assert_array_equal(largest_lesion(both), ellipse(40, 40, 12, 12, 0))
    assert not largest_lesion(np.zeros((8, 8), bool)).any()


def test_specks_are_refused() -> None:
    speck = np.zeros((SIZE, SIZE), bool)
    speck[3:6, 3:6] = True
    with pytest.raises(DataDoubleError, match="too small"):
        describe(np.zeros((SIZE, SIZE), np.uint8), speck)


def test_angles_come_round_again() -> None:
    assert wrapped(np.pi / 2) == pytest.approx(np.pi / 2)
    assert wrapped(-np.pi / 2) == pytest.approx(np.pi / 2)
    assert wrapped(np.pi + 0.1) == pytest.approx(0.1)


def test_a_mirrored_lesion_differs_in_the_sign_of_one_condition() -> None:
    one = Descriptor(20.0, 50.0, 40.0, 2.0, 0.6, 1.2, -1.0, 0.3)
    told, mirrored = conditions_of([one, one._replace(angle=-0.6)], SIZE)
    np.testing.assert_allclose(told[:7], mirrored[:7])
    assert told[7] == pytest.approx(-mirrored[7]) and told[7] != 0


def bank_of(count: int = 300) -> tuple[DescriptorBank, np.ndarray]:
    random = np.random.default_rng(1)
    rows = [
        Descriptor(
            float(np.exp(random.normal(3, 0.3))),
            float(random.normal(60, 10)),
            float(random.normal(64, 12)),
            float(1 + random.exponential(0.4)),
            float(random.normal(0.1, 0.2)),
            float(1.02 + random.exponential(0.2)),
            float(random.normal(-1.5, 0.5)),
            float(random.normal(-0.2, 0.3)),
        )
        for _ in range(count)
    ]
    return DescriptorBank.fit(rows, ["benign"] * count, ["benign"], SIZE), np.array(rows)


def test_draws_have_the_distribution_and_are_nobodys(tmp_path: Path) -> None:
    bank, rows = bank_of()
    bank.save(tmp_path / "bank.json")
    bank = DescriptorBank.load(tmp_path / "bank.json")
    random = np.random.default_rng(2)
    drawn = np.array([bank.sample("benign", random) for _ in range(1500)])
    for column in (0, 1, 2, 6, 7):
        assert drawn[:, column].mean() == pytest.approx(
            rows[:, column].mean(), abs=0.1 * rows[:, column].std()
        )
        assert drawn[:, column].std() == pytest.approx(rows[:, column].std(), rel=0.12)
    assert drawn[:, 3].min() >= 1 and drawn[:, 5].min() >= 1
    # Each differs from every training lesion in size and place at once.
    gaps = np.abs(drawn[:, None, :3] - rows[None, :, :3]).max(axis=2)
    assert gaps.min() > 1e-3


def test_a_bank_of_no_such_class() -> None:
    bank, _ = bank_of(5)
    with pytest.raises(DataDoubleError, match="no lesions of this class"):
        bank.sample("malignant", np.random.default_rng(0))
    with pytest.raises(DataDoubleError, match="needs lesions"):
        DescriptorBank.fit([], [], ["benign"], SIZE)
