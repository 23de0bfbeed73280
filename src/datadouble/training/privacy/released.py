"""What else a run would take from private pictures: the latents' scale, the classes' shares, the starting weights."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from datadouble import files
from datadouble.errors import DataDoubleError
from datadouble.networks.lora import add_lora
from datadouble.networks.weights import load_tensors
from datadouble.randomness import generator_for
from datadouble.training.latents import LatentScale
from datadouble.training.privacy.sampling import rows_by_patient

# fmt: off
# Mean and standard deviation of each latent channel, measured on 32 simulated scans of 128 px
# (`python benchmarks/private_training.py scales`); kl: the constant published with the autoencoder, 1 / 0.18215
# (Rombach et al., CVPR 2022).
PUBLIC_SCALES: dict[str, dict[str, LatentScale]] = {
    "ultrasound": {
        "pixels": LatentScale((-0.371,), (0.353,)),
        "tiny-4": LatentScale((-0.246, 0.676, 0.029, 1.208), (0.923, 1.019, 0.779, 1.366)),
        "tiny-16": LatentScale(
            (0.059, -0.131, 0.542, 0.340, 1.929, -0.003, -0.001, -0.002,
             0.236, -0.133, 1.151, 0.414, 0.259, 0.703, -1.083, -0.229),
            (0.582, 0.565, 0.843, 0.788, 1.848, 0.693, 0.512, 0.822,
             0.829, 0.705, 0.834, 0.783, 0.485, 0.808, 0.661, 0.530)),
        "kl": LatentScale((0.0,) * 4, (5.49,) * 4),
    },
    "ct": {
        "pixels": LatentScale((-0.675,), (0.563,)),
        "tiny-4": LatentScale((-0.886, 1.516, 0.299, 2.522), (1.724, 1.386, 1.317, 2.648)),
        "tiny-16": LatentScale(
            (0.291, -0.179, 1.300, -0.276, 3.970, -0.579, -0.331, 0.898,
             -0.296, -0.165, 1.959, 0.930, 0.353, 1.282, -1.517, 0.036),
            (1.255, 0.851, 1.475, 1.420, 2.601, 1.133, 0.990, 1.272,
             1.313, 1.178, 1.384, 1.441, 0.813, 1.494, 1.024, 0.825)),
        "kl": LatentScale((0.0,) * 4, (5.49,) * 4),
    },
}
# fmt: on

FEW = ("modulation", "final", "labels")
"""Modules of a diffusion transformer that are trained whole when few parameters are."""

ADAPTED = ("modulation", "time_emb_proj")
"""Of such modules, those that get adapters with the other linear layers where there are any: they are the largest."""

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def public_scale(encoder: str, modality: str) -> LatentScale:
    """Return the latents' scale that no private picture had a part in: of CT for a modality named so, else of
    ultrasound.

    Raises
    ------
    DataDoubleError
        When there is none for the encoder: one trained on the cohort is itself taken from the pictures.
    """
    scales = PUBLIC_SCALES["ct" if "ct" in modality.lower().replace("-", " ").split() else "ultrasound"]
    if encoder not in scales:
        raise DataDoubleError(
            "an autoencoder trained on the cohort tells of its patients, and no budget covers it",
            where="data.encoder",
            found=encoder,
            remedy="use " + ", ".join(sorted(scales)),
        )
    return scales[encoder]


def private_shares(
    labels: Sequence[int] | np.ndarray,
    patients: Sequence[str] | np.ndarray,
    classes: int,
    epsilon: float,
    secret: int,
) -> tuple[float, ...]:
    """Return each class's share of patients with Laplace noise; all alike for `epsilon` 0.

    A patient counts 1 in all, spread over its pictures' classes: one patient more moves the counts by 1 in L1, so that
    noise of scale 1 / epsilon makes them epsilon-private (Dwork et al., TCC 2006). Shares are at least 1% of an
    equal share.
    """
    if not epsilon:
        return (1 / classes,) * classes
    counts = np.zeros(classes)
    values = np.asarray(labels)
    for rows in rows_by_patient(patients):
        counts += np.bincount(values[rows], minlength=classes) / len(rows)
    counts += generator_for(secret, "shares").laplace(0.0, 1 / epsilon, classes)
    counts = np.maximum(counts, 0)
    shares = counts / counts.sum() if counts.sum() > 0 else np.full(classes, 1 / classes)
    shares = np.maximum(shares, 0.01 / classes)
    return tuple((shares / shares.sum()).round(6).tolist())


def choose_trainable(
    network: nn.Module,
    trainable: str,
    rank: int,
    *,
    whole: Sequence[str] = FEW,
    generator: torch.Generator | None = None,
) -> int:
    """Freeze what is not to be trained, in place; return the number of trained parameters.

    Parameters
    ----------
    trainable
        ``"full"``; ``"lora"``: adapters of `rank` beside the linear layers, and the modules `whole` except
        `ADAPTED`; ``"few"``: every bias, the norms, and the modules `whole`.
    whole
        Names of modules trained whole, where the network has them.
    """
    if trainable == "lora":
        kept = [name for name in whole if name not in ADAPTED]
        add_lora(network, rank, skip=kept, generator=generator)
        _train_whole(network, kept)
    elif trainable == "few":
        network.requires_grad_(False)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.rpartition(".")[2] == "bias")
        _train_whole(network, whole)
        for module in network.modules():
            if isinstance(module, _NORMS):
                module.requires_grad_(True)
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _train_whole(network: nn.Module, names: Sequence[str]) -> None:
    for name, module in network.named_modules():
        if name.rpartition(".")[2] in names:
            module.requires_grad_(True)


def start_weights(network: nn.Module, start: Path | str, cohort: str) -> dict[str, Any]:
    """Load the weights of a run trained on public data into `network`; return what is declared of them.

    A parameter of another shape (the embedding of other classes) keeps its own initial values.

    Raises
    ------
    DataDoubleError
        When the run is not finished, fits another network, or was trained on the very `cohort` (its name).
    """
    run = Path(start)
    path = run / "model" / "last.safetensors"
    if not path.is_file():
        raise DataDoubleError(
            "the run to start from holds no finished model", where="privacy.start", found=run.name
        )
    noted = run / "provenance.json"
    provenance = json.loads(noted.read_text()) if noted.is_file() else {}
    if provenance.get("cohort") == cohort and not provenance.get("privacy"):
        raise DataDoubleError(
            "the run to start from has seen this very cohort, without noise",
            where="privacy.start",
            found=run.name,
            remedy="start from a run on public or simulated scans",
        )
    weights, _ = load_tensors(path)
    own = network.state_dict()
    fitting = {name: w for name, w in weights.items() if name in own and own[name].shape == w.shape}
    other = sorted(set(own) - set(fitting))
    if sum(own[name].numel() for name in other) > 0.05 * sum(value.numel() for value in own.values()):
        raise DataDoubleError(
            "the run to start from has another network",
            where="privacy.start",
            found=f"{len(other)} parameters differ, such as {other[0]}",
            remedy="give both the same [model] and encoder",
        )
    network.load_state_dict(own | fitting)
    return {
        "cohort": str(provenance.get("cohort", "unknown")),
        "weights": files.fingerprint(path.read_bytes()),
        "new": other,
    }
