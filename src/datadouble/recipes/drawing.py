"""What recipes that draw from noise share: options, the model's facts, finished runs, and an image's own noise."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.diffusion.guidance import Guidance
from datadouble.diffusion.objectives import ModelFunction, Objective
from datadouble.diffusion.samplers import NOISY, StepNoise, sample
from datadouble.errors import DataDoubleError
from datadouble.networks.weights import load_tensors
from datadouble.randomness import torch_generator_for
from datadouble.recipes.config import build, read_config
from datadouble.recipes.doubles import GeneratorFacts
from datadouble.recipes.private import Private
from datadouble.recipes.runs import Material, software

C = TypeVar("C")
N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class SamplingOptions:
    """Section ``[sampling]``: how `generate` draws unless told otherwise."""

    sampler: str = "dpmpp"
    steps: int = 15
    guidance_weight: float = 0.8  # w of CoLDiT: (1 + w) e_c - w e_u
    guidance_interval: tuple[float, ...] = ()  # (low, high) of sigma / alpha; empty: everywhere
    batch: int = 64
    precision: str = "bf16"


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """All but weights that drawing needs; `model.json` of a run. A recipe adds its own."""

    size: int
    diffusion: dict[str, Any]
    classes: tuple[str, ...]
    shares: tuple[float, ...]
    name: str
    modality: str
    intensity: dict[str, Any]
    privacy: dict[str, Any] | None = None  # of a run under differential privacy: what it spends and declares

    def save(self, folder: Path) -> None:
        """Write `model.json`."""
        files.write_json(folder / "model.json", asdict(self))


def facts_of(material: Material, private: Private | None = None) -> dict[str, Any]:
    """Return what `ModelFacts` takes from the training images; of a private run, what it was allowed to take."""
    info = material.train.info
    return {
        "classes": material.classes,
        "shares": tuple(material.shares) if private is None else private.shares,
        "privacy": None if private is None else private.facts,
        "name": info.name,
        "modality": info.modality,
        "intensity": info.intensity,
    }


def read_model(folder: Path) -> dict[str, Any]:
    """Return the values of a `model.json`, their lists as tuples.

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
    return with_tuples(json.loads(path.read_text()))


def with_tuples(value: Any) -> Any:
    """Return what was read from JSON with tuples in the place of lists, as frozen dataclasses keep them."""
    if isinstance(value, dict):
        return {key: with_tuples(item) for key, item in value.items()}
    return tuple(map(with_tuples, value)) if isinstance(value, list) else value


def config_of(run: Path, kind: type[C]) -> C:
    """Return the configuration of a run."""
    values = read_config(run / "config.toml")
    values.pop("recipe", None)
    return build(kind, values)


S = TypeVar("S", bound=SamplingOptions)


def with_changes(options: S, *, steps: int = 0, guidance_weight: float | None = None, sampler: str = "") -> S:
    """Return `options` with what is given in place of its own; zeros and empty values change nothing."""
    changes: dict[str, Any] = {}
    if steps:
        changes["steps"] = steps
    if guidance_weight is not None:
        changes["guidance_weight"] = guidance_weight
    if sampler:
        changes["sampler"] = sampler
    return replace(options, **changes)


def check_finished(run: Path) -> None:
    """Refuse a run whose training has not ended.

    Raises
    ------
    DataDoubleError
    """
    if not (run / "model" / "last.safetensors").is_file():
        raise DataDoubleError(
            "the training is not finished",
            where=run.name,
            remedy="run the same `datadouble fit` again; it goes on",
        )


def load_weights(network: N, path: Path) -> tuple[N, str]:
    """Return the network with the weights of a checkpoint, and their fingerprint."""
    weights, _ = load_tensors(path)
    network.load_state_dict(weights)
    return network, files.fingerprint(path.read_bytes())


def generator_facts(
    recipe: str,
    model: ModelFacts,
    options: SamplingOptions,
    fingerprint: dict[str, Any],
    mask_classes: tuple[str, ...] = (),
) -> GeneratorFacts:
    """Return what a double says of its generator; `fingerprint` holds the weights' and whatever else decides."""
    return GeneratorFacts(
        name=model.name,
        modality=model.modality,
        classes=model.classes,
        shares=model.shares,
        batch=options.batch,
        intensity=model.intensity,
        mask_classes=mask_classes,
        fingerprint={
            "recipe": recipe,
            **fingerprint,
            **json.loads(json.dumps(asdict(options) | ({"privacy": model.privacy} if model.privacy else {}))),
            "software": software(),
        },
    )


def noise_from(
    randoms: Sequence[torch.Generator], shape: tuple[int, ...], sampler: str
) -> tuple[Tensor, StepNoise | None]:
    """Return the noise (b, *shape) that pictures begin with, and what draws each step's, for samplers that take it.

    Each picture's comes from its own generator, so that it is the same in any company.
    """

    def draw(_: int) -> Tensor:
        return torch.stack([torch.randn(shape, generator=random) for random in randoms])

    return draw(0), draw if sampler in NOISY else None


def draw_from_noise(
    model_fn: ModelFunction,
    objective: Objective,
    options: SamplingOptions,
    *,
    shape: tuple[int, int, int],
    labels: int,
    key: str,
    numbers: range,
    seed: int,
    device: torch.device,
    guidance: Guidance | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Draw what `numbers` of the class `key` are: (b, *shape), float32; the noise comes from (seed, key, number) alone.

    Parameters
    ----------
    labels
        Label that the network is given.
    clamp
        See `datadouble.diffusion.samplers.sample`.
    """
    randoms = [torch_generator_for(seed, "image", key, n) for n in numbers]

    noise, step_noise = noise_from(randoms, shape, options.sampler)
    return sample(
        model_fn,
        noise.to(device),
        torch.full((len(numbers),), labels, device=device),
        objective=objective,
        sampler=options.sampler,
        steps=options.steps,
        guidance=guidance,
        step_noise=step_noise,
        clamp=clamp,
    )
