"""The run's side of the attacks on weights: what is a member, and a control that must be caught."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from datadouble.audit.privacy.model_access import ProbeSettings, audit_model_access
from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.errors import DataDoubleError
from datadouble.networks.dit import DiT, DiTConfig
from datadouble.randomness import torch_generator_for
from datadouble.recipes import attack, fit
from datadouble.recipes.attack import attack_run, choose_people
from datadouble.recipes.coldit import DiffusionOptions
from datadouble.recipes.coldit_attack import denoiser_of
from datadouble.recipes.coldit_generator import ColditModel
from datadouble.recipes.runs import choose_material
from datadouble.training.latents import LatentScale

SETTINGS = ProbeSettings(times=(0.1, 0.3, 0.6), draws=2)
JUDGE = partial(audit_model_access, settings=SETTINGS, repeats=4)


def tiny_model(objective: str) -> ColditModel:
    """A CoLDiT on latents of 2x4x4."""
    shape = DiTConfig(4, 2, 2, patch_size=2, depth=1, width=64, heads=2, learn_sigma=objective == "hybrid")
    diffusion = asdict(DiffusionOptions(objective=objective))
    scale = LatentScale((0.0, 0.0), (1.0, 1.0))
    return ColditModel(
        network=shape,
        scale=scale,
        encoder="pixels",
        encoder_path="",
        encoder_fingerprint="",
        size=4,
        diffusion=diffusion,
        classes=("a", "b"),
        shares=(0.5, 0.5),
        name="tiny",
        modality="ultrasound",
        intensity={},
    )


def people() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thirty-two patients with a picture each, the first half members."""
    latents = np.random.default_rng(0).normal(size=(32, 2, 4, 4)).astype(np.float32)
    return latents, np.arange(32) % 2, np.arange(32) < 16


@pytest.mark.parametrize("objective", ["flow", "mse", "hybrid"])
def test_an_overfitted_network_is_caught_and_a_fresh_one_is_not(objective: str) -> None:
    model = tiny_model(objective)
    latents, labels, members = people()
    network = DiT(model.network, torch_generator_for(0, "weights"))
    fresh = denoiser_of(model, network, torch.device("cpu"), fingerprint="fresh", precision="fp32")
    learned = fresh.overfitted(
        latents[members], labels[members], images=6400, seed=0, batch=16, learning_rate=3e-3
    )
    found = {
        name: JUDGE(denoiser, latents, labels, members, np.arange(32), class_names=("a", "b"))
        for name, denoiser in (("fresh", fresh), ("learned", learned))
    }
    before, after = (
        {result.name: result.auc for result in found[name].attacks} for name in ("fresh", "learned")
    )
    assert after["loss"].value > 0.9
    assert found["learned"].strongest.auc.value > 0.9 and found["learned"].finding == "found"
    assert before["loss"].low < 0.5 < before["loss"].high and abs(before["loss"].value - 0.5) < 0.2
    assert found["fresh"].finding == "not found"
    assert not any(torch.equal(a, b) for a, b in _moved(network, learned.network)), "the copy was trained"


def _moved(before: torch.nn.Module, after: torch.nn.Module) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    names = ("final.weight", "modulation.weight")
    yield from ((before.get_parameter(name), after.get_parameter(name)) for name in names)


@pytest.mark.parametrize("objective", ["flow", "mse", "hybrid"])
def test_the_loss_is_the_one_that_training_minimised(objective: str) -> None:
    """Squared error from noise and weight against the objective's own term, at the same time and noise."""
    model = tiny_model(objective)
    network = DiT(model.network, torch_generator_for(0, "weights"))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05, generator=torch_generator_for(1, str(parameter.shape)))
    denoiser = denoiser_of(model, network, torch.device("cpu"), precision="fp32")
    latents = torch.from_numpy(people()[0][:5])
    noise, labels = (
        torch.randn(latents.shape, generator=torch_generator_for(2)),
        torch.tensor([0, 1, 0, 1, 1]),
    )
    for time in (0.1, 0.45, 0.9):
        alpha, sigma = denoiser.alpha_sigma(time)
        noisy = alpha * latents + sigma * noise
        error = (denoiser.predict_noise(noisy, time, labels) - noise).pow(2).flatten(1).mean(1)
        # The flow's own times are a quantile function of uniform numbers: find the one that gives this time.
        uniform = torch.special.ndtr(torch.logit(torch.tensor(time, dtype=torch.float64)))
        uniform = uniform if objective == "flow" else torch.tensor(time, dtype=torch.float64)
        with torch.no_grad():
            terms = denoiser.objective.loss(network, latents, labels, uniform.expand(5), noise)
        assert torch.allclose(error * denoiser.loss_weight(time), terms.by_name["mse"], rtol=1e-3)


