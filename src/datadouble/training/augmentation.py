"""Augmentation of picture and mask together: one transform for both, drawn from (seed, images seen).

A turned picture would need pixels from beyond its border; black corners, smeared or mirrored borders are anatomy that
no patient has, and a generator learns them. Therefore the window that is cut out always lies inside the picture: one
that is turned by an angle a is at most 1 / (cos a + sin a) as wide.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from datadouble.errors import DataDoubleError
from datadouble.randomness import torch_generator_for


@dataclass(frozen=True)
class AugmentOptions:
    """How training pictures are changed; a section of a preset."""

    flip: bool = True  # left to right, half of the pictures
    flip_vertical: bool = False  # up and down; refused for ultrasound
    rotation: float = 5.0  # degrees, at most, to either side
    scale: float = 0.85  # least side of the window cut out, as a share of the picture's
    share: float = 0.5  # of the pictures that are turned and cut; the others keep their geometry
    from_top: bool = False  # the window keeps to the upper border: the skin, in ultrasound
    interpolation: str = "bicubic"  # of the picture, or "bilinear"; masks take the nearest pixel


def check_augmentation(options: AugmentOptions, modality: str) -> None:
    """Refuse options that are out of range or wrong for a modality.

    Raises
    ------
    DataDoubleError
        Which lists every fault.
    """
    faults = []
    if options.flip_vertical and "ultrasound" in modality.lower():
        faults.append("flip_vertical: ultrasound has its probe above and its shadows below; set it to false")
    if not 0 <= options.rotation <= 45:
        faults.append(f"rotation is {options.rotation:g} degrees; use 0 to 45")
    if not 0 < options.scale <= 1:
        faults.append(f"scale is {options.scale:g}; use a share above 0 and at most 1")
    if not 0 <= options.share <= 1:
        faults.append(f"share is {options.share:g}; use 0 to 1")
    if options.interpolation not in ("bicubic", "bilinear"):
        faults.append(f"interpolation is '{options.interpolation}'; use bicubic or bilinear")
    if faults:
        raise DataDoubleError("the augmentation cannot be done", where="augment", found="; ".join(faults))


def draw_transforms(
    count: int, options: AugmentOptions, seed: int, images_seen: int, *, key: str = "augment"
) -> Tensor:
    """Draw the transforms of a whole batch: a function of (`seed`, `images_seen`) alone.

    Where a turned window of `options.scale` would not fit in the picture, it is as wide as one that fits.

    Returns
    -------
    torch.Tensor
        float32 (count, 2, 3): matrices from the coordinates of the result to those of the picture, both from -1 to 1,
        as `torch.nn.functional.affine_grid` takes them. A process of several takes its places of them.
    """
    random = torch_generator_for(seed, key, images_seen)
    # Always all seven columns, so that switching one change off leaves the others as they were.
    chance = torch.rand(count, 7, generator=random, dtype=torch.float64)
    changed = chance[:, 0] < options.share
    angle = torch.deg2rad((2 * chance[:, 1] - 1) * options.rotation) * changed
    widest = 1 / (angle.cos() + angle.sin().abs())
    least = torch.minimum(torch.full_like(widest, options.scale), widest)
    side = torch.where(changed, least + (widest - least) * chance[:, 2], 1.0)
    slack = (1 - side / widest).clamp(min=0)
    x = (2 * chance[:, 3] - 1) * slack
    y = -slack if options.from_top else (2 * chance[:, 4] - 1) * slack
    mirror_x = torch.where((chance[:, 5] < 0.5) & options.flip, -1.0, 1.0)
    mirror_y = torch.where((chance[:, 6] < 0.5) & options.flip_vertical, -1.0, 1.0)
    cos, sin = side * angle.cos(), side * angle.sin()
    rows = [cos * mirror_x, -sin * mirror_y, x, sin * mirror_x, cos * mirror_y, y]
    return torch.stack(rows, dim=1).view(count, 2, 3).float()


def joint_augment(
    images: Tensor, masks: Tensor, transforms: Tensor, *, interpolation: str = "bicubic"
) -> tuple[Tensor, Tensor]:
    """Change pictures and masks by the same transforms.

    Parameters
    ----------
    images
        float (b, c, h, w) in [-1, 1].
    masks
        Class ids (b, h, w) of any integer type.
    transforms
        (b, 2, 3) from `draw_transforms`.
    interpolation
        ``"bicubic"`` (Keys, IEEE Trans ASSP 1981;29:1153; what overshoots is cut at -1 and 1) or ``"bilinear"``.

    Returns
    -------
    images, masks
        Of the same shapes and types. Pictures that keep their geometry are the same to the bit, mirrored or not.
    """
    kept = (transforms[:, [0, 1], [1, 0]] == 0).all(1) & (transforms[:, [0, 1], [0, 1]].abs() == 1).all(1)
    kept &= (transforms[:, :, 2] == 0).all(1)
    new_images, new_masks = images.clone(), masks.clone()
    for dim, axis in ((-1, 0), (-2, 1)):
        mirrored = torch.nonzero(kept & (transforms[:, axis, axis] < 0)).flatten()
        new_images[mirrored] = new_images[mirrored].flip(dim)
        new_masks[mirrored] = new_masks[mirrored].flip(dim)
    moved = torch.nonzero(~kept).flatten()
    if len(moved):
        height, width = images.shape[-2:]
        grid = F.affine_grid(
            transforms[moved].to(images), [len(moved), 1, height, width], align_corners=False
        )
        warped = F.grid_sample(
            images[moved], grid, mode=interpolation, padding_mode="border", align_corners=False
        )
        new_images[moved] = warped.clamp(-1, 1)
        ids = masks[moved, None].to(grid.dtype)
        nearest = F.grid_sample(ids, grid, mode="nearest", padding_mode="border", align_corners=False)
        new_masks[moved] = nearest[:, 0].to(masks.dtype)
    return new_images, new_masks
