"""What the repair learns from, and how: crops in which a band is hidden, and the noise inside the band.

Known pixels are given as they are and only the band is diffused, as Palette does it (Saharia et al., SIGGRAPH 2022):
the network always sees a seamless surrounding. Imposing noisy known pixels at every level (RePaint) would work with
any denoiser, but needs many more steps until both sides of the border agree.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datadouble import files
from datadouble.cohort.sheets import outlined, picture_sheet
from datadouble.diffusion.objectives import (
    CleanObjective,
    EpsilonObjective,
    FlowObjective,
    LossTerms,
    ModelFunction,
    Objective,
)
from datadouble.diffusion.samplers import StepNoise, sample
from datadouble.diffusion.schedules import cosine_schedule
from datadouble.errors import DataDoubleError, suggest
from datadouble.randomness import generator_for, torch_generator_for
from datadouble.recipes.learning import stratified_times
from datadouble.recipes.lesion.bands import BandOptions, random_band
from datadouble.recipes.lesion.material import HEALTHY, LesionMaterial, Pictures
from datadouble.recipes.lesion.seams import SeamOptions, make_seam

CHANNELS = 3  # the picture, noisy in the band; the band; the lesion
VALIDATION_IMAGES = 32
VALIDATION_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
_COLUMNS = 8


class Crop(NamedTuple):
    """A crop: what is seen uint8 (p, p), the lesion bool, the band bool, and what belongs in the band, uint8."""

    known: np.ndarray
    mask: np.ndarray
    band: np.ndarray
    target: np.ndarray


class Batch(NamedTuple):
    """Crops as float32 (b, 1, p, p): grey in [-1, 1], band and mask 0 or 1, and `smooth_fill`'s guess."""

    known: Tensor
    mask: Tensor
    band: Tensor
    target: Tensor
    guess: Tensor

    @classmethod
    def of(cls, crops: Sequence[Crop], device: torch.device) -> "Batch":
        """Stack crops."""
        known, mask, band, target = (
            torch.from_numpy(np.stack(part))[:, None].float() for part in zip(*crops)
        )
        seen = known / 127.5 - 1
        parts = (seen, mask, band, target / 127.5 - 1, smooth_fill(seen, band))
        return cls(*(value.to(device) for value in parts))

    def inputs(self, x: Tensor) -> Tensor:
        """Return what the network sees of `x` (b, 1, p, p): (b, 3, p, p)."""
        picture = torch.where(self.band > 0, x, self.known.to(x.dtype))
        return torch.cat([picture, 2 * self.band - 1, 2 * self.mask - 1], dim=1)


