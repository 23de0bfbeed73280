"""DiffGuard's weights as an attacker sees them: its checkpoints as denoisers, the run's pictures with coded masks.

The attacker is taken to hold the mask of a candidate beside its picture: the stronger of two, as the network saw both.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from torch import nn

from datadouble import files
from datadouble.cohort import Cohort
from datadouble.diffusion.mask_codes import make_mask_code
from datadouble.recipes.attack import Asked, AttackMaterial, People
from datadouble.recipes.attack_material import gather, split_of
from datadouble.recipes.denoiser import Denoiser
from datadouble.recipes.diffguard_generator import DiffguardModel, load_network, objective_for
from datadouble.recipes.drawing import config_of
from datadouble.recipes.runs import without_masks
from datadouble.training.pixels import PixelStore
from datadouble.training.processes import start_processes

_CHUNK = 64


def denoiser_of(
    model: DiffguardModel,
    network: nn.Module,
    device: torch.device,
    *,
    fingerprint: str = "",
    precision: str = "bf16",
) -> Denoiser:
    """Return a DiffGuard network as a denoiser; one that reads classes from masks is never given one."""
    return Denoiser(
        network,
        objective_for(model.diffusion),
        device,
        null_label=model.network.null_label,
        class_dropout=1.0 if model.mask_labels else float(model.diffusion["class_dropout"]),
        fingerprint=fingerprint,
        precision=precision,
    )


def coded(store: PixelStore, mask_code: str, folder: Path) -> np.ndarray:
    """Return pictures and coded masks (n, c, s, s) float32 in [-1, 1] as trained on, mapped from a file in `folder`."""
    path = folder / f"coded-{files.fingerprint(store.key, mask_code)}.npy"
    if not path.is_file():
        code = make_mask_code(mask_code, len(store.classes))
        part = path.with_suffix(".part")
        shape = (len(store), 1 + code.channels, store.size, store.size)
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=shape)
        for start in range(0, len(store), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(store)))
            images, masks = store.batch(rows)
            array[rows] = torch.cat([images, code.encode(masks)], dim=1).numpy()
        array.flush()
        del array
        os.replace(part, path)
    return np.load(path, mmap_mode="c", allow_pickle=False)  # writable in memory only


def attack_material(run: Path, real: Cohort, asked: Asked) -> AttackMaterial:
    """Load a run's weights, its pictures and their masks; see `datadouble.recipes.attack.attack_run`."""
    from datadouble.recipes.diffguard import DiffguardConfig

    config = config_of(run, DiffguardConfig)
    model = DiffguardModel.load(run / "model")
    split = split_of(run, real, model.classes, config.data.validation_share, config.training.seed)
    device, bare = start_processes().device, without_masks(split)

    def denoiser(path: Path) -> tuple[Denoiser, str]:
        network, weights = load_network(model, path)
        precision = config.training.precision
        return denoiser_of(model, network, device, fingerprint=weights, precision=precision), weights

    def bring(cohort: Cohort, name: str) -> np.ndarray:
        folder = asked.cache / f"pixels{'-' * bool(name)}{name}"
        store = PixelStore.build(cohort, model.size, folder, structure=model.structure, without_lesion=bare)
        return coded(store, model.mask_code, folder)

    def facts(_: People) -> dict[str, object]:
        return {"recipe": "diffguard", "with_masks": True, "knows_classes": not model.mask_labels}

    return gather(run, real, split, asked, denoiser=denoiser, bring=bring, facts=facts)
