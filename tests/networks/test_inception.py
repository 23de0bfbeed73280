"""The FID Inception against torch-fidelity's on the same random weights, and against pinned facts."""

import hashlib
import importlib.util
import sys
from types import ModuleType

import pytest
import torch

from datadouble.networks.inception import FIDInception, resize_like_tensorflow


@pytest.fixture(scope="module")
def ours():
    network = FIDInception().eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in sorted(network.state_dict().items()):
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=random)
            elif name.endswith("bn.weight"):
                value.uniform_(0.8, 1.4, generator=random)
            elif value.ndim < 2 and value.is_floating_point():
                value.normal_(0, 0.1, generator=random)
            elif value.is_floating_point():
                value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=random)
    return network


@pytest.fixture(scope="module")
def theirs(ours, tmp_path_factory):
    """torch-fidelity's network with our weights; its package, which wants torchvision, is not run."""
    spec = importlib.util.find_spec("torch_fidelity")
    if spec is None:
        pytest.skip("torch-fidelity is not installed")
    weights = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(ours.state_dict(), weights)
    with pytest.MonkeyPatch.context() as patch:
        package = ModuleType("torch_fidelity")
        package.__path__ = list(spec.submodule_search_locations)
        patch.setitem(sys.modules, "torch_fidelity", package)
        module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
        yield module.FeatureExtractorInceptionV3(
            "inception", ["2048", "logits_unbiased", "logits"], feature_extractor_weights_path=str(weights)
        )
        for name in [name for name in sys.modules if name.startswith("torch_fidelity.")]:
            patch.delitem(sys.modules, name)


def pictures(side):
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=random)


def layout(network):
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def test_names_and_shapes_are_those_of_the_weight_file(ours):
    # 23,834,568 parameters with the usual 1,000 classes; the digest is that of torch-fidelity's names and shapes.
    assert sum(p.numel() for p in ours.parameters()) == 23_834_568 + 8 * 2049
    assert ours.fc.weight.shape == (1008, 2048)
    digest = hashlib.sha256(repr(sorted(layout(ours).items())).encode()).hexdigest()
    assert digest[:16] == "d1c9a52dc8072dcb"


def test_pinned_features(ours):
    # What torch-fidelity 0.4.0 gives on these weights and pictures.
    with torch.inference_mode():
        found = ours(pictures(64))
    assert found.shape == (2, 2048)
    expected = torch.tensor([15.9374, 0.0000, 5.9181, 8.3961])
    torch.testing.assert_close(found[0, :4], expected, rtol=1e-3, atol=1e-3)
    assert found.mean().item() == pytest.approx(16.7351, rel=1e-3)


def test_layout_equals_torch_fidelity(ours, theirs):
    assert layout(ours) == layout(theirs)


@pytest.mark.parametrize("side", [299, 64, 331])
def test_outputs_equal_torch_fidelity(ours, theirs, side):
    with torch.inference_mode():
        pooled, unbiased, logits = theirs(pictures(side))
        found = ours(pictures(side))
        assert pooled.std() > 0.1
        torch.testing.assert_close(found, pooled, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.logits(found, bias=False), unbiased, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.logits(found), logits, rtol=1e-4, atol=1e-4)


def test_resize_reads_without_half_pixel_centres():
    # Positions 0, 0.5, 1, 1.5 of the row 10, 20: the last one is clamped to the edge.
    row = torch.tensor([10.0, 20.0]).view(1, 1, 1, 2).expand(1, 1, 2, 2)
    assert resize_like_tensorflow(row, 4)[0, 0, 0].tolist() == [10, 15, 20, 20]
    assert resize_like_tensorflow(row, 2) is row
