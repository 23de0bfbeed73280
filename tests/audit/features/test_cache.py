"""The feature cache: many small parts become few, nothing is lost, damage is passed over."""

import numpy as np
import pytest

from datadouble.audit.features import cache
from datadouble.audit.features.cache import FeatureCache


def filled(folder, parts, rows=3, dimension=4):
    store = FeatureCache(folder, "toy", "f")
    vectors = np.arange(parts * rows * dimension, dtype=np.float32).reshape(parts, rows, dimension)
    keys = [[f"{part:04d}-{row}" for row in range(rows)] for part in range(parts)]
    for names, values in zip(keys, vectors, strict=True):
        store.write(names, values)
    names = [name for part in keys for name in part]
    return store, dict(zip(names, vectors.reshape(-1, dimension), strict=True))


def parts_in(folder):
    return list((folder / "toy-f").glob("part-*.parquet"))


def test_small_parts_are_merged_when_read(tmp_path):
    store, expected = filled(tmp_path, 40)
    assert len(parts_in(tmp_path)) == 40
    found = store.read(set(expected), 4)
    assert len(parts_in(tmp_path)) == 1
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key], expected[key]) for key in expected)
    again = store.read({"0003-1", "absent"}, 4)
    assert list(again) == ["0003-1"]
    assert again["0003-1"].tolist() == expected["0003-1"].tolist()


def test_merged_parts_stay_bounded(tmp_path, monkeypatch):
    store, expected = filled(tmp_path, 40)
    monkeypatch.setattr(cache, "MERGED", 4 * 4 * 30)
    assert len(store.read(set(expected), 4)) == 120
    assert 3 <= len(parts_in(tmp_path)) <= 5


def test_few_parts_are_left_alone_and_damage_is_passed_over(tmp_path):
    store, expected = filled(tmp_path, 5)
    parts_in(tmp_path)[0].write_bytes(b"PAR1 cut off")
    assert len(store.read(set(expected), 4)) == 12
    assert len(parts_in(tmp_path)) == 5
    assert store.read(set(expected), 7) == {}  # of another dimension


def test_cut_off_before_the_old_parts_are_deleted(tmp_path, monkeypatch):
    store, expected = filled(tmp_path, 20)
    with monkeypatch.context() as patch:
        patch.setattr(cache.Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            store.read(set(expected), 4)
    assert len(parts_in(tmp_path)) == 21
    assert store.read(set(expected), 4).keys() == expected.keys()
    assert len(parts_in(tmp_path)) == 1


def test_without_a_folder_nothing_is_kept():
    store = FeatureCache(None, "toy", "f")
    store.write(["a"], np.zeros((1, 2)))
    assert store.read({"a"}, 2) == {}
