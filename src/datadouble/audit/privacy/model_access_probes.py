"""What an attacker who holds a generator's weights measures on a picture: errors of the denoiser at a few times.

Each probe is a table (pictures, times); lower values mean that the network knows the picture better.

- `loss`: denoising loss with the class, over fixed noise that is the same for all pictures (Matsumoto et al. 2023,
  arXiv:2302.03262; Carlini et al. 2023, arXiv:2301.13188, section 5).
- `unconditional`: the same without the class (for CLiD, Zhai et al. 2024, arXiv:2405.14800).
- `reference`: the same by another network that saw the picture less (for Watson et al. 2022, arXiv:2111.08440).
- `pia`: proximal initialisation (Kong et al. 2024, arXiv:2305.18355): the network's own noise for the clean picture is
  put back in and must come out again. `pian`: the same with that noise brought to a normal's mean magnitude.
- `secmi`: error of one step there and back on the deterministic path (Duan et al. 2023, arXiv:2302.01316, t-error),
  with the probes' times as its steps, which are longer than the paper's.
- `gradient`: norm of the loss's gradient in the weights (after GSA, Pang et al. 2025, arXiv:2308.06405); it costs three
  passes or more, so it is measured only where asked for.
"""

from __future__ import annotations

import math
import time as clock
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from datadouble.audit.privacy.model_access_store import PartStore
from datadouble.errors import DataDoubleError
from datadouble.progress import Bar
from datadouble.randomness import torch_generator_for

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KINDS = ("loss", "unconditional", "reference", "pia", "pian", "secmi", "gradient")
LOSSES, PATHS = KINDS[:3], KINDS[3:6]
GRADIENT_COST = 4  # of one picture's gradient, in passes
_VERSION = "1"  # of the probes' definitions: part of the cache's key


@runtime_checkable
class GradientModel(Protocol):
    """What the `gradient` probe asks beside."""

    def gradient_norms(self, noisy: Tensor, time: float, labels: Tensor, noise: Tensor) -> Tensor:
        """Norm (b,) of the gradient of each picture's loss in all weights."""


class DenoisingModel(Protocol):
    """What the attacks ask of a generator's weights. Times run from 0 (clean picture) to 1 (noise alone).

    Attributes
    ----------
    fingerprint : str
        Of weights and of whatever else decides a prediction.
    device : torch.device
    has_unconditional : bool
        Whether `predict_noise` may be asked without classes.
    """

    fingerprint: str
    device: torch.device
    has_unconditional: bool

    def alpha_sigma(self, time: float) -> tuple[float, float]:
        """Share of the picture and of the noise in a noisy picture x_t = alpha x_0 + sigma n."""

    def loss_weight(self, time: float) -> float:
        """Factor from the squared error of the noise to the squared error that training minimised."""

    def predict_noise(self, noisy: Tensor, time: float, labels: Tensor | None) -> Tensor:
        """Noise (b, c, h, w), float32, that the network sees in `noisy` of one time; `labels` (b,) or None."""


@dataclass(frozen=True)
class ProbeSettings:
    """Which probes, and how many passes of the network they may cost.

    Attributes
    ----------
    times : tuple of float
        In (0, 1), rising.
    draws : int
        Noise draws for each time of the three losses.
    start : float
        Time at which the clean picture is shown to the network (PIA's and SecMI's first step).
    kinds : tuple of str
        Of `KINDS`; what the model cannot answer is left out.
    batch : int
        Pictures at a time.
    """

    times: tuple[float, ...] = tuple((i + 0.5) / 8 for i in range(8))
    draws: int = 1
    start: float = 0.02
    kinds: tuple[str, ...] = ("loss", "unconditional", "reference", "pia", "secmi")
    batch: int = 32

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip((self.start, *self.times), (*self.times, 1.0)))
        if not (self.times and rising and self.start > 0 and self.draws >= 1 and self.batch >= 1):
            raise DataDoubleError(
                "times must rise from start to below 1, and draws and batch be at least 1",
                where="ProbeSettings",
                found=f"start {self.start}, times {self.times}, draws {self.draws}, batch {self.batch}",
            )
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown or "loss" not in self.kinds:
            raise DataDoubleError(
                "probes are 'loss' and some of the others",
                where="ProbeSettings",
                found=", ".join(unknown) or "no loss",
                remedy=f"choose from {', '.join(KINDS)}",
            )

    def passes(self, kinds: tuple[str, ...]) -> int:
        """Passes of the network for one picture."""
        losses = sum(kind in kinds for kind in LOSSES) * self.draws + GRADIENT_COST * ("gradient" in kinds)
        paths = sum(kind in kinds for kind in PATHS)
        return (losses + paths) * len(self.times) + (paths > 0)


