"""Filters: which drawn pictures stay out of a double, and why.

DiffGuard keeps the reconstruction error of an autoencoder beside each picture and leaves out masks with several
lesion types or none (Zhou et al., npj Digit Med 2024); it names no threshold. Here every filter gives a picture a
score, greater is worse, and drops it above a cut that is written down. Most cuts are quantiles over real pictures: the
filters depend on the data and say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from datadouble.cohort.structure import interior, lesions_of, structure_mask
from datadouble.training.reconstruction import absolute_error, prepare, to_inputs


class Candidates(NamedTuple):
    """Drawn pictures.

    `images` uint8 (b, h, w); `masks` uint8 (b, h, w), ids of the drawn mask; `ambiguity` float (b, h, w), 0 where the
    drawn code is that of a class and 1 halfway between two; `labels` (b,) the names of their classes.
    """

    images: np.ndarray
    masks: np.ndarray
    ambiguity: np.ndarray
    labels: Sequence[str]


class Judgement(NamedTuple):
    """Of each picture whether it is `kept`, bool (b,), and its `score`, float64 (b,); greater is worse."""

    kept: np.ndarray
    score: np.ndarray


class Filter(Protocol):
    """Drops the pictures whose score exceeds `cut`; `meaning` says what the score is."""

    name: ClassVar[str]
    meaning: ClassVar[str]

    @property
    def cut(self) -> float:
        """The greatest score that is kept."""

    def scores(self, candidates: Candidates) -> np.ndarray:
        """Return a score for each picture, float64 (b,)."""


@dataclass(frozen=True)
class Reconstruction:
    """Pictures unlike the real ones: an autoencoder trained on those does not bring them back."""

    network: nn.Module
    size: int
    cut: float
    name: ClassVar[str] = "reconstruction"
    meaning: ClassVar[str] = "mean absolute error of an autoencoder trained on the train images, in [0, 2]"

    @torch.no_grad()
    def scores(self, candidates: Candidates) -> np.ndarray:
        """See `Filter.scores`."""
        device = next(self.network.parameters()).device
        images = to_inputs(prepare(candidates.images, self.size)).to(device)
        return absolute_error(self.network, images).double().cpu().numpy()


@dataclass(frozen=True)
class Smoothness:
    """Pictures without the detail of real ones, blank or blurred: these an autoencoder brings back too well."""

    network: nn.Module
    size: int
    cut: float
    name: ClassVar[str] = "smoothness"
    meaning: ClassVar[str] = "the same error with a minus: above the cut, less of it than real pictures leave"

    def scores(self, candidates: Candidates) -> np.ndarray:
        """See `Filter.scores`."""
        return -Reconstruction(self.network, self.size, self.cut).scores(candidates)


@dataclass(frozen=True)
class Expected:
    """What real pictures of a class hold.

    Attributes
    ----------
    lesion
        ``"must"`` where all but a hundredth of them have one, ``"never"`` where at most a hundredth has, else
        ``"may"``.
    least_area
        Share of the picture that a lesion must fill.
    types
        Ids of the lesion mask that are the main type of at least a hundredth of them; empty: any.
    """

    lesion: str
    least_area: float
    types: tuple[int, ...] = ()


@dataclass(frozen=True)
class Presence:
    """Masks without a lesion where the class has one, or with one where it has none."""

    rule: str
    expected: dict[str, Expected]
    cut: float = 0.0
    name: ClassVar[str] = "presence"
    meaning: ClassVar[str] = (
        "what a lesion lacks of the class's least area, as a share; 1 for one that must not be"
    )

    def scores(self, candidates: Candidates) -> np.ndarray:
        """See `Filter.scores`."""
        area = (lesions_of(candidates.masks, self.rule) > 0).mean(axis=(1, 2))
        return np.array(
            [self._lacks(float(a), label) for a, label in zip(area, candidates.labels, strict=True)]
        )

    def _lacks(self, area: float, label: str) -> float:
        expected = self.expected.get(label)
        if expected is None or expected.lesion == "may":
            return 0.0
        if expected.lesion == "never":
            return float(area > 0)
        return max(1 - area / expected.least_area, 0.0)


@dataclass(frozen=True)
class Types:
    """More than one lesion type, or a type that the class does not have."""

    rule: str
    expected: dict[str, Expected]
    cut: float
    name: ClassVar[str] = "types"
    meaning: ClassVar[str] = "share of the lesion's pixels that are not of its main type, a type of the class"

    def scores(self, candidates: Candidates) -> np.ndarray:
        """See `Filter.scores`."""
        lesions = lesions_of(candidates.masks, self.rule)
        types = {label: one.types for label, one in self.expected.items()}
        labels = candidates.labels
        return np.array([type_mixture(m, types.get(of, ())) for m, of in zip(lesions, labels, strict=True)])


def type_mixture(lesions: np.ndarray, types: Sequence[int] = ()) -> float:
    """Return the share of lesion pixels (h, w) outside the commonest of `types` (of all, if empty); 0 without any."""
    counts = np.bincount(lesions.ravel(), minlength=2)[1:]
    if not counts.sum():
        return 0.0
    allowed = counts if not types else [counts[t - 1] for t in types if t <= len(counts)]
    return float(1 - max(allowed, default=0) / counts.sum())


@dataclass(frozen=True)
class Fragments:
    """Lesions in pieces."""

    rule: str
    cut: float
    name: ClassVar[str] = "fragments"
    meaning: ClassVar[str] = "share of the lesion's pixels outside its largest piece"

    def scores(self, candidates: Candidates) -> np.ndarray:
        """See `Filter.scores`."""
        return np.array([fragmentation(mask) for mask in lesions_of(candidates.masks, self.rule)])


def fragmentation(lesions: np.ndarray) -> float:
    """Return the share of lesion pixels (h, w) outside the largest piece (8 neighbours, whatever the type)."""
    from scipy import ndimage

    pieces, count = ndimage.label(lesions > 0, structure=np.ones((3, 3)))
    if count < 2:
        return 0.0
    sizes = np.bincount(pieces.ravel())[1:]
    return float(1 - sizes.max() / sizes.sum())


@dataclass(frozen=True)
class Ambiguity:
    """Pixels that are of no class."""

    cut: float
    name: ClassVar[str] = "ambiguity"
    meaning: ClassVar[str] = "share of the pixels nearer to the middle between two classes than to either"

    def scores(self, candidates: Candidates) -> np.ndarray:
        """See `Filter.scores`."""
        return (candidates.ambiguity > 0.5).mean(axis=(1, 2), dtype=np.float64)


@dataclass(frozen=True)
class Anatomy:
    """Lesions where the drawn picture shows no body: the structure's rule is asked again, of the drawn picture."""

    rule: str
    picture_rule: str
    intensity: dict[str, Any]
    cut: float
    name: ClassVar[str] = "anatomy"
    meaning: ClassVar[str] = (
        "share of the lesion's interior outside the structure that the drawn picture shows"
    )

    def scores(self, candidates: Candidates) -> np.ndarray:
        """See `Filter.scores`."""
        lesions = lesions_of(candidates.masks, self.rule)
        scores = np.zeros(len(lesions))
        for i, (image, lesion) in enumerate(zip(candidates.images, lesions, strict=True)):
            if lesion.any():
                inside = structure_mask(image, self.picture_rule, intensity=self.intensity)
                scores[i] = 1 - inside[interior(lesion)].mean()
        return scores


