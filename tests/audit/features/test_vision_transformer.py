"""CLIP and DINOv2 through `transformers`, with tiny networks of random weights built and saved here."""

import numpy as np
import pytest
import torch

from datadouble.audit.features import extract_features, load_extractor
from datadouble.errors import DataDoubleError

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28}
    clip = transformers.CLIPVisionConfig(**shape, intermediate_size=64, patch_size=7, projection_dim=16)
    transformers.CLIPVisionModelWithProjection(clip).save_pretrained(root / "clip-vit-base-patch32")
    dino = transformers.Dinov2Config(**shape, mlp_ratio=2, patch_size=7)
    transformers.Dinov2Model(dino).save_pretrained(root / "dinov2-base")
    return root


@pytest.fixture
def weights_folder(folders, monkeypatch):
    monkeypatch.setenv("DATADOUBLE_WEIGHTS", str(folders))
    return folders


PICTURES = list(np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.uint8))


@pytest.mark.parametrize(
    ("name", "architecture", "output", "dimension", "red"),
    [
        ("clip-vit-b32", "CLIPVisionModelWithProjection", "image_embeds", 16, (0.48145466, 0.26862954)),
        ("dinov2", "Dinov2Model", "pooler_output", 32, (0.485, 0.229)),
    ],
)
def test_features_are_those_of_transformers(weights_folder, name, architecture, output, dimension, red):
    extractor = load_extractor(name, precision="fp32")
    assert (extractor.input_size, extractor.dimension, extractor.logits(None)) == (28, dimension, None)
    found = extract_features(PICTURES, extractor).array
    folder = {"clip-vit-b32": "clip-vit-base-patch32", "dinov2": "dinov2-base"}[name]
    network = getattr(transformers, architecture).from_pretrained(weights_folder / folder).eval()
    with torch.inference_mode():
        rgb = torch.from_numpy(np.stack(PICTURES)).float()[:, None].expand(-1, 3, -1, -1) / 255
        mean, deviation = torch.tensor(extractor._model.mean), torch.tensor(extractor._model.deviation)
        assert (mean[0].item(), deviation[0].item()) == pytest.approx(red)
        batch = (rgb - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)
        expected = getattr(network(pixel_values=batch), output)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    half = load_extractor(name, precision="bf16")
    assert half.fingerprint != extractor.fingerprint
    assert extract_features(PICTURES, half).array.dtype == np.float32


def test_a_given_folder(folders):
    found = extract_features(PICTURES, "dinov2", weights=folders / "dinov2-base", precision="fp32")
    assert found.array.shape == (3, 32)


def test_missing_weights_are_told_and_nothing_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("DATADOUBLE_WEIGHTS", str(tmp_path))
    with pytest.raises(DataDoubleError) as error:
        load_extractor("dinov2")
    assert all(word in str(error.value) for word in ("facebook/dinov2-base", str(tmp_path / "dinov2-base")))
    with pytest.raises(DataDoubleError, match="no folder with config.json"):
        load_extractor("dinov2", tmp_path)


def test_weights_of_another_network_are_refused(folders, tmp_path):
    import json
    import shutil

    shutil.copytree(folders / "dinov2-base", tmp_path / "deeper")
    config = json.loads((tmp_path / "deeper" / "config.json").read_text())
    (tmp_path / "deeper" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(DataDoubleError, match="not those of dinov2"):
        load_extractor("dinov2", tmp_path / "deeper")
