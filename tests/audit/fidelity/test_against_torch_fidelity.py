"""The same features, the same numbers as torch-fidelity 0.4.0: its functions, and the values they gave."""

import numpy as np
import pytest
import torch

from datadouble.audit.fidelity import (
    frechet_distance,
    inception_score,
    precision_recall,
    squared_mmd,
)

PINNED = {"fid": 3.5426716737203563, "kid": 0.29103660203125337, "is": 3.769327861356194}
PINNED["precision, recall"] = (0.43, 0.93333334)


def two_sets():
    rng = np.random.RandomState(0)
    real = rng.normal(size=(120, 16))
    return real, rng.normal(size=(100, 16)) * 1.2 + 0.3


@pytest.fixture
def sets():
    return two_sets()


def test_fid(sets, torch_fidelity_metrics):
    real, synthetic = sets
    statistics = [torch_fidelity_metrics.fid.fid_features_to_statistics(torch.tensor(x)) for x in sets]
    theirs = torch_fidelity_metrics.fid.fid_statistics_to_metric(*statistics, verbose=False)
    assert frechet_distance(real, synthetic) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-9)


def test_kid_on_one_subset_of_all(sets, torch_fidelity_metrics):
    real, synthetic = sets[0][:100], sets[1]
    theirs = torch_fidelity_metrics.kid.kid_features_to_metric(
        torch.tensor(synthetic), torch.tensor(real), kid_subsets=1, kid_subset_size=100, verbose=False
    )
    assert squared_mmd(real, synthetic) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)


def test_inception_score(sets, torch_fidelity_metrics):
    for splits in (1, 4):
        theirs = torch_fidelity_metrics.isc.isc_features_to_metric(
            torch.tensor(sets[1] * 2), splits=splits, shuffle=False
        )
        ours = [inception_score(part * 2, splits=1).value for part in np.split(sets[1], splits)]
        assert np.mean(ours) == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
        assert np.std(ours) == pytest.approx(theirs["inception_score_std"], rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("neighbours", [1, 3, 5])
@pytest.mark.parametrize("save_memory", [True, False])
def test_precision_and_recall(sets, torch_fidelity_metrics, neighbours, save_memory):
    real, synthetic = sets
    theirs = torch_fidelity_metrics.prc.prc_features_to_metric(
        torch.tensor(synthetic),
        torch.tensor(real),
        prc_neighborhood=neighbours,
        save_cpu_ram=save_memory,
        prc_batch_size=37,
        verbose=False,
    )
    ours = precision_recall(real, synthetic, neighbours=neighbours)
    assert ours.precision == pytest.approx(theirs["precision"], abs=1e-6)
    assert ours.recall == pytest.approx(theirs["recall"], abs=1e-6)


def test_pinned_values(sets):
    """What the functions above gave, for where torch-fidelity is not installed."""
    real, synthetic = sets
    assert frechet_distance(real, synthetic) == pytest.approx(PINNED["fid"], rel=1e-9)
    assert squared_mmd(real[:100], synthetic) == pytest.approx(PINNED["kid"], rel=1e-9)
    assert inception_score(synthetic * 2, splits=1).value == pytest.approx(PINNED["is"], rel=1e-9)
    assert precision_recall(real, synthetic) == pytest.approx(PINNED["precision, recall"], abs=1e-6)
