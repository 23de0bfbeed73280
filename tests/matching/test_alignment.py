import numpy as np
import pytest
import torch

from datadouble.matching import alignment
from datadouble.matching.keypoints import SIDE, blur, find_blobs


@pytest.fixture(scope="module")
def textures() -> torch.Tensor:
    """Five independent textures with grains of about two pixels."""
    noise = torch.randn(5, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    fields = blur(noise, 1.2)
    return fields / fields.std()


def test_refine_recovers_scale_and_shift(textures: torch.Tensor) -> None:
    truth = torch.tensor([[0.8, 0.85, 10.3, 7.6]])
    query = alignment.warp(textures[:1], truth)
    start = truth + torch.tensor([[0.02, -0.02, -1.2, 1.4]])
    centre = torch.tensor([[60.0, 70.0]])
    found, value = alignment.refine(query, textures[:1], start, centre, steps=12)
    places = centre * found[:, :2] + found[:, 2:]
    expected = centre * truth[:, :2] + truth[:, 2:]
    assert float((places - expected).abs().max()) < 0.15  # pixels
    assert float((found[:, :2] - truth[:, :2]).abs().max()) < 0.01
    assert float(value) > 0.93


def test_best_shift_is_the_shift(textures: torch.Tensor) -> None:
    query = textures[:2].roll((-7, 11), (1, 2))  # the query's (x, y) shows the gallery's (x - 11, y + 7)
    gain = torch.ones(SIDE, SIDE // 2 + 1)
    np.testing.assert_allclose(alignment.best_shift(query, textures[:2], gain), [[-11, 7]] * 2)


def test_the_whitener_flattens_the_spectrum() -> None:
    noise = torch.randn(40, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    coloured = blur(noise, 1.0) + 0.3 * noise
    gain = alignment.whitener(coloured)
    power = torch.fft.rfft2(alignment.whiten(coloured, gain)).abs().square().mean(0)
    frequency = (torch.fft.fftfreq(SIDE)[:, None] ** 2 + torch.fft.rfftfreq(SIDE)[None] ** 2).sqrt()
    band = [power[(frequency > low) & (frequency < low + 0.05)].mean() for low in (0.15, 0.2, 0.25)]
    assert max(band) / min(band) < 1.5
    before = torch.fft.rfft2(coloured).abs().square().mean(0)
    raw = [before[(frequency > low) & (frequency < low + 0.05)].mean() for low in (0.15, 0.25)]
    assert raw[0] / raw[1] > 2


def test_compare_finds_the_shared_piece_and_only_that(textures: torch.Tensor) -> None:
    query = textures[:1].clone()
    query[0, 40:64, 80:116] = textures[1, 40:64, 80:116]
    gain = alignment.whitener(textures)
    same = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    fit = alignment.compare(query, textures[1:2], same, gain, torch.tensor([[98.0, 52.0]]))
    assert fit.correlation[0, 0] > 0.85
    left, top = fit.place[0, 0]
    assert 76 <= left <= 100 and 36 <= top <= 48
    assert fit.correlation[0, -1] < 0.3
    nothing = alignment.compare(query, textures[2:3], same, gain, torch.tensor([[98.0, 52.0]]))
    assert nothing.correlation[0, 0] < 0.5


def test_a_picture_without_texture_matches_nothing(textures: torch.Tensor) -> None:
    flat = torch.zeros(1, SIDE, SIDE)
    gain = alignment.whitener(textures)
    same = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    fit = alignment.compare(flat, flat, same, gain, torch.tensor([[64.0, 64.0]]))
    assert np.abs(fit.correlation).max() < 1e-3


def test_blobs_follow_the_picture_when_it_is_mirrored_and_brightened() -> None:
    rng = np.random.default_rng(0)
    field = blur(torch.from_numpy(rng.normal(size=(1, SIDE, SIDE)).astype(np.float32)), 2.0)[0].numpy()
    picture = np.clip(110 + 35 * field / field.std(), 0, 255).astype(np.uint8)
    plain = find_blobs(picture[None])
    flipped = find_blobs(np.ascontiguousarray(picture[None, :, ::-1])).mirrored()
    gained = find_blobs(np.clip(picture * 0.8 + 10, 0, 255).astype(np.uint8)[None])
    for other in (flipped, gained):
        near = 0
        valid = plain.sigma[0] > 0
        for place, patch in zip(plain.place[0][valid], plain.patch[0][valid]):
            distance = np.linalg.norm(other.place[0] - place, axis=1)
            near += bool(((distance < 0.7) & (other.patch[0] @ patch > 0.9)).any())
        assert near > 0.85 * valid.sum() > 20
