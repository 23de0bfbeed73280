"""The segmentation U-Net: shapes, and that it sees the whole picture."""

import pytest
import torch

from datadouble.networks.segmentation import SegmentationConfig, SegmentationUNet


@pytest.mark.parametrize("classes", [1, 3])
def test_one_score_for_each_pixel_and_class(classes: int) -> None:
    network = SegmentationUNet(SegmentationConfig(width=4, levels=4), classes)
    assert network(torch.zeros(2, 1, 32, 48)).shape == (2, classes, 32, 48)


def test_channels_double_up_to_a_limit() -> None:
    network = SegmentationUNet(SegmentationConfig(width=4, levels=4, most_channels=16))
    assert [block[0].out_channels for block in network.down] == [4, 8, 16, 16]


def test_far_pixels_matter() -> None:
    torch.manual_seed(0)
    network = SegmentationUNet(SegmentationConfig(width=4, levels=4)).double()
    x = torch.randn(1, 1, 32, 32, dtype=torch.float64, requires_grad=True)
    network(x)[0, 0, 4, 4].backward()
    assert x.grad is not None and (x.grad[0, 0, 24:, 24:] != 0).any()
