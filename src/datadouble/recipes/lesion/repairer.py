"""Redrawing the seams of composites with a trained repair."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.errors import DataDoubleError
from datadouble.networks.weights import load_tensors
from datadouble.randomness import torch_generator_for
from datadouble.recipes.drawing import noise_from, with_tuples
from datadouble.recipes.lesion.adapters import adapter_folder, is_saved, load_adapter, read_facts
from datadouble.recipes.lesion.bands import generation_band
from datadouble.recipes.lesion.material import HEALTHY
from datadouble.recipes.lesion.repair_options import RepairOptions, build_repair_unet, build_seam_network
from datadouble.recipes.lesion.repair_task import (
    Batch,
    Crop,
    fill_band,
    make_objective,
    to_bytes,
    window_start,
)

SEAM = "seam"  # what is learned from composites: the adapter's name


class HasLesion(Protocol):
    """What the repair needs of a composite: `blending.Composite` has it."""

    @property
    def image(self) -> np.ndarray:
        """uint8 (s, s)."""

    @property
    def mask(self) -> np.ndarray:
        """bool (s, s)."""


class Repaired(NamedTuple):
    """A repaired picture uint8 (s, s), and where it may differ from the composite: bool (s, s)."""

    image: np.ndarray
    band: np.ndarray


def load_repair_network(folder: Path, adapter: str = SEAM) -> tuple[nn.Module, str]:
    """Return the base of a finished training with an adapter beside it, and the fingerprint of both.

    Parameters
    ----------
    adapter
        Its name; empty for the base alone, whose fingerprint is what adapters are tied to.

    Raises
    ------
    DataDoubleError
        When the training is not finished, or the adapter is another base's.
    """
    options, classes, _ = _read_facts(folder)
    path = folder / "base" / "model" / "last.safetensors"
    place = adapter_folder(folder, adapter)
    if not path.is_file() or (adapter and not is_saved(place)):
        raise _unfinished(folder)
    network = build_repair_unet(options, len(classes))
    network.load_state_dict(load_tensors(path)[0])
    base = files.fingerprint(path.read_bytes())
    if not adapter:
        return network, base
    facts = read_facts(place)
    if facts.kind == "lora":
        network = build_seam_network(network, facts.rank, facts.targets)
    load_adapter(network, place, base)
    return network, files.fingerprint(base, (place / "adapter.safetensors").read_bytes())


def _read_facts(folder: Path) -> tuple[RepairOptions, tuple[str, ...], int]:
    """Return options, lesion classes and the pictures' side of a training."""
    path = folder / "model.json"
    if not path.is_file():
        raise _unfinished(folder)
    facts = json.loads(path.read_text())
    return RepairOptions(**with_tuples(facts["options"])), tuple(facts["classes"]), int(facts["size"])


def _unfinished(folder: Path) -> DataDoubleError:
    return DataDoubleError(
        "the training of the repair is not finished",
        where=folder.name,
        remedy="run the same `datadouble fit` again; it goes on",
    )


