"""AsynDGAN's networks: shapes, ranges, and that classes and masks reach the picture."""

import pytest
import torch

from datadouble.errors import DataDoubleError
from datadouble.networks.mask_to_image import MaskToImageConfig, build_critic, build_mask_to_image

SMALL = MaskToImageConfig(
    size=16, mask_channels=3, num_classes=2, width=8, blocks=1, critic_width=8, critic_layers=2
)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_parameters_are_those_of_nine_residual_blocks() -> None:
    """ResNet-9 of pix2pix, one channel to one: 11.366 million with norms of the batch, counted by hand."""
    network = build_mask_to_image(MaskToImageConfig(mask_channels=1))
    convolutions = 64 * 49 + 64 * 128 * 9 + 128 * 256 * 9 + 18 * 256 * 256 * 9 + 256 * 128 * 9 + 128 * 64 * 9
    norms = 2 * (64 + 128 + 256 + 18 * 256 + 128 + 64)
    assert sum(p.numel() for p in network.parameters()) == convolutions + norms + 64 * 49 + 1


def test_the_critic_judges_patches_of_seventy_pixels() -> None:
    """Of the PatchGAN with three layers: 30 x 30 patches of a picture of 256 pixels, each 70 pixels wide."""
    critic = build_critic(MaskToImageConfig(mask_channels=1, critic_width=4), random()).eval()
    image = torch.zeros(1, 1, 256, 256, requires_grad=True)
    said = critic(torch.zeros(1, 1, 256, 256), image, torch.zeros(1, dtype=torch.int64))
    assert said.shape == (1, 1, 30, 30)
    # Norms look at the whole picture: without them, only the patch counts.
    plain = torch.nn.Sequential(*[x for x in critic.layers if not isinstance(x, torch.nn.InstanceNorm2d)])
    plain(torch.cat([torch.zeros(1, 1, 256, 256), image], 1))[0, 0, 15, 15].backward()
    assert image.grad is not None
    rows = image.grad[0, 0].abs().sum(1).nonzero().flatten()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_class_and_mask_change_the_picture_and_pictures_do_not_touch_each_other() -> None:
    network = build_mask_to_image(SMALL, random())
    torch.nn.init.normal_(network.down[0].norm.bias.weight, generator=random(1))
    mask = torch.randn(2, 3, 16, 16, generator=random(2))
    one = network(mask, torch.tensor([0, 0]))
    assert one.shape == (2, 1, 16, 16) and float(one.detach().abs().max()) <= 1
    other = network(mask, torch.tensor([1, 0]))
    assert not torch.allclose(one[0], other[0]) and torch.allclose(one[1], other[1], atol=1e-6)
    assert not torch.allclose(one[0], one[1])


def test_weights_follow_from_the_generator() -> None:
    for build in (build_mask_to_image, build_critic):
        one, same, other = (build(SMALL, random(seed)).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("size", "where"), [(18, "halvings"), (8, "halvings"), (16, "critic_layers")])
def test_sizes_that_cannot_be_halved_are_refused(size: int, where: str) -> None:
    with pytest.raises(DataDoubleError, match=f"model.{where}"):
        MaskToImageConfig(size=size, critic_layers=3)
