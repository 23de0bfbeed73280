"""Classes of masks by hand; post-processing of volumes on made ones."""

import numpy as np
import pytest

from datadouble.audit.utility.mask_classes import classify_from_masks, clean_volume, typed_masks
from datadouble.errors import DataDoubleError


def test_majority_and_none() -> None:
    none = np.zeros((4, 4), np.uint8)
    two = none.copy()
    two[0, :3], two[1, :2] = 2, 1
    tie = none.copy()
    tie[0, 0], tie[0, 1] = 2, 1
    assert classify_from_masks([none, two, tie], 3).tolist() == [0, 2, 1]
    with pytest.raises(DataDoubleError, match="not declared"):
        classify_from_masks([two], 2)


def test_volumes_keep_one_lesion_of_one_type() -> None:
    volume = np.zeros((8, 10, 10), np.uint8)
    volume[1:5, 1:4, 1:4] = 1  # 36 voxels on 4 slices
    volume[4, 1:4, 1:4] = 2  # of which 9 say otherwise
    volume[6:8, 5:10, 5:10] = 3  # 50 voxels, but on 2 slices
    cleaned = clean_volume(volume)
    assert np.unique(cleaned).tolist() == [0, 1] and (cleaned == 1).sum() == 36
    assert clean_volume(volume, least_slices=2)[7, 7, 7] == 3
    assert not clean_volume(np.zeros_like(volume)).any()


def test_corners_join_and_short_volumes() -> None:
    diagonal = np.zeros((3, 5, 5), np.uint8)
    for i in range(3):
        diagonal[i, i, i] = 4
    assert (clean_volume(diagonal) == 4).sum() == 3  # 26 neighbours
    single = np.zeros((1, 5, 5), np.uint8)
    single[0, 2, 2] = 1
    assert clean_volume(single).sum() == 1  # a volume of one slice cannot show three
    with pytest.raises(DataDoubleError, match="needs volumes"):
        clean_volume(single[0])


def test_lesions_take_their_pictures_type() -> None:
    masks = np.array([[[0, 1]], [[1, 0]]], np.uint8)
    assert typed_masks(masks, np.array([2, 1])).tolist() == [[[0, 2]], [[1, 0]]]
