"""A segmenter under differential privacy: the compound scheme, and the private baseline on real pictures.

In the compound scheme (Zhou et al., npj Digit Med 2024) it trains on a double, whose every picture is a record of its
own; on real pictures one record is one patient. Poisson sampling of patients takes the place of the settings' batch
and of their share with a lesion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from datadouble.audit.utility.segmenter_augment import AUGMENTATIONS, augment
from datadouble.audit.utility.segmenter_inputs import Levels, to_grey
from datadouble.audit.utility.segmenter_losses import dice_ce_by_sample, supervised_by_sample
from datadouble.audit.utility.segmenter_settings import SegmenterSettings
from datadouble.audit.utility.segmenter_steps import make_optimiser, rate_at
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for
from datadouble.training.privacy.options import PrivacyOptions, PrivacyPlan
from datadouble.training.privacy.supervised import PrivateSteps, train_privately


@dataclass(frozen=True)
class PrivateTraining:
    """How a segmenter is trained privately.

    Attributes
    ----------
    options : PrivacyOptions
        Epsilon, delta, clip, patients a step, pictures a patient; the rest is not used.
    patients : ndarray
        Patient of each picture; ``""`` (a double's pictures) is a record of its own.
    secret : int
        Seed of sampling, augmentation and noise; whoever knows it can undo the protection
        (``secrets.randbits(128)``).
    plan : PrivacyPlan, optional
        From ``training.privacy.supervised.supervised_plan``, to share one accounting among trainings.
    """

    options: PrivacyOptions
    patients: np.ndarray
    secret: int
    plan: PrivacyPlan | None = None


def check_private_training(
    settings: SegmenterSettings, dims: int, pictures: int, private: PrivateTraining
) -> None:
    """Refuse what a private training cannot do.

    Raises
    ------
    DataDoubleError
        For volumes, grey levels normalised by the training pictures' own, or patients that do not fit the pictures.
    """
    if dims == 3:
        raise DataDoubleError(
            "a private segmenter trains on pictures", where="segmenter", found="volumes", remedy="use slices"
        )
    if settings.normalise == "ct":
        raise DataDoubleError(
            "grey levels would be normalised by the training lesions' own: not private",
            where="settings.normalise",
            found="ct",
            remedy="use fixed or zscore, which look at one picture at a time",
        )
    if len(private.patients) != pictures:
        raise DataDoubleError(
            "give a patient for each picture",
            where="patients",
            found=f"{len(private.patients)} for {pictures} pictures",
        )


def train_private_segmenter(
    network: nn.Module,
    images: Sequence[np.ndarray] | np.ndarray,
    masks: Sequence[np.ndarray] | np.ndarray,
    levels: Levels,
    settings: SegmenterSettings,
    private: PrivateTraining,
    *,
    scales: Sequence[tuple[tuple[int, ...], float]] = (),
    upright: bool = True,
    step_done: Callable[[], None] | None = None,
) -> PrivateSteps:
    """Train ``network``, without batch norm, in place for the settings' steps.

    Parameters
    ----------
    scales : sequence
        Of a network with scores at several scales, from ``supervised_scales``.

    Raises
    ------
    DataDoubleError
        As ``train_privately``.
    """
    device = next(network.parameters()).device
    how, rng = AUGMENTATIONS[settings.augment], generator_for(private.secret, "augmentation")

    def batch_of(rows: np.ndarray) -> tuple[Tensor, Tensor]:
        pictures = np.stack([levels.apply(to_grey(np.asarray(images[row]))) for row in rows])[:, None]
        truth = np.stack([np.asarray(masks[row]) for row in rows]).astype(np.int64)
        x, y = torch.from_numpy(pictures).to(device), torch.from_numpy(truth).to(device)
        x, y = augment(x, y, how, rng, upright=upright)
        return x.contiguous(), y.long()

    def loss(scores: Tensor, truth: Tensor) -> Tensor:
        if scores.ndim == truth.ndim + 2:
            return supervised_by_sample(scores, truth, scales)
        return dice_ce_by_sample(scores, truth)

    return train_privately(
        network,
        batch_of,
        loss,
        private.patients,
        private.options,
        steps=settings.steps,
        optimiser=make_optimiser(network, settings),
        rate=lambda step: rate_at(settings, step),
        secret=private.secret,
        bf16=settings.precision == "bf16",
        plan=private.plan,
        step_done=step_done,
    )
