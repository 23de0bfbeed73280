"""Drawing where a lesion goes: the trained network mixed with the prior, never the most likely place."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from datadouble import files
from datadouble.errors import DataDoubleError
from datadouble.networks.placement import (
    LogDensity,
    PlaceDensity,
    PlacementConfig,
    PlacementNetwork,
    Truth,
    log_density,
    log_gaussians,
    log_places,
    mean_by_patch,
)
from datadouble.networks.weights import load_tensors
from datadouble.recipes.lesion.blending import Placement
from datadouble.recipes.lesion.descriptors import Descriptor, wrapped
from datadouble.recipes.lesion.hiding import tissue_of
from datadouble.recipes.lesion.placement_prior import Found, PlacePrior
from datadouble.recipes.lesion.room import NoRoom, fits

FACTORS = ("place", "size", "angle")
_TRIES = 256  # places drawn before a lesion counts as not fitting
_ROUNDS = 8


class Placer:
    """The distribution of the place, size and angle of a lesion in a healthy picture.

    Each of the three is a mixture of the network's density and the prior's; the weights were fitted on held-out
    lesions, so that on these it is never worse than the prior.

    Attributes
    ----------
    classes : tuple of str
    size : int
        Side of the pictures in pixels.
    fingerprint : str
        Of all that was learned.
    weights : dict
        Of the network in the place, the size and the angle; 0: the prior alone.
    """

    def __init__(
        self,
        prior: PlacePrior,
        classes: tuple[str, ...],
        size: int,
        network: PlacementNetwork | None,
        weights: dict[str, float],
        tolerance: float,
        device: torch.device,
        fingerprint: str = "",
    ) -> None:
        self.fingerprint = fingerprint
        self.prior, self.classes, self.size = prior, classes, size
        self.weights = weights if network is not None else dict.fromkeys(FACTORS, 0.0)
        self._network = None if network is None else network.to(device).eval()
        self._tolerance, self._device = tolerance, device
        self.grid = prior.place.shape[-1]

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> "Placer":
        """Load the stage that was trained in `folder`.

        Raises
        ------
        DataDoubleError
            When it was not trained to its end.
        """
        model = folder / "model"
        if not (model / "mixture.json").is_file():
            raise DataDoubleError(
                "stage placement is not trained", where=folder.name, remedy="finish `datadouble fit` first"
            )
        facts = json.loads((model / "placement.json").read_text())
        mixture = json.loads((model / "mixture.json").read_text())
        network = None
        parts = [(model / name).read_text() for name in ("placement.json", "mixture.json", "prior.json")]
        if mixture["checkpoint"]:
            path = model / f"{mixture['checkpoint']}.safetensors"
            network = PlacementNetwork(PlacementConfig(**facts["network"]))
            network.load_state_dict(load_tensors(path)[0])
            parts.append(files.fingerprint(path.read_bytes()))
        return cls(
            PlacePrior.load(model / "prior.json"),
            tuple(facts["classes"]),
            facts["network"]["size"],
            network,
            mixture["weights"],
            facts["size_tolerance"],
            device,
            files.fingerprint(*parts),
        )

    def density(
        self, image: np.ndarray, label: int | str, descriptor: Descriptor | None = None
    ) -> np.ndarray:
        """Return how likely a lesion's centre lies in each patch: float64 (g, g), sums to 1, 0 outside the tissue.

        Parameters
        ----------
        image
            uint8 (s, s), without a lesion.
        label
            The class, or its index.
        descriptor
            What the lesion should be like. Patches in whose middle it does not fit even at the descriptor's own
            angle become 0, unless it fits nowhere.
        """
        tissue = tissue_of(self._check(image))
        result = self._posterior(image, self._index(label), tissue, descriptor).places
        if descriptor is not None:
            middles = (np.arange(self.grid) + 0.5) * self.size / self.grid - 0.5
            r, c = np.meshgrid(middles, middles, indexing="ij")
            size, angle = np.full(r.shape, descriptor.size), np.full(r.shape, descriptor.angle)
            kept = result * fits(r, c, size, angle, descriptor.aspect, tissue)
            result = kept if kept.sum() > 0 else result
        return result / result.sum()

    def sample(
        self, image: np.ndarray, label: int | str, descriptor: Descriptor, rng: np.random.Generator
    ) -> Placement:
        """Draw a place, a size and an angle from their distribution, given that the lesion fits into the tissue.

        Parameters
        ----------
        image
            uint8 (s, s), without a lesion.
        descriptor
            Its size and aspect are what is asked for; the size that is drawn lies about it.

        Raises
        ------
        NoRoom
            When no lesion of about this size fits.
        """
        tissue = tissue_of(self._check(image))
        posterior = self._posterior(image, self._index(label), tissue, descriptor)
        for _ in range(_ROUNDS):
            row, column, size, angle = self._draw(posterior, descriptor, rng)
            good = fits(row, column, size, angle, descriptor.aspect, tissue)
            if good.any():
                i = int(good.argmax())
                return Placement(float(row[i]), float(column[i]), float(size[i]), wrapped(float(angle[i])))
        raise NoRoom(
            "the lesion fits nowhere in the tissue of the healthy picture",
            where="placement",
            found=f"size {descriptor.size:.0f} px, aspect {descriptor.aspect:.1f}, picture {self.size} px",
            remedy="draw another descriptor, or use another healthy picture",
        )

    def log_densities(self, image: np.ndarray, found: Found, i: int) -> dict[str, tuple[float, float]]:
        """Return the log-density of lesion `i` under the network and under the prior, by factor, nothing asked for.

        Per unit square of the place, of log(size / side), and per radian. Without a network both are the prior's.
        """
        label = int(found.label[i])
        allowed = self._allowed(tissue_of(self._check(image)))
        prior = prior_log_density(self.prior, found, i, allowed)
        density = self._look(image, label, None)
        if density is None:
            return {name: (value, value) for name, value in prior.items()}
        truth = Truth(*(torch.tensor([v[i]], dtype=torch.float32) for v in found[:4]))
        log: LogDensity = log_density(density, torch.from_numpy(allowed)[None], truth)
        return {name: (float(getattr(log, name)), prior[name]) for name in FACTORS}

    def _check(self, image: np.ndarray) -> np.ndarray:
        if image.shape != (self.size, self.size):
            raise DataDoubleError(
                "the picture has another size than the placement was trained at",
                where="placement",
                found=f"{image.shape[1]}x{image.shape[0]}, not {self.size}x{self.size}",
                remedy="bring it there with fit_square",
            )
        return image

    def _index(self, label: int | str) -> int:
        if isinstance(label, str):
            if label not in self.classes:
                raise DataDoubleError(
                    "the placement knows no such class",
                    where=label,
                    remedy=f"use {', '.join(self.classes)}",
                )
            return self.classes.index(label)
        return int(label)

    def _allowed(self, tissue: np.ndarray) -> np.ndarray:
        return allowed_patches(tissue[None], self.grid)[0]

    @torch.no_grad()
    def _look(self, image: np.ndarray, label: int, descriptor: Descriptor | None) -> PlaceDensity | None:
        """Return the network's density, a batch of one on the CPU; None without a network."""
        if self._network is None:
            return None
        picture = torch.from_numpy(image.astype(np.float32))[None, None] / 127.5 - 1
        aspect = torch.tensor([0.0 if descriptor is None else math.log(descriptor.aspect)])
        inputs = (picture, torch.tensor([label]), aspect, torch.tensor([descriptor is not None]))
        density = self._network(*(value.to(self._device) for value in inputs))
        return PlaceDensity(*(value.float().cpu() for value in density))

    def _posterior(
        self, image: np.ndarray, label: int, tissue: np.ndarray, descriptor: Descriptor | None
    ) -> "_Posterior":
        """Return the distribution of the place, given the size that is asked for.

        What is asked for is the size with Gaussian noise of the tolerance on its logarithm. Under mixtures of Gaussians
        Bayes' rule has a closed form: a place counts by how well its sizes explain what was asked.
        """
        density = self._look(image, label, descriptor)
        allowed = self._allowed(tissue)
        prior = np.exp(self.prior.log_place(label, allowed))
        weight = self.weights["place"] if density is not None else 0.0
        own = np.zeros_like(prior)
        if density is not None:
            own = log_places(density.scores.double(), torch.from_numpy(allowed)[None])[0].exp().numpy()
        places = weight * own + (1 - weight) * prior
        leaning = weight * own / np.maximum(places, 1e-300)
        sized = np.zeros_like(prior)
        if descriptor is not None:
            wanted, tolerance = math.log(descriptor.size / self.size), self._tolerance
            share = self.weights["size"] if density is not None else 0.0
            by_prior = (1 - share) * self.prior.evidence(label, wanted, tolerance)
            by_network = np.zeros_like(prior)
            if density is not None:
                weights, means, spreads = (part[0].double() for part in density[2:5])
                wide = torch.sqrt(spreads**2 + tolerance**2)
                at = torch.full(weights.shape[:2], wanted, dtype=torch.float64)
                by_network = share * log_gaussians(at, weights, means, wide).exp().numpy()
            sized = by_network / np.maximum(by_network + by_prior, 1e-300)
            places = places * (by_network + by_prior)
        return _Posterior(density, label, places / places.sum(), leaning, sized)

    def _draw(
        self, posterior: "_Posterior", descriptor: Descriptor, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Draw rows, columns, sizes (pixels) and angles, (n,) each."""
        n, grid, density, label = _TRIES, self.grid, posterior.density, posterior.label
        patch = rng.choice(posterior.places.size, size=n, p=posterior.places.ravel())
        r, c = patch // grid, patch % grid
        u, v = rng.random(n), rng.random(n)
        wanted, tolerance = math.log(descriptor.size / self.size), self._tolerance
        size = self.prior.sample_size(label, n, rng, wanted=wanted, tolerance=tolerance)
        angle = self.prior.sample_angle(label, n, rng)
        if density is not None:
            values, each = [part[0].double().numpy()[r, c] for part in density[1:]], np.arange(n)
            lean = rng.random(n) < posterior.leaning[r, c]
            u = np.where(lean, tilted(u, values[0][:, 0]), u)
            v = np.where(lean, tilted(v, values[0][:, 1]), v)
            log_weights, means, spreads = values[1:4]
            wide = spreads**2 + tolerance**2
            explains = log_weights - 0.5 * (wanted - means) ** 2 / wide - 0.5 * np.log(wide)
            k = _component(explains, rng.random(n))
            # The product of a component and of the Gaussian about what was asked for.
            means = (means * tolerance**2 + wanted * spreads**2) / wide
            spreads = spreads * tolerance / np.sqrt(wide)
            drawn = means[each, k] + spreads[each, k] * rng.standard_normal(n)
            size = np.where(rng.random(n) < posterior.sized[r, c], drawn, size)
            k = _component(values[4], rng.random(n))
            twice = rng.vonmises(2 * values[5][each, k], values[6][each, k])
            angle = np.where(rng.random(n) < self.weights["angle"], twice / 2, angle)
        row, column = (r + u) * self.size / grid - 0.5, (c + v) * self.size / grid - 0.5
        return row, column, self.size * np.exp(np.minimum(size, 0)), angle


class _Posterior(NamedTuple):
    """What places are drawn from: the network's density and the class; by patch (g, g) the probability of the place.

    Also the network's share in it (`leaning`), and in the size there (`sized`).
    """

    density: PlaceDensity | None
    label: int
    places: np.ndarray
    leaning: np.ndarray
    sized: np.ndarray


def tilted(u: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Turn even numbers of [0, 1] into ones of density 1 + slope (2 x - 1), by inverting its distribution function."""
    # slope x^2 + (1 - slope) x = u, solved without dividing by a slope of 0.
    b = 1 - slope
    return 2 * u / (b + np.sqrt(b**2 + 4 * slope * u))


def _component(log_weights: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Choose a component (n,) by log-weights (n, k) and even numbers (n,)."""
    bounds = np.exp(log_weights - log_weights.max(axis=1, keepdims=True)).cumsum(axis=1)
    return np.minimum((u[:, None] * bounds[:, -1:] > bounds).sum(axis=1), log_weights.shape[1] - 1)


def allowed_patches(tissue: np.ndarray, grid: int) -> np.ndarray:
    """Return the patches (n, g, g) of which half or more is tissue, bool (n, s, s)."""
    return mean_by_patch(torch.from_numpy(tissue), grid).numpy() >= 0.5


def prior_log_density(prior: PlacePrior, found: Found, i: int, allowed: np.ndarray) -> dict[str, float]:
    """Return the prior's log-density of lesion `i` by factor; its own patch always counts as allowed."""
    grid, label = len(allowed), int(found.label[i])
    r, c = (min(int(v[i] * grid), grid - 1) for v in (found.row, found.column))
    allowed = allowed.copy()
    allowed[r, c] = True
    return {
        "place": float(prior.log_place(label, allowed)[r, c] + 2 * np.log(grid)),
        "size": float(prior.log_size(label, found.size[i])),
        "angle": float(prior.log_angle(label, found.angle[i])),
    }


def mixture_weight(network: np.ndarray, prior: np.ndarray) -> float:
    """Return the weight of the network under which a mixture of two log-densities (n,) is likeliest; in [0, 1].

    The likelihood is concave in the weight: golden section finds its maximum. 0 unless the mixture beats the prior.
    """
    from scipy.optimize import minimize_scalar

    if not len(network):
        return 0.0
    shift = np.maximum(network, prior)
    a, b = np.exp(network - shift), np.exp(prior - shift)
    found = minimize_scalar(lambda w: -np.log(w * a + (1 - w) * b).sum(), bounds=(0, 1), method="bounded")
    weight = float(np.clip(found.x, 0, 1))
    return weight if np.log(weight * a + (1 - weight) * b).sum() > np.log(b).sum() else 0.0


def save_facts(folder: Path, network: PlacementConfig, classes: tuple[str, ...], tolerance: float) -> None:
    """Write what `Placer.load` needs besides weights."""
    facts = {"network": asdict(network), "classes": list(classes), "size_tolerance": tolerance}
    files.write_json(folder / "placement.json", facts)
