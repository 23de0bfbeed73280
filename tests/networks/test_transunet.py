"""TransUNet: shapes at any side, the paper's size, and that every part is in use."""

import pytest
import torch

from datadouble.networks.transunet import TransUNet, TransUNetConfig

SMALL = TransUNetConfig(
    width=8, blocks=(1, 1), vit_width=32, depth=2, heads=4, mlp_width=64, decoder=(16, 8, 8), neck=32, grid=4
)


@pytest.mark.parametrize("side", [(32, 32), (33, 47), (8, 8), (5, 70)])
def test_any_side(side: tuple[int, int]) -> None:
    network = TransUNet(SMALL, classes=3).eval()
    assert network(torch.randn(2, 1, *side)).shape == (2, 3, *side)


def test_the_paper_size() -> None:
    """The ViT-B/16 encoder has 12 blocks of 7,087,872 parameters (Dosovitskiy 2021: 86 M in all)."""
    with torch.device("meta"):
        network = TransUNet(TransUNetConfig(), classes=9)
    assert sum(p.numel() for p in network.blocks.parameters()) == 12 * 7_087_872
    # ResNet-50 without its last stage and classifier has 8.5 M; the published hybrid 105 M in all.
    total = sum(p.numel() for p in network.parameters())
    assert 103e6 < total < 108e6
    assert network.config.stride == 16


def test_every_parameter_learns_and_every_token_is_seen() -> None:
    torch.manual_seed(0)
    network = TransUNet(SMALL, classes=2)
    picture = torch.randn(1, 1, 64, 64, requires_grad=True)
    network(picture)[0, 1, 0, 0].backward()
    assert all(p.grad is not None for p in network.parameters())
    # The transformer joins the far corner to the near one: a convolution of this depth would not.
    assert picture.grad is not None and picture.grad[0, 0, -4:, -4:].abs().max() > 0


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="decoder needs 4 entries"):
        TransUNet(TransUNetConfig(decoder=(16, 8)))
    with pytest.raises(ValueError, match="must divide"):
        TransUNet(TransUNetConfig(heads=7))
