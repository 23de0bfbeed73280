"""The ResNets against their published sizes and against MONAI's, with the same weights."""

import pytest
import torch

from datadouble.networks.resnet import RESNETS, ResNet

# torchvision's parameters for 1000 classes and three channels, less two colours of the first filter and 999 outputs.
PUBLISHED = {"resnet18": (11_689_512, 512), "resnet50": (25_557_032, 2048), "resnet101": (44_549_160, 2048)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name: str) -> None:
    published, channels = PUBLISHED[name]
    ours = sum(parameter.numel() for parameter in ResNet(RESNETS[name]).parameters())
    assert ours == published - 2 * 64 * 49 - 999 * (channels + 1)


@pytest.mark.parametrize("name", ["small", "resnet18", "resnet50"])
def test_outputs_are_monais(name: str) -> None:
    monai = pytest.importorskip("monai.networks.nets")
    config = RESNETS[name]
    peer = monai.ResNet(
        "bottleneck" if config.bottleneck else "basic",
        list(config.layers),
        [config.width * 2**stage for stage in range(4)],
        spatial_dims=2,
        n_input_channels=1,
        num_classes=1,
        conv1_t_stride=2,
        no_max_pool=not config.pool,
        bias_downsample=False,
    ).eval()
    ours = ResNet(config).eval()
    ours.load_state_dict(peer.state_dict())
    x = torch.randn(2, 1, 48, 48)
    with torch.inference_mode():
        assert torch.equal(ours(x), peer(x))
