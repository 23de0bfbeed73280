"""Extractors whose weights are files: found, read without pickle, equal from either format, and told where missing."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from datadouble.audit.features import display_name, extract_features, load_extractor
from datadouble.audit.features.inception import WEIGHTS_NAME, InceptionExtractor
from datadouble.audit.features.loading import read_state, weights_folder
from datadouble.audit.features.radimagenet import torchvision_names
from datadouble.errors import DataDoubleError
from datadouble.networks.inception import FIDInception
from datadouble.networks.resnet import RESNETS, ResNet


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DATADOUBLE_WEIGHTS", str(tmp_path))
    return tmp_path


def pictures(n=2, side=40):
    return list(np.random.default_rng(0).integers(0, 256, (n, side, side)).astype(np.uint8))


def test_the_weights_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("DATADOUBLE_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights_folder() == tmp_path / "datadouble" / "weights"


@pytest.mark.parametrize(
    ("name", "file", "origin"),
    [
        ("inception", WEIGHTS_NAME, "toshas/torch-fidelity"),
        ("radimagenet", "RadImageNet-ResNet50.pt", "BMEII-AI/RadImageNet"),
    ],
)
def test_a_missing_file_is_told_with_its_name_source_and_place(folder, name, file, origin):
    with pytest.raises(DataDoubleError) as error:
        load_extractor(name)
    assert all(word in str(error.value) for word in (file, origin, str(folder)))
    with pytest.raises(DataDoubleError, match="nowhere.pt"):
        load_extractor(name, folder / "nowhere.pt")


def test_code_in_a_weight_file_does_not_run(folder):
    class Trap:
        def __reduce__(self):
            return (exec, (f"open({str(folder / 'ran')!r}, 'w')",))

    torch.save({"fc.bias": Trap()}, folder / "bad.pt")
    with pytest.raises(DataDoubleError, match="cannot be read"):
        read_state(folder / "bad.pt")
    assert not (folder / "ran").exists()
    torch.save([1, 2], folder / "list.pt")
    with pytest.raises(DataDoubleError, match="no state dict"):
        read_state(folder / "list.pt")


def test_inception_from_either_format(folder):
    torch.manual_seed(0)
    state = FIDInception().state_dict()
    torch.save(state, folder / "my-inception.pth")
    save_file(state, folder / WEIGHTS_NAME.replace(".pth", ".safetensors"))
    first, second = load_extractor("inception", folder / "my-inception.pth"), load_extractor("inception")
    assert first.fingerprint == second.fingerprint
    assert (first.precision, first.dimension, first.input_size) == ("fp32", 2048, 299)
    found = extract_features(pictures(1), second)
    assert found.array.shape == (1, 2048)
    logits = second.logits(found.array)
    np.testing.assert_allclose(logits, found.array @ state["fc.weight"].numpy().T, rtol=1e-3, atol=1e-3)
    assert logits.shape == (1, 1008)
    # As printed FIDs were computed: the network's own resize.
    old = InceptionExtractor(folder / "my-inception.pth", input_size=40)
    expected = FIDInception().eval()
    expected.load_state_dict(state)
    with torch.inference_mode():
        rgb = torch.from_numpy(np.stack(pictures(1)))[:, None].expand(-1, 3, -1, -1)
        np.testing.assert_allclose(
            extract_features(pictures(1), old).array, expected(rgb), rtol=1e-3, atol=1e-4
        )
    assert old.fingerprint != first.fingerprint


def test_in_bf16_it_is_not_called_fid(folder):
    torch.save(FIDInception().state_dict(), folder / "w.pth")
    half = load_extractor("inception", folder / "w.pth", precision="bf16")
    assert display_name("FD", half.name) == "FD(inception-bf16)"


def test_a_damaged_or_foreign_inception_file(folder):
    (folder / WEIGHTS_NAME).write_bytes(b"cut off")
    with pytest.raises(DataDoubleError, match="damaged"):
        load_extractor("inception")
    torch.save({"conv1.weight": torch.zeros(3)}, folder / "other.pth")
    with pytest.raises(DataDoubleError, match="do not fit"):
        load_extractor("inception", folder / "other.pth")


def test_radimagenet_as_its_authors_saved_it(folder):
    torch.manual_seed(0)
    network = ResNet(RESNETS["resnet50"], classes=0, in_channels=3).eval()
    # torchvision's resnet50 less its classifier: 25,557,032 - 2,049,000 parameters, 318 tensors.
    assert sum(p.numel() for p in network.parameters()) == 23_508_032
    state = network.state_dict()
    assert len(state) == 318
    child = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    authors = {
        f"backbone.{child[name.split('.')[0]]}.{name.split('.', 1)[1]}": v for name, v in state.items()
    }
    assert torchvision_names(authors).keys() == state.keys()
    torch.save(authors, folder / "RadImageNet-ResNet50.pt")
    save_file({**state, "fc.weight": torch.zeros(165, 2048)}, folder / "converted.safetensors")
    first = load_extractor("radimagenet", precision="fp32")
    second = load_extractor("radimagenet", folder / "converted.safetensors", precision="fp32")
    assert first.fingerprint == second.fingerprint
    images = [np.full((224, 224), 255, np.uint8), pictures(1, 224)[0]]
    with torch.inference_mode():
        expected = network(
            torch.from_numpy(np.stack(images)).float()[:, None].expand(-1, 3, -1, -1) / 127.5 - 1
        )
    np.testing.assert_allclose(extract_features(images, first).array, expected, rtol=1e-3, atol=1e-4)
    torch.save({"backbone.0.weight": torch.zeros(2)}, folder / "bad.pt")
    with pytest.raises(DataDoubleError, match="do not fit"):
        load_extractor("radimagenet", folder / "bad.pt")
