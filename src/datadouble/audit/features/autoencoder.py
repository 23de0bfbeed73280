"""DiffGuard's features: an autoencoder trained on the real pictures, channel maxima of its bottleneck.

Zhou et al., npj Digit Med 2024 (s41746-024-01290-7), search for copies and attack membership by the cosine
similarity of such features. They are of the cohort's own kind, unlike ImageNet's. A trained file is made of real
pictures: it stays in the hospital.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datadouble.audit.features.base import ExtractorSource
from datadouble.audit.features.loading import (
    best_device,
    best_precision,
    find_weights,
    grey_batch,
    load_state,
    ready,
    run_network,
    state_digest,
)
from datadouble.cohort.pixels import fit_square, to_unit
from datadouble.errors import DataDoubleError
from datadouble.files import fingerprint
from datadouble.networks.unet_autoencoder import UNetAutoencoder, UNetAutoencoderConfig
from datadouble.networks.weights import load_tensors, save_tensors
from datadouble.progress import Bar
from datadouble.randomness import generator_for
from datadouble.training.checkpoints import below_prefix, pack_optimiser, unpack_optimiser, with_prefix

KIND = "datadouble autoencoder features 1"
SOURCE = "a file that datadouble.audit.features.train_autoencoder wrote"


@dataclass(frozen=True)
class AutoencoderOptions:
    """How the autoencoder is built and trained."""

    size: int = 64  # pixels; 128 takes four times as long
    images: int = 8_000  # seen in all; about a minute on two cores at 64 pixels
    batch: int = 16
    learning_rate: float = 5e-4  # at 2e-3 short runs stay at a grey picture
    warm_up: int = 128  # images
    flips: bool = True  # left to right
    widths: tuple[int, ...] = (32, 64, 128, 256)
    save_every: int = 2_048  # images, where a folder is given
    seed: int = 0


class AutoencoderExtractor:
    """Channel maxima (256 values) of the bottleneck of a trained autoencoder.

    Parameters
    ----------
    weights : Path or str
        The file that :func:`train_autoencoder` wrote.
    precision : str
        ``"bf16"``, ``"fp32"``, or ``"auto"``: bf16 where the hardware multiplies it.
    device : str
        ``"cpu"``, ``"cuda"``, or ``"auto"``.

    Raises
    ------
    DataDoubleError
        Where the file is missing, damaged or another one.
    """

    name = "autoencoder"
    source: ExtractorSource | None = None

    def __init__(
        self, weights: Path | str | None = None, *, precision: str = "auto", device: str = "auto"
    ) -> None:
        path = find_weights("autoencoder", weights, ["autoencoder.safetensors"], SOURCE)
        tensors, facts = load_tensors(path)
        if facts.get("kind") != KIND:
            raise DataDoubleError(
                "not a trained autoencoder",
                where=path.name,
                found=str(facts.get("kind")),
                remedy=f"give {SOURCE}",
            )
        network = UNetAutoencoder(UNetAutoencoderConfig(tuple(facts["options"]["widths"])))
        load_state(network, tensors, where=path.name, expected=SOURCE)
        self._use(network, int(facts["options"]["size"]), precision, device)

    @classmethod
    def of(
        cls, network: UNetAutoencoder, size: int, *, precision: str = "auto", device: str = "auto"
    ) -> AutoencoderExtractor:
        """From a network in memory that was trained on pictures of ``size`` pixels."""
        extractor = cls.__new__(cls)
        extractor._use(network, size, precision, device)
        return extractor

    def _use(self, network: UNetAutoencoder, size: int, precision: str, device: str) -> None:
        self.device = best_device(device)
        self.precision = best_precision(precision, self.device)
        self.network, self.input_size = network, size
        self.dimension = network.config.widths[-1]
        ready(network, self.device)
        self.preprocessing = (
            f"whole picture to {size}x{size}, bicubic with anti-aliasing; p / 127.5 - 1; channel maxima; "
            f"{self.precision}"
        )
        self.fingerprint = fingerprint(self.name, state_digest(network), self.preprocessing)

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """See :class:`datadouble.audit.features.base.Extractor`."""
        batch = grey_batch(pictures) / 127.5 - 1
        return run_network(
            self.network.bottleneck_maxima, batch, device=self.device, precision=self.precision
        )

    def logits(self, features: np.ndarray) -> None:
        """None: it has no classifier."""
        return None

    def reconstruction_error(self, pictures: Sequence[np.ndarray], *, batch: int = 64) -> np.ndarray:
        """Mean absolute error (n,) of each picture's reconstruction, in [0, 2] (grey levels from -1 to 1).

        DiffGuard keeps it beside each synthetic picture as a filter; a quantile of unseen real pictures is a
        threshold.
        """
        images, errors = prepare(pictures, self.input_size), []
        for start in range(0, len(images), batch):
            chunk = torch.from_numpy(images[start : start + batch]).float()[:, None] / 127.5 - 1

            def error(x: Tensor) -> Tensor:
                return (self.network(x).float() - x).abs().mean(dim=(1, 2, 3))

            errors.append(run_network(error, chunk, device=self.device, precision=self.precision))
        return np.concatenate(errors) if errors else np.empty(0, np.float32)


def train_autoencoder(
    pictures: Sequence[np.ndarray],
    folder: Path | None = None,
    options: AutoencoderOptions | None = None,
    *,
    precision: str = "auto",
    device: str = "auto",
) -> AutoencoderExtractor:
    """Train the autoencoder on real training pictures by mean absolute error, and return it as an extractor.

    Parameters
    ----------
    pictures : sequence of ndarray, or array (n, h, w)
        uint8 or uint16 pictures of the generator's *training* patients only, so that it knows no holdout patient.
    folder : Path, optional
        Keeps the state of the training, from which a killed one goes on bit for bit, and the result: the same call
        with the same pictures and options loads it instead of training again.
    options : AutoencoderOptions, optional
        Sizes and lengths.
    precision, device : str
        Of the extractor that is returned; training is in bf16 where the hardware multiplies it.

    Returns
    -------
    AutoencoderExtractor
        ``source.weights`` is its file where a folder was given.

    Raises
    ------
    DataDoubleError
        Where there is no picture, or the size does not divide by the network's factor.
    """
    options = options or AutoencoderOptions()
    network = UNetAutoencoder(UNetAutoencoderConfig(options.widths))
    if len(pictures) == 0 or options.size % network.factor:
        raise DataDoubleError(
            "the autoencoder cannot be trained",
            where="train_autoencoder",
            found=f"{len(pictures)} pictures, size {options.size}",
            remedy=f"give at least one picture, and a size that divides by {network.factor}",
        )
    images = prepare(pictures, options.size)
    device = best_device(device)
    facts: dict[str, Any] = {"kind": KIND, "options": asdict(options), "n": len(images)}
    if folder is None:
        _train(network, images, options, device, None, facts)
        return AutoencoderExtractor.of(network, options.size, precision=precision, device=device)
    key = fingerprint(
        json.dumps(asdict(options)), torch.__version__, hashlib.sha256(images.tobytes()).hexdigest()
    )
    path = Path(folder) / f"autoencoder-{key}.safetensors"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        state = path.with_suffix(".state")
        _train(network, images, options, device, state, facts)
        save_tensors(path, network.state_dict(), facts)
        state.unlink(missing_ok=True)
    extractor = AutoencoderExtractor(path, precision=precision, device=device)
    extractor.source = ExtractorSource("autoencoder", path, precision)
    return extractor


def prepare(pictures: Sequence[np.ndarray], size: int) -> np.ndarray:
    """uint8 (n, size, size) of any pictures, by the one resize path."""
    squares = [np.round(to_unit(fit_square(picture, size)) * 255).astype(np.uint8) for picture in pictures]
    return np.stack(squares) if squares else np.empty((0, size, size), np.uint8)


def _train(
    network: UNetAutoencoder,
    images: np.ndarray,
    options: AutoencoderOptions,
    device: str,
    state: Path | None,
    facts: dict[str, Any],
) -> None:
    """Train in place; the state file, if any, is taken up where it was left."""
    network.initialise(options.seed)
    network.to(device).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.0, betas=(0.9, 0.99), weight_decay=1e-4)
    seen = 0
    if state is not None and state.is_file():
        tensors, _ = load_tensors(state)
        network.load_state_dict(below_prefix("network", tensors))
        unpack_optimiser(optimiser, below_prefix("optimiser", tensors))
        seen = int(tensors["images_seen"])
    bf16 = best_precision("auto", device) == "bf16"
    saved = seen
    with Bar("autoencoder (images seen)", total=options.images, done=seen) as bar:
        while seen < options.images:
            batch = _batch(images, options, seen).to(device).contiguous(memory_format=torch.channels_last)
            for group in optimiser.param_groups:
                group["lr"] = _learning_rate(options, seen)
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
                error = (network(batch).float() - batch).abs().mean()
            optimiser.zero_grad()
            error.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            seen += options.batch
            bar.advance(options.batch, note=f"L1 {error.item():.3f}")
            if state is not None and seen - saved >= options.save_every and seen < options.images:
                tensors = with_prefix("network", network.state_dict())
                tensors |= with_prefix("optimiser", pack_optimiser(optimiser))
                save_tensors(state, tensors | {"images_seen": torch.tensor(seen)}, facts)
                saved = seen


def _learning_rate(options: AutoencoderOptions, seen: int) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * min(seen / options.images, 1)))
    return options.learning_rate * min(1.0, (seen + options.batch) / max(options.warm_up, 1)) * cosine


def _batch(images: np.ndarray, options: AutoencoderOptions, seen: int) -> Tensor:
    """The batch (b, 1, s, s) in [-1, 1] that follows ``seen`` images: a function of seed and clock alone."""
    random = generator_for(options.seed, "autoencoder-batch", seen)
    chosen = images[random.integers(len(images), size=options.batch)]
    if options.flips:
        chosen = np.where(random.random((options.batch, 1, 1)) < 0.5, chosen[:, :, ::-1], chosen)
    return torch.from_numpy(np.ascontiguousarray(chosen)).float()[:, None] / 127.5 - 1
