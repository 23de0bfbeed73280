"""Drawing with a trained CoLDiT."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from datadouble.diffusion.guidance import Guidance
from datadouble.encoders import load_encoder
from datadouble.encoders.base import Encoder
from datadouble.errors import DataDoubleError
from datadouble.networks.dit import DiT, DiTConfig, ModulationCache
from datadouble.recipes.doubles import Drawn
from datadouble.recipes.drawing import (
    ModelFacts,
    SamplingOptions,
    check_finished,
    config_of,
    draw_from_noise,
    generator_facts,
    load_weights,
    read_model,
    with_changes,
)
from datadouble.recipes.learning import objective_of
from datadouble.training.latents import LatentScale
from datadouble.training.processes import start_processes


@dataclass(frozen=True, kw_only=True)
class ColditModel(ModelFacts):
    """All but weights that drawing needs; `model.json` of a run."""

    network: DiTConfig
    scale: LatentScale
    encoder: str
    encoder_path: str
    encoder_fingerprint: str

    @classmethod
    def load(cls, folder: Path) -> "ColditModel":
        """Read `model.json`.

        Raises
        ------
        DataDoubleError
            When it is not there.
        """
        values = read_model(folder)
        values["network"] = DiTConfig(**values["network"])
        values["scale"] = LatentScale(**values["scale"])
        return cls(**values)


class ColditGenerator:
    """Draws images of a class; every image's noise comes from (seed, class, number) alone.

    Attributes
    ----------
    options : SamplingOptions
    size : int
        Side of the images in pixels.
    facts : GeneratorFacts
    """

    def __init__(
        self,
        model: ColditModel,
        network: nn.Module,
        encoder: Encoder,
        options: SamplingOptions,
        device: torch.device,
        *,
        weak: nn.Module | None = None,
        fingerprint: str = "",
    ) -> None:
        self._model, self._encoder, self._device = model, encoder, device
        self._source, self._weak, self._fingerprint = network, weak, fingerprint
        self.options, self.size = options, model.size
        self._network = _cached(network, options, device)
        self._objective = objective_of(model.diffusion)
        interval = options.guidance_interval
        self._guidance = Guidance(
            options.guidance_weight,
            model.network.null_label,
            (interval[0], interval[1]) if interval else None,
            None if weak is None else _cached(weak, options, device),
        )
        self.facts = generator_facts(
            "coldit",
            model,
            options,
            {
                "weights": fingerprint,
                "encoder": model.encoder_fingerprint,
                "decoder": encoder.decoder_fingerprint,
                "autoguidance": weak is not None,
            },
        )

    def with_options(self, options: SamplingOptions) -> "ColditGenerator":
        """Return the same generator with other settings of the sampler."""
        return ColditGenerator(
            self._model,
            self._source,
            self._encoder,
            options,
            self._device,
            weak=self._weak,
            fingerprint=self._fingerprint,
        )

    @torch.no_grad()
    def draw(self, label: int, numbers: range, seed: int) -> Drawn:
        """Draw the images `numbers` of class `label`: uint8 (b, size, size)."""
        latents = self.draw_latents(label, numbers, seed)
        pictures = self._encoder.decode(self._model.scale.restore(latents))
        grey = ((pictures[:, 0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return Drawn(grey.cpu().numpy().astype(np.uint8))

    @torch.no_grad()
    def draw_latents(self, label: int, numbers: range, seed: int) -> torch.Tensor:
        """Draw normalised latents (b, c, h, w), float32, on the generator's device."""
        shape = self._model.network
        return draw_from_noise(
            self._network,
            self._objective,
            self.options,
            shape=(shape.in_channels, shape.input_size, shape.input_size),
            labels=label,
            key=self._model.classes[label],
            numbers=numbers,
            seed=seed,
            device=self._device,
            guidance=self._guidance,
        )


def _cached(network: nn.Module, options: SamplingOptions, device: torch.device) -> ModulationCache:
    """Return a copy of the network for drawing: its weights in bf16, what is added up in float32."""
    import copy

    assert isinstance(network, DiT)
    network = copy.deepcopy(network).to(device).eval().requires_grad_(False)
    if options.precision == "bf16":
        for parameter in network.parameters():
            parameter.data = parameter.data.bfloat16()
    return ModulationCache(network)


def load_generator(
    run: Path,
    *,
    checkpoint: str = "best",
    steps: int = 0,
    guidance_weight: float | None = None,
    sampler: str = "",
    autoguidance: bool = False,
) -> ColditGenerator:
    """Load a trained run; zeros and empty values stand for the run's own settings.

    Raises
    ------
    DataDoubleError
        When the run is not finished.
    """
    from datadouble.recipes.coldit import ColditConfig

    options = with_changes(
        config_of(run, ColditConfig).sampling, steps=steps, guidance_weight=guidance_weight, sampler=sampler
    )
    model = ColditModel.load(run / "model")
    check_finished(run)
    network, fingerprint = load_network(model, run / "model" / f"{checkpoint}.safetensors")
    weak = load_network(model, run / "model" / "early.safetensors")[0] if autoguidance else None
    encoder = load_encoder_of(run, model)
    device = start_processes().device
    return ColditGenerator(
        model, network, encoder.to(device), options, device, weak=weak, fingerprint=fingerprint
    )


def load_encoder_of(run: Path, model: ColditModel) -> Encoder:
    """Return the encoder that a run was trained with.

    Raises
    ------
    DataDoubleError
        When its weights have changed since.
    """
    path = str(run / "model" / "encoder.safetensors") if model.encoder == "own" else model.encoder_path
    encoder = load_encoder(model.encoder, path)
    if encoder.fingerprint != model.encoder_fingerprint:
        raise DataDoubleError(
            "the encoder is not the one that the run was trained with",
            where=model.encoder,
            found=encoder.fingerprint,
            remedy=f"bring back the weights with fingerprint {model.encoder_fingerprint}",
        )
    return encoder


def load_network(model: ColditModel, path: Path) -> tuple[DiT, str]:
    """Return the network with the weights of a checkpoint, and their fingerprint."""
    return load_weights(DiT(model.network), path)
