"""Segmenters under differential privacy: losses are single samples', they learn, and refuse what is not private."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from datadouble.audit.utility.segmenter_losses import (
    dice_ce_by_sample,
    dice_ce_loss,
    supervised_by_sample,
    supervised_loss,
)
from datadouble.audit.utility.segmenter_privacy import PrivateTraining
from datadouble.audit.utility.segmenter_settings import SEGMENTERS
from datadouble.audit.utility.segmenters import predict, train_segmenter
from datadouble.errors import DataDoubleError
from datadouble.training.privacy.options import PrivacyOptions, PrivacyPlan

DEMO = SEGMENTERS["demo"]
OPTIONS = PrivacyOptions(epsilon=8, patients_per_step=8, draws=1)


def plan(steps: int, patients: int, noise: float = 0.1) -> PrivacyPlan:
    """The accountants are tested elsewhere."""
    return PrivacyPlan(
        8.0, 1e-3, 8.0, 8.0, 0.0, noise, 8 / patients, steps, patients, 8, 1, 1, 1.0, "full", 0
    )


def discs(n: int, seed: int, side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a disc: class 1 brighter, class 2 darker, in turns."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"))
    centres = rng.uniform(5, side - 5, (n, 2, 1, 1))
    inside = ((places - centres) ** 2).sum(1) < 16
    masks = (inside * (1 + np.arange(n) % 2)[:, None, None]).astype(np.uint8)
    levels = np.choose(masks, [100, 220, 10]) + rng.normal(0, 10, masks.shape)
    return np.clip(levels, 0, 255).astype(np.uint8), masks


def test_a_samples_loss_is_that_of_a_batch_of_one() -> None:
    random = torch.Generator().manual_seed(0)
    scores = torch.randn(4, 2, 3, 8, 8, generator=random)
    truth = torch.randint(3, (4, 8, 8), generator=random)
    truth[0] = 0
    scales = [((1, 1), 0.7), ((2, 2), 0.3)]
    alone = [dice_ce_loss(scores[i : i + 1, 0], truth[i : i + 1]) for i in range(4)]
    assert torch.allclose(dice_ce_by_sample(scores[:, 0], truth), torch.stack(alone), rtol=1e-5)
    alone = [supervised_loss(scores[i : i + 1], truth[i : i + 1], scales) for i in range(4)]
    assert torch.allclose(supervised_by_sample(scores, truth, scales), torch.stack(alone), rtol=1e-5)


def test_it_learns_from_a_double_and_gives_the_same_again() -> None:
    images, masks = discs(48, 0)
    settings = replace(DEMO["unet"], steps=40, width=4, augment="none", size=16, learning_rate=0.02)
    private = PrivateTraining(OPTIONS, np.array([""] * 48), 5, plan(40, 48))
    segmenter = train_segmenter("unet", images, masks, 3, settings, private=private)
    unseen, truth = discs(12, 1)
    found = np.stack(predict(segmenter, unseen))
    hits = [2 * ((f == t) & (t > 0)).sum() / ((f > 0).sum() + (t > 0).sum()) for f, t in zip(found, truth)]
    assert np.mean(hits) > 0.35  # one class everywhere would have 0.17
    assert segmenter.privacy is not None and segmenter.privacy.gradient_error < 1e-4
    assert segmenter.privacy.to_json()["patients"] == 48
    short = replace(settings, steps=3)
    same, again, drowned = (
        train_segmenter(
            "unet", images, masks, 3, short, private=replace(private, plan=plan(3, 48, noise=noise))
        ).network.state_dict()
        for noise in (0.1, 0.1, 1e3)
    )
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert not all(torch.allclose(same[name], drowned[name]) for name in same)


def test_transunet_keeps_samples_apart() -> None:
    """One step: the gate compares every gradient with a loop over single samples."""
    images, masks = discs(16, 0, side=32)
    private = PrivateTraining(OPTIONS, np.array([f"p{i // 2}" for i in range(16)]), 5, plan(1, 8))
    settings = replace(DEMO["transunet"], steps=1, augment="none")
    segmenter = train_segmenter("transunet", images, masks, 3, settings, private=private)
    assert segmenter.privacy is not None and segmenter.privacy.gradient_error < 1e-4


def test_what_is_not_private_is_refused() -> None:
    images, masks = discs(8, 0)
    private = PrivateTraining(OPTIONS, np.array([""] * 8), 5, plan(1, 8))
    settings = replace(DEMO["unet"], steps=1)
    with pytest.raises(DataDoubleError, match="not private"):
        train_segmenter("unet", images, masks, 3, replace(settings, normalise="ct"), private=private)
    with pytest.raises(DataDoubleError, match="trains on pictures"):
        train_segmenter("unet", images[None], masks[None], 3, settings, private=private)
    with pytest.raises(DataDoubleError, match="a patient for each"):
        train_segmenter(
            "unet", images, masks, 3, settings, private=replace(private, patients=np.array(["a"]))
        )
    with pytest.raises(DataDoubleError, match="another training"):
        train_segmenter("unet", images, masks, 3, replace(settings, steps=2), private=private)
