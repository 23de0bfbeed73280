"""What a private run is told, and what follows from it: noise, steps, budget."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from datadouble.errors import DataDoubleError, suggest
from datadouble.training.privacy.accounting import (
    default_delta,
    epsilon_by_pld,
    epsilon_of,
    noise_multiplier_for,
)
from datadouble.training.privacy.sampling import rows_by_patient

TRAINABLE = ("full", "lora", "few")

# True of every private run, and said in its facts.
ALWAYS_DECLARED = (
    "protected: whether one patient, with all of the patient's pictures, was in the training set",
    "taken as public: the number of patients, the list of classes, the split, which pictures are duplicates, the "
    "check that each class has enough pictures",
    "not covered: choices made by looking at this cohort (hyperparameters, filters of the double, the decision to "
    "stop); list them in privacy.declared",
    "not covered, stays inside: the run folder's cache, state and samples (training losses, nearest pictures)",
    "checkpoint: the last one; validation patients choose nothing",
    "noise: a counter- or Mersenne-type generator seeded with 128 secret bits; not hardened against attacks on "
    "floating-point arithmetic",
)


@dataclass(frozen=True)
class PrivacyOptions:
    """Section ``[privacy]``: differential privacy, one record a patient."""

    epsilon: float = 0.0  # of all that is taken from the pictures together; 0: no differential privacy
    delta: float = 0.0  # 0: 1 / (10 x patients)
    clip: float = 1.0  # greatest norm of a patient's gradient
    patients_per_step: int = 64  # expected; each patient is taken with the same chance, on its own
    images_per_patient: int = 1  # of a patient that is taken; their mean is its one gradient
    draws: int = 4  # noise draws of each picture before clipping (Dockhorn et al. 2022): no cost in privacy
    trainable: str = "full"  # or "lora", "few": the rest as in `start`
    rank: int = 8  # of lora
    start: str = ""  # run, trained on public data, whose weights training begins with
    shares_epsilon: float = 0.1  # part of epsilon spent on the classes' shares; 0: all classes alike
    accept_encoder: bool = False  # use an encoder that has seen some of the patients, and declare it
    declared: tuple[str, ...] = ()  # whatever else was taken from the cohort, in words


@dataclass(frozen=True)
class PrivacyPlan:
    """What a private run will do and spend; all of it may be known.

    Attributes
    ----------
    epsilon : float
        Spent when the run has ended: training (PRV accountant) and class shares added up.
    epsilon_checked : float
        The training's part by dp-accounting, the independent check.
    """

    epsilon: float
    delta: float
    epsilon_training: float
    epsilon_checked: float
    epsilon_shares: float
    noise_multiplier: float
    sample_rate: float
    steps: int
    patients: int
    patients_per_step: int
    images_per_patient: int
    draws: int
    clip: float
    trainable: str
    rank: int

    @property
    def images_per_step(self) -> int:
        """Return by how much the clock of images seen moves: the expected pictures of a step, draws not counted."""
        return self.patients_per_step * self.images_per_patient

    def spent(self, steps: int) -> float:
        """Return the epsilon spent after `steps` steps, class shares included."""
        spent = epsilon_of(self.noise_multiplier, self.delta, sample_rate=self.sample_rate, steps=steps)
        return self.epsilon_shares + spent

    def facts(self, declared: Sequence[str] = ()) -> dict[str, Any]:
        """Return what the run's model, and every double drawn with it, says of its privacy; JSON values."""
        values = {key: round(v, 10) if isinstance(v, float) else v for key, v in asdict(self).items()}
        return {
            "unit": "patient",
            "accountant": "prv",
            "mechanism": "Poisson-sampled Gaussian (DP-SGD)",
            **values,
            "declared": [*ALWAYS_DECLARED, *declared],
        }


def make_plan(options: PrivacyOptions, images: int, patients: Sequence[str] | np.ndarray) -> PrivacyPlan:
    """Return the plan of a run that sees `images` images of the training rows' `patients`.

    Raises
    ------
    DataDoubleError
        When an option is out of range, or no noise can reach the epsilon.
    """
    count = len(rows_by_patient(patients))
    delta = options.delta or default_delta(count)
    _check(options, delta, count)
    left = options.epsilon - options.shares_epsilon
    steps = -(-images // (options.patients_per_step * options.images_per_patient))
    rate = options.patients_per_step / count
    noise = noise_multiplier_for(left, delta, sample_rate=rate, steps=steps)
    spent = epsilon_of(noise, delta, sample_rate=rate, steps=steps)
    checked = epsilon_by_pld(noise, delta, sample_rate=rate, steps=steps)
    if abs(checked - spent) > max(0.01 * spent, 0.012):
        raise DataDoubleError(
            "two accountants disagree about epsilon",
            where="privacy",
            found=f"{spent:.4f} (Opacus, PRV) and {checked:.4f} (dp-accounting)",
            remedy="report it; do not train with either figure",
        )
    return PrivacyPlan(
        epsilon=spent + options.shares_epsilon,
        delta=delta,
        epsilon_training=spent,
        epsilon_checked=checked,
        epsilon_shares=options.shares_epsilon,
        noise_multiplier=noise,
        sample_rate=rate,
        steps=steps,
        patients=count,
        patients_per_step=options.patients_per_step,
        images_per_patient=options.images_per_patient,
        draws=options.draws,
        clip=options.clip,
        trainable=options.trainable,
        rank=options.rank if options.trainable == "lora" else 0,
    )


def _check(options: PrivacyOptions, delta: float, patients: int) -> None:
    if options.trainable not in TRAINABLE:
        raise DataDoubleError(
            "unknown choice of parameters to train",
            where="privacy.trainable",
            found=options.trainable,
            remedy=suggest(options.trainable, list(TRAINABLE)),
        )
    if options.clip <= 0:
        raise DataDoubleError(
            "the clipping norm must be positive", where="privacy.clip", found=f"{options.clip:g}"
        )
    if not 1 <= options.patients_per_step <= patients:
        raise DataDoubleError(
            "a step cannot take that many patients",
            where="privacy.patients_per_step",
            found=f"{options.patients_per_step} of {patients}",
            remedy=f"from 1 to {patients}; a tenth of the patients or fewer protects better",
        )
    if min(options.images_per_patient, options.draws) < 1:
        raise DataDoubleError(
            "images_per_patient and draws must be positive",
            where="privacy",
            found=f"{options.images_per_patient}, {options.draws}",
        )
    if not 0 < delta < 1 / patients:
        raise DataDoubleError(
            "delta must be positive and smaller than 1 / patients: else one patient may be published whole",
            where="privacy.delta",
            found=f"{delta:g} for {patients} patients",
            remedy=f"use {default_delta(patients):.1e}, or 0 for just that",
        )
    if not 0 <= options.shares_epsilon < options.epsilon:
        raise DataDoubleError(
            "no noise can reach this epsilon: the class shares take all of it",
            where="privacy.epsilon",
            found=f"{options.epsilon:g}, of which {options.shares_epsilon:g} for shares",
            remedy="raise privacy.epsilon, or lower privacy.shares_epsilon",
        )