@dataclass(frozen=True)
class Probes:
    """Errors of the denoiser: ``values[kind]`` is float64 (n, times)."""

    times: tuple[float, ...]
    values: dict[str, np.ndarray]


def run_probes(
    model: DenoisingModel,
    latents: np.ndarray,
    labels: np.ndarray,
    *,
    reference: DenoisingModel | None = None,
    settings: ProbeSettings | None = None,
    seed: int = 0,
    cache_dir: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Probes:
    """Measure all probes on all pictures, or go on where an earlier call was cut off.

    Parameters
    ----------
    latents : ndarray
        Float (n, c, h, w), scaled as the network was trained.
    labels : ndarray
        Class indices (n,).
    reference : DenoisingModel, optional
        Judges how hard a picture is by itself: an early checkpoint, or a network trained on other pictures.
    cache_dir : Path, optional
        Each batch's figures are kept here.
    say : callable, optional
        Gets one line about the cost before the work starts.

    Raises
    ------
    DataDoubleError
        When a figure is no number.
    """
    settings = settings or ProbeSettings()
    kinds = tuple(
        kind
        for kind in settings.kinds
        if not (kind == "unconditional" and not model.has_unconditional)
        and not (kind == "reference" and reference is None)
        and not (kind == "gradient" and not isinstance(model, GradientModel))
    )
    n, width = len(latents), len(settings.times)
    starts = range(0, n, settings.batch)
    store = PartStore(
        cache_dir,
        _VERSION,
        model.fingerprint,
        reference.fingerprint if reference is not None and "reference" in kinds else "",
        repr((sorted(asdict(settings).items()), kinds, seed)),
        pictures=latents,
        labels=labels,
    )
    missing = [start for start in starts if not store.has(start)]
    if missing and say is not None:
        seconds = _seconds_a_pass(model, latents, labels, settings) * settings.passes(kinds) * len(missing)
        say(
            f"model access: {n} pictures, {settings.passes(kinds)} passes of the network each "
            f"({', '.join(kinds)} at {width} times): about {seconds / 60:.1f} minutes for what is missing"
        )
    parts = []
    with Bar("probing the weights", n, n - sum(min(settings.batch, n - s) for s in missing)) as bar:
        for start in starts:
            part = store.load(start)
            if part is None:
                rows = slice(start, min(start + settings.batch, n))
                part = _probe(model, reference, latents[rows], labels[rows], settings, kinds, seed)
                if not np.isfinite(part).all():
                    raise DataDoubleError(
                        "the network's errors are no numbers",
                        where="model access",
                        found=f"among the pictures {rows.start} to {rows.stop - 1}",
                    )
                store.save(start, part)
                bar.advance(len(part))
            parts.append(part)
    table = np.concatenate(parts).astype(np.float64)
    return Probes(settings.times, {kind: table[:, i] for i, kind in enumerate(kinds)})


def _probe(
    model: DenoisingModel,
    reference: DenoisingModel | None,
    latents: np.ndarray,
    labels: np.ndarray,
    settings: ProbeSettings,
    kinds: tuple[str, ...],
    seed: int,
) -> np.ndarray:
    """Errors (b, kinds, times) of one batch."""
    import torch

    clean = torch.from_numpy(np.asarray(latents, dtype=np.float32)).to(model.device)
    classes = torch.from_numpy(np.asarray(labels, dtype=np.int64)).to(model.device)
    askers: dict[str, tuple[DenoisingModel, Tensor | None]] = {
        "loss": (model, classes),
        "unconditional": (model, None),
    }
    if reference is not None:
        askers["reference"] = (reference, classes)
    out = np.empty((len(clean), len(kinds), len(settings.times)), dtype=np.float32)
    with torch.no_grad():
        for column, time in enumerate(settings.times):
            alpha, sigma = model.alpha_sigma(time)
            totals = {kind: torch.zeros(len(clean), device=model.device) for kind in kinds if kind in askers}
            for draw in range(settings.draws):
                noise = _noise(clean, seed, column, draw)
                noisy = alpha * clean + sigma * noise
                for kind, total in totals.items():
                    asked, given = askers[kind]
                    total += ((asked.predict_noise(noisy, time, given) - noise) ** 2).flatten(1).mean(1)
            for kind, total in totals.items():
                mean = total * (askers[kind][0].loss_weight(time) / settings.draws)
                out[:, kinds.index(kind), column] = mean.cpu().numpy()
            if "gradient" in kinds:
                assert isinstance(model, GradientModel)
                noise = _noise(clean, seed, column, 0)
                norms = model.gradient_norms(alpha * clean + sigma * noise, time, classes, noise)
                out[:, kinds.index("gradient"), column] = norms.cpu().numpy()
        if set(kinds) & set(PATHS):
            first = model.predict_noise(clean, settings.start, classes)
            for kind in set(kinds) & {"pia", "pian"}:
                out[:, kinds.index(kind)] = _proximal(model, clean, classes, first, settings, kind == "pian")
            if "secmi" in kinds:
                out[:, kinds.index("secmi")] = _stepwise(model, clean, classes, first, settings)
    return out


def _noise(clean: Tensor, seed: int, column: int, draw: int) -> Tensor:
    """The noise (1, c, h, w) of one time and draw: the same for every picture."""
    import torch

    random = torch_generator_for(seed, "model access", column, draw)
    return torch.randn(clean.shape[1:], generator=random).to(clean.device)[None]


def _proximal(
    model: DenoisingModel,
    clean: Tensor,
    classes: Tensor,
    first: Tensor,
    settings: ProbeSettings,
    normal: bool,
) -> np.ndarray:
    """|| e(alpha x_0 + sigma e_0, t) - e_0 ||_4 with e_0 = e(x_0, start), as a mean over dimensions: (b, times)."""
    if normal:  # mean |e| of a standard normal is sqrt(2 / pi)
        magnitude = first.abs().flatten(1).mean(1).clamp_min(1e-12).view(-1, 1, 1, 1)
        first = first / magnitude * math.sqrt(2 / math.pi)
    columns = []
    for time in settings.times:
        alpha, sigma = model.alpha_sigma(time)
        difference = model.predict_noise(alpha * clean + sigma * first, time, classes) - first
        columns.append((difference**4).flatten(1).mean(1) ** 0.25)
    return _stack(columns)


def _stepwise(
    model: DenoisingModel, clean: Tensor, classes: Tensor, first: Tensor, settings: ProbeSettings
) -> np.ndarray:
    """|| there and back - here ||^2 on the deterministic (DDIM) path through the times: (b, times)."""
    columns, here, noise = [], clean, first
    alpha, sigma = model.alpha_sigma(settings.start)
    for time in settings.times:
        next_alpha, next_sigma = model.alpha_sigma(time)
        there = next_alpha * (here - sigma * noise) / alpha + next_sigma * noise
        next_noise = model.predict_noise(there, time, classes)
        back = alpha * (there - next_sigma * next_noise) / next_alpha + sigma * next_noise
        columns.append(((back - here) ** 2).flatten(1).mean(1))
        here, noise, alpha, sigma = there, next_noise, next_alpha, next_sigma
    return _stack(columns)


def _stack(columns: list[Tensor]) -> np.ndarray:
    import torch

    return torch.stack(columns, dim=1).cpu().numpy()


def _seconds_a_pass(
    model: DenoisingModel, latents: np.ndarray, labels: np.ndarray, settings: ProbeSettings
) -> float:
    """Seconds that one batch takes to go through the network."""
    import torch

    clean = torch.from_numpy(np.asarray(latents[: settings.batch], dtype=np.float32)).to(model.device)
    classes = torch.from_numpy(np.asarray(labels[: settings.batch], dtype=np.int64)).to(model.device)
    seconds = 0.0
    with torch.no_grad():
        for _ in range(2):  # the first one warms up
            started = clock.perf_counter()
            model.predict_noise(clean, settings.times[0], classes).sum().item()
            seconds = clock.perf_counter() - started
    return seconds
