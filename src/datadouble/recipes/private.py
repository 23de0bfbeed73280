"""What a run under differential privacy takes from the pictures besides gradients, and says of it.

The same for every recipe that learns to remove noise: `check_private` before anything is written, `open_private` once
the run's folder is there, `prepare_network` on the new network, `PrivateTrainer` in place of `Trainer`.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from datadouble import files
from datadouble.encoders import seen_images
from datadouble.errors import DataDoubleError
from datadouble.recipes.runs import Material
from datadouble.training.latents import LatentScale
from datadouble.training.loop import TrainingOptions
from datadouble.training.privacy.options import PrivacyOptions, PrivacyPlan, make_plan
from datadouble.training.privacy.released import (
    FEW,
    choose_trainable,
    private_shares,
    public_scale,
    start_weights,
)
from datadouble.training.privacy.sampling import patients_of
from datadouble.training.privacy.trainer import open_plan


class Private(NamedTuple):
    """A private run's budget, and what it uses in place of what others measure on the training images.

    Attributes
    ----------
    scale : LatentScale or None
        Of the latents; None where there is no encoder.
    shares : tuple of float
        Of the classes.
    facts : dict
        For `model.json`, `provenance.json` and every double's `cohort.json`.
    """

    plan: PrivacyPlan
    secret: int
    scale: LatentScale | None
    shares: tuple[float, ...]
    facts: dict[str, Any]


def check_private(
    options: PrivacyOptions,
    training: TrainingOptions,
    material: Material,
    *,
    encoder: str = "",
    dry_run: bool = False,
    say: Callable[[str], None],
) -> None:
    """Refuse what no budget covers, before anything is written; say the plan in a dry run.

    Parameters
    ----------
    encoder
        Name of the autoencoder; empty where the recipe has none.

    Raises
    ------
    DataDoubleError
        For options of ``[privacy]`` without an epsilon, an encoder that has learned from these patients, or a network
        of which little is trained and that has learned nothing before.
    """
    if not options.epsilon:
        if options != PrivacyOptions():
            raise DataDoubleError(
                "[privacy] is set, and privacy.epsilon is 0: the run would not be private",
                where="privacy.epsilon",
                remedy="set privacy.epsilon, such as 8, or leave [privacy] out",
            )
        return
    if encoder:
        public_scale(encoder, material.train.info.modality)
    if options.trainable != "full" and not options.start:
        raise DataDoubleError(
            "what is not trained would keep its random initial weights",
            where="privacy.trainable",
            found=options.trainable,
            remedy="set privacy.start to a run trained on public or simulated scans, or train in full",
        )
    seen = _seen(encoder, material)
    if seen and not options.accept_encoder:
        raise DataDoubleError(
            "the encoder was trained on some of these pictures, which no budget covers",
            where="data.encoder",
            found=f"{encoder}, {seen} of {len(material.train)} training pictures",
            remedy="use pixels or kl, leave those pictures out, or set privacy.accept_encoder=true to declare it",
        )
    if dry_run or options.epsilon < 0:
        say(_in_words(make_plan(options, training.images, patients_of(material.train.table))))


def open_private(
    options: PrivacyOptions,
    training: TrainingOptions,
    material: Material,
    run: Path,
    *,
    encoder: str = "",
    declared: Sequence[str] = (),
    say: Callable[[str], None],
) -> Private:
    """Return the run's budget and substitutes, and write its facts into `provenance.json`.

    Parameters
    ----------
    declared
        What else the recipe takes from the pictures, a sentence each.
    """
    patients = patients_of(material.train.table)
    plan, secret = open_plan(run, options, training.images, patients)
    say(_in_words(plan))
    labels = material.label_indices(material.train)
    shares = private_shares(labels, patients, len(material.classes), options.shares_epsilon, secret)
    scale = public_scale(encoder, material.train.info.modality) if encoder else None
    facts = plan.facts([*_declared(options, encoder, material), *declared])
    noted = json.loads((run / "provenance.json").read_text())
    if noted.get("privacy") != facts:
        files.write_json(run / "provenance.json", noted | {"privacy": facts})
    return Private(plan, secret, scale, shares, facts)


def prepare_network(
    network: nn.Module,
    options: PrivacyOptions,
    material: Material,
    generator: torch.Generator,
    *,
    whole: Sequence[str] = FEW,
) -> nn.Module:
    """Load the weights to start from and freeze what is not trained, in place; return the network.

    `whole` names the modules that are trained whole when few parameters are: see `choose_trainable`.
    """
    if options.start:
        start_weights(network, options.start, material.train.info.name)
    choose_trainable(network, options.trainable, options.rank, whole=whole, generator=generator)
    return network


def _seen(encoder: str, material: Material) -> int:
    """Return how many training pictures the shipped encoders were trained on."""
    return len(seen_images(material.train)) if encoder.startswith("tiny") else 0


def _declared(options: PrivacyOptions, encoder: str, material: Material) -> list[str]:
    lines, seen = [], _seen(encoder, material)
    if options.shares_epsilon:
        lines.append(f"class shares: Laplace noise, {options.shares_epsilon:g} of epsilon")
    else:
        lines.append("class shares: not taken from the cohort, all alike")
    if encoder:
        lines.append("latent scale: a constant of the encoder, from simulated scans or published with it")
        if seen:
            lines.append(f"not covered: the encoder {encoder} was trained on {seen} of the training pictures")
        else:
            lines.append(f"encoder {encoder}: trained on none of the training pictures, as far as is known")
    if options.start:
        lines.append(
            f"initial weights: the run '{Path(options.start).name}', declared to be from public data"
        )
    return [*lines, *(f"declared: {line}" for line in options.declared)]


def _in_words(plan: PrivacyPlan) -> str:
    return (
        f"private by patient: epsilon {plan.epsilon:.3f} at delta {plan.delta:.1e} (dp-accounting: "
        f"{plan.epsilon_checked + plan.epsilon_shares:.3f}), noise multiplier {plan.noise_multiplier:.3f}, "
        f"{plan.steps:,} steps of {plan.patients_per_step} of {plan.patients} patients"
    )
