"""The latent cache and the latent scale."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.encoders.base import Encoder, Pixels
from datadouble.errors import DataDoubleError
from datadouble.training.latents import LatentScale, encode_cohort


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    with CohortWriter(tmp_path / "c", CohortInfo("c", "real", "us", ("a",))) as writer:
        for i in range(7):
            image = np.random.default_rng(i).integers(0, 256, (16, 16), dtype=np.uint8)
            writer.add(image, image_id=f"{i}", patient_id=f"{i}", label="a")
        return writer.finish()


def test_the_cache_holds_each_picture_and_its_mirror_image(cohort: Cohort, tmp_path: Path) -> None:
    cache = encode_cohort(cohort, Pixels(), 16, tmp_path / "l.npy", batch=3)
    rows, views = np.array([5, 5]), np.array([0, 1])
    latents = cache.latents(rows, views, torch.zeros(2, 1, 16, 16))
    expected = torch.from_numpy(cohort.image(5).astype(np.float32)) / 127.5 - 1
    torch.testing.assert_close(latents[0, 0], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(latents[1, 0], expected.flip(-1), atol=1e-3, rtol=0)


def test_the_scale_gives_unit_variance_and_can_be_undone(cohort: Cohort, tmp_path: Path) -> None:
    cache = encode_cohort(cohort, Pixels(), 16, tmp_path / "l.npy")
    scale = cache.measure_scale()
    latents = cache.latents(np.arange(7), np.zeros(7, int), torch.zeros(7, 1, 16, 16))
    normal = scale.normalise(latents)
    assert abs(normal.mean()) < 1e-3 and abs(normal.std() - 1) < 1e-3
    torch.testing.assert_close(scale.restore(normal), latents)


def test_the_scale_counts_the_spread_of_the_moments() -> None:
    scale = LatentScale((1.0, 0.0), (2.0, 1.0))
    latents = torch.ones(1, 2, 1, 1)
    assert scale.normalise(latents).flatten().tolist() == [0.0, 1.0]


class Counting(Pixels):
    """Counts the pictures it encodes and fails at the `limit`-th batch."""

    def __init__(self, limit: int) -> None:
        self.calls, self.limit = 0, limit

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls > self.limit:
            raise KeyboardInterrupt
        return super().encode(images)


def test_a_cut_off_encoding_goes_on(cohort: Cohort, tmp_path: Path) -> None:
    path = tmp_path / "l.npy"
    with pytest.raises(KeyboardInterrupt):
        encode_cohort(cohort, Counting(4), 16, path, batch=2)  # two batches of two views
    assert json.loads(path.with_suffix(".json").read_text())["done"] == 4
    again = Counting(100)
    cache = encode_cohort(cohort, again, 16, path, batch=2)
    assert again.calls == 4  # the other three pictures
    whole = encode_cohort(cohort, Pixels(), 16, tmp_path / "whole.npy")
    assert np.array_equal(cache.moments, whole.moments)


def test_latents_that_are_no_numbers_are_refused(cohort: Cohort, tmp_path: Path) -> None:
    class Broken(Pixels):
        def encode(self, images: torch.Tensor) -> torch.Tensor:
            return super().encode(images) * torch.nan

    broken: Encoder = Broken()
    with pytest.raises(DataDoubleError, match="no numbers"):
        encode_cohort(cohort, broken, 16, tmp_path / "l.npy")
