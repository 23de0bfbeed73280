"""DiffGuard's features: an autoencoder trained on the real pictures, channel maxima of its bottleneck.

Zhou et al., npj Digit Med 2024 (s41746-024-01290-7), search for copies and attack membership by the cosine
similarity of such features. They are of the cohort's own kind, unlike ImageNet's. A trained file is made of real
pictures: it stays in the hospital.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
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
    load_state,
    ready,
    run_network,
    state_digest,
)
from datadouble.errors import DataDoubleError
from datadouble.files import fingerprint
from datadouble.networks.unet_autoencoder import UNetAutoencoder, UNetAutoencoderConfig
from datadouble.networks.weights import load_tensors, save_tensors
from datadouble.training.reconstruction import (
    AutoencoderOptions,
    absolute_error,
    prepare,
    to_inputs,
    train_reconstruction,
)

KIND = "datadouble autoencoder features 1"
SOURCE = "a file that datadouble.audit.features.train_autoencoder wrote"


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
        return run_network(
            self.network.bottleneck_maxima,
            to_inputs(pictures),
            device=self.device,
            precision=self.precision,
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

        def error(x: Tensor) -> Tensor:
            return absolute_error(self.network, x)

        for start in range(0, len(images), batch):
            chunk = to_inputs(images[start : start + batch])
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
    bf16 = best_precision("auto", device) == "bf16"
    facts: dict[str, Any] = {"kind": KIND, "options": asdict(options), "n": len(images)}
    if folder is None:
        train_reconstruction(network, images, options, device=device, bf16=bf16)
        return AutoencoderExtractor.of(network, options.size, precision=precision, device=device)
    key = fingerprint(
        json.dumps(asdict(options)), torch.__version__, hashlib.sha256(images.tobytes()).hexdigest()
    )
    path = Path(folder) / f"autoencoder-{key}.safetensors"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        state = path.with_suffix(".state")
        train_reconstruction(network, images, options, device=device, bf16=bf16, state=state, facts=facts)
        save_tensors(path, network.state_dict(), facts)
        state.unlink(missing_ok=True)
    extractor = AutoencoderExtractor(path, precision=precision, device=device)
    extractor.source = ExtractorSource("autoencoder", path, precision)
    return extractor
