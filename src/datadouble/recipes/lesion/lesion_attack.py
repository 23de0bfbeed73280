"""Stage 1's weights as an attacker sees them: base and adapters as one denoiser, and crops of lesions with their masks.

The attacker is taken to hold the mask of a candidate beside its picture, and what follows from both, the descriptor:
the stronger of two, as the network saw all of them. Stages 2 and 3 and the verification are not attacked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.networks.patch_denoiser import PatchDenoiser
from datadouble.recipes.attack import UNSEEN, Asked, AttackMaterial, People
from datadouble.recipes.attack_material import gather, split_of
from datadouble.recipes.denoiser import Denoiser
from datadouble.recipes.drawing import config_of, load_weights
from datadouble.recipes.lesion.lesion_crops import LesionCrops
from datadouble.recipes.lesion.lesion_drawer import (
    LesionModel,
    load_networks,
    patch_objective,
    refuse_checkpoint,
)
from datadouble.recipes.lesion.material import learned_classes, read_lesions
from datadouble.training.processes import start_processes


class ToldPatches(nn.Module):
    """Base and each class's network as one that asks for no descriptor: it takes that of the nearest candidate.

    The attacks hand on a noisy picture without saying whose it is: other generators need nothing else. An attacker
    knows whom he asks about; here it is found by its direction, which noise hardly turns in thousands of dimensions: of
    x = alpha c_j + sigma n the product with c_i / |c_i| is greatest for i = j. Of BUSI's 647 lesions at 48 pixels all
    are found up to time 0.69 and 99.5% at 0.81; behind it the noise says little, and the descriptor matters as little.

    Parameters
    ----------
    networks
        Of each class, and the base behind them for the null label.
    crops, told
        (n, c, p, p) and (n, 8): the candidates and their standardised descriptors.
    """

    def __init__(self, networks: Sequence[nn.Module], crops: Tensor, told: Tensor) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.register_buffer("_directions", F.normalize(crops.flatten(1), dim=1).T.contiguous())
        self.register_buffer("_told", told)

    def forward(self, x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        """Predict what the objective asks for of (b, c, p, p), each with its class's network."""
        with torch.autocast(x.device.type, enabled=False):
            nearest = (x.detach().float().flatten(1) @ self.get_buffer("_directions")).argmax(1)
        told, out = self.get_buffer("_told")[nearest], torch.zeros_like(x)
        which = labels.clamp(max=len(self.networks) - 1)
        for index in which.unique().tolist():
            rows = which == index
            out[rows] = self.networks[index](x[rows], timesteps[rows], labels[rows], told[rows]).to(x.dtype)
        return out


def attack_material(run: Path, real: Cohort, asked: Asked) -> AttackMaterial:
    """Load stage 1's weights, and cut its lesions and unseen ones; see `datadouble.recipes.attack.attack_run`."""
    from datadouble.recipes.lesion.config import LesionConfig

    config, stage = config_of(run, LesionConfig), run / "lesion"
    if config.stable_diffusion.folder:
        raise DataDoubleError("no attack on Stable Diffusion's weights is offered", where=run.name)
    refuse_checkpoint(asked.checkpoint)
    model, options, device = LesionModel.load(stage / "model"), config.lesion, start_processes().device
    learned = learned_classes(real, config.data, model.classes)
    split = split_of(run, real, learned, config.data.validation_share, config.data.seed)
    train, validation = (part.filter(label=model.classes) for part in (split.train, split.validation))
    split = replace(split, train=train, validation=validation, classes=model.classes)
    rows = real.table["split"].isin(("train", *UNSEEN)) & real.table["label"].isin(model.classes)
    pictures, usable = read_lesions(real.where(rows.to_numpy()), model.classes, config.data)
    crops = LesionCrops(pictures, len(model.classes), model.patch, model.standard, tissue=False)
    clean, told = crops.batch(np.arange(len(crops)))
    place = {image_id: row for row, image_id in enumerate(pictures.ids)}

    def denoiser(path: Path) -> tuple[Denoiser, str]:
        if path.stem == asked.checkpoint:
            networks, weights = load_networks(stage, model)
        else:  # an early base, before there were adapters
            base, weights = load_weights(PatchDenoiser(model.network), path)
            networks = [base] * (len(model.classes) + 1)
        found = Denoiser(
            ToldPatches(networks, clean, told),
            patch_objective(model.diffusion),
            device,
            null_label=model.network.null_label,
            class_dropout=options.class_dropout,
            fingerprint=weights,
            precision=options.precision,
        )
        return found, weights

    def bring(cohort: Cohort, _: str) -> np.ndarray:
        return clean[[place[str(image_id)] for image_id in cohort.table["image_id"]]].numpy()

    def facts(_: People) -> dict[str, object]:
        left_out = ["placement", "repair", "verify"]
        return {"recipe": "lesion", "stage": "lesion", "with_masks": True, "stages_not_attacked": left_out}

    return gather(stage, usable, split, asked, denoiser=denoiser, bring=bring, facts=facts)
