"""The autoencoder extractor learns, is the same again, goes on after a kill, and loads from its file."""

import numpy as np
import pytest
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter

from datadouble.audit.features import autoencoder, extract_features, load_extractor, train_autoencoder
from datadouble.audit.features.autoencoder import AutoencoderOptions
from datadouble.errors import DataDoubleError
from datadouble.training import reconstruction

OPTIONS = AutoencoderOptions(
    size=32, images=192, batch=16, learning_rate=2e-3, widths=(8, 16, 32), save_every=64
)


def blobs(n, seed):
    rng = np.random.default_rng(seed)
    smooth = np.stack([gaussian_filter(rng.normal(size=(32, 32)), 5) for _ in range(n)])
    return np.clip(128 + 90 * smooth / smooth.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def real():
    return blobs(40, 0)


@pytest.fixture(scope="module")
def trained(real, tmp_path_factory):
    folder = tmp_path_factory.mktemp("autoencoder")
    return train_autoencoder(real, folder, OPTIONS), folder


def test_it_reconstructs_unseen_pictures_better_than_their_mean(trained):
    long = AutoencoderOptions(size=32, images=1600, batch=16, learning_rate=2e-3, widths=(8, 16, 32))
    extractor = train_autoencoder(blobs(40, 0), None, long)
    unseen = blobs(20, 1)
    flat = np.abs(unseen - unseen.mean(axis=(1, 2), keepdims=True)).mean() / 127.5
    assert extractor.reconstruction_error(unseen).mean() < 0.6 * flat
    noise = np.random.default_rng(2).integers(0, 256, (5, 32, 32)).astype(np.uint8)
    assert extractor.reconstruction_error(noise).min() > 2 * extractor.reconstruction_error(unseen).max()


def test_features_are_the_channel_maxima(trained, real):
    import torch

    extractor, _ = trained
    images = torch.from_numpy(real[:3]).float()[:, None] / 127.5 - 1
    with torch.no_grad():
        bottleneck = extractor.network.encoder(images)
    assert bottleneck.shape == (3, 32, 4, 4)
    full = load_extractor("autoencoder", extractor.source.weights, precision="fp32")
    np.testing.assert_allclose(
        extract_features(real[:3], full).array, bottleneck.flatten(2).max(dim=2).values.numpy(), atol=1e-4
    )
    assert extractor.dimension == 32


def test_the_same_call_loads_what_is_there(trained, real, monkeypatch):
    extractor, folder = trained
    monkeypatch.setattr(autoencoder, "train_reconstruction", lambda *_, **__: pytest.fail("trained again"))
    again = train_autoencoder(real, folder, OPTIONS)
    assert again.fingerprint == extractor.fingerprint
    assert [path.suffix for path in folder.iterdir()] == [".safetensors"]


def test_shards_load_the_same_file(trained, real):
    extractor, _ = trained
    single = extract_features(real[:8], extractor, batch=4)
    sharded = extract_features(real[:8], extractor, batch=4, processes=2)
    np.testing.assert_allclose(single.array, sharded.array, atol=1e-5)
    assert single.fingerprint == sharded.fingerprint


def test_seed_and_pictures_decide_not_what_ran_before(trained, real):
    import torch

    torch.manual_seed(123)
    extractor, _ = trained
    assert train_autoencoder(real, None, OPTIONS).fingerprint == extractor.fingerprint
    assert train_autoencoder(real[1:], None, OPTIONS).fingerprint != extractor.fingerprint


def test_a_killed_training_goes_on_bit_for_bit(trained, real, tmp_path, monkeypatch):
    whole = reconstruction._batch

    def killed(images, options, seen):
        if seen >= 144:
            raise KeyboardInterrupt
        return whole(images, options, seen)

    monkeypatch.setattr(reconstruction, "_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        train_autoencoder(real, tmp_path, OPTIONS)
    seen_again = []
    monkeypatch.setattr(
        reconstruction,
        "_batch",
        lambda images, options, seen: seen_again.append(seen) or whole(images, options, seen),
    )
    extractor = train_autoencoder(real, tmp_path, OPTIONS)
    assert seen_again == [128, 144, 160, 176]
    assert extractor.fingerprint == trained[0].fingerprint


def test_wrong_use_is_told(tmp_path, real, monkeypatch):
    monkeypatch.setenv("DATADOUBLE_WEIGHTS", str(tmp_path))
    with pytest.raises(DataDoubleError, match="train_autoencoder"):
        load_extractor("autoencoder")
    save_file({"x": __import__("torch").zeros(2)}, tmp_path / "autoencoder.safetensors")
    with pytest.raises(DataDoubleError, match="not a trained autoencoder"):
        load_extractor("autoencoder")
    with pytest.raises(DataDoubleError, match="divides by 8"):
        train_autoencoder(real, None, AutoencoderOptions(size=30, widths=(8, 16, 32)))
    with pytest.raises(DataDoubleError, match="at least one picture"):
        train_autoencoder([], None, OPTIONS)
