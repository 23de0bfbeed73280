"""Stage 3: inpainting diffusion redraws the seam between a lesion and the scan that it was put into.

Two trainings with the one loop. `base` learns to fill random bands and blobs in all pictures of the train split,
healthy ones and lesions; `seam` learns from composites, with low-rank adapters beside the frozen base (rank 0: all
weights, the ablation). Each is a sub-run of ``RUN/repair/`` and goes on where it was cut off.

What differs from the paper's code, which repairs latents of Stable Diffusion at 512 px: pixels, for at 64 px crops an
autoencoder of factor 8 would leave 8 x 8 places and could not keep a band two pixels wide; one picture as channels
with the lesion's mask beside the band, so that the border stays where the mask says; and the targets (see `seams`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from datadouble import files
from datadouble.networks.weights import load_tensors
from datadouble.randomness import torch_generator_for
from datadouble.recipes.lesion.adapters import AdapterFacts, adapter_folder, is_saved, save_adapter
from datadouble.recipes.lesion.material import LesionMaterial
from datadouble.recipes.lesion.repair_options import (
    RepairOptions,
    build_repair_unet,
    build_seam_network,
    check_repair,
)
from datadouble.recipes.lesion.repair_task import RepairTask, make_objective
from datadouble.recipes.lesion.repairer import SEAM, Repaired, Repairer, load_repair_network
from datadouble.training.loop import Trainer
from datadouble.training.processes import start_processes

if TYPE_CHECKING:
    from datadouble.recipes.lesion.config import LesionConfig

__all__ = ["RepairOptions", "Repaired", "Repairer", "check_repair", "fit_repair", "load_repair_network"]

PHASES = ("base", SEAM)


def fit_repair(
    config: LesionConfig, material: LesionMaterial, folder: Path, say: Callable[[str], None]
) -> None:
    """Train base and seam in `folder`, or go on where an earlier call was cut off.

    Raises
    ------
    DataDoubleError
        On settings that do not fit, or LoRA targets that the network has not (it says which there are).
    """
    options = config.repair
    check_repair(options, config.data.size)
    processes = start_processes()
    facts = {
        "size": config.data.size,
        "classes": list(material.classes),
        "options": asdict(options),
    }
    if options.lora_rank:  # wrong targets are refused before hours of training, not after
        build_seam_network(
            build_repair_unet(options, len(material.classes)), options.lora_rank, options.lora_targets
        )
    if processes.is_main:
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / "model.json", facts)
    processes.wait()
    for phase in PHASES:
        network = build_repair_unet(options, len(material.classes))
        if phase == "seam":
            weights, _ = load_tensors(folder / "base" / "model" / "last.safetensors")
            network.load_state_dict(weights)
            if options.lora_rank:
                random = torch_generator_for(options.seed, "repair-adapter")
                network = build_seam_network(network, options.lora_rank, options.lora_targets, random)
        run = folder / phase
        if processes.is_main:
            run.mkdir(exist_ok=True)
        processes.wait()
        task = RepairTask(
            network,
            material,
            phase=phase,
            side=options.side,
            objective=make_objective(options.objective, options.gamma),
            seams=options.seams(),
            bands=options.bands(),
            sampler=options.sampler,
            steps=options.steps,
            seed=options.seed,
            device=processes.device,
            folder=run,
        )
        training = options.training(phase)
        trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
        say(f"repair, {phase}: {trained:,} trained parameters, {training.images:,} crops to see")
        Trainer(task, training, run, processes).train()
    if processes.is_main:
        _keep_adapter(folder, options, len(material.classes), task.dataset_size())
    processes.wait()


def _keep_adapter(folder: Path, options: RepairOptions, classes: int, composites_of: int) -> None:
    """Keep what was learned from composites apart from the base, unless it is kept already."""
    place = adapter_folder(folder, SEAM)
    if is_saved(place):
        return
    network = build_repair_unet(options, classes)
    if options.lora_rank:
        network = build_seam_network(network, options.lora_rank, options.lora_targets)
    weights, facts = load_tensors(folder / "seam" / "model" / "last.safetensors")
    kept = AdapterFacts(
        name=SEAM,
        stage="repair",
        base=files.fingerprint((folder / "base" / "model" / "last.safetensors").read_bytes()),
        kind="lora" if options.lora_rank else "full",
        rank=options.lora_rank,
        scaling=1.0,
        targets=options.lora_targets,
        parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
        notes={"lesions": composites_of, "composites_seen": facts["images_seen"]},
    )
    save_adapter(place, kept, network, weights)