def smooth_fill(known: Tensor, band: Tensor) -> Tensor:
    """Return (b, 1, p, p) with the band filled by means of the nearest known pixels: level without texture."""
    free = 1 - band
    filled, missing = known * free, band.clone()
    for width in (5, 9, 17, 33):
        weight = F.avg_pool2d(free, width, 1, width // 2)
        mean = F.avg_pool2d(known * free, width, 1, width // 2) / weight.clamp(min=1e-6)
        reached = missing * (weight > 0.1)
        filled, missing = filled + reached * mean, missing - reached
    overall = (known * free).sum(dim=(2, 3), keepdim=True) / free.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    return filled + missing * overall


def predict_band(
    objective: Objective,
    network: ModelFunction,
    batch: Batch,
    x: Tensor,
    timesteps: Tensor,
    labels: Tensor,
) -> Tensor:
    """Return what the objective's path asks for (b, 1, p, p), of noisy crops `x`.

    For the clean picture the network's answer is what is added to the smooth fill: an untrained network fills the band
    smoothly, and what is learned is structure and texture. A linear guess that lets the noise through, weighed by the
    band's spread as in EDM's preconditioning, was tried: short training left white noise in the band.
    """
    answer = network(batch.inputs(x), timesteps, labels)[:, :1].float()
    return batch.guess + answer if objective.path.prediction == "clean" else answer


def make_objective(name: str, gamma: float = 5.0) -> Objective:
    """Return the objective by its name in ``[repair]``: flow, mse (of the noise) or clean.

    `gamma` is the clean one's greatest weight, see `CleanObjective`: the greater, the more texture counts.

    Raises
    ------
    DataDoubleError
    """
    makers = {
        "flow": lambda: FlowObjective(),
        "mse": lambda: EpsilonObjective(cosine_schedule()),
        "clean": lambda: CleanObjective(cosine_schedule(), gamma),
    }
    if name not in makers:
        raise DataDoubleError(
            "unknown objective", where="repair.objective", found=name, remedy=suggest(name, list(makers))
        )
    return makers[name]()


def band_loss(
    objective: Objective, network: ModelFunction, batch: Batch, labels: Tensor, times: Tensor, noise: Tensor
) -> LossTerms:
    """Return the objective's loss in the band alone, a mean over its pixels: what is known costs nothing."""
    truths = {"velocity": noise - batch.target, "epsilon": noise, "clean": batch.target}
    truth = truths[objective.path.prediction]

    def in_band(x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        answer = predict_band(objective, network, batch, x, timesteps, labels)
        return torch.where(batch.band > 0, answer, truth)

    terms = objective.loss(in_band, batch.target, labels, times, noise)
    share = batch.band.mean(dim=(1, 2, 3)).clamp(min=1 / batch.band[0].numel())
    return LossTerms(terms.total / share, {name: value / share for name, value in terms.by_name.items()})


@torch.no_grad()
def fill_band(
    objective: Objective,
    network: ModelFunction,
    batch: Batch,
    labels: Tensor,
    noise: Tensor,
    *,
    sampler: str,
    steps: int,
    step_noise: StepNoise | None = None,
) -> Tensor:
    """Draw the band of each crop from `noise` (b, 1, p, p): (b, 1, p, p) in [-1, 1], outside the band what is known."""

    def in_band(x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        return predict_band(objective, network, batch, x, timesteps, labels)

    drawn = sample(
        in_band,
        noise,
        labels,
        objective=objective,
        sampler=sampler,
        steps=steps,
        clamp=1.0,
        step_noise=step_noise,
    )
    return torch.where(batch.band > 0, drawn, batch.known)


def window_start(centre: float, side: int, size: int) -> int:
    """Return where a window of `side` pixels round `centre` begins, inside a picture of `size`."""
    return int(np.clip(round(centre - (side - 1) / 2), 0, size - side))


def base_crop(pictures: Pictures, row: int, side: int, random: np.random.Generator) -> Crop:
    """Draw a crop anywhere, half of those of a lesion's picture round the lesion, with a random band."""
    image, mask = pictures.images[row], pictures.masks[row]
    size = image.shape[0]
    centre = random.uniform(0, size, 2)
    if mask.any() and random.random() < 0.5:
        rows, columns = np.nonzero(mask)
        pick = random.integers(len(rows))
        centre = np.array([rows[pick], columns[pick]]) + random.uniform(-side / 4, side / 4, 2)
    top, left = (window_start(c, side, size) for c in centre)
    grey, lesion = (part[top : top + side, left : left + side] for part in (image, mask))
    if random.random() < 0.5:
        grey, lesion = grey[:, ::-1], lesion[:, ::-1]
    grey = np.round(np.clip(grey * random.uniform(0.8, 1.2), 0, 255)).astype(np.uint8)
    return Crop(grey, lesion, random_band((side, side), lesion, random), grey)


def seam_crop(
    pictures: Pictures,
    row: int,
    side: int,
    random: np.random.Generator,
    seams: SeamOptions,
    bands: BandOptions,
) -> Crop:
    """Make a composite of a lesion's picture and cut a crop round a pixel of the band.

    The tissue behind the lesion is a neighbour's: another picture's, whichever.
    """
    image, mask = pictures.images[row], pictures.masks[row]
    neighbour = pictures.images[random.integers(len(pictures))]
    flips = random.random(2) < 0.5
    if flips[0]:
        image, mask = image[:, ::-1], mask[:, ::-1]
    if flips[1]:
        neighbour = neighbour[:, ::-1]
    seam = make_seam(image, mask, neighbour, random, seams, bands)
    rows, columns = np.nonzero(seam.band)
    pick = random.integers(len(rows))
    box = [(part.min() + part.max()) / 2 for part in (rows, columns)]
    spans = [part.max() - part.min() + 1 for part in (rows, columns)]
    centre = [
        middle if span <= side else part[pick]
        for middle, span, part in zip(box, spans, (rows, columns), strict=True)
    ]
    top, left = (window_start(c, side, image.shape[0]) for c in centre)
    cut = slice(top, top + side), slice(left, left + side)
    return Crop(seam.composite[cut], seam.mask[cut], seam.band[cut], seam.target[cut])


class HeldOut(NamedTuple):
    """Crops (n of them) of validation patients, their labels (n,), noise (n, 1, side, side), and whose they are."""

    batch: Batch
    labels: Tensor
    noise: Tensor
    patients: tuple[str, ...]


class RepairTask:
    """What the training loop needs to train the repair: on random bands (`base`) or on composites (`seam`)."""

    def __init__(
        self,
        network: nn.Module,
        material: LesionMaterial,
        *,
        phase: str,
        side: int,
        objective: Objective,
        seams: SeamOptions,
        bands: BandOptions,
        sampler: str,
        steps: int,
        seed: int,
        device: torch.device,
        folder: Path,
    ) -> None:
        self.network = network
        self._objective, self._phase, self._side, self._seed = objective, phase, side, seed
        self._seams, self._bands, self._sampler, self._steps = seams, bands, sampler, steps
        self._device, self._folder = device, folder
        self._healthy = len(material.classes)  # label of a picture without a lesion
        self._train = self._part(material.train)
        held = self._part(material.validation)
        self._held = held if len(held) else self._train

    def _part(self, pictures: Pictures) -> Pictures:
        if self._phase == "base":
            return pictures
        with_lesion = pictures.lesions
        return pictures.take(with_lesion[pictures.masks[with_lesion].any(axis=(1, 2))])

    def dataset_size(self) -> int:
        """Return the number of training pictures."""
        return len(self._train)

    def image_ids(self, rows: np.ndarray) -> list[str]:
        """Return the ids of training pictures."""
        return [self._train.ids[row] for row in rows]

    def crops(
        self, pictures: Pictures, rows: np.ndarray, keys: Sequence[tuple[int | str, ...]]
    ) -> list[Crop]:
        """Return a crop of each of some pictures, each a function of (seed, its key)."""
        made = []
        for row, key in zip(rows, keys, strict=True):
            random = generator_for(self._seed, "repair", self._phase, *key)
            if self._phase == "base":
                made.append(base_crop(pictures, int(row), self._side, random))
            else:
                made.append(seam_crop(pictures, int(row), self._side, random, self._seams, self._bands))
        return made

    def _labels(self, pictures: Pictures, rows: np.ndarray) -> Tensor:
        labels = pictures.labels[rows]
        return torch.from_numpy(np.where(labels == HEALTHY, self._healthy, labels)).to(self._device)

    def losses(
        self, network: nn.Module, rows: np.ndarray, images_seen: int, places: slice
    ) -> dict[str, Tensor]:
        """Return the loss of each crop at `places`; crops, noise and times come from (seed, images seen)."""
        count = len(rows)
        random = torch_generator_for(self._seed, "repair-step", images_seen)
        noise = torch.randn(count, 1, self._side, self._side, generator=random)
        times = stratified_times(count, random)
        keys = [(images_seen, place) for place in range(count)]
        batch = Batch.of(self.crops(self._train, rows[places], keys[places]), self._device)
        labels = self._labels(self._train, rows[places])
        terms = band_loss(
            self._objective,
            network,
            batch,
            labels,
            times[places].to(self._device),
            noise[places].to(self._device),
        )
        return {"loss": terms.total, **{name: value.detach() for name, value in terms.by_name.items()}}

    def validate(self, network: nn.Module) -> dict[str, Any]:
        """Return the squared error in the band at a few times on held-out patients, noise and bands fixed."""
        batch, labels, noise, _ = self.held_out(VALIDATION_IMAGES)
        losses = []
        for time in VALIDATION_TIMES:
            times = torch.full((len(labels),), time, dtype=torch.float64, device=self._device)
            terms = band_loss(self._objective, network, batch, labels, times, noise)
            losses.append(round(float(terms.by_name["mse"].mean()), 6))
        return {"validation_loss": float(np.mean(losses)), "validation_loss_by_time": losses}

    def held_out(self, most: int) -> HeldOut:
        """Return crops of at most `most` held-out pictures, evenly over them, with their noise: always the same."""
        rows = np.linspace(0, len(self._held) - 1, min(most, len(self._held))).astype(int)
        crops = self.crops(self._held, rows, [("validation", int(row)) for row in rows])
        random = torch_generator_for(self._seed, "repair-validation")
        noise = torch.randn(len(rows), 1, self._side, self._side, generator=random)
        patients = tuple(self._held.patients[row] for row in rows)
        batch, labels = Batch.of(crops, self._device), self._labels(self._held, rows)
        return HeldOut(batch, labels, noise.to(self._device), patients)

    def draw_sheets(self, network: nn.Module, images_seen: int) -> None:
        """Write `<images seen>-sheet.png` of held-out pictures: what is seen, the band, the truth, repaired."""
        batch, labels, noise, _ = self.held_out(_COLUMNS)
        random = torch_generator_for(self._seed, "repair-sheet")
        drawn = fill_band(
            self._objective,
            network,
            batch,
            labels,
            noise,
            sampler=self._sampler,
            steps=self._steps,
            step_noise=lambda _: torch.randn(noise.shape, generator=random),
        )
        bands = (batch.band[:, 0] > 0).cpu().numpy()
        known, truth, mended = (to_bytes(x) for x in (batch.known, batch.target, drawn))
        mended = np.where(bands, mended, known)
        truth = np.where(bands, truth, known)
        rows = [
            ("composite" if self._phase == "seam" else "picture", _tiles(known, np.zeros_like(bands))),
            ("band", _tiles(known, bands)),
            ("what belongs there", _tiles(truth, np.zeros_like(bands))),
            ("repaired", _tiles(mended, np.zeros_like(bands))),
        ]
        path = self._folder / "samples" / f"{images_seen:09d}-sheet.png"
        files.save_png(path, picture_sheet(rows, colour=True))


def to_bytes(x: Tensor) -> np.ndarray:
    """Return grey values (b, 1, h, w) in [-1, 1] as uint8 (b, h, w)."""
    return ((x[:, 0].float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def _tiles(images: np.ndarray, regions: np.ndarray) -> list[np.ndarray]:
    return [outlined(image, region) for image, region in zip(images, regions, strict=True)]
