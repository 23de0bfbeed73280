"""What else is taken from private pictures: privatised, replaced by a constant, or refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from datadouble import files
from datadouble.errors import DataDoubleError
from datadouble.networks.dit import DiT, DiTConfig
from datadouble.networks.weights import save_tensors
from datadouble.training.privacy.released import (
    choose_trainable,
    private_shares,
    public_scale,
    start_weights,
)


def dit(classes: int = 3) -> DiT:
    return DiT(DiTConfig(8, 4, classes, depth=2, width=32, heads=2), torch.Generator().manual_seed(classes))


def test_class_shares_count_patients_and_carry_laplace_noise() -> None:
    labels = np.array([0] * 90 + [1] * 30)
    patients = np.array([f"p{min(row, 60)}" for row in range(120)])  # one patient has half of the pictures
    drawn = np.array([private_shares(labels, patients, 2, 1.0, secret) for secret in range(400)])
    # 61 patients: 60 of class 0, and one with half of its pictures in either.
    assert np.median(drawn[:, 1]) == pytest.approx(0.5 / 61, abs=0.01)
    counts = private_shares(labels[:60], patients[:60], 2, 1e6, 0)
    assert counts == pytest.approx((0.995, 0.005), abs=1e-3)
    assert drawn[:, 1].std() > 0.003
    assert private_shares(labels, patients, 2, 0.0, 1) == (0.5, 0.5)


def test_an_autoencoder_trained_on_the_cohort_is_refused() -> None:
    with pytest.raises(DataDoubleError, match="autoencoder trained on the cohort"):
        public_scale("own", "ultrasound")
    assert len(public_scale("tiny-16", "CT").mean) == 16
    assert public_scale("tiny-4", "CT") != public_scale("tiny-4", "breast-ultrasound")


def test_what_is_trained_is_what_was_chosen() -> None:
    assert choose_trainable(dit(), "full", 0) == dit().parameter_count()
    few, lora = dit(), dit()
    count = choose_trainable(few, "few", 0)
    names = {name for name, p in few.named_parameters() if p.requires_grad}
    assert {"modulation.weight", "final.weight", "labels.weight", "blocks.0.qkv.bias"} <= names
    assert "blocks.0.qkv.weight" not in names and count < dit().parameter_count() / 2
    # Rank 2 beside time_in, time_out, modulation and four layers a block; labels and final whole.
    layers = [(256, 32), (32, 32), (32, 14 * 32)] + 2 * [(32, 96), (32, 32), (32, 128), (128, 32)]
    whole = 4 * 32 + 32 * 32 + 32
    assert choose_trainable(lora, "lora", 2) == sum(2 * (m + n) for m, n in layers) + whole


def test_a_run_on_public_data_is_started_from_but_not_one_on_this_cohort(tmp_path: Path) -> None:
    run, public = tmp_path / "public", dit(4)
    (run / "model").mkdir(parents=True)
    with pytest.raises(DataDoubleError, match="no finished model"):
        start_weights(dit(3), run, "ours")
    save_tensors(run / "model" / "last.safetensors", public.state_dict())
    files.write_json(run / "provenance.json", {"cohort": "simulated"})
    network = dit(3)
    said = start_weights(network, run, "ours")
    assert said["cohort"] == "simulated" and said["new"] == ["labels.weight"]  # other classes
    assert torch.equal(network.blocks[1].qkv.weight, public.blocks[1].qkv.weight)  # type: ignore[union-attr]
    with pytest.raises(DataDoubleError, match="this very cohort"):
        start_weights(dit(3), run, "simulated")
    other = DiT(DiTConfig(8, 4, 3, depth=2, width=64, heads=2))
    with pytest.raises(DataDoubleError, match="another network"):
        start_weights(other, run, "ours")
