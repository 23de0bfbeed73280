"""Bands: distances of shapes with a known answer, the paper's threshold, and shadows of a known outline."""

import numpy as np
import pytest

from datadouble.recipes.lesion.bands import (
    BandOptions,
    generation_band,
    random_band,
    ring,
    shadow_region,
    signed_distance,
    training_band,
)


def disc(size: int, row: float, column: float, radius: float) -> np.ndarray:
    rows, columns = np.indices((size, size))
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def test_the_distance_to_a_disc_is_that_to_its_circle() -> None:
    rows, columns = np.indices((64, 64))
    truth = np.hypot(rows - 30, columns - 25) - 12
    assert np.abs(signed_distance(disc(64, 30, 25, 12)) - truth).max() < 1.0


def test_a_ring_has_its_widths() -> None:
    mask = np.zeros((20, 20), bool)
    mask[5:15, 4:16] = True
    band = ring(mask, 3, 2)
    row = band[10]  # along a row only the distance to the sides counts
    assert np.flatnonzero(row).tolist() == [1, 2, 3, 4, 5, 14, 15, 16, 17, 18]
    assert not ring(np.zeros((5, 5), bool), 2, 2).any()


def test_a_training_band_is_where_more_than_015_is_wrong() -> None:
    truth = np.full((40, 40), 100, np.uint8)
    mask = disc(40, 20, 20, 8)
    composite = truth.copy()
    composite[12:16, 16:21] += 39  # 0.153
    composite[26:29, 18:24] += 38  # 0.149
    composite[2:5, 2:5] += 90  # far from the lesion
    band = training_band(truth, composite, mask, BandOptions(reach=6))
    expected = np.zeros_like(band)
    expected[11:17, 15:22] = True
    assert np.array_equal(band, expected)


def test_closing_joins_what_lies_two_pixels_apart_also_at_the_border_of_the_picture() -> None:
    truth, mask = np.zeros((16, 16), np.uint8), np.zeros((16, 16), bool)
    mask[0:8, 0:6] = True
    composite = truth.copy()
    composite[0:4, 2] = composite[0:4, 5] = 200
    band = training_band(truth, composite, mask, BandOptions(reach=20))
    assert band[:5, 1:7].all() and band.sum() == 30


def test_a_generation_band_follows_the_lesion_and_the_edge_of_its_shadow() -> None:
    healthy = np.full((64, 64), 140, np.uint8)
    mask = disc(64, 20, 30, 9)
    composite = healthy.copy()
    composite[mask] = 60
    composite[30:60, 22:39] = 90  # the shadow: 0.2 darker
    options = BandOptions(outside=3, inside=2, shadow_width=2)
    band = generation_band(composite, healthy, mask, options)
    assert (band & ring(mask, 3, 2)).sum() == ring(mask, 3, 2).sum()
    assert not band[20, 28:33].any()  # the lesion's middle
    assert not band[38:55, 26:35].any()  # the shadow's middle
    assert band[45, [21, 22, 38, 39]].all() and not band[45, [17, 18, 42, 43]].any()  # its edges
    assert not band[:, 50:].any()
    plain = generation_band(np.where(mask, composite, healthy), healthy, mask, options)
    assert np.array_equal(plain, ring(mask, 3, 2))
    none = BandOptions(outside=3, inside=2, shadow_width=0)
    assert np.array_equal(generation_band(composite, healthy, mask, none), ring(mask, 3, 2))
    assert not generation_band(composite, healthy, np.zeros_like(mask), options).any()


def test_speckle_is_no_shadow() -> None:
    random = np.random.default_rng(0)
    healthy = random.integers(40, 200, (64, 64)).astype(np.uint8)
    mask = disc(64, 20, 30, 9)
    noisy = np.clip(healthy + random.normal(0, 8, healthy.shape), 0, 255).astype(np.uint8)
    assert shadow_region(noisy, healthy, mask).sum() < 5
    darker = (healthy * 0.7).astype(np.uint8)
    assert (
        shadow_region(np.where(np.indices(mask.shape)[0] > 40, darker, healthy), healthy, mask)[45:60].mean()
        > 0.9
    )


@pytest.mark.parametrize("with_lesion", [False, True])
def test_random_bands_hide_something_and_leave_something(with_lesion: bool) -> None:
    mask = disc(48, 20, 30, 9) if with_lesion else np.zeros((48, 48), bool)
    bands = [random_band(mask.shape, mask, np.random.default_rng(i)) for i in range(200)]
    shares = np.array([band.mean() for band in bands])
    assert shares.min() > 0 and shares.max() <= 0.4
    assert len({band.tobytes() for band in bands}) > 150
    assert np.array_equal(bands[7], random_band(mask.shape, mask, np.random.default_rng(7)))
