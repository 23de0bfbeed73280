"""Latents, encoded once: the moments of every training image and of its mirror image.

An autoencoder does not commute with flips, so the mirrored picture is encoded too. The cache is a memory-mapped
NumPy file: constant memory, no pickle, and a cut-off encoding goes on where it stopped.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datadouble import files
from datadouble.cohort import Cohort
from datadouble.encoders.base import Encoder
from datadouble.errors import DataDoubleError
from datadouble.progress import Bar


@dataclass(frozen=True)
class LatentScale:
    """Mean and standard deviation of each latent channel, measured on the training images and kept with the run."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalise(self, latents: Tensor) -> Tensor:
        """Return latents (b, c, h, w) with zero mean and unit variance in each channel."""
        return (latents - self._column(self.mean, latents)) / self._column(self.std, latents)

    def restore(self, latents: Tensor) -> Tensor:
        """Undo `normalise`."""
        return latents * self._column(self.std, latents) + self._column(self.mean, latents)

    @staticmethod
    def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, device=like.device, dtype=torch.float32).view(1, -1, 1, 1)


class LatentCache:
    """Moments of images: `moments` is float16 (n, views, 2c, h, w), the views the picture and its mirror image."""

    def __init__(self, path: Path) -> None:
        self.moments = np.load(path, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self.moments)

    @property
    def views(self) -> int:
        """2 with mirror images, else 1."""
        return int(self.moments.shape[1])

    def latents(self, rows: np.ndarray, views: np.ndarray, noise: Tensor) -> Tensor:
        """Draw latents (b, c, h, w), float32, from the moments of `rows` (b,) and `views` (b,)."""
        moments = torch.from_numpy(self.moments[rows, views].astype(np.float32))
        mean, log_variance = moments.chunk(2, dim=1)
        return mean + (0.5 * log_variance).exp() * noise

    def measure_scale(self) -> LatentScale:
        """Measure each channel's mean and standard deviation, a thousand images at a time."""
        channels = self.moments.shape[2] // 2
        count, total, square = 0, np.zeros(channels), np.zeros(channels)
        for start in range(0, len(self), 1000):
            moments = self.moments[start : start + 1000].astype(np.float64)
            mean, variance = moments[:, :, :channels], np.exp(moments[:, :, channels:])
            count += mean.size // channels
            total += mean.sum(axis=(0, 1, 3, 4))
            square += (mean**2 + variance).sum(axis=(0, 1, 3, 4))
        average = total / count
        std = np.sqrt(np.maximum(square / count - average**2, 1e-12))
        return LatentScale(tuple(average.round(6).tolist()), tuple(std.round(6).tolist()))


def encode_cohort(
    cohort: Cohort, encoder: Encoder, size: int, path: Path, *, flips: bool = True, batch: int = 32
) -> LatentCache:
    """Encode every image of `cohort` at `size` and return the cache at `path`, made or taken as it stands.

    Raises
    ------
    DataDoubleError
        When a picture cannot be read, or an image is constant so that its latents are no numbers.
    """
    side, channels, views = encoder.latent_side(size), 2 * encoder.latent_channels, 2 if flips else 1
    shape = (len(cohort), views, channels, side, side)
    key = files.fingerprint(encoder.fingerprint, str(shape), *map(str, cohort.table["image_id"]))
    noted = path.with_suffix(".json")
    done = 0
    if path.is_file() and noted.is_file():
        notes = json.loads(noted.read_text())
        done = notes["done"] if notes["key"] == key else 0
    if done == len(cohort):
        return LatentCache(path)
    try:
        moments = _open(path, None if done else shape)
    except OSError as error:
        raise DataDoubleError(
            "the latent cache cannot be made",
            where=path.name,
            found=str(error)[:80],
            remedy="free some disk space",
        ) from error
    dataset = cohort.torch_dataset(size)
    device = next(encoder.network.parameters()).device if encoder.network is not None else torch.device("cpu")
    with Bar("encoding", len(cohort), done) as bar:
        for start in range(done, len(cohort), batch):
            stop = min(start + batch, len(cohort))
            images = torch.stack([dataset[i][0] for i in range(start, stop)]).to(device)
            pictures = [images, images.flip(-1)][:views]
            encoded = torch.stack([encoder.encode(view) for view in pictures], dim=1).cpu().numpy()
            if not np.isfinite(encoded).all():
                raise DataDoubleError(
                    "latents are no numbers", where=str(cohort.table["image_id"].iloc[start])
                )
            moments[start:stop] = encoded
            moments.flush()
            files.write_json(noted, {"key": key, "done": stop})
            bar.advance(stop - start)
    return LatentCache(path)


def _open(path: Path, shape: tuple[int, ...] | None) -> np.memmap:
    """Open the file to write on, made anew where a shape is given.

    Its blocks are reserved at once: writing into a mapped hole on a full disk would kill the process.
    """
    if shape is None:
        return np.lib.format.open_memmap(path, mode="r+")
    moments = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, file.seek(0, os.SEEK_END))
    return moments
