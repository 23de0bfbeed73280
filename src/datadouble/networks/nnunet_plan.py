"""What nnU-Net would train on a cohort: kernel sizes, strides, features, patch and batch from the cohort's fingerprint.

The published rules (Isensee et al., Nature Methods 2021;18:203, as version 2 has them) for the 2D and the 3D
full-resolution configuration: patches as large as 8 GB allow, each axis halved until 4 voxels are left, coarse axes
later than fine ones, and no batch that holds more than 5% of all voxels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

ANISOTROPY = 3.0  # an axis that is coarser by more is treated on its own
LEAST_EDGE = 4  # voxels at the bottom
LEAST_BATCH = 2
MOST_OF_DATA = 0.05
CONVOLUTIONS = 2  # of each stage, on both ways
MOST_FEATURES = {2: 512, 3: 320}
# Voxels x channels of all maps that fill 8 GB in training, and the batch at which that was measured.
REFERENCE_MAPS = {2: 85_000_000, 3: 560_000_000}
REFERENCE_BATCH = {2: 12, 3: 2}
FIRST_PATCH = {2: 2048**2, 3: 256**3}

Axes = tuple[int, ...]


@dataclass(frozen=True)
class Fingerprint:
    """What the plan rests on.

    Parameters
    ----------
    shapes : ndarray
        (cases, 3): voxels of each case, slices first; a picture has one slice.
    spacings : ndarray
        (cases, 3): mm (or any unit) of a voxel. A picture's slice has 999, as nnU-Net writes it.
    classes : int
        With the background.
    """

    shapes: np.ndarray
    spacings: np.ndarray
    classes: int


@dataclass(frozen=True)
class NnunetPlan:
    """An nnU-Net configuration; all tuples run slices, rows, columns (rows, columns in 2D)."""

    patch: Axes
    batch: int
    strides: tuple[Axes, ...]
    kernels: tuple[Axes, ...]
    features: tuple[int, ...]
    spacing: tuple[float, ...]
    batch_dice: bool

    @property
    def dims(self) -> int:
        """2 or 3."""
        return len(self.patch)

    @property
    def divisor(self) -> Axes:
        """What each side of a picture must be a multiple of."""
        return tuple(prod(stride[axis] for stride in self.strides) for axis in range(self.dims))


def fingerprint_of(
    shapes: Sequence[Sequence[int]], classes: int, spacings: Sequence[Sequence[float]] | None = None
) -> Fingerprint:
    """The fingerprint of pictures (h, w) or volumes (d, h, w); without spacings all voxels are 1 wide."""
    full = [(1, *shape) if len(shape) == 2 else tuple(shape) for shape in shapes]
    if not full:
        raise ValueError("a fingerprint needs at least one case")
    if spacings is None:
        spacings = [(999.0, 1.0, 1.0) if shape[0] == 1 else (1.0, 1.0, 1.0) for shape in full]
    sides = np.array([(999.0, *side) if len(side) == 2 else tuple(side) for side in spacings], np.float64)
    if len(sides) != len(full) or (sides <= 0).any():
        raise ValueError(f"spacings must be positive, one a case: found {len(sides)} for {len(full)} cases")
    return Fingerprint(np.array(full, np.int64), sides, int(classes))


def target_spacing(fingerprint: Fingerprint) -> np.ndarray:
    """(3,): the median; on a coarse axis of few slices the 10th percentile, never finer than the other axes."""
    target = np.percentile(fingerprint.spacings, 50, axis=0)
    size = np.percentile(fingerprint.shapes, 50, axis=0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != worst]
    finest = float(target[others].max())
    if target[worst] > ANISOTROPY * finest and size[worst] * ANISOTROPY < size[others].min():
        low = float(np.percentile(fingerprint.spacings[:, worst], 10))
        target[worst] = low if low >= finest else finest + 1e-5
    return target


def topology(
    spacing: Sequence[float] | np.ndarray, patch: Sequence[int]
) -> tuple[tuple[Axes, ...], tuple[Axes, ...], Axes, Axes]:
    """Strides and kernels of every stage, the patch padded to what they need, and that divisor."""
    dims = len(spacing)
    width, size = [float(s) for s in spacing], [int(s) for s in patch]
    strides, kernels, kernel, halvings = [(1,) * dims], [], [1] * dims, [0] * dims
    while True:
        open_axes = [axis for axis in range(dims) if size[axis] >= 2 * LEAST_EDGE]
        if not open_axes:
            break
        finest = min(width[axis] for axis in open_axes)
        open_axes = [axis for axis in open_axes if width[axis] / finest < 2]
        if len(open_axes) == 1 and size[open_axes[0]] < 3 * LEAST_EDGE:
            break
        for axis in range(dims):
            if width[axis] / min(width) < 2:
                kernel[axis] = 3  # and stays 3
        for axis in open_axes:
            halvings[axis] += 1
            width[axis] *= 2
            size[axis] = ceil(size[axis] / 2)
        strides.append(tuple(2 if axis in open_axes else 1 for axis in range(dims)))
        kernels.append(tuple(kernel))
    kernels.append((3,) * dims)
    divisor = tuple(2**count for count in halvings)
    padded = tuple(-(-int(side) // by) * by for side, by in zip(patch, divisor, strict=True))
    return tuple(strides), tuple(kernels), padded, divisor


def map_size(patch: Sequence[int], strides: Sequence[Axes], features: Sequence[int], classes: int) -> int:
    """Voxels x channels of all maps that a forward pass makes: nnU-Net's measure of memory."""
    sizes, here = [], [int(side) for side in patch]
    for stride in strides:
        here = [side // by for side, by in zip(here, stride, strict=True)]
        sizes.append(prod(here))
    down = sum(CONVOLUTIONS * count * size for count, size in zip(features, sizes, strict=True))
    up = sum((CONVOLUTIONS + 1) * count * size for count, size in zip(features[:-1], sizes[:-1], strict=True))
    return down + up + classes * sizes[0]


def plan_nnunet(
    fingerprint: Fingerprint,
    dims: int,
    *,
    memory_gb: float = 8.0,
    base_features: int = 32,
    patch: Sequence[int] | None = None,
    batch: int | None = None,
) -> NnunetPlan:
    """Plan a configuration.

    Parameters
    ----------
    dims : int
        2, or 3 for full resolution in 3D.
    memory_gb : float
        Of the card; 8 is nnU-Net's default.
    base_features : int
        Channels at full size: 32 in nnU-Net; fewer train on a CPU. The patch and batch are those of 32.
    patch, batch : optional
        Fixed by hand; the topology follows the patch.

    Raises
    ------
    ValueError
        For other dims, or volumes of one slice in 3D.
    """
    if dims not in (2, 3):
        raise ValueError(f"dims must be 2 or 3: found {dims}")
    target = target_spacing(fingerprint)
    order = [
        int(np.argmax(target)),
        *(axis for axis in range(3) if axis != int(np.argmax(target))),
    ]
    # A slice thickness of 999 is a picture: nothing is resampled along it.
    resampled = np.round(fingerprint.shapes * fingerprint.spacings / target)
    median = np.median(resampled, axis=0)[order]
    spacing = target[order]
    if dims == 3 and median[0] < 2:
        raise ValueError("a 3D plan needs volumes of more than one slice: plan in 2D")
    voxels = float(np.prod(median)) * len(fingerprint.shapes)
    spacing, median = spacing[3 - dims :], median[3 - dims :]

    fixed = patch is not None
    if patch is None:
        fine = 1 / spacing
        start = [round(side) for side in fine * (FIRST_PATCH[dims] / np.prod(fine)) ** (1 / dims)]
        patch = [int(min(side, most)) for side, most in zip(start, median, strict=True)]
    strides, kernels, size, divisor = topology(spacing, patch)
    reference = REFERENCE_MAPS[dims] * memory_gb / 8
    estimate = map_size(size, strides, _features(32, dims, len(strides)), fingerprint.classes)
    while not fixed and estimate / REFERENCE_BATCH[dims] * 2 > reference:
        # The axis that is largest for the median case gives way, by the least that leaves a valid patch.
        axis = int(np.argsort([side / most for side, most in zip(size, median, strict=True)])[-1])
        smaller = list(size)
        smaller[axis] -= divisor[axis]
        less = topology(spacing, smaller)[3]
        smaller = list(size)
        smaller[axis] -= less[axis]
        strides, kernels, size, divisor = topology(spacing, smaller)
        estimate = map_size(size, strides, _features(32, dims, len(strides)), fingerprint.classes)
    if batch is None:
        fits = round(reference / estimate * REFERENCE_BATCH[dims])
        batch = max(min(fits, round(voxels * MOST_OF_DATA / prod(size))), LEAST_BATCH)
    # In 3D Dice is taken over a batch only where a patch shows less than a quarter of a case (the low-resolution rule).
    batch_dice = dims == 2 or prod(size) / float(np.prod(median)) < 0.25
    return NnunetPlan(
        size,
        int(batch),
        strides,
        kernels,
        _features(base_features, dims, len(strides)),
        tuple(float(side) for side in spacing),
        batch_dice,
    )


def _features(base: int, dims: int, stages: int) -> tuple[int, ...]:
    return tuple(min(MOST_FEATURES[dims] * base // 32, base * 2**stage) for stage in range(stages))
