"""Kept networks are the trained ones, and private ones spend what an independent accountant says."""

from dataclasses import replace
from pathlib import Path

import dp_accounting
import numpy as np
import pytest
import torch
from dp_accounting.pld import PLDAccountant

from datadouble.audit.pictures import Pictures
from datadouble.audit.utility import segmenters
from datadouble.audit.utility.segmenter_data import Cases, cases_of
from datadouble.audit.utility.segmenter_losses import dice_ce_loss
from datadouble.audit.utility.segmenter_privacy import PrivateTraining
from datadouble.audit.utility.segmenter_settings import SEGMENTERS, SegmenterSettings
from datadouble.audit.utility.segmenter_store import network_key, trained_segmenter
from datadouble.audit.utility.segmenter_table import TableArm, assess_segmenters
from datadouble.audit.utility.segmenters import predict, train_segmenter
from datadouble.training.privacy.options import PrivacyOptions, PrivacyPlan

TYPES = {"2": 1, "4": 2}
TINY = replace(SEGMENTERS["demo"]["unet"], steps=3, width=4, size=16, augment="none")
OPTIONS = PrivacyOptions(epsilon=8, delta=1e-3, patients_per_step=8, draws=1)


@pytest.fixture(scope="module")
def train(train_set: Pictures) -> Cases:
    return cases_of(train_set, 16, types=TYPES)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("kind", ["unet", "dynunet", "transunet"])
