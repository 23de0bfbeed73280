"""The small autoencoders: `tiny-4` and `tiny-16` from the package, `own` from a file trained on the cohort."""

import json
from pathlib import Path

import torch
from torch import Tensor

from datadouble import files
from datadouble.encoders.base import Encoder
from datadouble.networks.autoencoder import AutoencoderConfig, TinyAutoencoder
from datadouble.networks.weights import load_tensors, save_tensors

WEIGHTS = Path(__file__).parent / "weights"


class Tiny(Encoder):
    """A `TinyAutoencoder` with weights from a safetensors file that `save_autoencoder` wrote."""

    factor = TinyAutoencoder.factor

    def __init__(self, name: str, path: Path) -> None:
        tensors, facts = load_tensors(path)
        self.name = name
        self._autoencoder = TinyAutoencoder(AutoencoderConfig(**_tuples(facts["config"])))
        self.network = self._autoencoder
        self.network.load_state_dict({key: value.float() for key, value in tensors.items()})
        self.network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.latent_channels = self._autoencoder.config.latent_channels
        self.fingerprint = _fingerprint(tensors, "encoder.")
        self.decoder_fingerprint = _fingerprint(tensors, "decoder.")

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return self._autoencoder.encode(images.contiguous(memory_format=torch.channels_last)).float()

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        with torch.autocast(latents.device.type, torch.bfloat16):
            return (
                self._autoencoder.decode(latents.contiguous(memory_format=torch.channels_last))
                .float()
                .clamp(-1, 1)
            )


def save_autoencoder(path: Path, config: AutoencoderConfig, weights: dict[str, Tensor]) -> None:
    """Write weights as float16 with their configuration, as `Tiny` reads them."""
    from dataclasses import asdict

    halves = {name: value.half() for name, value in weights.items()}
    save_tensors(path, halves, {"config": json.loads(json.dumps(asdict(config)))})


def _fingerprint(tensors: dict[str, Tensor], start: str) -> str:
    names = sorted(name for name in tensors if name.startswith(start))
    return files.fingerprint(*(part for name in names for part in (name, tensors[name].numpy().tobytes())))


def _tuples(config: dict) -> dict:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
