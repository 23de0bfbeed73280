"""Putting the stages of a trained run together."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError, suggest
from datadouble.recipes.drawing import config_of, with_changes
from datadouble.recipes.lesion.backgrounds import Backgrounds, read_backgrounds, refuse_without
from datadouble.recipes.lesion.config import LesionConfig
from datadouble.recipes.lesion.generator import Drawer, LesionGenerator
from datadouble.recipes.lesion.lesion_drawer import LesionDrawer, SamplingOptions, refuse_checkpoint
from datadouble.recipes.lesion.placement_stage import Placer
from datadouble.recipes.lesion.repair_stage import Repairer
from datadouble.recipes.lesion.run_facts import RunFacts
from datadouble.recipes.lesion.stable_diffusion_stage import StableDiffusionDrawer
from datadouble.recipes.lesion.verify import Checker
from datadouble.training.processes import start_processes

SKIPPABLE = ("placement", "repair", "verify")


def load_generator(
    run: Path,
    *,
    checkpoint: str = "best",
    steps: int = 0,
    guidance_weight: float | None = None,
    sampler: str = "",
    autoguidance: bool = False,
    backgrounds: Path | None = None,
    without: Sequence[str] = (),
) -> LesionGenerator:
    """Load a trained run; zeros and empty values stand for the run's own settings.

    Parameters
    ----------
    backgrounds
        Cohort with healthy scans.
    without
        Stages to leave out, of `SKIPPABLE`: the ablations. Without placement a lesion lies where the class's training
        lesions lie.

    Raises
    ------
    DataDoubleError
        When the run is not finished, no backgrounds are given, or they do not fit.
    """
    refuse_checkpoint(checkpoint)
    if autoguidance:
        raise DataDoubleError(
            "recipe lesion has no weak network to guide against",
            where="--autoguidance",
            remedy="leave it out",
        )
    unknown = [stage for stage in without if stage not in SKIPPABLE]
    if unknown:
        raise DataDoubleError(
            f"'{unknown[0]}' cannot be left out",
            where="--without",
            remedy=suggest(unknown[0], list(SKIPPABLE)),
        )
    config, run_facts = config_of(run, LesionConfig), RunFacts.load(run)
    if backgrounds is None:
        refuse_without(run_facts.healthy)
    device = start_processes().device
    sampling = with_changes(
        sampling_of(config), steps=steps, guidance_weight=guidance_weight, sampler=sampler
    )
    config = replace(config, sampling=sampling)
    drawer = load_drawer(config, run, device)
    scans = read_backgrounds(
        Cohort.open(backgrounds),
        healthy=run_facts.healthy,
        size=config.data.size,
        modality=run_facts.modality,
    )
    return assemble(config, run, run_facts, drawer, scans, device, without)


def sampling_of(config: LesionConfig) -> SamplingOptions:
    """Return how patches are drawn: ``[sampling]``, or what ``[stable_diffusion]`` says where that draws them."""
    theirs = config.stable_diffusion
    if not theirs.folder:
        return config.sampling
    return SamplingOptions(
        sampler=theirs.sampler,
        steps=theirs.steps,
        guidance_weight=theirs.guidance_weight,
        batch=config.sampling.batch,
        precision="fp32",
    )


def load_drawer(config: LesionConfig, run: Path, device: torch.device) -> Drawer:
    """Load stage 1: ours, or Stable Diffusion where the run has a folder of it; drawn as `config.sampling` says."""
    if config.stable_diffusion.folder:
        return StableDiffusionDrawer.load(run / "lesion", device, config.sampling)
    return LesionDrawer.load(run / "lesion", device, config.sampling)


def assemble(
    config: LesionConfig,
    run: Path,
    run_facts: RunFacts,
    drawer: Drawer,
    scans: Backgrounds,
    device: torch.device,
    without: Sequence[str] = (),
) -> LesionGenerator:
    """Load the stages that were trained and are wanted, and put them together."""
    stages = config.data.stages

    def wanted(stage: str) -> bool:
        return stage in stages and stage not in without

    return LesionGenerator(
        config,
        run_facts,
        scans,
        drawer,
        Placer.load(run / "placement", device) if wanted("placement") else None,
        Repairer.load(run / "repair", device) if wanted("repair") else None,
        Checker.load(run / "verify", device) if wanted("verify") else None,
        skipped=tuple(without),
    )
