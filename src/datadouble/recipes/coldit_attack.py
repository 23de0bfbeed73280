"""CoLDiT's weights as an attacker sees them: its checkpoints as denoisers, and the run's pictures as latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from datadouble.cohort import Cohort
from datadouble.encoders import seen_images
from datadouble.recipes.attack import Asked, AttackMaterial, People
from datadouble.recipes.attack_material import gather, split_of
from datadouble.recipes.coldit_generator import ColditModel, load_encoder_of, load_network
from datadouble.recipes.denoiser import Denoiser
from datadouble.recipes.drawing import config_of
from datadouble.recipes.learning import objective_of
from datadouble.training.latents import encode_cohort
from datadouble.training.processes import start_processes


def denoiser_of(
    model: ColditModel,
    network: nn.Module,
    device: torch.device,
    *,
    fingerprint: str = "",
    precision: str = "bf16",
) -> Denoiser:
    """Return a CoLDiT network as a denoiser."""
    return Denoiser(
        network,
        objective_of(model.diffusion),
        device,
        null_label=model.network.null_label,
        class_dropout=model.network.class_dropout,
        fingerprint=fingerprint,
        precision=precision,
    )


def attack_material(run: Path, real: Cohort, asked: Asked) -> AttackMaterial:
    """Load a run's weights and bring its pictures to latents; see `datadouble.recipes.attack.attack_run`."""
    from datadouble.recipes.coldit import ColditConfig

    config = config_of(run, ColditConfig)
    model = ColditModel.load(run / "model")
    split = split_of(run, real, model.classes, config.data.validation_share, config.training.seed)
    device = start_processes().device
    encoder = load_encoder_of(run, model).to(device)

    def denoiser(path: Path) -> tuple[Denoiser, str]:
        network, weights = load_network(model, path)
        precision = config.training.precision
        return denoiser_of(model, network, device, fingerprint=weights, precision=precision), weights

    def bring(cohort: Cohort, name: str) -> np.ndarray:
        path = asked.cache / f"latents{'-' * bool(name)}{name}.npy"
        moments = encode_cohort(cohort, encoder, model.size, path, flips=False).moments
        means = torch.from_numpy(np.asarray(moments[:, 0, : model.network.in_channels], dtype=np.float32))
        return model.scale.normalise(means).numpy()

    def facts(people: People) -> dict[str, object]:
        members = set(people.cohort.table["image_id"][people.members])
        return {"recipe": "coldit", "members_the_encoder_learned_from": len(seen_images(real) & members)}

    return gather(run, real, split, asked, denoiser=denoiser, bring=bring, facts=facts)
