"""A classifier or segmenter under differential privacy: the compound scheme, and the DP baseline on real pictures.

The network is the preset's, batch norm replaced by group norm (it would mix patients); each sample's loss is its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from datadouble.audit.utility.presets import Preset
from datadouble.audit.utility.training import (
    NOTHING,
    Loss,
    Pool,
    augment,
    build_network,
    choose_device,
    to_input,
)
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for, seed_for
from datadouble.training.privacy.options import PrivacyOptions, PrivacyPlan
from datadouble.training.privacy.per_sample import replace_batch_norm
from datadouble.training.privacy.supervised import PrivateSteps, train_privately


def train_with_privacy(
    preset: Preset,
    inputs: Pool,
    targets: Pool,
    rows: np.ndarray,
    steps: int,
    *,
    loss: Loss,
    patients: np.ndarray,
    privacy: PrivacyOptions,
    seed: int,
    secret: int,
    plan: PrivacyPlan | None = None,
    step_done: Callable[[], None] | None = None,
) -> tuple[nn.Module, PrivateSteps]:
    """Train the preset's network on `rows` with DP-SGD, one record a patient; see `training.train`.

    Parameters
    ----------
    loss
        Of a batch; it is taken of each sample alone.
    patients
        Patient of each of `rows`; ``""`` (a double's pictures) is a record of its own.
    seed, secret
        Of weights and augmentation; and of sampling and noise, which must not become known.
    plan
        From `training.privacy.supervised.supervised_plan`, to share one accounting among trainings.

    Raises
    ------
    DataDoubleError
        For a head, whose mean and spread are taken from the pictures, and as `train_privately`.
    """
    if preset.network == "head":
        raise DataDoubleError(
            "a head standardises features by the training pictures' own mean and spread: not private",
            where="preset",
            found=preset.name,
            remedy="use a preset with a network of its own, such as cpu",
        )
    if len(patients) != len(rows):
        raise DataDoubleError("give a patient for each row", found=f"{len(patients)} for {len(rows)} rows")
    device, bf16 = choose_device(preset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "weights") % 2**32)
        network = replace_batch_norm(build_network(preset, NOTHING)).to(device)
    rng = generator_for(secret, "augmentation")

    def batch_of(chosen: np.ndarray) -> tuple[Tensor, Tensor]:
        x, y = augment(preset, inputs.take(rows[chosen]), targets.take(rows[chosen]), rng)
        return to_input(x, device).contiguous(), torch.from_numpy(y).to(device)

    def sample_loss(scores: Tensor, truth: Tensor) -> Tensor:
        return torch.stack([loss(scores[i : i + 1], truth[i : i + 1]) for i in range(len(scores))])

    def rate(step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * step / steps)) if preset.schedule == "cosine" else 1.0

    optimiser = torch.optim.AdamW(
        network.parameters(), lr=preset.learning_rate, weight_decay=preset.weight_decay
    )
    done = train_privately(
        network,
        batch_of,
        sample_loss,
        patients,
        privacy,
        steps=steps,
        optimiser=optimiser,
        rate=rate,
        secret=secret,
        bf16=bf16,
        plan=plan,
        step_done=step_done,
    )
    return network.eval(), done
