"""Drawing with a trained CoLDiT."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from datadouble import files
from datadouble.diffusion.guidance import Guidance
from datadouble.diffusion.objectives import make_objective
from datadouble.diffusion.samplers import sample
from datadouble.encoders import load_encoder
from datadouble.encoders.base import Encoder
from datadouble.errors import DataDoubleError
from datadouble.networks.dit import DiT, DiTConfig, ModulationCache
from datadouble.networks.weights import load_tensors
from datadouble.randomness import torch_generator_for
from datadouble.recipes.doubles import Drawn, GeneratorFacts
from datadouble.recipes.runs import software
from datadouble.training.latents import LatentScale
from datadouble.training.processes import start_processes


@dataclass(frozen=True)
class SamplingOptions:
    """Section ``[sampling]``: how `generate` draws unless told otherwise."""

    sampler: str = "dpmpp"
    steps: int = 15
    guidance_weight: float = 0.8  # w of CoLDiT: (1 + w) e_c - w e_u
    guidance_interval: tuple[float, ...] = ()  # (low, high) of sigma / alpha; empty: everywhere
    batch: int = 64
    precision: str = "bf16"


@dataclass(frozen=True)
class ColditModel:
    """All but weights that drawing needs; `model.json` of a run."""

    network: DiTConfig
    scale: LatentScale
    encoder: str
    encoder_path: str
    encoder_fingerprint: str
    size: int
    diffusion: dict[str, Any]
    classes: tuple[str, ...]
    shares: tuple[float, ...]
    name: str
    modality: str
    intensity: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write `model.json`."""
        files.write_json(folder / "model.json", asdict(self))

    @classmethod
    def load(cls, folder: Path) -> "ColditModel":
        """Read `model.json`.

        Raises
        ------
        DataDoubleError
            When it is not there.
        """
        path = folder / "model.json"
        if not path.is_file():
            raise DataDoubleError(
                "the run holds no model yet", where=folder.parent.name, remedy="run `datadouble fit`"
            )
        values = json.loads(path.read_text())
        values["network"] = DiTConfig(**values["network"])
        values["scale"] = LatentScale(**{key: tuple(value) for key, value in values["scale"].items()})
        values["classes"], values["shares"] = tuple(values["classes"]), tuple(values["shares"])
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
        diffusion = model.diffusion
        self._objective = make_objective(
            diffusion["objective"],
            schedule=diffusion["schedule"],
            num_timesteps=diffusion["timesteps"],
            min_snr_gamma=diffusion["min_snr_gamma"] or None,
        )
        interval = options.guidance_interval
        self._guidance = Guidance(
            options.guidance_weight,
            model.network.null_label,
            (interval[0], interval[1]) if interval else None,
            None if weak is None else _cached(weak, options, device),
        )
        self.facts = GeneratorFacts(
            name=model.name,
            modality=model.modality,
            classes=model.classes,
            shares=model.shares,
            batch=options.batch,
            intensity=model.intensity,
            fingerprint={
                "recipe": "coldit",
                "weights": fingerprint,
                "encoder": model.encoder_fingerprint,
                "decoder": encoder.decoder_fingerprint,
                "autoguidance": weak is not None,
                **json.loads(json.dumps(asdict(options))),
                "software": software(),
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
        size = (shape.in_channels, shape.input_size, shape.input_size)
        randoms = [torch_generator_for(seed, "image", self._model.classes[label], n) for n in numbers]
        noise = torch.stack([torch.randn(size, generator=random) for random in randoms]).to(self._device)
        step_noise = None
        if self.options.sampler == "ddpm":

            def step_noise(_: int) -> torch.Tensor:
                return torch.stack([torch.randn(size, generator=random) for random in randoms])

        return sample(
            self._network,
            noise,
            torch.full((len(numbers),), label, device=self._device),
            objective=self._objective,
            sampler=self.options.sampler,
            steps=self.options.steps,
            guidance=self._guidance,
            step_noise=step_noise,
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
    from datadouble.recipes.config import build, read_config

    values = read_config(run / "config.toml")
    values.pop("recipe", None)
    options = build(ColditConfig, values).sampling
    if steps:
        options = replace(options, steps=steps)
    if guidance_weight is not None:
        options = replace(options, guidance_weight=guidance_weight)
    if sampler:
        options = replace(options, sampler=sampler)
    model = ColditModel.load(run / "model")
    if not (run / "model" / "last.safetensors").is_file():
        raise DataDoubleError(
            "the training is not finished",
            where=run.name,
            remedy="run the same `datadouble fit` again; it goes on",
        )
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
    weights, _ = load_tensors(path)
    network = DiT(model.network)
    network.load_state_dict(weights)
    return network, files.fingerprint(path.read_bytes())
