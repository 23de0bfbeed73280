"""The attack on stage 1's weights: what was learned by heart is found, and a run is attacked from end to end."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from datadouble.audit.privacy.model_access import ProbeSettings, audit_model_access
from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.networks.patch_denoiser import PatchDenoiser, PatchDenoiserConfig
from datadouble.randomness import torch_generator_for
from datadouble.recipes import attack, fit
from datadouble.recipes.attack import attack_run
from datadouble.recipes.denoiser import Denoiser
from datadouble.recipes.lesion.lesion_attack import ToldPatches
from datadouble.recipes.lesion.lesion_drawer import patch_objective

JUDGE = partial(audit_model_access, settings=ProbeSettings(times=(0.1, 0.3, 0.6), draws=2), repeats=4)
SHAPE = PatchDenoiserConfig(16, 3, 8, token=4, depth=1, width=32, heads=2, detail=8)
CPU = torch.device("cpu")


def candidates(side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Thirty-two patients' crops, each a dark ellipse with its mask in tissue of its own; and descriptors."""
    random = np.random.default_rng(0)
    y, x = (np.mgrid[:side, :side] + 0.5) * 16 / side - 8
    made = []
    for _ in range(32):
        mask = (x / random.uniform(4, 6)) ** 2 + (y / random.uniform(3, 6)) ** 2 < 1
        made.append([random.normal(np.where(mask, -0.6, 0.1), 0.2), 2.0 * mask - 1])
    return torch.tensor(np.array(made)).float(), torch.tensor(random.normal(size=(32, 8))).float()


def fresh(side: int = 16) -> tuple[Denoiser, PatchDenoiser, torch.Tensor, torch.Tensor]:
    """An untrained stage of two classes without adapters."""
    crops, told = candidates(side)
    network = PatchDenoiser(replace(SHAPE, size=side), torch_generator_for(0, "weights"))
    diffusion = {"objective": "clean", "schedule": "cosine", "timesteps": 1000, "gamma": 5.0}
    objective = patch_objective(diffusion)
    denoiser = Denoiser(
        ToldPatches([network] * 3, crops, told),
        objective,
        CPU,
        null_label=SHAPE.null_label,
        class_dropout=0.1,
        fingerprint="fresh",
        precision="fp32",
    )
    return denoiser, network, crops, told


def test_what_was_learned_by_heart_is_found_and_an_untrained_network_is_not() -> None:
    denoiser, _, crops, _ = fresh()
    labels, members = np.arange(32) % 2, np.arange(32) < 16
    latents = crops.numpy()
    learned = denoiser.overfitted(
        latents[members], labels[members], images=3200, seed=0, batch=16, learning_rate=5e-3
    )
    before, after = (
        JUDGE(one, latents, labels, members, np.arange(32), class_names=("a", "b"))
        for one in (denoiser, learned)
    )
    assert after.finding == "found" and after.strongest.auc.value > 0.9
    assert {one.name: one.auc.value for one in after.attacks}["loss"] > 0.9
    assert before.finding == "not found"


@pytest.mark.parametrize("time", [0.02, 0.3, 0.6, 0.8])
def test_each_candidate_is_told_its_own_descriptor_however_noisy(time: float) -> None:
    """The answer is that of the network with the right class and descriptor, for a label of each sort."""
    denoiser, network, crops, told = fresh(32)  # the smallest patch of a preset
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch_generator_for(1, str(parameter.shape)))
    alpha, sigma = denoiser.alpha_sigma(time)
    noisy = alpha * crops + sigma * torch.randn(crops.shape, generator=torch_generator_for(2))
    timesteps = torch.full((32,), 1000 * time)
    labels = torch.tensor([0, 1, SHAPE.null_label, 1] * 8)
    with torch.no_grad():
        answers = denoiser.network(noisy, timesteps, labels)
        assert torch.allclose(answers, network(noisy, timesteps, labels, told), atol=1e-5)
        assert not torch.allclose(answers, network(noisy, timesteps, labels, told.flip(0)), atol=1e-3)


def test_each_class_is_asked_of_its_own_network() -> None:
    crops, told = candidates()
    networks = [PatchDenoiser(SHAPE, torch_generator_for(i)) for i in range(3)]
    for network in networks:
        torch.nn.init.normal_(network.last.weight, generator=torch_generator_for(9))
    labels, times = torch.tensor([0, 1, SHAPE.null_label]), torch.full((3,), 20.0)
    with torch.no_grad():
        answers = ToldPatches(networks, crops, told)(crops[:3], times, labels)
        for i, network in enumerate(networks):
            alone = network(crops[i : i + 1], times[:1], labels[i : i + 1], told[i : i + 1])
            assert torch.allclose(answers[i], alone[0], atol=1e-5)


def test_a_run_is_attacked_on_its_lesions(
    make_cohort: Callable[..., Cohort],
    lesion_tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attack, "CONTROL_PASSES", 2)
    cohort = make_cohort({"normal": 8, "benign": 32, "malignant": 32})
    run = fit("lesion", cohort.path, tmp_path / "run", overrides=lesion_tiny, stages=["lesion"])
    found = attack_run(run, cohort, JUDGE, cache=tmp_path / "cache")
    text = json.dumps(found, allow_nan=False)
    assert "benign-0" not in text and "malignant-0" not in text
    assert found["member_patients"] == found["other_patients"] == 16  # a quarter of each class is holdout
    assert found["run"]["stage"] == "lesion" and found["run"]["stages_not_attacked"]
    assert found["run"]["reference"] == "the run's early checkpoint"
    assert {one["name"] for one in found["attacks"]} >= {"conditional_gain", "loss_over_reference", "pia"}
    assert found["control_overfitted"]["planted"] == 8
    assert attack_run(run, cohort, JUDGE, cache=tmp_path / "cache") == found
    with pytest.raises(DataDoubleError, match="best checkpoint"):
        attack_run(run, cohort, JUDGE, cache=tmp_path / "cache", checkpoint="last")
    (run / "lesion" / "model" / "last.safetensors").unlink()
    with pytest.raises(DataDoubleError, match="not finished"):
        attack_run(run, cohort, JUDGE, cache=tmp_path / "cache")
