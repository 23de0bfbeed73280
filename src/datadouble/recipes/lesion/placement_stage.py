"""Stage 2: where, how large and at what angle a lesion may lie.

Learned from pictures whose lesion is hidden (see `hiding`). What hiding leaves behind must not be learned: decoys, at
places of chance, are made in the very same way, and a network that sees more in a place because something was hidden
there is charged for it, in its loss and in the choice of the best checkpoint.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from datadouble import files
from datadouble.networks.placement import (
    PlaceDensity,
    PlacementConfig,
    PlacementNetwork,
    Truth,
    fitted_start,
    log_density,
    log_places,
    mean_by_patch,
)
from datadouble.networks.weights import load_tensors
from datadouble.randomness import torch_generator_for
from datadouble.recipes.lesion.blending import Placement
from datadouble.recipes.lesion.material import DataOptions, LesionMaterial
from datadouble.recipes.lesion.placement_prior import PlacePrior
from datadouble.recipes.lesion.placement_views import Truths, Views, found_in
from datadouble.recipes.lesion.placer import (
    FACTORS,
    Placer,
    allowed_patches,
    mixture_weight,
    prior_log_density,
    save_facts,
)
from datadouble.training.loop import Trainer, TrainingOptions
from datadouble.training.processes import start_processes

__all__ = ["Placement", "PlacementOptions", "Placer", "fit_placement"]

_VALIDATION_VARIANTS = 2  # hidings of each held-out picture
_BATCH = 32  # held-out pictures at a time
_CHANGE = 0.15  # training pictures: gain and brightness vary by so much, relative


@dataclass(frozen=True)
class PlacementOptions(TrainingOptions):
    """Section ``[placement]``."""

    learned: bool = (
        True  # false: the prior alone, places of the class's lesions whatever the picture (ablation)
    )
    patch: int = 8  # pixels a token covers along a side
    width: int = 96
    depth: int = 4
    heads: int = 4
    mixtures: int = 3  # components of the size's and of the angle's density
    dropout: float = 0.1
    variants: int = 4  # ways in which each training lesion is hidden
    decoys: int = 3  # at most, in a picture
    decoy_penalty: float = 1.0  # weight of the squared log-ratio of what decoys draw to themselves; 0: off
    size_tolerance: float = 0.25  # standard deviation of log(size) about the size asked for


def network_config(options: PlacementOptions, size: int, classes: int) -> PlacementConfig:
    """Return the network's shape.

    Raises
    ------
    DataDoubleError
        When the settings do not fit each other.
    """
    return PlacementConfig(
        size,
        classes,
        options.patch,
        options.width,
        options.depth,
        options.heads,
        options.mixtures,
        options.dropout,
    )


def fit_placement(
    options: PlacementOptions,
    data: DataOptions,
    material: LesionMaterial,
    folder: Path,
    *,
    say: Callable[[str], None],
) -> None:
    """Train stage 2 in `folder`, or go on where an earlier call was cut off.

    Raises
    ------
    DataDoubleError
        On settings that do not fit each other, or a loss that is no number.
    """
    processes = start_processes()
    shape = network_config(options, data.size, len(material.classes))
    found, _ = found_in(material.train)
    units = [material.train.units[row] for row in material.train.lesions]
    prior = PlacePrior.fit(found, units, shape.classes, shape.grid)
    if processes.is_main:
        (folder / "model").mkdir(parents=True, exist_ok=True)
        save_facts(folder / "model", shape, material.classes, options.size_tolerance)
        prior.save(folder / "model" / "prior.json")
    processes.wait()
    if not options.learned:
        if processes.is_main:
            _save_mixture(folder, "", dict.fromkeys(FACTORS, 0.0), {})
        return
    task = PlacementTask(options, material, shape, prior, folder, processes.device)
    parameters = sum(p.numel() for p in task.network.parameters())
    say(
        f"stage placement: {parameters:,} parameters, {len(found.label)} hidden lesions and "
        f"{len(material.train) - len(found.label)} healthy pictures, {options.images:,} of them to see"
    )
    Trainer(task, options, folder, processes).train()
    if processes.is_main:
        task.fit_mixture()
    processes.wait()


def _save_mixture(folder: Path, checkpoint: str, weights: dict[str, float], figures: dict[str, Any]) -> None:
    values = {"checkpoint": checkpoint, "weights": weights, "held_out": figures}
    files.write_json(folder / "model" / "mixture.json", values)


class PlacementTask:
    """What the training loop needs."""

    def __init__(
        self,
        options: PlacementOptions,
        material: LesionMaterial,
        shape: PlacementConfig,
        prior: PlacePrior,
        folder: Path,
        device: torch.device,
    ) -> None:
        self._options, self._material, self._shape = options, material, shape
        self._prior, self._folder, self._device = prior, folder, device
        self._parts = {"train": material.train, "validation": material.validation}
        self._views = {
            name: Views(part, material.train, seed=options.seed, decoys=options.decoys)
            for name, part in self._parts.items()
            if len(part)
        }
        found, _ = found_in(material.train)
        start = torch.stack(
            [
                fitted_start(found.size[found.label == i], found.angle[found.label == i], shape.mixtures)
                for i in range(shape.classes)
            ]
        )
        log_prior = torch.from_numpy(np.log(prior.place)).float()
        weights = torch_generator_for(options.seed, "placement weights")
        self.network: nn.Module = PlacementNetwork(shape, log_prior, start, weights)
        self._truths = {name: Truths(part, shape.classes, options.seed) for name, part in self._parts.items()}

    def dataset_size(self) -> int:
        """Return how many training pictures there are, with and without lesions."""
        return len(self._material.train)

    def image_ids(self, rows: np.ndarray) -> list[str]:
        """Return the ids of training pictures."""
        return [self._material.train.ids[row] for row in rows]

    def losses(
        self, network: nn.Module, rows: np.ndarray, images_seen: int, places: slice
    ) -> dict[str, Tensor]:
        """Return the negative log-density of the hidden lesions, and what the decoys cost."""
        random = torch_generator_for(self._options.seed, "placement", images_seen)
        chance = torch.rand(len(rows), 5, generator=random, dtype=torch.float64)[places]
        variants = (chance[:, 0] * self._options.variants).long().tolist()
        views = [self._views["train"].of(int(row), v) for row, v in zip(rows[places], variants, strict=True)]
        truth, aspect, labels, real = self._truths["train"].of(rows[places])
        mirrored = chance[:, 1] < 0.5
        truth = truth._replace(
            column=torch.where(mirrored, (1 - truth.column).clamp(max=1 - 1e-6), truth.column),
            angle=torch.where(mirrored, -truth.angle, truth.angle),
        )
        gain = 1 + _CHANGE * (2 * chance[:, 2] - 1)
        lift = _CHANGE * (2 * chance[:, 3] - 1)

        def prepared(pictures: list[np.ndarray]) -> Tensor:
            grey = _tensor(pictures)
            grey = torch.where(mirrored[:, None, None, None], grey.flip(-1), grey)
            changed = (grey + 1) * gain[:, None, None, None] + lift[:, None, None, None] - 1
            return changed.float().clamp(-1, 1).to(self._device)

        def patches(masks: list[np.ndarray]) -> Tensor:
            shares = mean_by_patch(torch.from_numpy(np.stack(masks)), self._shape.grid)
            shares = torch.where(mirrored[:, None, None], shares.flip(-1), shares)
            return (shares >= 0.5).to(self._device)

        known = (chance[:, 4] < 0.5) & real
        told = [value.to(self._device) for value in (labels, aspect, known)]
        allowed = patches([view.tissue for view in views])
        with_decoys = network(prepared([view.decoyed for view in views]), *told)
        log = log_density(with_decoys, allowed, Truth(*(v.to(self._device) for v in truth)))
        real = real.to(self._device)
        likely = torch.where(real, log.total, torch.zeros_like(log.total))
        terms = {
            name: -torch.where(real, getattr(log, name), torch.zeros_like(log.place)).detach()
            for name in FACTORS
        }
        loss = -likely
        if self._options.decoy_penalty:
            plain = network(prepared([view.plain for view in views]), *told)
            drawn = drawn_to(with_decoys, plain, allowed, patches([view.decoys for view in views]))
            loss = loss + self._options.decoy_penalty * drawn**2
            terms["drawn_to_decoys"] = drawn.detach()
        return {"loss": loss, **terms}

    def validate(self, network: nn.Module) -> dict[str, Any]:
        """Return held-out log-densities beside the prior's, and the leak: what decoys draw to themselves, in nats.

        The entry that chooses the best checkpoint is the negative log-density with the leak charged.
        """
        part = (
            "validation"
            if "validation" in self._views and len(self._material.validation.lesions)
            else "train"
        )
        scores = self._scores(network, part)
        leak = max(0.0, scores["leak"])
        figures = {
            f"nats_over_prior_{name}": float(np.mean(scores[name][0] - scores[name][1])) for name in FACTORS
        }
        loss = -sum(float(np.mean(scores[name][0])) for name in FACTORS) + leak
        return {"validation_loss": loss, "leak": scores["leak"], **figures}

    @torch.no_grad()
    def _scores(self, network: nn.Module, part: str) -> dict[str, Any]:
        """Return (network's, prior's) log-densities (n,) by factor, and the mean leak."""
        pictures, views = self._parts[part], self._views[part]
        rows = np.linspace(0, len(pictures) - 1, min(len(pictures), 4 * _BATCH)).astype(int)
        pairs = [(int(row), v) for row in rows for v in range(_VALIDATION_VARIANTS)]
        own: dict[str, list[float]] = {name: [] for name in FACTORS}
        prior: dict[str, list[float]] = {name: [] for name in FACTORS}
        leaks: list[float] = []
        for start in range(0, len(pairs), _BATCH):
            some = pairs[start : start + _BATCH]
            shown = [views.of(row, v) for row, v in some]
            truth, _, labels, real = self._truths[part].of(np.array([row for row, _ in some]))
            tissue = np.stack([view.tissue for view in shown])
            allowed = torch.from_numpy(allowed_patches(tissue, self._shape.grid)).to(self._device)
            nothing = torch.zeros(len(some)), torch.zeros(len(some), dtype=torch.bool)
            told = [value.to(self._device) for value in (labels, *nothing)]
            plain = network(_tensor([view.plain for view in shown]).to(self._device), *told)
            decoyed = network(_tensor([view.decoyed for view in shown]).to(self._device), *told)
            log = log_density(plain, allowed, Truth(*(v.to(self._device) for v in truth)))
            where = (
                mean_by_patch(torch.from_numpy(np.stack([v.decoys for v in shown])), self._shape.grid) >= 0.5
            )
            leaks += drawn_to(decoyed, plain, allowed, where.to(self._device)).tolist()
            for k in np.flatnonzero(real.numpy()):
                i = self._truths[part].number[some[k][0]]
                free = prior_log_density(self._prior, self._truths[part].found, i, allowed[k].cpu().numpy())
                for name in FACTORS:
                    own[name].append(float(getattr(log, name)[k]))
                    prior[name].append(free[name])
        scores: dict[str, Any] = {name: (np.array(own[name]), np.array(prior[name])) for name in FACTORS}
        return scores | {"leak": float(np.mean(leaks)) if leaks else 0.0}

    def fit_mixture(self) -> None:
        """Weigh network and prior on the held-out lesions, the leak charged to the place; keep it with the model."""
        held_out = "validation" in self._views and len(self._material.validation.lesions) > 0
        name = "best" if held_out else "last"
        self.network.load_state_dict(load_tensors(self._folder / "model" / f"{name}.safetensors")[0])
        self.network.to(self._device).eval()
        if not held_out:
            _save_mixture(self._folder, name, dict.fromkeys(FACTORS, 0.5), {})
            return
        scores = self._scores(self.network, "validation")
        weights, figures = {}, {"leak": round(scores["leak"], 4), "lesions": len(scores["place"][0])}
        for factor in FACTORS:
            own, prior = scores[factor]
            own = own - max(0.0, scores["leak"]) if factor == "place" else own
            weights[factor] = round(mixture_weight(own, prior), 4)
            w = weights[factor]
            mixed = np.logaddexp(np.log(max(w, 1e-12)) + own, np.log(max(1 - w, 1e-12)) + prior)
            figures[factor] = {
                "prior": round(float(prior.mean()), 4),
                "network": round(float(own.mean()), 4),
                "mixture": round(float(mixed.mean()), 4),
            }
        _save_mixture(self._folder, name, weights, figures)

    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        """Write `<images seen>-places.png`: held-out pictures, and where each class may lie in them."""
        from datadouble.recipes.lesion.placement_sheets import draw_place_sheet

        part = "validation" if len(self._material.validation) else "train"
        pictures, views = self._parts[part], self._views[part]
        rows = [*pictures.healthy[:4].tolist(), *pictures.lesions[:8].tolist()][:8]
        assert isinstance(network, PlacementNetwork)
        placer = Placer(
            self._prior,
            self._material.classes,
            self._shape.size,
            network,
            dict.fromkeys(FACTORS, 1.0),
            self._options.size_tolerance,
            self._device,
        )
        shown = [views.of(row, 0).plain for row in rows]
        truths = [pictures.masks[row] for row in rows]
        draw_place_sheet(self._folder / "samples" / f"{images_seen:09d}-places.png", placer, shown, truths)


def drawn_to(decoyed: PlaceDensity, plain: PlaceDensity, allowed: Tensor, decoys: Tensor) -> Tensor:
    """Return the log-ratio (b,) of the probability of the decoys' patches with decoys to that without them.

    0 where hiding says nothing; also where no decoy lies in tissue.

    Parameters
    ----------
    allowed, decoys
        bool (b, g, g).
    """
    where = decoys & allowed
    result = []
    for density in (decoyed, plain):
        log = log_places(density.scores, allowed).masked_fill(~where, -1e9)
        result.append(log.flatten(1).logsumexp(1))
    some = where.flatten(1).any(1)
    return torch.where(some, result[0] - result[1], torch.zeros_like(result[0]))


def _tensor(pictures: list[np.ndarray]) -> Tensor:
    """Return uint8 pictures as float (b, 1, s, s) in [-1, 1]."""
    return torch.from_numpy(np.stack(pictures).astype(np.float32))[:, None] / 127.5 - 1
