"""The U-Net: the released code's size, an output of zero at the start, and patches that lose nothing."""

from dataclasses import replace

import pytest
import torch

from datadouble.errors import DataDoubleError
from datadouble.networks.unet import UNet, UNetConfig, build_unet

AS_RELEASED = UNetConfig(size=256, in_channels=2, num_classes=1, dropout=0.2)
TINY = UNetConfig(
    size=16, in_channels=3, num_classes=4, width=8, multipliers=(1, 2), blocks=1, attention=(8,), head_width=8
)


def trained(config: UNetConfig) -> UNet:
    """A network whose blocks end in no zeros."""
    network, random = build_unet(config), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=random))
    return network.eval()


def inputs(config: UNetConfig) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    x = torch.randn(3, config.in_channels, config.size, config.size, generator=random)
    return x, torch.tensor([0.0, 10.5, 999.0]), torch.tensor([0, 2, config.null_label])


def test_the_released_network_has_62_6_million_parameters() -> None:
    """What Palette's code, on which DiffGuard's is built, has; two rows of a class table are ours."""
    with torch.device("meta"):
        network = build_unet(AS_RELEASED)
    classes = 2 * 4 * 64
    assert network.parameter_count() - classes == 62_637_442
    assert round(network.parameter_count() / 1e6, 1) == 62.6
    attending = [name for name, module in network.named_modules() if type(module).__name__ == "Attention"]
    assert attending and all("mid_block" in name for name in attending)


@pytest.mark.parametrize(
    "config",
    [TINY, replace(TINY, resampling="convolution", patch=2), replace(TINY, patch=2, attention=(), detail=4)],
)
def test_the_output_is_exactly_zero_at_the_start(config: UNetConfig) -> None:
    x, timesteps, labels = inputs(config)
    output = build_unet(config)(x, timesteps, labels)
    assert output.shape == x.shape
    assert (output == 0).all()


def test_the_weights_follow_from_the_generator() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.rand(seed + 1)  # the global one must not matter
        network = build_unet(TINY, torch.Generator().manual_seed(seed))
        return torch.cat([p.flatten() for p in network.parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_time_class_and_sigma_count() -> None:
    config = replace(TINY, learn_sigma=True)
    network, (x, timesteps, labels) = trained(config), inputs(config)
    with torch.no_grad():
        whole = network(x, timesteps, labels)
        assert whole.shape == (3, 6, 16, 16)
        assert not torch.allclose(whole[0], network(x, timesteps + 100, labels)[0])
        assert not torch.allclose(whole[0], network(x, timesteps, labels + 1 - 2 * (labels > 2))[0])
        alone = network(x[1:2], timesteps[1:2], labels[1:2])
    assert torch.allclose(whole[1:2], alone, atol=1e-5)


def test_patches_are_another_order_of_the_same_pixels() -> None:
    """With patch 2 the body sees 4 c channels on half the side, and its output comes back to each pixel's place."""
    config = replace(TINY, patch=2, attention=(4,))
    network = build_unet(config)
    seen = []

    class Body(torch.nn.Module):
        dtype = torch.float32

        def forward(self, x: torch.Tensor, timesteps: torch.Tensor, class_labels: torch.Tensor) -> object:
            seen.append(x.shape)
            return type("Output", (), {"sample": x})

    network.body = Body()
    x, timesteps, labels = inputs(config)
    assert torch.equal(network(x, timesteps, labels), x)
    assert seen == [(3, 12, 8, 8)]


def test_the_detail_stage_passes_noise_that_the_folded_body_cannot() -> None:
    """Its convolutions set to the identity return what went in, pixel by pixel, at every time."""
    config = replace(TINY, patch=2, attention=(), detail=3)
    network = build_unet(config)
    stage = network.detail
    assert stage is not None
    with torch.no_grad():
        for parameter in stage.parameters():
            parameter.zero_()
        for i in range(3):  # draft (zero here) and input are stacked: the input's channels are the last
            stage.first.weight[i, 3 + i, 1, 1] = stage.middle.weight[i, i, 1, 1] = stage.last.weight[
                i, i, 1, 1
            ] = 1
        stage.first.bias.fill_(50.0)  # where SiLU is the identity
        stage.last.bias.fill_(-50.0)
        x, timesteps, labels = inputs(config)
        assert torch.allclose(network(x, timesteps, labels), x, atol=1e-4)


def test_coordinates_are_columns_and_rows() -> None:
    network = build_unet(replace(TINY, size=8, patch=2, attention=(), coordinates=True))
    places = network._places(torch.zeros(3, 1, 4, 4))
    assert places.shape == (3, 2, 4, 4)
    assert torch.allclose(places[2, 0, 3], torch.tensor([-1, -1 / 3, 1 / 3, 1]))
    assert torch.equal(places[0, 1], places[0, 0].T)
    x = torch.zeros(1, 3, 8, 8)
    with torch.no_grad():
        network.body.conv_out.weight.fill_(1.0)
        output = network(x, torch.tensor([1.0]), torch.tensor([0]))
    assert not torch.allclose(output[0, :, :4], output[0, :, 4:])


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataDoubleError, match="multiple of 8"):
        UNetConfig(size=100, in_channels=2, num_classes=1)
    with pytest.raises(DataDoubleError, match="head"):
        replace(TINY, head_width=12)
    with pytest.raises(DataDoubleError, match="residual"):
        replace(TINY, resampling="residul")


def test_a_missing_diffusers_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "diffusers.models.unets.unet_2d", None)
    with pytest.raises(DataDoubleError, match="pip install"):
        build_unet(TINY)