@pytest.mark.parametrize("objective", ["flow", "hybrid"])
def test_the_gradient_is_that_of_the_training_loss(objective: str) -> None:
    model = tiny_model(objective)
    network = DiT(model.network, torch_generator_for(0, "weights"))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05, generator=torch_generator_for(1, str(parameter.shape)))
    denoiser = denoiser_of(model, network, torch.device("cpu"), precision="fp32")
    latents = torch.from_numpy(people()[0][:3])
    noise, labels = (
        torch.randn(1, *latents.shape[1:], generator=torch_generator_for(2)),
        torch.tensor([0, 1, 0]),
    )
    alpha, sigma = denoiser.alpha_sigma(0.5)
    norms = denoiser.gradient_norms(alpha * latents + sigma * noise, 0.5, labels, noise)
    network.requires_grad_(True)
    for i in range(3):
        network.zero_grad()
        half = torch.tensor([0.5])
        terms = denoiser.objective.loss(network, latents[i : i + 1], labels[i : i + 1], half, noise)
        terms.by_name["mse"].sum().backward()
        squares = [p.grad.pow(2).sum() for p in network.parameters() if p.grad is not None]
        assert float(norms[i]) == pytest.approx(float(torch.stack(squares).sum().sqrt()), rel=1e-3)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """A hundred patients with a picture or two: sixty train, twenty holdout, twenty test."""
    path = tmp_path_factory.mktemp("wide") / "cohort"
    with CohortWriter(path, CohortInfo("wide", "real", "ultrasound", ("a", "b"))) as writer:
        for i in range(150):
            patient = i % 100
            writer.add(
                np.random.default_rng(i).integers(0, 255, (32, 32)).astype(np.uint8),
                image_id=f"i{i:03d}",
                patient_id=f"zz-{patient:02d}",
                label="ab"[patient % 2],
                split="train" if patient < 60 else "holdout" if patient < 80 else "test",
            )
        return writer.finish()


@pytest.fixture(scope="module")
def wide_run(wide: Cohort, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on it."""
    return fit("coldit", wide.path, tmp_path_factory.mktemp("wide-run") / "run", overrides=tiny)


def test_validation_patients_are_on_neither_side(wide: Cohort) -> None:
    split = choose_material(wide, (), 0.1, 0)
    validation = set(split.validation.table["patient_id"])
    assert validation
    everyone = choose_people(wide, split, -1, 0)
    assert not validation & set(everyone.patients)
    assert set(everyone.patients[everyone.members]) == set(split.train.table["patient_id"])
    assert set(everyone.patients[~everyone.members]) == {f"zz-{i}" for i in range(60, 100)}
    assert list(everyone.cohort.table["patient_id"]) == list(everyone.patients)
    equal = choose_people(wide, split, 0, 0)
    assert len(set(equal.patients[equal.members])) == 40
    assert set(equal.patients[equal.members]) <= set(split.train.table["patient_id"])
    posers = choose_people(wide, split, 0, 0, posing=True)
    assert set(posers.patients[posers.members]) == validation
    assert len(set(posers.patients[~posers.members])) == len(validation)
    assert set(posers.patients[~posers.members]) <= set(everyone.patients[~everyone.members])
    with pytest.raises(DataDoubleError, match="no patients"):
        choose_people(wide.filter(split="train"), split, 0, 0)


def test_a_run_is_attacked_and_a_second_call_costs_nothing(
    wide: Cohort, wide_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attack, "CONTROL_PASSES", 5)
    said: list[str] = []
    found = attack_run(wide_run, wide, JUDGE, cache=tmp_path / "cache", say=said.append)
    text = json.dumps(found, allow_nan=False)
    assert "zz-" not in text and "i001" not in text
    assert found["member_patients"] == found["other_patients"] == 40
    assert found["run"]["validation_patients_left_out"] > 0
    assert found["run"]["reference"] == "the run's early checkpoint"
    assert {attack["name"] for attack in found["attacks"]} >= {
        "loss_over_reference",
        "conditional_gain",
        "pia",
    }
    assert found["control_overfitted"]["planted"] == 16
    assert found["control_posing"] is None  # too few validation patients here
    assert len(said) == 2 and "passes of the network" in said[0] and "by heart" in said[1]
    said.clear()
    again = attack_run(wide_run, wide, JUDGE, cache=tmp_path / "cache", say=said.append)
    assert again == found and not said


def test_another_cohort_an_unfinished_run_and_another_recipe_are_refused(
    wide: Cohort, cohort: Cohort, wide_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataDoubleError, match="other pictures|unknown classes"):
        attack_run(wide_run, cohort, JUDGE, cache=tmp_path)
    table = wide.table.copy()
    table.loc[table["patient_id"] == "zz-00", "split"] = "test"
    moved = Cohort(wide.path, replace(wide.info), table)
    with pytest.raises(DataDoubleError, match="other pictures"):
        attack_run(wide_run, moved, JUDGE, cache=tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text('recipe = "coldit"\n')
    with pytest.raises(DataDoubleError, match="not finished"):
        attack_run(tmp_path / "run", wide, JUDGE, cache=tmp_path)
