"""Crops of simulated scans, burned-in words on all: every one is found, and no other pair."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from datadouble.cohort.crops import SIDE, find_crops, minutes
from datadouble.cohort.duplicates import find_duplicates
from datadouble.cohort.phantom import draw

STRANGERS = 21


def burned(image: np.ndarray) -> np.ndarray:
    """Return the picture at the device's size, with its words, ruler and grey bar."""
    canvas = Image.fromarray(image).resize((192, 192), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(canvas)
    pen.text((6, 4), "HOSPITAL X 12L", fill=255, font_size=13)
    for y in range(8, 190, 16):
        pen.line((187, y, 191, y), fill=220)
    for step in range(15):
        pen.line((176, 30 + 3 * step, 182, 30 + 3 * step), fill=255 - 16 * step, width=3)
    return np.asarray(canvas)


def scan(patient: int) -> np.ndarray:
    """Return a simulated scan without words."""
    return draw("breast-ultrasound", patient, 0, str(2 + patient % 4), size=192, seed=3).image


def crop(image: np.ndarray, share: float, mirrored: bool, gain: float) -> np.ndarray:
    """Return a square of the picture off its middle, in another gain."""
    side = round(192 * share)
    left, top = (192 - side) * 2 // 3, (192 - side) // 4
    piece = image[top : top + side, left : left + side] * gain
    piece = piece[:, ::-1] if mirrored else piece
    return np.clip(piece, 0, 255).astype(np.uint8)


def small(images: list[np.ndarray]) -> np.ndarray:
    """Return the pictures at the side of the search."""
    return np.stack([np.asarray(Image.fromarray(image).resize((SIDE, SIDE))) for image in images])


@pytest.fixture(scope="module")
def scans() -> list[np.ndarray]:
    return [scan(patient) for patient in range(STRANGERS)]


def test_crops_are_found_and_no_strangers(scans: list[np.ndarray]) -> None:
    made = [(0, 0.7, False, 1.1), (2, 0.75, True, 0.8), (4, 0.85, False, 0.9), (6, 0.95, True, 1.0)]
    pieces = [crop(scans[which], share, mirrored, gain) for which, share, mirrored, gain in made]
    found = find_crops(small([burned(image) for image in [*scans, *pieces]]))
    truth = {(which, STRANGERS + number): spec for number, (which, *spec) in enumerate(made)}
    assert {pair[:2] for pair in found} == set(truth)
    for pair in found:
        share, mirrored, _ = truth[pair[:2]]
        assert pair.mirrored == mirrored
        assert pair.similarity > 0.5
        assert 0.3 * share**2 < pair.overlap < share**2


def test_a_chain_of_crops_is_found_link_by_link() -> None:
    # 1 shows the left of 0, 2 the right of 0: with 20 pictures or fewer the area alone decides
    whole = scan(50)
    pictures = [whole, whole[:, :150], whole[:, 42:], scan(51), scan(52)]
    found = {pair[:2] for pair in find_crops(small([np.ascontiguousarray(p) for p in pictures]))}
    assert {(0, 1), (0, 2)} <= found <= {(0, 1), (0, 2), (1, 2)}


def test_known_groups_and_flat_pictures_give_nothing() -> None:
    whole = scan(60)
    pictures = small([whole, crop(whole, 0.8, False, 1.0), scan(61)])
    assert [pair[:2] for pair in find_crops(pictures)] == [(0, 1)]
    assert find_crops(pictures, [(0, 1)]) == []
    assert find_crops(pictures[:1]) == []
    assert find_crops(np.full((4, SIDE, SIDE), 9, np.uint8)) == []


def test_blocks_find_what_one_gallery_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scan(70)
    pictures = small([whole, scan(71), scan(72), crop(whole, 0.8, True, 1.0), scan(73)])
    monkeypatch.setattr("datadouble.cohort.crops._BLOCK", 3)
    assert [pair[:2] for pair in find_crops(pictures)] == [(0, 3)]


def test_duplicates_say_why(scans: list[np.ndarray]) -> None:
    pictures = [*scans[:5], crop(scans[1], 0.75, False, 1.0)]
    found = find_duplicates(pictures)
    assert found.groups == ((1, 5),)
    assert found.crops
    assert found.pairs[0].kind in ("crop", "part")
    assert 0.3 < found.pairs[0].overlap < 0.75**2
    without = find_duplicates(pictures, crops=False)
    assert without.groups == ()
    assert not without.crops


def test_a_long_search_is_asked_for(monkeypatch: pytest.MonkeyPatch, scans: list[np.ndarray]) -> None:
    monkeypatch.setattr("datadouble.cohort.duplicates.MOST_SEARCHED", 3)
    pictures = [*scans[:3], crop(scans[1], 0.75, False, 1.0)]
    assert not find_duplicates(pictures).crops
    assert find_duplicates(pictures, crops=True).groups == ((1, 3),)
    assert 3 < minutes(1000) < 20 < minutes(3000)
