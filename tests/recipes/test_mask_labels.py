"""The class of a lesion mask: the lesion that covers most of it decides."""

import numpy as np

from datadouble.recipes.mask_labels import NO_CLASS, leading_lesion, read_labels


def test_the_greatest_lesion_leads() -> None:
    masks = np.zeros((4, 3, 3), np.uint8)
    masks[1, 0] = 2
    masks[2, :2, 0], masks[2, :, 1] = 1, 3
    masks[3, 0, 0] = 1
    assert leading_lesion(masks).tolist() == [0, 2, 3, 1]
    assert read_labels(masks, (1, NO_CLASS, 0, 2)).tolist() == [1, 0, 2, NO_CLASS]
    assert leading_lesion(np.zeros((2, 3, 3), np.uint8)).tolist() == [0, 0]
