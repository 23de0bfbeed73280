"""Attacks on DiffGuard's weights: the denoiser's losses are training's, and a run is attacked from end to end."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.recipes.test_diffguard import TINY, TYPES, draw_scan

from datadouble.audit.privacy.model_access import ProbeSettings, audit_model_access
from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.networks.unet import UNetConfig, build_unet
from datadouble.randomness import torch_generator_for
from datadouble.recipes import attack, fit
from datadouble.recipes.attack import attack_run
from datadouble.recipes.diffguard import DiffusionOptions
from datadouble.recipes.diffguard_attack import coded, denoiser_of
from datadouble.recipes.diffguard_generator import DiffguardModel
from datadouble.training.pixels import PixelStore

JUDGE = partial(audit_model_access, settings=ProbeSettings(times=(0.2, 0.6), draws=1), repeats=4)


def tiny_model(objective: str, mask_labels: tuple[int, ...] = ()) -> DiffguardModel:
    """A DiffGuard of 8 pixels with a mask in one channel."""
    shape = UNetConfig(
        8, 2, 2, learn_sigma=objective == "hybrid", width=8, multipliers=(1, 2), blocks=1, head_width=8
    )
    return DiffguardModel(
        network=shape,
        mask_code="ladder",
        structure="none",
        drawn_classes=("background", "lesion"),
        mask_classes=("background", "lesion"),
        mask_labels=mask_labels,
        size=8,
        diffusion=asdict(DiffusionOptions(objective=objective)),
        classes=("a", "b"),
        shares=(0.5, 0.5),
        name="tiny",
        modality="ultrasound",
        intensity={},
    )


@pytest.mark.parametrize("objective", ["mse", "clean", "hybrid", "flow"])
def test_the_loss_is_the_one_that_training_minimised(objective: str) -> None:
    """Squared error from noise and weight against the objective's own term, at the same time and noise."""
    model = tiny_model(objective)
    network = build_unet(model.network)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05, generator=torch_generator_for(1, str(parameter.shape)))
    denoiser = denoiser_of(model, network, torch.device("cpu"), precision="fp32")
    clean = torch.randn(4, 2, 8, 8, generator=torch_generator_for(3))
    noise, labels = torch.randn(4, 2, 8, 8, generator=torch_generator_for(2)), torch.tensor([0, 1, 0, 1])
    for time in (0.2, 0.6):
        alpha, sigma = denoiser.alpha_sigma(time)
        error = (denoiser.predict_noise(alpha * clean + sigma * noise, time, labels) - noise).pow(2)
        uniform = torch.tensor(time, dtype=torch.float64)
        # The flow's own times are a quantile function of uniform numbers: find the one that gives this time.
        uniform = torch.special.ndtr(torch.logit(uniform)) if objective == "flow" else uniform
        with torch.no_grad():
            terms = denoiser.objective.loss(network, clean, labels, uniform.expand(4), noise)
        found = error.flatten(1).mean(1) * denoiser.loss_weight(time)
        assert torch.allclose(found, terms.by_name["mse"], rtol=1e-3)


def test_a_generator_without_classes_is_never_given_one() -> None:
    model = tiny_model("mse", mask_labels=(0, 1))
    network = build_unet(model.network, torch_generator_for(0))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch_generator_for(1, str(parameter.shape)))
    denoiser = denoiser_of(model, network, torch.device("cpu"), precision="fp32")
    noisy = torch.randn(2, 2, 8, 8, generator=torch_generator_for(1))
    answers = [denoiser.predict_noise(noisy, 0.5, labels) for labels in (None, torch.tensor([0, 1]))]
    assert torch.equal(*answers) and not denoiser.has_unconditional
    other = denoiser_of(tiny_model("mse"), network, torch.device("cpu"), precision="fp32")
    assert other.has_unconditional
    assert not torch.equal(other.predict_noise(noisy, 0.5, torch.tensor([0, 1])), answers[0])


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Sixty-four patients with a picture each: forty train, twenty-four unseen."""
    info = CohortInfo(
        "wide",
        "real",
        "CT",
        ("normal", *TYPES),
        ("background", *TYPES),
        {"unit": "HU", "low": -400, "high": 300},
    )
    with CohortWriter(tmp_path_factory.mktemp("wide") / "cohort", info) as writer:
        for i in range(64):
            label = info.classes[i % 3]
            image, mask = draw_scan(i, label)
            writer.add(
                image,
                image_id=f"i{i:02d}",
                patient_id=f"zz-{i:02d}",
                label=label,
                mask=None if label == "normal" else mask,
                split="train" if i < 40 else "holdout" if i < 52 else "test",
            )
        return writer.finish()


def test_a_run_is_attacked_on_pictures_with_masks(
    wide: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attack, "CONTROL_PASSES", 2)
    short = [*TINY, "training.images=32", "training.sheet_every=1000", "training.batch=16"]
    run = fit("diffguard", wide.path, tmp_path / "run", overrides=short)
    cache = tmp_path / "cache"
    found = attack_run(run, wide, JUDGE, cache=cache)
    text = json.dumps(found, allow_nan=False)
    assert "zz-" not in text and "i01" not in text
    assert found["member_patients"] == found["other_patients"] == 24
    assert (
        found["run"]["recipe"] == "diffguard" and found["run"]["with_masks"] and found["run"]["knows_classes"]
    )
    assert {one["name"] for one in found["attacks"]} >= {"conditional_gain", "loss_over_reference", "pia"}
    assert found["control_overfitted"]["planted"] == 12
    assert attack_run(run, wide, JUDGE, cache=cache) == found


def test_what_is_attacked_is_what_was_trained_on(wide: Cohort, tmp_path: Path) -> None:
    store = PixelStore.build(wide, 16, tmp_path / "store", structure="hounsfield")
    seen = coded(store, "onehot", tmp_path)
    assert seen.shape == (64, 1 + 4, 16, 16) and seen.dtype == np.float32
    assert np.array_equal(((seen[:, 0] + 1) * 127.5).round().astype(np.uint8), store.images)
    assert np.array_equal(seen[:, 1:].argmax(1), store.masks)
    before = next(tmp_path.glob("coded-*.npy")).stat().st_mtime_ns
    assert np.array_equal(coded(store, "onehot", tmp_path), seen)
    assert next(tmp_path.glob("coded-*.npy")).stat().st_mtime_ns == before
