"""Extraction: cache, shards, broken pictures, sizes; with a toy extractor whose features are known."""

import numpy as np
import pytest

from datadouble.audit.features import EXTRACTORS, display_name, extract_features, load_extractor
from datadouble.audit.features.efficientnet import EfficientNetExtractor
from datadouble.audit.pictures import read_pictures
from datadouble.cohort.cohort import CohortInfo
from datadouble.cohort.writer import CohortWriter
from datadouble.errors import DataDoubleError


class MeanExtractor:
    """Mean and spread of a picture."""

    name, input_size, dimension, fingerprint, preprocessing = "mean", 8, 2, "f0", "none"

    def __init__(self):
        self.seen = 0

    def features(self, pictures):
        self.seen += len(pictures)
        return np.stack([pictures.mean((1, 2)), pictures.std((1, 2))], axis=1).astype(np.float32)

    def logits(self, features):
        return None


@pytest.fixture
def cohort(tmp_path):
    info = CohortInfo("toy", "real", "ultrasound", ("a", "b"))
    with CohortWriter(tmp_path / "toy", info) as writer:
        for i in range(10):
            picture = np.full((8, 8), 20 * i, np.uint8)
            writer.add(picture, image_id=f"i{i}", patient_id=f"p{i // 2}" if i else "", label="ab"[i % 2])
        return writer.finish()


def test_values_order_and_names(cohort):
    found = extract_features(cohort, MeanExtractor(), batch=3)
    np.testing.assert_allclose(found.array[:, 0], 20 * np.arange(10), atol=1e-3)
    assert found.image_ids.tolist() == [f"i{i}" for i in range(10)]
    assert found.labels[:2].tolist() == ["a", "b"]
    assert found.groups[0] == "image:i0"  # without a patient it is one of its own
    assert found.groups[2] == found.groups[3] == "p1"


def test_sixteen_bit_and_arrays():
    arrays = [np.full((4, 6), 65535, np.uint16), np.full((5, 5, 3), 51, np.uint8)]
    np.testing.assert_allclose(extract_features(arrays, MeanExtractor()).array[:, 0], [255, 51], rtol=1e-4)


def test_pictures_and_one_array_serve_as_well(cohort):
    expected = extract_features(cohort, MeanExtractor())
    pictures = read_pictures(cohort, 8)
    found = extract_features(pictures, MeanExtractor())
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_array_equal(found.groups, expected.groups)
    np.testing.assert_array_equal(found.labels, expected.labels)
    array = extract_features(pictures.array, MeanExtractor())
    np.testing.assert_array_equal(array.array, expected.array)


def test_precision_is_part_of_the_key(cohort, tmp_path):
    full, half = (extract_features(cohort, cache_dir=tmp_path, precision=p) for p in ("fp32", "bf16"))
    assert full.fingerprint != half.fingerprint
    assert len(list(tmp_path.glob("efficientnet-lite0-*"))) == 2
    with pytest.raises(DataDoubleError, match="unknown precision"):
        load_extractor(precision="fp8")


def test_cache_is_used_and_survives_damage(cohort, tmp_path):
    extractor = MeanExtractor()
    first = extract_features(cohort, extractor, cache_dir=tmp_path / "cache")
    again = extract_features(cohort, extractor, cache_dir=tmp_path / "cache")
    assert extractor.seen == 10
    np.testing.assert_array_equal(first.array, again.array)
    extract_features(cohort, extractor, cache_dir=tmp_path / "cache", at_size=4)
    assert extractor.seen == 20  # other preprocessing, other features
    next((tmp_path / "cache" / "mean-f0").glob("*.parquet")).write_bytes(b"PAR1 cut off")
    damaged = extract_features(cohort, extractor, cache_dir=tmp_path / "cache")
    assert extractor.seen == 30
    np.testing.assert_array_equal(first.array, damaged.array)


def test_an_extraction_cut_off_goes_on(cohort, tmp_path, monkeypatch):
    import importlib

    module = importlib.import_module("datadouble.audit.features.extract")
    monkeypatch.setattr(module, "PART", 4)
    extractor = MeanExtractor()
    whole = extractor.features

    def cut_off(pictures):
        if extractor.seen >= 8:
            raise KeyboardInterrupt
        return whole(pictures)

    monkeypatch.setattr(extractor, "features", cut_off)
    with pytest.raises(KeyboardInterrupt):
        extract_features(cohort, extractor, batch=4, cache_dir=tmp_path / "cache")
    later = MeanExtractor()
    found = extract_features(cohort, later, batch=4, cache_dir=tmp_path / "cache")
    assert later.seen == 2
    np.testing.assert_allclose(found.array[:, 0], 20 * np.arange(10), atol=1e-3)


def test_broken_pictures_are_named_not_fatal(cohort):
    (cohort.path / "images" / "i3.png").write_bytes(b"\x89PNG cut off")
    (cohort.path / "images" / "i5.png").unlink()
    found = extract_features(cohort, MeanExtractor())
    assert sorted(name for name, _ in found.broken) == ["i3", "i5"]
    assert len(found) == 8
    assert "i3" not in found.image_ids
    assert not any(str(cohort.path) in reason for _, reason in found.broken)


def test_nothing_readable(tmp_path, cohort):
    for path in (cohort.path / "images").iterdir():
        path.unlink()
    with pytest.raises(DataDoubleError, match="no readable picture"):
        extract_features(cohort, MeanExtractor())


def test_two_processes_give_the_same(cohort):
    single = extract_features(cohort, "efficientnet-lite0", batch=4)
    sharded = extract_features(cohort, "efficientnet-lite0", batch=4, processes=2)
    np.testing.assert_allclose(single.array, sharded.array, atol=1e-6)


def test_bf16_points_where_fp32_does():
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, size=(6, 9, 9)).astype(np.uint8)
    pictures = [np.kron(c, np.ones((16, 16), np.uint8)) for c in coarse]
    full, half = (extract_features(pictures, EfficientNetExtractor(precision=p)) for p in ("fp32", "bf16"))
    assert full.fingerprint != half.fingerprint
    cosine = (full.array * half.array).sum(1)
    cosine /= np.linalg.norm(full.array, axis=1) * np.linalg.norm(half.array, axis=1)
    assert cosine.min() > 0.97


def test_registry_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("DATADOUBLE_WEIGHTS", str(tmp_path))
    with pytest.raises(DataDoubleError, match="efficientnet-lite0"):
        load_extractor("efficientnet-lite00")
    with pytest.raises(DataDoubleError, match="weights-inception-2015-12-05-6726825d.pth"):
        load_extractor("inception")
    assert all(entry.summary and entry.needs for entry in EXTRACTORS.values())


def test_only_the_fid_network_is_called_fid():
    assert display_name("FD", "efficientnet-lite0") == "FD(efficientnet-lite0)"
    assert display_name("FD", "inception") == "FID"
