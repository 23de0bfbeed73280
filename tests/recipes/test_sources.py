"""Which training picture a number comes from, and transforms that keep its lesion."""

from collections import Counter

import torch

from datadouble.recipes.sources import SourceOrder, Sources, moved_masks
from datadouble.training.augmentation import AugmentOptions, joint_augment

ROUND = AugmentOptions(flip=False, rotation=10.0, scale=0.5, share=1.0)


def test_patients_are_visited_evenly_however_many_pictures_they_have() -> None:
    sources = Sources(labels=(0,) * 10 + (1,), patients=(0,) * 7 + (1, 2, 2, 1))
    order = SourceOrder(sources, 0, 5)
    rows = [order.at(number)[0] for number in range(63)]
    assert set(rows) == set(range(10))
    assert Counter(sources.patients[row] for row in rows) == {0: 21, 1: 21, 2: 21}
    counts = Counter(rows)
    assert {counts[row] for row in range(7)} == {3} and counts[7] == 21  # each picture of a patient in turns


def test_a_place_holds_the_same_whatever_was_asked_before() -> None:
    sources = Sources(labels=(0,) * 9, patients=(0, 0, 1, 1, 1, 2, 3, 3, 3))
    order = SourceOrder(sources, 0, 1)
    backwards = [order.at(number) for number in range(49, -1, -1)][::-1]
    assert backwards == [SourceOrder(sources, 0, 1).at(number) for number in range(50)]
    assert backwards != [SourceOrder(sources, 0, 2).at(number) for number in range(50)]


def test_volumes_come_slice_by_slice() -> None:
    sources = Sources(
        labels=(0, 0, 1, 0, 0), patients=(0, 0, 0, 1, 1), volumes=(0, 0, 0, 1, 1), slices=(4, 3, 5, 1, 2),
        spacings=((1, 1, 1),) * 2,
    )  # fmt: skip
    order = SourceOrder(sources, 0, 0)
    found = [order.at(number) for number in range(8)]
    for start in range(0, 8, 2):
        rows = [row for row, _ in found[start : start + 2]]
        assert rows in ([1, 0], [3, 4])
        assert {before for _, before in found[start : start + 2]} == {start // 4}


def test_transforms_leave_half_of_the_lesion() -> None:
    masks = torch.zeros(40, 32, 32, dtype=torch.int64)
    masks[:, 2:8, 2:8] = 1  # in a corner, which most windows of half a side leave out
    keys = [f"class {i}" for i in range(40)]
    transforms = moved_masks(masks, False, ROUND, 3, keys)
    moved = joint_augment(torch.zeros(40, 1, 32, 32), masks, transforms)[1]
    scale = torch.linalg.det(transforms[:, :, :2])
    assert bool(((moved > 0).sum((1, 2)) * scale >= 0.5 * 36).all())
    assert int((scale < 0.999).sum()) > 30  # nearly all were changed
    alone = moved_masks(masks[7:8], False, ROUND, 3, keys[7:8])
    assert torch.equal(alone[0], transforms[7])


def test_the_structure_is_no_lesion() -> None:
    masks = torch.ones(1, 16, 16, dtype=torch.int64)
    first = moved_masks(masks, True, ROUND, 0, ["a"])
    masks[0, :, :8] = 0
    assert torch.equal(first, moved_masks(masks, True, ROUND, 0, ["a"]))
