"""Small doubles with a known fault, for the fidelity tests."""

import importlib
import importlib.util
import sys
import types
from types import SimpleNamespace

import numpy as np
import pytest

from datadouble.audit.features.base import Features
from datadouble.audit.pictures import Pictures


def _make_features(array, labels=None, prefix="p", pictures_a_patient=2):
    array = np.asarray(array, np.float32)
    n = len(array)
    patients = np.array([f"{prefix}{i // pictures_a_patient}" for i in range(n)])
    labels = np.full(n, "a") if labels is None else np.asarray(labels)
    return Features(array, np.arange(n).astype(str), patients, labels, 100 + np.arange(n), "f")


def _make_pictures(array, masks=None, labels=None, prefix="p", has_mask=None):
    n = len(array)
    return Pictures(
        np.asarray(array, np.uint8),
        masks,
        np.full(n, masks is not None) if has_mask is None else has_mask,
        np.arange(n).astype(str),
        np.array([f"{prefix}{i // 2}" for i in range(n)]),
        np.full(n, "a") if labels is None else np.asarray(labels),
        np.arange(n),
    )


class _Plain:
    """An extractor of nothing: its name, and logits that are the first features."""

    name, input_size, dimension, fingerprint, preprocessing = "plain", 8, 5, "f", "none"

    def features(self, pictures):
        return pictures

    def logits(self, features):
        return features[:, :4]


@pytest.fixture(scope="session")
def make_features():
    """Features of an array, two pictures a patient."""
    return _make_features


@pytest.fixture(scope="session")
def make_pictures():
    """Pictures of an array, two a patient."""
    return _make_pictures


@pytest.fixture(scope="session")
def plain_extractor():
    return _Plain()


@pytest.fixture(scope="session")
def torch_fidelity_metrics():
    """torch-fidelity's functions on features, loaded without torchvision, which only its pictures need."""
    found = importlib.util.find_spec("torch_fidelity")
    if found is None or not found.submodule_search_locations:
        pytest.skip("torch-fidelity is not installed")
    before = {name: module for name, module in sys.modules.items() if name.startswith("torch_fidelity")}
    package = types.ModuleType("torch_fidelity")
    package.__path__ = list(found.submodule_search_locations)
    utils = types.ModuleType("torch_fidelity.utils")
    for name in (
        "create_feature_extractor",
        "extract_featuresdict_from_input_id_cached",
        "resolve_feature_extractor",
        "resolve_feature_layer_for_metric",
        "get_cacheable_input_name",
        "cache_lookup_one_recompute_on_miss",
    ):
        setattr(utils, name, None)
    sys.modules |= {"torch_fidelity": package, "torch_fidelity.utils": utils}
    try:
        fid, kid, isc, prc = (
            importlib.import_module(f"torch_fidelity.metric_{m}") for m in ("fid", "kid", "isc", "prc")
        )
    finally:
        for name in [name for name in sys.modules if name.startswith("torch_fidelity")]:
            del sys.modules[name]
        sys.modules |= before
    return SimpleNamespace(fid=fid, kid=kid, isc=isc, prc=prc)