def test_a_kept_network_is_the_trained_one(
    kind: str, train: Cases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "dynunet":
        pytest.importorskip("monai")
    settings = replace(SEGMENTERS["demo"][kind], steps=2, size=16, normalise="ct")
    if kind == "transunet":
        settings = replace(settings, transunet=replace(settings.transunet, grid=2))
    made = trained_segmenter(train, 3, settings, 1, folder=tmp_path)
    damaged = next((tmp_path / "networks").iterdir())
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    assert same(trained_segmenter(train, 3, settings, 1, folder=tmp_path).network, made.network)
    assert damaged.read_bytes() == content  # trained again, and whole
    monkeypatch.setattr(segmenters, "train_segmenter", None)
    kept = trained_segmenter(train, 3, settings, 1, folder=tmp_path)
    assert kept.levels == made.levels and kept.levels.rule == "ct" and not kept.network.training
    pictures = train.images[:6]
    assert np.array_equal(np.stack(predict(kept, pictures)), np.stack(predict(made, pictures)))


def test_the_key_knows_what_a_network_depends_on(train: Cases) -> None:
    records = np.arange(len(train)).astype(str)
    keys = [
        network_key(train, 3, TINY, 0),
        network_key(train, 3, TINY, 1),
        network_key(train, 3, TINY, 0, upright=False),
        network_key(train, 3, replace(TINY, steps=4), 0),
        network_key(train.only(np.arange(20)), 3, TINY, 0),
        network_key(train, 3, TINY, 0, privacy=OPTIONS),
        network_key(train, 3, TINY, 0, privacy=replace(OPTIONS, epsilon=1)),
        network_key(train, 3, TINY, 0, privacy=replace(OPTIONS, delta=1e-4)),
        network_key(train, 3, TINY, 0, privacy=replace(OPTIONS, clip=0.5)),
        network_key(train, 3, TINY, 0, privacy=OPTIONS, records=records),
    ]
    assert len(set(keys)) == len(keys)
    assert network_key(train, 3, TINY, 0, privacy=OPTIONS, records=train.patients) == keys[5]


def test_a_private_arm_spends_what_dp_accounting_says_and_is_trained_once(
    train: Cases, test_set: Pictures, tmp_path: Path
) -> None:
    """40 patients of two pictures, 8 a step, 3 steps; a double's 80 pictures are 80 records."""
    tests = {"internal": cases_of(test_set, 16, types=TYPES)}
    single = replace(train, patients=np.arange(len(train)).astype(str))
    arms = {
        "real_2d": TableArm("real 2D", train, True),
        "real + DP 8": TableArm("real + DP", train, True, OPTIONS),
        "double + DP 2": TableArm("double + DP", single, False, replace(OPTIONS, epsilon=2)),
    }

    def table(tests: dict[str, Cases]) -> tuple[dict, list[str]]:
        said: list[str] = []
        found = assess_segmenters(
            arms, tests, 3, kinds=["unet"], preset={"unet": TINY}, cache=tmp_path, say=said.append
        )
        return found, said

    found, said = table(tests)
    assert "3 trainings left" in said[0] and "U-Net private" in said[0]
    assert "privacy" not in found["arms"]["real_2d"]
    for name, records, target in (("real + DP 8", 40, 8.0), ("double + DP 2", 80, 2.0)):
        spent = found["arms"][name]["privacy"]["unet"]
        assert (spent["patients"], spent["steps"], spent["delta"]) == (records, 3, 1e-3)
        assert spent["sample_rate"] == 8 / records and spent["trainings"] == 1
        event = dp_accounting.PoissonSampledDpEvent(
            8 / records, dp_accounting.GaussianDpEvent(spent["noise_multiplier"])
        )
        judge = PLDAccountant(value_discretization_interval=1e-4)
        judge.compose(dp_accounting.SelfComposedDpEvent(event, 3))
        assert spent["epsilon"] == pytest.approx(judge.get_epsilon(1e-3), rel=0.01, abs=0.012)
        assert 0.98 * target < spent["epsilon"] <= target
        assert spent["gradient_error"] < 1e-4

    written = {path: path.read_bytes() for path in (tmp_path / "networks").iterdir()}
    assert len(written) == 3
    half = {"internal": tests["internal"].only(np.arange(40))}
    other, said = table(half)
    assert "0 trainings left" in said[0] and "3 trained before" in said[0]
    assert other["arms"]["real + DP 8"]["privacy"] == found["arms"]["real + DP 8"]["privacy"]
    assert {path: path.read_bytes() for path in (tmp_path / "networks").iterdir()} == written
    again, said = table(tests)
    assert not said and again == found


def test_without_noise_and_clipping_it_is_plain_gradient_descent() -> None:
    """All records in every step: the mean over single samples' losses, by torch's own backward and AdamW."""
    rng = np.random.default_rng(0)
    masks = np.zeros((8, 16, 16), np.uint8)
    masks[:, 4:10, 5:11] = 1 + np.arange(8)[:, None, None] % 2
    images = np.clip(np.choose(masks, [90, 220, 20]) + rng.normal(0, 10, masks.shape), 0, 255).astype(
        np.uint8
    )
    settings = replace(TINY, steps=6, learning_rate=0.01)
    plan = PrivacyPlan(8.0, 1e-3, 8.0, 8.0, 0.0, 0.0, 1.0, 6, 8, 8, 1, 1, 1e9, "full", 0)

    def private(settings: SegmenterSettings, plan: PrivacyPlan) -> torch.nn.Module:
        training = PrivateTraining(OPTIONS, np.arange(8).astype(str), 3, plan)
        return train_segmenter("unet", images, masks, 3, settings, 7, private=training).network

    found = private(settings, plan).train()
    network = private(replace(settings, steps=0), replace(plan, steps=0)).train()
    start = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=settings.weight_decay)
    x = (torch.from_numpy(images).float()[:, None] - 64) / 64
    for step in range(6):
        optimiser.param_groups[0]["lr"] = 0.01 * 0.5 * (1 + np.cos(np.pi * step / 6))
        optimiser.zero_grad()
        for i in range(8):
            truth = torch.from_numpy(masks[i : i + 1]).long()
            (dice_ce_loss(network(x[i : i + 1]), truth) / 8).backward()
        optimiser.step()
    moved = max(float((network.state_dict()[name] - start[name]).abs().max()) for name in start)
    assert moved > 0.02
    for name, value in network.state_dict().items():
        # AdamW divides by the gradient's size: where that is rounding, so is the step.
        assert float((found.state_dict()[name] - value).abs().max()) < 0.05 * moved, name