@dataclass(frozen=True)
class Enclosure:
    """Lesions that the drawn structure does not surround."""

    rule: str
    cut: float
    name: ClassVar[str] = "enclosure"
    meaning: ClassVar[str] = "share of background in a seam of two pixels round the lesion, in the drawn mask"

    def scores(self, candidates: Candidates) -> np.ndarray:
        """See `Filter.scores`."""
        from scipy import ndimage

        scores = np.zeros(len(candidates.masks))
        for i, mask in enumerate(candidates.masks):
            lesion = lesions_of(mask, self.rule) > 0
            seam = ndimage.binary_dilation(lesion, np.ones((3, 3)), iterations=2) & ~lesion
            if seam.any():
                scores[i] = (mask[seam] == 0).mean()
        return scores


@dataclass(frozen=True)
class FilterBank:
    """All filters of a run.

    Attributes
    ----------
    filters
        In the order in which they are reported; every one judges every picture.
    notes
        By filter: on how many real pictures its cut rests, which quantile of their scores it is, and what was left
        out and why.
    """

    filters: tuple[Filter, ...] = ()
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def judge(self, candidates: Candidates) -> dict[str, Judgement]:
        """Return what each filter says, by its name."""
        found = {}
        for one in self.filters:
            score = one.scores(candidates)
            found[one.name] = Judgement(score <= one.cut, score)
        return found

    def rejected(
        self, images: np.ndarray, masks: np.ndarray, ambiguity: np.ndarray, labels: str | Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Return by filter which pictures it drops, bool (b,): what `Drawn.rejected` takes.

        See `Candidates`; one name as `labels` is that of them all.
        """
        each = [labels] * len(images) if isinstance(labels, str) else labels
        found = self.judge(Candidates(images, masks, ambiguity, each))
        return {name: ~judgement.kept for name, judgement in found.items()}

    def facts(self) -> tuple[dict[str, Any], ...]:
        """Return what a double says of its filters: `GeneratorFacts.filters`."""
        return tuple(
            {
                "name": one.name,
                "meaning": one.meaning,
                "cut": round(one.cut, 6),
                **self.notes.get(one.name, {}),
            }
            for one in self.filters
        )

    def to(self, device: torch.device | str) -> "FilterBank":
        """Move the networks, in place."""
        for one in self.filters:
            if isinstance(one, Reconstruction | Smoothness):
                one.network.to(device)
        return self
