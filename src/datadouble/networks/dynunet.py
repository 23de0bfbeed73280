"""nnU-Net's network by MONAI's DynUNet, built from a plan; MONAI is imported here only, when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datadouble.errors import DataDoubleError
from datadouble.networks.nnunet_plan import NnunetPlan

if TYPE_CHECKING:
    from torch import Tensor, nn


def build_dynunet(plan: NnunetPlan, classes: int, *, deep_supervision: bool = True) -> nn.Module:
    """A plain U-Net with instance norm, leaky ReLU and strided convolutions, as the plan says.

    Evaluating, it gives scores before softmax (b, classes, ...). Training, with deep supervision, (b, heads, classes,
    ...): the full-size scores and those of the coarser stages but the last two, each enlarged to full size.

    Raises
    ------
    DataDoubleError
        Where MONAI is missing, or the plan has fewer than three stages.
    """
    try:
        from monai.networks.nets.dynunet import DynUNet
    except ImportError as error:
        raise DataDoubleError(
            "nnU-Net's network needs MONAI",
            where="segmenter",
            found=str(error),
            remedy='pip install "datadouble[segmentation]", or use another segmenter',
        ) from error
    stages = len(plan.strides)
    if stages < 3:
        raise DataDoubleError(
            "the pictures are too small for nnU-Net's network",
            where="segmenter",
            found=" x ".join(map(str, plan.patch)),
            remedy="use sides of at least 16 pixels (3D: 16 voxels along some axis), or the U-Net",
        )
    heads = stages - 3  # besides the full size; the coarsest has weight 0 in nnU-Net
    return DynUNet(
        plan.dims,
        1,
        classes,
        list(plan.kernels),
        list(plan.strides),
        list(plan.strides[1:]),
        filters=list(plan.features),
        norm_name=("INSTANCE", {"affine": True, "eps": 1e-5}),
        deep_supervision=deep_supervision and heads > 0,
        deep_supr_num=max(heads, 1),
    )


def supervised_scales(plan: NnunetPlan) -> list[tuple[tuple[int, ...], float]]:
    """The step of each supervised scale along each axis, full size first, and its weight: halves of the one before."""
    steps, here = [], (1,) * plan.dims
    for stride in plan.strides[: max(len(plan.strides) - 2, 1)]:
        here = tuple(a * b for a, b in zip(here, stride, strict=True))
        steps.append(here)
    total = sum(0.5**level for level in range(len(steps)))
    return [(step, 0.5**level / total) for level, step in enumerate(steps)]


def at_scale(scores: Tensor, step: tuple[int, ...]) -> Tensor:
    """Every ``step``-th score along the last axes: undoes the enlarging by nearest neighbours."""
    places: tuple[Any, ...] = (..., *(slice(None, None, by) for by in step))
    return scores[places]


def truth_at_scale(masks: Tensor, step: tuple[int, ...]) -> Tensor:
    """Masks (b, ...) at a coarser scale by the nearest exact neighbour, the middle voxel, as nnU-Net does."""
    for axis, by in enumerate(step):
        if by > 1:
            size = masks.shape[1 + axis]
            import torch

            rows = (torch.arange(0, size, by, device=masks.device) + by // 2).clamp_max(size - 1)
            masks = masks.index_select(1 + axis, rows)
    return masks
