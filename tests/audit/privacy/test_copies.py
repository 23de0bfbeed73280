from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datadouble.audit.privacy import copies
from datadouble.audit.privacy.copies import find_matches
from datadouble.audit.privacy.copy_report import matched_boxes
from datadouble.audit.privacy.planted import leak
from datadouble.cohort.phantom import draw
from datadouble.errors import DataDoubleError
from datadouble.matching.alignment import WINDOWS
from datadouble.matching.gallery import Gallery, prepare_gallery
from datadouble.matching.search import Matches

WHOLE = len(WINDOWS) - 1  # the box of the whole picture


@pytest.fixture(scope="module")
def scans() -> tuple[np.ndarray, np.ndarray]:
    drawn = [draw("breast-ultrasound", p, 0, "4", size=96, seed=5) for p in range(26)]
    return np.stack([d.image for d in drawn]), np.stack([d.mask for d in drawn])


@pytest.fixture(scope="module")
def gallery(scans: tuple[np.ndarray, np.ndarray]) -> Gallery:
    return prepare_gallery(scans[0][:16], scans[1][:16])


@pytest.fixture(scope="module")
def unseen(scans: tuple[np.ndarray, np.ndarray], gallery: Gallery) -> copies.Matches:
    return find_matches(scans[0][16:], gallery)


@pytest.mark.parametrize(
    "kind", ["copies", "shifts", "flips", "crops", "gain", "noise", "stitched", "lesion-only"]
)
def test_every_kind_of_leak_stands_out(
    kind: str, scans: tuple[np.ndarray, np.ndarray], gallery: Gallery, unseen: copies.Matches
) -> None:
    images, masks = scans
    sources = [0, 7]
    leaks = [leak(kind, images[s], seed=1, key=s, background=images[20], mask=masks[s]) for s in sources]
    found = find_matches(np.stack([one.picture for one in leaks]), gallery)
    for i, source in enumerate(sources):
        lead = found.correlation[i] - unseen.correlation.max(0)
        window = int(lead.argmax())
        assert lead[window] > 0.15
        assert found.row[i, window] == source
        box, _ = matched_boxes(found, i, window)
        left, top, right, bottom = (v / 96 for v in leaks[i].box)
        assert box[0] < right and box[2] > left and box[1] < bottom and box[3] > top


def test_the_matched_boxes_show_the_same_place(
    scans: tuple[np.ndarray, np.ndarray], gallery: Gallery
) -> None:
    images, _ = scans
    found = find_matches(np.stack([images[3], images[3][:, ::-1]]), gallery)
    for i, mirrored in enumerate((False, True)):
        assert found.mirrored[i, 1] == mirrored
        box, there = matched_boxes(found, i, 1)
        left, right = (1 - box[2], 1 - box[0]) if mirrored else (box[0], box[2])
        np.testing.assert_allclose(there, [left, box[1], right, box[3]], atol=0.01)


def test_a_patient_can_be_left_out(scans: tuple[np.ndarray, np.ndarray], gallery: Gallery) -> None:
    images, _ = scans
    found = find_matches(images[:1], gallery, left_out=[np.array([0])])
    assert not (found.row == 0).any()
    assert found.correlation[0, WHOLE] < 0.5


def test_finished_pictures_are_not_searched_again(
    scans: tuple[np.ndarray, np.ndarray], gallery: Gallery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, _ = scans
    first = find_matches(images[16:19], gallery, cache_dir=tmp_path)
    searched = []
    original = copies.search_gallery

    def count(pictures: np.ndarray, gallery: Gallery, **options: Any) -> Matches:
        searched.append(len(pictures))
        return original(pictures, gallery, **options)

    monkeypatch.setattr(copies, "search_gallery", count)
    again = find_matches(images[16:21], gallery, cache_dir=tmp_path)
    assert searched == [2]
    np.testing.assert_array_equal(again.correlation[:3], first.correlation)


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(DataDoubleError, match="8 bits"):
        prepare_gallery(np.zeros((3, 64, 64), np.uint16))
    with pytest.raises(DataDoubleError, match="too small"):
        prepare_gallery(np.zeros((1, 64, 64), np.uint8))


def test_the_patches_of_a_lesion_lie_in_it() -> None:
    from datadouble.matching.candidates import patches_inside
    from datadouble.matching.keypoints import BLOBS, Blobs

    place = np.zeros((1, 2 * BLOBS, 2), np.float32)
    place[0, 3], place[0, BLOBS + 5] = (100.0, 20.0), (10.0, 90.0)
    sigma = np.ones((1, 2 * BLOBS), np.float32)
    inside = np.zeros((1, 64, 64), bool)
    inside[0, 5:15, 45:55] = True  # working pixels x 90..109, y 10..29
    described = torch.arange(2 * BLOBS).float()[None, :, None] + 1
    found = patches_inside(described, Blobs(place, sigma, np.zeros((1, 0, 0))), inside)
    np.testing.assert_array_equal(found[found > 0].numpy(), [4.0])


def test_pictures_without_texture_are_no_copies_of_each_other() -> None:
    flat = np.stack([np.full((64, 64), 40 * i, np.uint8) for i in range(4)])
    found = find_matches(flat, prepare_gallery(flat))
    assert np.abs(found.correlation).max() < 0.05
