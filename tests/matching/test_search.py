import numpy as np
import pytest
import torch

from datadouble.audit.privacy.planted import leak
from datadouble.cohort.phantom import draw
from datadouble.matching import alignment
from datadouble.matching.alignment import WINDOWS
from datadouble.matching.gallery import Gallery, prepare_gallery
from datadouble.matching.keypoints import to_working
from datadouble.matching.search import Matches, evenly, pack, search_gallery, unpack, width

COUNT = 12
LESION = len(WINDOWS)  # the column of lesions


@pytest.fixture(scope="module")
def scans() -> tuple[np.ndarray, np.ndarray]:
    drawn = [draw("breast-ultrasound", p, 0, "4", size=128, seed=11) for p in range(COUNT + 6)]
    masks = []
    for d in drawn:  # the 130 pixels nearest to the lesion's middle: 0.8% of the picture
        y, x = np.nonzero(d.mask)
        near = np.argsort((y - y.mean()) ** 2 + (x - x.mean()) ** 2, kind="stable")[:130]
        mask = np.zeros_like(d.mask)
        mask[y[near], x[near]] = 1
        masks.append(mask)
    return np.stack([d.image for d in drawn]), np.stack(masks)


@pytest.fixture(scope="module")
def gallery(scans: tuple[np.ndarray, np.ndarray]) -> Gallery:
    return prepare_gallery(scans[0][:COUNT], scans[1][:COUNT])


def test_a_small_lesion_is_missed_by_boxes_and_found_by_its_outline(
    scans: tuple[np.ndarray, np.ndarray], gallery: Gallery
) -> None:
    images, masks = scans
    sources = [0, 3, 6]
    leaks = np.stack(
        [
            leak("lesion-only", images[s], seed=2, key=s, background=images[COUNT], mask=masks[s]).picture
            for s in sources
        ]
    )
    found = search_gallery(leaks, gallery)
    chance = search_gallery(images[COUNT:], gallery)
    np.testing.assert_array_equal(found.row[:, LESION], sources)
    lead = np.arctanh(found.correlation) ** 2 / (np.arctanh(chance.correlation) ** 2).max(0)
    assert lead[:, LESION].min() > 1.5
    assert (lead[:, :LESION].max(1) < lead[:, LESION]).all()


def test_without_masks_there_are_boxes_alone(scans: tuple[np.ndarray, np.ndarray], gallery: Gallery) -> None:
    images, masks = scans
    plain = prepare_gallery(images[:COUNT])
    assert plain.pieces is None and width(plain) < width(gallery)
    found = search_gallery(images[COUNT : COUNT + 2], plain)
    assert found.correlation.shape == (2, len(WINDOWS))
    np.testing.assert_array_equal(found.size[0], WINDOWS)
    empty = prepare_gallery(images[:COUNT], np.zeros_like(masks[:COUNT]))
    assert empty.pieces is None and width(empty) == width(plain)


def test_matches_survive_being_stored(scans: tuple[np.ndarray, np.ndarray], gallery: Gallery) -> None:
    found = search_gallery(scans[0][COUNT : COUNT + 2], gallery)
    stored = pack(found)
    assert stored.shape == (2, width(gallery))
    for before, after in zip(found, unpack(stored)):
        np.testing.assert_array_equal(before, after)
    assert isinstance(found.rows(np.array([0])), Matches)


def test_a_mark_on_the_screen_is_no_copy() -> None:
    rng = np.random.default_rng(0)
    scans = np.clip(rng.normal(60, 4, (4, 128, 128)), 0, 255).astype(np.uint8)
    line = np.arange(30)
    for scan in scans[:2]:  # the same line in two scans of different speckle
        scan[60 + line // 2, 40 + line] = 200
    gallery = prepare_gallery(scans[1:])
    details = alignment.detail(to_working(scans[:2]))
    packed = np.zeros((2, 1, 11), np.float32)
    packed[:, 0] = [
        0.95,
        0,
        0,
        36,
        54,
        1,
        1,
        0,
        0,
        26,
        40,
    ]  # the line's box; the second picture is its own match
    levelled = evenly(packed, details, gallery)[:, 0, 0]
    assert levelled[0] < 0.5 and levelled[1] > 0.75
    a, b, _ = alignment.laid(
        details[:1], gallery.details[:1], torch.tensor([[1.0, 1.0, 0.0, 0.0]]), gallery.gain
    )
    box = (0, slice(54, 80), slice(36, 76))
    assert alignment.box_correlation(a[box], b[box]) > levelled[0] + 0.2


def test_views_are_further_candidates(scans: tuple[np.ndarray, np.ndarray], gallery: Gallery) -> None:
    images, _ = scans
    found = search_gallery(images[4:5], gallery, [np.array([[4, 5]])], [np.array([6])])
    assert found.row[0, LESION - 1] == 4
