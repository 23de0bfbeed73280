"""Training an autoencoder: what is frozen stays frozen, and the terms do what they are for."""

import numpy as np
import pytest
import torch

from datadouble.encoders.training import (
    AutoencoderTrainer,
    AutoencoderTraining,
    CropSampler,
    feature_distance,
)
from datadouble.networks.autoencoder import AutoencoderConfig, TinyAutoencoder, kl_divergence, sample_moments

PICTURES = [np.random.default_rng(i).integers(0, 256, (70, 90), dtype=np.uint8) for i in range(3)]


def options(decoder_only: bool = False, adversarial: float = 0.0) -> AutoencoderTraining:
    return AutoencoderTraining(
        images=8,
        batch=4,
        crop=32,
        sizes=(32, 64),
        warm_up=4,
        decoder_only=decoder_only,
        adversarial_weight=adversarial,
    )


def trainer(chosen: AutoencoderTraining) -> AutoencoderTrainer:
    torch.manual_seed(0)
    network = TinyAutoencoder(AutoencoderConfig(fine_width=16, coarse_width=16))
    with torch.no_grad():
        network.encoder[1].weight[0, 0, 0, 0] = -0.0  # averaging would make it +0.0: other bytes
    return AutoencoderTrainer(network, CropSampler(PICTURES, chosen), chosen)


def test_a_frozen_encoder_keeps_every_bit_and_the_decoder_learns() -> None:
    training = trainer(options(decoder_only=True))
    before = {name: value.clone() for name, value in training.average.items()}
    list(training.steps())
    for name, value in training.average.items():
        same = value.numpy().tobytes() == before[name].numpy().tobytes()
        assert same or name.startswith("decoder."), name
    assert not torch.equal(training.average["decoder.0.weight"], before["decoder.0.weight"])


def test_the_adversary_trains_beside_it() -> None:
    losses = list(trainer(options(adversarial=0.1)).steps())
    assert losses[0]["discriminator"] == pytest.approx(
        2.0, abs=0.5
    )  # the hinge loss of a judge that knows nothing
    assert {"squared", "kl", "adversarial", "discriminator"} <= set(losses[0])


def test_crops_depend_on_their_number_alone() -> None:
    sampler = CropSampler(PICTURES, options())
    assert torch.equal(sampler.batch(8), CropSampler(PICTURES, options()).batch(8))
    assert torch.equal(sampler.batch(8)[2], sampler.batch(10)[0])
    assert sampler.batch(0).shape == (4, 1, 32, 32)


def test_divergence_of_a_known_gaussian() -> None:
    """KL(N(1, e) || N(0, 1)) = (1 + e - 1 - 1) / 2."""
    moments = torch.cat([torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)], dim=1)
    assert kl_divergence(moments).item() == pytest.approx((np.e - 1) / 2, rel=1e-5)
    drawn = sample_moments(moments, torch.full((1, 1, 2, 2), 2.0))
    torch.testing.assert_close(drawn, torch.full((1, 1, 2, 2), 1 + 2 * float(np.exp(0.5))))


def test_features_that_point_the_same_way_are_at_distance_zero() -> None:
    feature = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    assert feature_distance([feature], [3 * feature]).item() == pytest.approx(0, abs=1e-6)
    assert feature_distance([feature], [-feature]).item() == pytest.approx(4, rel=1e-5)