class Repairer:
    """Redraws the bands of composites; what it draws comes from (seed, label, composite) alone.

    Attributes
    ----------
    options : RepairOptions
    size : int
        Side of the pictures.
    fingerprint : str
        Of the weights.
    """

    def __init__(
        self,
        network: nn.Module,
        options: RepairOptions,
        *,
        size: int,
        classes: Sequence[str],
        device: torch.device,
        fingerprint: str = "",
    ) -> None:
        self.options, self.size, self.fingerprint = options, size, fingerprint
        self.classes = tuple(classes)
        self._network, self._device = network.to(device).eval(), device
        self._objective = make_objective(options.objective, options.gamma)

    @classmethod
    def load(cls, folder: Path, device: torch.device, *, adapter: str = SEAM) -> Repairer:
        """Load what `fit_repair` trained.

        Parameters
        ----------
        adapter
            Its name; empty leaves out what was learned from composites.

        Raises
        ------
        DataDoubleError
            As of `load_repair_network`.
        """
        options, classes, size = _read_facts(folder)
        network, fingerprint = load_repair_network(folder, adapter)
        return cls(network, options, size=size, classes=classes, device=device, fingerprint=fingerprint)

    def repair(
        self,
        composites: Sequence[HasLesion],
        healthy: Sequence[np.ndarray],
        labels: Sequence[int] | np.ndarray,
        seeds: Sequence[int],
    ) -> list[Repaired]:
        """Redraw the seams of some composites.

        Outside its band a repaired picture is the composite to the bit, and so, outside the band and what the
        composite touched, the healthy scan.

        Parameters
        ----------
        composites
            With `image` uint8 (s, s) and `mask` bool (s, s).
        healthy
            The scans that they were made of, uint8 (s, s).
        labels
            Index of the lesion class of each, or `HEALTHY`.
        seeds
            Of each one's noise.
        """
        images = [composite.image.copy() for composite in composites]
        bands = [
            generation_band(c.image, scan, c.mask, self.options.bands())
            for c, scan in zip(composites, healthy, strict=True)
        ]
        windows = [cover_band(band, self.options.side) for band in bands]
        for turn in range(max((len(of) for of in windows), default=0)):
            places = [i for i, of in enumerate(windows) if turn < len(of)]
            self._redraw(images, composites, bands, windows, places, turn, labels, seeds)
        return [Repaired(image, band) for image, band in zip(images, bands, strict=True)]

    def _redraw(
        self,
        images: list[np.ndarray],
        composites: Sequence[HasLesion],
        bands: list[np.ndarray],
        windows: list[list[Window]],
        places: list[int],
        turn: int,
        labels: Sequence[int] | np.ndarray,
        seeds: Sequence[int],
    ) -> None:
        """Redraw one window of each of some pictures, in place; what earlier windows drew is known to later ones."""
        side = self.options.side
        crops, cuts, randoms = [], [], []
        for i in places:
            window = windows[i][turn]
            cut = slice(window.top, window.top + side), slice(window.left, window.left + side)
            seen = images[i][cut]
            crops.append(Crop(seen, composites[i].mask[cut], window.band, seen))
            cuts.append(cut)
            randoms.append(torch_generator_for(int(seeds[i]), "repair", turn))
        batch = Batch.of(crops, self._device)
        kinds = [len(self.classes) if labels[i] == HEALTHY else int(labels[i]) for i in places]
        noise, step_noise = noise_from(randoms, (1, side, side), self.options.sampler)
        drawn = fill_band(
            self._objective,
            self._predict,
            batch,
            torch.tensor(kinds, device=self._device),
            noise.to(self._device),
            sampler=self.options.sampler,
            steps=self.options.steps,
            step_noise=step_noise,
        )
        for i, cut, crop, picture in zip(places, cuts, crops, to_bytes(drawn), strict=True):
            images[i][cut] = np.where(crop.band, picture, crop.known)

    def _predict(self, x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        half = self.options.precision == "bf16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            return self._network(x, timesteps, labels)


class Window(NamedTuple):
    """A crop of the picture, and what of the band is hidden in it, bool (side, side)."""

    top: int
    left: int
    band: np.ndarray


def cover_band(band: np.ndarray, side: int) -> list[Window]:
    """Return windows that hold a band: one where it fits, else several that overlap by a quarter, in reading order.

    All of the band that lies in a window and was not redrawn before is redrawn with it.
    """
    if not band.any():
        return []
    left_over, windows = band.copy(), []
    axes = [_starts(np.flatnonzero(band.any(axis=1 - axis)), side, band.shape[axis]) for axis in (0, 1)]
    for top in axes[0]:
        for left in axes[1]:
            cut = slice(top, top + side), slice(left, left + side)
            if left_over[cut].any():
                windows.append(Window(top, left, left_over[cut].copy()))
                left_over[cut] = False
    return windows


def _starts(indices: np.ndarray, side: int, size: int) -> list[int]:
    """Starts of windows along one axis."""
    first, last = int(indices[0]), int(indices[-1])
    span = last - first + 1
    if span <= side:
        return [window_start((first + last) / 2, side, size)]
    count = int(np.ceil((span - side) / (0.75 * side))) + 1
    low, high = max(0, first), min(size - side, last + 1 - side)
    return sorted({round(start) for start in np.linspace(low, high, count).tolist()})
