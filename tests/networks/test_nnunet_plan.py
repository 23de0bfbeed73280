"""The plan against those of nnunetv2's own planner (run once, version 2, 8 GB), and the network that follows it."""

import numpy as np
import pytest
import torch

from datadouble.networks.dynunet import at_scale, build_dynunet, supervised_scales, truth_at_scale
from datadouble.networks.nnunet_plan import Fingerprint, fingerprint_of, plan_nnunet, target_spacing, topology

# shape, spacing, cases, classes with background, dims -> patch, batch, strides of each stage, features
PLANNER = [
    ((1, 64, 64), (999, 1, 1), 300, 6, 2, (64, 64), 15, 5),
    ((1, 256, 256), (999, 1, 1), 1200, 2, 2, (256, 256), 49, 7),
    ((1, 512, 400), (999, 1, 1), 50, 2, 2, (512, 448), 2, 7),
    ((1, 32, 32), (999, 1, 1), 80, 2, 2, (32, 32), 4, 4),
    ((138, 170, 138), (1, 1, 1), 484, 4, 3, (128, 128, 128), 2, 6),  # as BraTS
    ((482, 512, 512), (1.25, 0.78, 0.78), 131, 3, 3, (128, 128, 128), 2, 6),  # as LiTS
    ((10, 256, 216), (9, 1.5625, 1.5625), 200, 4, 3, (10, 256, 224), 7, 6),  # as ACDC
    ((10, 256, 216), (9, 1.5625, 1.5625), 200, 4, 2, (256, 224), 56, 6),
    ((16, 64, 64), (2.5, 1, 1), 20, 6, 3, (16, 64, 64), 2, 5),
    ((80, 60, 90), (5, 0.8, 0.8), 40, 6, 3, (80, 64, 96), 2, 6),
]


@pytest.mark.parametrize(
    ("shape", "spacing", "cases", "classes", "dims", "patch", "batch", "stages"), PLANNER
)
def test_as_the_planner_of_nnunet(
    shape: tuple, spacing: tuple, cases: int, classes: int, dims: int, patch: tuple, batch: int, stages: int
) -> None:
    found = plan_nnunet(Fingerprint(np.array([shape] * cases), np.array([spacing] * cases), classes), dims)
    assert (found.patch, found.batch) == (patch, batch)
    most = 512 if dims == 2 else 320
    assert found.features == tuple(min(most, 32 * 2**i) for i in range(stages))
    assert all(side % by == 0 for side, by in zip(found.patch, found.divisor))


def test_coarse_slices_are_halved_later() -> None:
    """ACDC's plan: 10 slices of 9 mm stay whole, and are convolved only once the other axes are as coarse."""
    strides, kernels, patch, divisor = topology((9, 1.5625, 1.5625), (10, 256, 216))
    assert strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2)) or divisor[0] <= 2
    assert kernels[0] == (1, 3, 3) and kernels[-1] == (3, 3, 3)
    assert patch == (10, 256, 224)


def test_spacing_of_few_thick_slices_is_their_tenth_percentile() -> None:
    spacings = np.array([(float(z), 1.0, 1.0) for z in np.linspace(4, 10, 11)])
    shapes = np.array([(12, 256, 256)] * 11)
    assert target_spacing(Fingerprint(shapes, spacings, 2)).tolist() == pytest.approx([4.6, 1, 1])
    many = Fingerprint(np.array([(120, 256, 256)] * 11), spacings, 2)
    assert target_spacing(many)[0] == 7.0  # the median: there are slices enough


def test_by_hand_and_refusals() -> None:
    pictures = fingerprint_of([(64, 64)] * 10, 2)
    small = plan_nnunet(pictures, 2, base_features=8, batch=5)
    assert small.features == (8, 16, 32, 64, 128) and small.batch == 5 and small.batch_dice
    assert plan_nnunet(pictures, 2, patch=(48, 40)).patch == (48, 40)
    with pytest.raises(ValueError, match="more than one slice"):
        plan_nnunet(pictures, 3)
    with pytest.raises(ValueError, match="dims must be 2 or 3"):
        plan_nnunet(pictures, 4)
    with pytest.raises(ValueError, match="at least one case"):
        fingerprint_of([], 2)
    with pytest.raises(ValueError, match="must be positive"):
        fingerprint_of([(8, 8, 8)], 2, [(0, 1, 1)])


@pytest.mark.parametrize(("dims", "shape"), [(2, (32, 32)), (3, (8, 32, 32))])
def test_the_network_of_a_plan(dims: int, shape: tuple[int, ...]) -> None:
    pytest.importorskip("monai")
    plan = plan_nnunet(fingerprint_of([shape] * 10, 3), dims, base_features=4)
    network = build_dynunet(plan, 3)
    x = torch.randn(2, 1, *plan.patch)
    scales = supervised_scales(plan)
    scores = network.train()(x)
    assert scores.shape == (2, len(scales), 3, *plan.patch)
    assert sum(weight for _, weight in scales) == pytest.approx(1) and scales[0][1] == 2 * scales[1][1]
    assert network.eval()(x).shape == (2, 3, *plan.patch)
    coarse = at_scale(scores[:, 1], scales[1][0])
    truth = truth_at_scale(torch.zeros(2, *plan.patch, dtype=torch.long), scales[1][0])
    assert coarse.shape[2:] == truth.shape[1:]


def test_a_coarser_truth_is_the_nearest_exact_neighbour() -> None:
    """By torch's own ``nearest-exact``, which nnU-Net uses."""
    masks = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (2, 16, 24)))
    expected = torch.nn.functional.interpolate(masks[:, None].float(), (8, 6), mode="nearest-exact")[:, 0]
    assert torch.equal(truth_at_scale(masks, (2, 4)).float(), expected)


def test_the_network_of_nnunet_has_as_many_weights() -> None:
    """dynamic_network_architectures' PlainConvUNet of the 64 px plan (classes 6, no convolution biases) by hand."""
    pytest.importorskip("monai")
    plan = plan_nnunet(fingerprint_of([(64, 64)] * 300, 6), 2)
    network = build_dynunet(plan, 6, deep_supervision=False)
    f = plan.features
    down = sum(9 * (f[i - 1] if i else 1) * f[i] + 9 * f[i] ** 2 + 4 * f[i] for i in range(5))
    up = sum(4 * f[i + 1] * f[i] + 9 * 2 * f[i] * f[i] + 9 * f[i] ** 2 + 4 * f[i] for i in range(4))
    assert sum(p.numel() for p in network.parameters()) == down + up + 6 * f[0] + 6


def test_too_small_pictures_are_refused() -> None:
    pytest.importorskip("monai")
    from datadouble.errors import DataDoubleError

    plan = plan_nnunet(fingerprint_of([(8, 8)] * 10, 2), 2)
    with pytest.raises(DataDoubleError, match="too small"):
        build_dynunet(plan, 2)
