"""Every encoder keeps the promises of the interface, and the shipped ones give scans back."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from datadouble.cohort import COLUMNS, Cohort, CohortInfo
from datadouble.cohort.phantom import draw
from datadouble.encoders import load_encoder, seen_images
from datadouble.encoders.base import Encoder
from datadouble.encoders.own import train_own_encoder
from datadouble.encoders.tiny import WEIGHTS
from datadouble.errors import DataDoubleError


@pytest.fixture(scope="module")
def scans() -> Tensor:
    """Simulated scans (4, 1, 128, 128) in [-1, 1]."""
    pictures = [draw("breast-ultrasound", patient, 0, "3", size=128, seed=99).image for patient in range(4)]
    return torch.from_numpy(np.stack(pictures)).float()[:, None] / 127.5 - 1


def give_back(encoder: Encoder, images: Tensor) -> Tensor:
    return encoder.decode(encoder.encode(images)[:, : encoder.latent_channels])


def decibels(images: Tensor, others: Tensor) -> float:
    return float(10 * torch.log10(4 / (images - others).square().mean()))


@pytest.mark.parametrize(("name", "channels", "least"), [("tiny-4", 4, 21.0), ("tiny-16", 16, 26.0)])
def test_the_shipped_encoders_give_scans_back(scans: Tensor, name: str, channels: int, least: float) -> None:
    encoder = load_encoder(name)
    moments = encoder.encode(scans)
    assert moments.shape == (4, 2 * channels, 16, 16) and moments.dtype == torch.float32
    back = give_back(encoder, scans)
    assert back.shape == scans.shape and back.abs().max() <= 1
    assert decibels(scans, back) > least  # simulated speckle is finer than real: real scans do better
    assert decibels(scans, scans.roll(2, dims=0)) < least - 2  # the measure can come out bad


def test_the_weights_fit_into_eight_megabytes() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.glob("*.safetensors")) < 8e6


def test_pixels_are_given_back_as_they_are(scans: Tensor) -> None:
    assert torch.equal(give_back(load_encoder("pixels"), scans), scans)


def test_the_stable_diffusion_architecture_loads_from_a_local_folder(scans: Tensor, tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    network = diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
    )
    network.save_pretrained(tmp_path / "vae")
    encoder = load_encoder("kl", str(tmp_path / "vae"))
    assert (encoder.latent_channels, encoder.factor) == (4, 8)
    images = scans[:, :, :64, :64]
    moments = encoder.encode(images)
    with torch.no_grad():
        truth = network.eval().encode(images.expand(-1, 3, -1, -1)).latent_dist
    torch.testing.assert_close(moments[:, :4], truth.mean, atol=0.05, rtol=0.05)
    assert encoder.decode(moments[:, :4]).shape == images.shape


def test_missing_weights_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataDoubleError, match=r"data\.encoder_path"):
        load_encoder("kl")
    with pytest.raises(DataDoubleError, match="did you mean 'tiny-4'"):
        load_encoder("tiny4")
    with pytest.raises(DataDoubleError, match="multiple of 8"):
        load_encoder("tiny-4").latent_side(100)


def test_an_encoder_of_ones_own_learns_from_the_cohort(tmp_path: Path) -> None:
    class FourScans(Cohort):
        def image(self, index: int) -> np.ndarray:
            return draw("breast-ultrasound", index, 0, "3", size=128, seed=5).image

    table = pd.DataFrame({name: [""] * 4 for name in COLUMNS})
    cohort = FourScans(tmp_path, CohortInfo("c", "real", "us", ("3",)), table)
    for images, name in ((16, "short"), (240, "long"), (240, "again")):
        train_own_encoder(cohort, tmp_path / f"{name}.safetensors", images=images, seed=1, latent_channels=4)
    scan = torch.from_numpy(cohort.image(0)).float()[None, None] / 127.5 - 1
    short, long = (
        decibels(scan, give_back(load_encoder("own", str(tmp_path / f"{n}.safetensors")), scan))
        for n in ("short", "long")
    )
    assert long > short + 1
    assert (tmp_path / "long.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_pictures_the_encoders_saw_are_known_by_name() -> None:
    table = pd.DataFrame({name: ["", ""] for name in COLUMNS})
    table["image_id"] = ["one", "two"]
    info = CohortInfo("c", "real", "us", ("a",))
    assert seen_images(Cohort(Path("c"), info, table)) == set()
    listed = json.loads((WEIGHTS / "seen.json").read_text())["busbra"]
    table["source_file"] = [f"Images/{listed[0]}.png", "Images/nowhere.png"]
    assert seen_images(Cohort(Path("c"), info, table)) == {"one"}
