"""Picture and mask move together, nothing is invented, and a step's changes can be drawn again."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from datadouble.errors import DataDoubleError
from datadouble.training.augmentation import (
    AugmentOptions,
    check_augmentation,
    draw_transforms,
    joint_augment,
)

NONE = AugmentOptions(flip=False, rotation=0, scale=1.0, share=0.0)


def ramp(side: int = 32) -> torch.Tensor:
    """x in the first channel, y in the second, from -1 to 1: each pixel says where it came from."""
    line = (torch.arange(side) + 0.5) * 2 / side - 1
    return torch.stack([line[None].expand(side, side), line[:, None].expand(side, side)])[None]


def test_without_changes_everything_stays_to_the_bit() -> None:
    images, masks = torch.rand(5, 1, 16, 16) * 2 - 1, torch.randint(0, 4, (5, 16, 16))
    same, same_masks = joint_augment(images, masks, draw_transforms(5, NONE, 0, 0))
    assert torch.equal(images, same) and torch.equal(masks, same_masks)


def test_half_are_mirrored_exactly_and_the_mask_with_its_picture() -> None:
    images = torch.rand(400, 1, 8, 8) * 2 - 1
    masks = (images[:, 0] > 0).long()
    new, new_masks = joint_augment(images, masks, draw_transforms(400, replace(NONE, flip=True), 0, 0))
    mirrored = (new == images.flip(-1)).flatten(1).all(1)
    assert ((new == images).flatten(1).all(1) ^ mirrored).all()
    assert 160 < mirrored.sum() < 240  # 200, and four standard deviations
    assert torch.equal(new_masks, (new[:, 0] > 0).long())


def test_masks_follow_their_pictures_through_every_change() -> None:
    disc = (ramp(64).square().sum(1) < 0.3).float()
    images = (disc * 2 - 1)[:, None].expand(64, 1, 64, 64).roll(7, -1)
    masks = (images[:, 0] > 0).to(torch.uint8)
    transforms = draw_transforms(64, AugmentOptions(share=1.0, flip_vertical=True), 3, 128)
    new, new_masks = joint_augment(images, masks, transforms)
    assert new_masks.dtype == torch.uint8 and set(new_masks.unique().tolist()) == {0, 1}
    agree = ((new[:, 0] > 0) == (new_masks > 0)).float().mean((1, 2))
    assert agree.min() > 0.99  # the outline alone, where a pixel is half of either


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_every_pixel_comes_from_inside_the_picture_and_from_where_the_angle_says(interpolation: str) -> None:
    options = AugmentOptions(flip=False, share=1.0, rotation=5, scale=0.85)
    transforms = draw_transforms(200, options, 1, 0)
    corners = torch.tensor([[x, y, 1.0] for x in (-1, 1) for y in (-1, 1)])
    assert (transforms @ corners.T).abs().max() <= 1 + 1e-6
    angles = torch.rad2deg(torch.atan2(transforms[:, 1, 0], transforms[:, 0, 0]))
    sides = transforms[:, :, 0].norm(dim=1)
    assert angles.abs().max() <= 5 and angles.std() == pytest.approx(10 / 12**0.5, rel=0.1)
    assert sides.min() >= 0.85 and sides.max() <= 1
    came, _ = joint_augment(
        ramp().expand(200, 2, 32, 32), torch.zeros(200, 32, 32), transforms, interpolation=interpolation
    )
    # Pixel (row 5, column 20) of the result, by hand: the matrix times its place.
    place = torch.tensor([(20.5) / 16 - 1, (5.5) / 16 - 1, 1.0])
    tolerance = (
        1e-5 if interpolation == "bilinear" else 0.01
    )  # torch's cubic (a = -0.75) bends a line by 0.1 pixel
    assert torch.allclose(came[:, :, 5, 20], transforms @ place, atol=tolerance)


def test_a_window_may_keep_to_the_skin() -> None:
    options = AugmentOptions(flip=False, share=1.0, rotation=0, scale=0.8, from_top=True)
    came, _ = joint_augment(
        ramp().expand(9, 2, 32, 32), torch.zeros(9, 32, 32), draw_transforms(9, options, 0, 0)
    )
    assert torch.allclose(came[:, 1, 0].mean(1), torch.tensor(-1 + 1 / 32), atol=0.02)


def test_changes_depend_on_seed_and_clock_alone_and_not_on_each_other() -> None:
    options = AugmentOptions(share=1.0)
    torch.manual_seed(5)
    one = draw_transforms(8, options, 0, 64)
    assert torch.equal(one, draw_transforms(8, options, 0, 64))
    assert not torch.equal(one, draw_transforms(8, options, 0, 72))
    assert not torch.equal(one, draw_transforms(8, options, 1, 64))
    unmirrored = draw_transforms(8, replace(options, flip=False), 0, 64)
    assert torch.equal(one[:, :, 1:], unmirrored[:, :, 1:])


def test_ultrasound_is_never_turned_upside_down() -> None:
    check_augmentation(AugmentOptions(flip_vertical=True), "chest CT")
    with pytest.raises(DataDoubleError, match="probe above"):
        check_augmentation(AugmentOptions(flip_vertical=True), "Breast Ultrasound")
    with pytest.raises(DataDoubleError, match=r"rotation is 90.*scale is 0;.*interpolation"):
        check_augmentation(AugmentOptions(rotation=90, scale=0, interpolation="cubic"), "CT")


def test_a_process_takes_its_places_of_the_batch() -> None:
    images, masks = torch.rand(6, 1, 16, 16), torch.randint(0, 3, (6, 16, 16))
    transforms = draw_transforms(6, AugmentOptions(share=1.0), 0, 0)
    whole = joint_augment(images, masks, transforms)
    part = joint_augment(images[2:4], masks[2:4], transforms[2:4])
    np.testing.assert_allclose(whole[0][2:4], part[0], atol=1e-6)
    assert torch.equal(whole[1][2:4], part[1])
