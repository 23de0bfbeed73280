"""Texture measures against Haralick's and Galloway's printed examples, scikit-image, and numbers by hand."""

import numpy as np
import pytest

from datadouble.audit.features.texture_measures import (
    DIRECTIONS,
    binary_pattern_measures,
    cooccurrence,
    cooccurrence_measures,
    first_order,
    haar_bands,
    haar_measures,
    quantise,
    run_length_measures,
)

HARALICK = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 2], [2, 2, 3, 3]])  # IEEE Trans SMC 1973, Fig. 3
GALLOWAY = np.array([[0, 1, 2, 3], [0, 2, 3, 3], [2, 1, 1, 1], [3, 0, 3, 0]])  # CGIP 1975, Fig. 1


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ("0", [[4, 2, 1, 0], [2, 4, 0, 0], [1, 0, 6, 1], [0, 0, 1, 2]]),
        ("90", [[6, 0, 2, 0], [0, 4, 2, 0], [2, 2, 2, 2], [0, 0, 2, 0]]),
        ("45", [[4, 1, 0, 0], [1, 2, 2, 0], [0, 2, 4, 1], [0, 0, 1, 0]]),
        ("135", [[2, 1, 3, 0], [1, 2, 1, 0], [3, 1, 0, 2], [0, 0, 2, 0]]),
    ],
)
def test_cooccurrence_as_printed_by_haralick(direction, expected):
    found = cooccurrence(np.stack([HARALICK, 0 * HARALICK]), DIRECTIONS[direction], levels=4)
    np.testing.assert_allclose(found[0], np.array(expected) / np.sum(expected))
    assert found[1, 0, 0] == 1


def test_cooccurrence_measures_equal_skimage():
    from skimage.feature import graycomatrix, graycoprops

    grey = np.random.default_rng(0).integers(0, 8, (3, 20, 24))
    matrices = cooccurrence(grey, (0, 3), levels=8)
    ours = cooccurrence_measures(matrices)
    for row, picture in enumerate(grey):
        theirs = graycomatrix(picture.astype(np.uint8), [3], [0], levels=8, symmetric=True, normed=True)
        np.testing.assert_allclose(matrices[row], theirs[:, :, 0, 0])
        for name, values in ours.items():
            expected = graycoprops(theirs, {"angular_second_moment": "ASM"}.get(name, name))[0, 0]
            assert values[row] == pytest.approx(expected / (np.log(2) if name == "entropy" else 1)), name


def test_run_lengths_as_printed_by_galloway():
    # 0 degrees: 11 runs of 1, one of 2, one of 3; by level 4, 2, 3, 4 runs. 45 degrees: the same lengths.
    for direction, by_level in {"0": [4, 2, 3, 4], "45": [4, 4, 1, 4]}.items():
        found = {k: v[0] for k, v in run_length_measures(GALLOWAY[None], direction, levels=4).items()}
        assert found["short_run_emphasis"] == pytest.approx((11 + 1 / 4 + 1 / 9) / 13)
        assert found["long_run_emphasis"] == pytest.approx((11 + 4 + 9) / 13)
        assert found["run_percentage"] == pytest.approx(13 / 16)
        assert found["run_length_non_uniformity"] == pytest.approx((11**2 + 1 + 1) / 13**2)
        assert found["grey_level_non_uniformity"] == pytest.approx(np.square(by_level).sum() / 13**2)
        weights = np.array(by_level) / 13
        assert found["high_grey_level_run_emphasis"] == pytest.approx(weights @ [1, 4, 9, 16])
        assert found["low_grey_level_run_emphasis"] == pytest.approx(weights @ [1, 1 / 4, 1 / 9, 1 / 16])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_run_lengths_equal_a_loop(direction):
    pictures = np.random.default_rng(1).integers(0, 3, (2, 5, 7))
    found = run_length_measures(pictures, direction, levels=3)
    down, right = DIRECTIONS[direction]
    for row, picture in enumerate(pictures):
        lengths = []
        for y, x in np.ndindex(picture.shape):
            before = (y - down, x - right)
            inside = 0 <= before[0] < 5 and 0 <= before[1] < 7
            if inside and picture[before] == picture[y, x]:
                continue  # no run begins here
            length, level = 0, picture[y, x]
            while 0 <= y < 5 and 0 <= x < 7 and picture[y, x] == level:
                length, y, x = length + 1, y + down, x + right
            lengths.append(length)
        assert found["long_run_emphasis"][row] == pytest.approx(np.mean(np.square(lengths)))
        assert found["run_percentage"][row] == pytest.approx(len(lengths) / 35)


def test_first_order_by_hand():
    picture = np.zeros((1, 4, 4))
    picture[0, :2] = 255
    found = {name: float(values[0]) for name, values in first_order(picture).items()}
    assert (
        found["mean"] == found["deviation"] == found["uniformity"] == found["mean_absolute_deviation"] == 0.5
    )
    assert (found["skewness"], found["kurtosis"], found["entropy"]) == (0, pytest.approx(1), 1)
    assert found["interquartile_range"] == 1
    flat = first_order(np.full((1, 4, 4), 77.0))
    assert flat["skewness"] == flat["kurtosis"] == flat["entropy"] == 0


def test_quantise_uses_the_whole_scale():
    assert quantise(np.array([0, 7.9, 8, 254, 255, 300]), 32).tolist() == [0, 0, 1, 31, 31, 31]


def test_haar_by_hand_and_parseval():
    bands = haar_bands(np.array([[[4.0, 2], [2, 0]]]), depth=1)
    assert {name: float(band[0, 0, 0]) for name, band in bands.items()} == {
        "h1": 2,
        "v1": 2,
        "d1": 0,
        "approximation": 4,
    }
    pictures = np.random.default_rng(2).uniform(0, 255, (2, 16, 16))
    total = sum(np.square(band).sum(axis=(1, 2)) for band in haar_bands(pictures).values())
    np.testing.assert_allclose(total, np.square(pictures).sum(axis=(1, 2)))
    stripes = np.tile([0.0, 255.0], (1, 8, 4))  # columns alternate: all detail is horizontal
    found = haar_measures(stripes, depth=1)
    assert found["h1_energy"][0] == pytest.approx(1)
    assert found["v1_energy"][0] == found["d1_energy"][0] == 0


def test_binary_patterns_by_hand():
    # Where no neighbour is darker the pattern is all ones, number 8; around a bright point it is 0.
    pictures = np.zeros((2, 9, 9))
    pictures[1, 4, 4] = 200
    found = binary_pattern_measures(pictures)
    assert found["pattern_8"][0] == 1
    assert found["pattern_0"].tolist() == pytest.approx([0, 1 / 81])
    assert sum(found.values()) == pytest.approx([1, 1])
