"""Training the stages: each is a sub-run with the one loop, alone or after one another."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError, suggest
from datadouble.recipes.config import to_toml
from datadouble.recipes.learning import announce, provenance_of
from datadouble.recipes.lesion.backgrounds import Backgrounds, people_of
from datadouble.recipes.lesion.config import LesionConfig
from datadouble.recipes.lesion.lesion_stage import fit_lesion
from datadouble.recipes.lesion.loading import assemble, load_drawer, sampling_of
from datadouble.recipes.lesion.material import LesionMaterial, read_material
from datadouble.recipes.lesion.placement_stage import fit_placement
from datadouble.recipes.lesion.repair_stage import fit_repair
from datadouble.recipes.lesion.run_facts import RunFacts
from datadouble.recipes.lesion.stable_diffusion_stage import fit_stable_diffusion
from datadouble.recipes.lesion.verify import fit_verify
from datadouble.recipes.runs import begin_run
from datadouble.training.processes import start_processes

STAGES = ("lesion", "placement", "repair", "verify")
_SHEET_SCANS = 24


def check_stages(stages: Sequence[str], where: str) -> None:
    """Refuse stages that do not exist.

    Raises
    ------
    DataDoubleError
    """
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        raise DataDoubleError(
            f"there is no stage '{unknown[0]}'", where=where, remedy=suggest(unknown[0], list(STAGES))
        )


def fit_run(
    config: LesionConfig,
    cohort: Cohort,
    run: Path,
    *,
    dry_run: bool,
    say: Callable[[str], None],
    stages: Sequence[str] = (),
) -> None:
    """Train the stages on `cohort` in the folder `run`; see `datadouble.recipes.fit`.

    Parameters
    ----------
    stages
        Which to train now, of `config.data.stages`; empty for all of them.

    Raises
    ------
    DataDoubleError
        On an unknown stage, or a cohort that lacks masks, lesions or classes.
    """
    check_stages(config.data.stages, "data.stages")
    check_stages(stages, "--stage")
    absent = [stage for stage in stages if stage not in config.data.stages]
    if absent:
        raise DataDoubleError(
            f"the run has no stage '{absent[0]}'",
            where="--stage",
            found=f"data.stages is {', '.join(config.data.stages)}",
            remedy="fit a run with it in data.stages",
        )
    if "lesion" not in config.data.stages:
        raise DataDoubleError(
            "without stage lesion nothing can be drawn", where="data.stages", remedy="put it back"
        )
    material = read_material(cohort, config.data)
    announce(material.chosen, say)
    if not len(material.train.healthy):
        say(
            f"no picture of class '{config.data.healthy}' to learn healthy tissue from: it is learned beside the "
            "lesions, and `generate` needs healthy scans of another cohort"
        )
    processes = start_processes()
    if dry_run:
        say(to_toml(config))
        say_costs(config, material, processes.device, say)
        return
    if processes.is_main:
        begin_run(run, "lesion", config, provenance_of(material.chosen) | {"recipe": "lesion"})
        _run_facts(material).save(run)
    processes.wait()
    for stage in STAGES:
        if stage in config.data.stages and (not stages or stage in stages):
            _fit_stage(stage, config, material, run / stage, say)
    if processes.is_main and not stages and len(material.train.healthy):
        draw_stages_sheet(config, material, run, processes.device)
    processes.wait()


def _fit_stage(
    stage: str, config: LesionConfig, material: LesionMaterial, folder: Path, say: Callable[[str], None]
) -> None:
    if stage == "lesion" and config.stable_diffusion.folder:
        fit_stable_diffusion(config.stable_diffusion, material, folder, config.data.patch, say)
    elif stage == "lesion":
        fit_lesion(config.lesion, config.sampling, config.data, material, folder, say=say)
    elif stage == "placement":
        fit_placement(config.placement, config.data, material, folder, say=say)
    elif stage == "repair":
        fit_repair(config, material, folder, say)
    else:
        fit_verify(config, material, folder, say)


def _run_facts(material: LesionMaterial) -> RunFacts:
    info = material.info
    return RunFacts(
        name=info.name,
        modality=info.modality,
        intensity=info.intensity,
        cohort_classes=info.classes,
        classes=material.classes,
        shares=material.shares,
        healthy=material.healthy,
        mask_classes=info.mask_classes,
        mask_ids=material.mask_ids,
    )


def draw_stages_sheet(
    config: LesionConfig, material: LesionMaterial, run: Path, device: torch.device
) -> None:
    """Write `samples/stages.png`: lesions in healthy training scans, stage by stage."""
    path = run / "samples" / "stages.png"
    if path.is_file():
        return
    rows = material.train.healthy[:_SHEET_SCANS]
    pictures = material.train.take(rows)
    people = people_of(pictures.patients, pictures.ids)
    scans = Backgrounds(pictures.images, pictures.ids, False, material.info.name, people)
    config = replace(config, sampling=sampling_of(config))
    drawer = load_drawer(config, run, device)
    assemble(config, run, _run_facts(material), drawer, scans, device).draw_sheet(path)


def say_costs(
    config: LesionConfig, material: LesionMaterial, device: torch.device, say: Callable[[str], None]
) -> None:
    """Say what stage 1 will take here, measured on a few steps, and how long the others train."""
    import time

    from datadouble.networks.patch_denoiser import PatchDenoiser
    from datadouble.recipes.lesion.lesion_drawer import patch_objective
    from datadouble.recipes.lesion.lesion_stage import network_config

    options = config.lesion
    shape = network_config(options, config.data.patch, len(material.classes))
    network = PatchDenoiser(shape).to(device)
    batch = options.micro_batch or options.batch
    clean = torch.randn(batch, 2, shape.size, shape.size, device=device)
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    told = torch.randn(batch, shape.conditions, device=device)
    diffusion: dict[str, Any] = {
        name: getattr(options, name) for name in ("objective", "schedule", "timesteps", "gamma", "detail_std")
    }
    objective = patch_objective(diffusion)
    started = 0.0
    for step in range(4):
        if step == 1:  # the first one warms up
            started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16"):
            loss = objective.loss(
                lambda x, t, c: network(x, t, c, told),
                clean,
                labels,
                torch.rand(batch, device=device),
                torch.randn_like(clean),
            ).total.mean()
        loss.backward()
        float(loss.detach())
    rate = 3 * batch / (time.perf_counter() - started)
    crops = options.images + options.tune_images * len(material.classes)
    say(
        f"stage lesion: {network.parameter_count():,} parameters, about {rate:.0f} crops a second on this "
        f"{device.type}: {crops / rate / 3600:.1f} hours for {crops:,}"
    )
    say(f"stage placement: {config.placement.images:,} pictures to see")
    say(f"stage repair: {config.repair.images:,} crops to see, and then those of its adapter")
