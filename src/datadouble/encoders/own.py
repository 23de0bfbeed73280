"""An autoencoder of the cohort's own, for scans that ours were not made for."""

from pathlib import Path

import torch

from datadouble.cohort import Cohort
from datadouble.encoders.tiny import save_autoencoder
from datadouble.encoders.training import AutoencoderTrainer, AutoencoderTraining, CropSampler
from datadouble.networks.autoencoder import AutoencoderConfig, TinyAutoencoder
from datadouble.progress import track
from datadouble.randomness import torch_seeded


def train_own_encoder(
    cohort: Cohort, path: Path, *, images: int, seed: int, latent_channels: int = 16
) -> None:
    """Train a `TinyAutoencoder` on every picture of `cohort` with the squared error and write it to `path`.

    Parameters
    ----------
    images
        Crops of 128 pixels to see; 60,000 take about half an hour on two cores.
    """
    options = AutoencoderTraining(images=images, seed=seed, warm_up=min(3_000, images // 10))
    config = AutoencoderConfig(latent_channels=latent_channels)
    with torch_seeded(torch.device("cpu"), seed, "autoencoder"):
        network = TinyAutoencoder(config)
    pictures = [cohort.image(i) for i in range(len(cohort))]
    trainer = AutoencoderTrainer(network, CropSampler(pictures, options), options)
    for _ in track(trainer.steps(), "autoencoder", total=images // options.batch):
        pass
    save_autoencoder(path, config, trainer.average)
