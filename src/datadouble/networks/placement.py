"""Vision transformer that says where, how large and at what angle a lesion may lie: a density, not a best place.

The picture is read as patches (Dosovitskiy et al., ICLR 2021) through a small convolutional stem, which small data
need (Xiao et al., NeurIPS 2021). Every patch gets a score; a softmax over the patches is the density of the place.
Inside its patch the place has a density that is linear in row and in column; given the patch, the logarithm of the size
is a mixture of Gaussians and the angle one of von Mises distributions of period pi, for an axis has no direction.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datadouble.errors import DataDoubleError
from datadouble.networks.dit import position_table
from datadouble.networks.transunet import TransformerBlock

_LEAST_SPREAD, _MOST_SPREAD = 0.08, 1.5  # of a Gaussian of the log-size
_MOST_CONCENTRATION = 20.0  # of a von Mises distribution: 9 degrees about its axis


@dataclass(frozen=True)
class PlacementConfig:
    """The shape of a `PlacementNetwork`."""

    size: int  # side of the pictures in pixels
    classes: int
    patch: int = 8  # pixels, a power of two
    width: int = 96
    depth: int = 4
    heads: int = 4
    mixtures: int = 3  # of sizes, and of angles
    dropout: float = 0.1

    def __post_init__(self) -> None:
        faults = []
        if self.patch < 2 or self.patch & (self.patch - 1) or self.size % self.patch:
            faults.append(f"patch {self.patch} of a side of {self.size}: use a power of two that divides it")
        if self.width % self.heads or self.width % 8:
            faults.append(f"width {self.width}: use a multiple of 8 and of the {self.heads} heads")
        if self.mixtures < 1 or self.classes < 1 or self.depth < 1:
            faults.append("mixtures, classes and depth must be 1 or more")
        if faults:
            raise DataDoubleError(
                "the placement network cannot be built", where="placement", found="; ".join(faults)
            )

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.size // self.patch


class PlaceDensity(NamedTuple):
    """What the network says, (b, g, g) a patch, k components: parameters of densities, float32.

    Attributes
    ----------
    scores
        (b, g, g): before the softmax over the patches.
    slopes
        (b, g, g, 2) in (-1, 1): the density in a patch is 1 + slope (2 u - 1), u in [0, 1], in rows and in columns.
    size_weights, size_means, size_spreads
        (b, g, g, k): logarithms of the weights, and means and standard deviations of log(size / side).
    angle_weights, angle_axes, angle_concentrations
        (b, g, g, k): logarithms of the weights, radians, and the kappa of the doubled angle.
    """

    scores: Tensor
    slopes: Tensor
    size_weights: Tensor
    size_means: Tensor
    size_spreads: Tensor
    angle_weights: Tensor
    angle_axes: Tensor
    angle_concentrations: Tensor


class PlacementNetwork(nn.Module):
    """See the module.

    It starts as the prior and learns what the picture adds: the last layers are zero, and their outputs are added to
    the prior's logarithm and to the classes' mixtures.

    Parameters
    ----------
    config
    prior
        Float (classes, g, g): log-density of the place in each class without a look at the picture.
    start
        Float (classes, 6, k): what the mixtures are in each class before anything is learned: log-weights, means and
        log-spreads of log(size / side), log-weights, and kappa times cosine and sine of the doubled axis.
    generator
        Source of the initial weights.
    """

    prior: Tensor

    def __init__(
        self,
        config: PlacementConfig,
        prior: Tensor | None = None,
        start: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        grid, width, k = config.grid, config.width, config.mixtures
        steps = int(math.log2(config.patch))
        widths = [1, *(max(8, width >> (steps - 1 - i)) for i in range(steps))]
        stem: list[nn.Module] = []
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            stem += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(1, after), nn.GELU()]
        self.stem = nn.Sequential(*stem, nn.Conv2d(width, width, 1))
        self.labels = nn.Embedding(config.classes, width)
        self.aspect = nn.Linear(2, width)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, config.heads, 2 * width, config.dropout) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width)
        self.modulation = nn.Linear(width, 2 * width)
        self.place = nn.Linear(width, 3)
        self.shape = nn.Linear(width, 6 * k)
        self.register_buffer("positions", position_table(width, grid, grid, grid), persistent=False)
        self.register_buffer("prior", torch.zeros(config.classes, grid, grid) if prior is None else prior)
        plain = plain_start(k).repeat(config.classes, 1, 1)
        self.start = nn.Parameter(plain if start is None else start.float().clone())
        self.initialise(generator)

    positions: Tensor

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights: N(0, 0.02) in the transformer, He in the stem, zero in the heads."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02, generator=generator)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, generator=generator)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.labels.weight, std=0.02, generator=generator)
        for layer in (self.modulation, self.place, self.shape):
            nn.init.zeros_(layer.weight)

    def forward(self, images: Tensor, labels: Tensor, aspect: Tensor, known: Tensor) -> PlaceDensity:
        """Return the densities of the place, size and angle of a lesion.

        Parameters
        ----------
        images
            (b, 1, s, s) in [-1, 1].
        labels
            int64 (b,), index of the class.
        aspect
            (b,): logarithm of the lesion's long to its short axis.
        known
            bool (b,): where it is false, the aspect is not told.
        """
        b, grid, k = len(images), self.config.grid, self.config.mixtures
        told = torch.stack([aspect, torch.ones_like(aspect)], dim=1) * known[:, None]
        told = self.aspect(told.to(self.aspect.weight.dtype)) + self.labels(labels)
        x = self.stem(images).flatten(2).transpose(1, 2)  # (b, tokens, width)
        x = x + self.positions.to(x) + told[:, None].to(x)
        for block in self.blocks:
            x = block(x)
        shift, scale = self.modulation(told).float()[:, None].chunk(2, dim=-1)
        with torch.autocast(images.device.type, enabled=False):  # densities in full precision
            x = self.norm(x.float()) * (1 + scale) + shift
            place = self.place(x).view(b, grid, grid, 3)
            shape = self.shape(x).view(b, grid, grid, 6, k) + self.start[labels].float()[:, None, None]
            concentration = torch.linalg.vector_norm(shape[..., 4:, :], dim=-2)
            return PlaceDensity(
                scores=place[..., 0] + self.prior[labels].float(),
                slopes=0.95 * torch.tanh(place[..., 1:]),
                size_weights=shape[..., 0, :].log_softmax(-1),
                size_means=shape[..., 1, :],
                size_spreads=shape[..., 2, :].exp().clamp(_LEAST_SPREAD, _MOST_SPREAD),
                angle_weights=shape[..., 3, :].log_softmax(-1),
                angle_axes=torch.atan2(shape[..., 5, :], shape[..., 4, :]) / 2,
                angle_concentrations=concentration.clamp(max=_MOST_CONCENTRATION),
            )


def plain_start(k: int) -> Tensor:
    """Return a start (1, 6, k) that knows nothing: components differ, or they would stay alike."""
    start = torch.zeros(6, k)
    start[1] = math.log(0.2) + (torch.linspace(-0.5, 0.5, k) if k > 1 else torch.zeros(k))
    start[2] = math.log(0.5)
    axes = torch.arange(k) * math.pi / k  # the first is parallel to the skin
    start[4], start[5] = (2 * axes).cos(), (2 * axes).sin()
    return start[None]


def fitted_start(sizes: np.ndarray, angles: np.ndarray, k: int) -> Tensor:
    """Return the start (6, k) of a class: mixtures fitted to its log-sizes and to its angles, mirrored too, by EM.

    Banerjee et al., J Mach Learn Res 2005;6:1345, equation 4.4, for the concentration in two dimensions.
    """
    start = plain_start(k)[0].double().numpy()
    weights, means = np.full(k, 1 / k), np.quantile(sizes, (np.arange(k) + 0.5) / k)
    spreads = np.full(k, max(float(sizes.std()), 0.2))
    doubled = 2 * np.concatenate([angles, -angles])
    points = np.stack([np.cos(doubled), np.sin(doubled)], axis=1)
    shares, vectors = np.full(k, 1 / k), start[4:].T.copy()
    for _ in range(50):
        z = (sizes[:, None] - means) / spreads
        part = weights * np.exp(-0.5 * z**2) / spreads + 1e-12
        part /= part.sum(1, keepdims=True)
        total = part.sum(0) + 1e-6
        weights, means = total / total.sum(), part.T @ sizes / total
        spreads = np.sqrt((part * (sizes[:, None] - means) ** 2).sum(0) / total + 0.15**2)
        kappa = np.linalg.norm(vectors, axis=1)
        part = shares * np.exp(points @ vectors.T - kappa) / np.i0(kappa) * np.exp(kappa) + 1e-12
        part /= part.sum(1, keepdims=True)
        total = part.sum(0) + 1e-6
        resultant = (
            part.T @ points / (total[:, None] + 2)
        )  # two lesions of no direction: small classes stay broad
        length = np.linalg.norm(resultant, axis=1)
        kappa = np.minimum(length * (2 - length**2) / (1 - length**2), 10.0)
        shares, vectors = total / total.sum(), resultant / np.maximum(length, 1e-9)[:, None] * kappa[:, None]
    start[0], start[1], start[2] = np.log(weights), means, np.log(spreads)
    start[3], start[4], start[5] = np.log(shares), vectors[:, 0], vectors[:, 1]
    return torch.from_numpy(start).float()


class Truth(NamedTuple):
    """Where lesions lay: float (b,) each.

    Attributes
    ----------
    row, column
        Of the centre as shares of the side, in [0, 1): 0 is the upper or left edge of the first pixel.
    size
        log(size / side).
    angle
        Radians.
    """

    row: Tensor
    column: Tensor
    size: Tensor
    angle: Tensor


class LogDensity(NamedTuple):
    """Log-densities (b,): of the place per unit square, of the log-size, of the angle per radian (over pi of them)."""

    place: Tensor
    size: Tensor
    angle: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return self.place + self.size + self.angle


def log_places(scores: Tensor, allowed: Tensor) -> Tensor:
    """Return log-probabilities of the patches (b, g, g) that sum to 1 over those that are `allowed`, bool (b, g, g).

    Where none is allowed, the probabilities are those without the rule.
    """
    allowed = allowed | ~allowed.flatten(1).any(1)[:, None, None]
    return scores.masked_fill(~allowed, -math.inf).flatten(1).log_softmax(1).view_as(scores)


def log_density(density: PlaceDensity, allowed: Tensor, truth: Truth) -> LogDensity:
    """Return the log-density of what was found: the training loss is the negative of its total.

    Parameters
    ----------
    allowed
        bool (b, g, g): where a lesion's centre may lie; the patch of the truth always counts as allowed.
    """
    b, grid = density.scores.shape[:2]
    each = torch.arange(b, device=density.scores.device)
    r, c = ((v * grid).long().clamp(0, grid - 1) for v in (truth.row, truth.column))
    allowed = allowed.clone()
    allowed[each, r, c] = True
    place = log_places(density.scores, allowed)[each, r, c] + 2 * math.log(grid)
    slopes = density.slopes[each, r, c]
    for axis, (value, index) in enumerate(((truth.row, r), (truth.column, c))):
        place = place + torch.log1p(slopes[:, axis] * (2 * (value * grid - index) - 1))
    return LogDensity(
        place,
        log_gaussians(truth.size, *(v[each, r, c] for v in density[2:5])),
        log_axes(truth.angle, *(v[each, r, c] for v in density[5:8])),
    )


def log_gaussians(value: Tensor, weights: Tensor, means: Tensor, spreads: Tensor) -> Tensor:
    """Return the log-density (...) of a mixture of Gaussians (..., k) of log-weights, means, standard deviations."""
    z = (value[..., None] - means) / spreads
    parts = weights - 0.5 * z**2 - spreads.log() - 0.5 * math.log(2 * math.pi)
    return parts.logsumexp(-1)


def log_axes(angle: Tensor, weights: Tensor, axes: Tensor, concentrations: Tensor) -> Tensor:
    """Return the log-density (...) of an axis under a mixture (..., k): f = exp(kappa cos 2(a - m)) / (pi I0(kappa)).

    Mardia and Jupp, Directional Statistics (2000), section 3.6.2; it integrates to 1 over any interval of length pi.
    """
    log_bessel = torch.log(torch.special.i0e(concentrations)) + concentrations
    parts = weights + concentrations * torch.cos(2 * (angle[..., None] - axes)) - log_bessel
    return parts.logsumexp(-1) - math.log(math.pi)


def mean_by_patch(values: Tensor, grid: int) -> Tensor:
    """Return the mean (b, g, g) of a picture (b, s, s) in each patch."""
    return F.avg_pool2d(values[:, None].float(), values.shape[-1] // grid)[:, 0]
