"""Simulated reader studies with known truth, for study_coverage.py."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from datadouble import stats

CUTS = (-0.8, 0.1, 0.7, 1.5)  # of five categories, on the scale of the negatives


class Structure(NamedTuple):
    """A Roe-Metz model: ratings = mean + reader + case + interactions (Roe and Metz, Academic Radiology 1997;4:298).

    Case components are variances that sum to 1; ``reader`` is that of reader x truth and of modality x reader x truth.
    """

    case: float
    modality_case: float
    reader_case: float
    error: float
    reader: float


HIGH_CORRELATION = (0.3, 0.3, 0.2, 0.2)
LOW_CORRELATION = (0.1, 0.1, 0.2, 0.6)


class Study(NamedTuple):
    """Ratings and the true areas of each generalisation, all per modality."""

    truth: np.ndarray  # (cases,) bool
    ratings: np.ndarray  # (modalities, readers, cases)
    areas: dict[str, np.ndarray]  # (modalities,)


def roe_metz(
    rng: np.random.Generator,
    structure: Structure,
    separations: tuple[float, float],
    *,
    readers: int,
    positives: int,
    negatives: int,
    null: str = "",
    unpaired: bool = False,
    areas: bool = True,
) -> Study:
    """One study of two modalities.

    ``null`` names the model ("random", "readers fixed", "cases fixed") under which the modalities must not differ at
    all: then what that model holds fixed has no interaction with the modality. Without ``areas`` no truth is found.
    """
    truth = np.repeat([True, False], [positives, negatives])
    cases = len(truth)
    interaction_of_readers = 0.0 if null == "readers fixed" else structure.reader
    interaction_of_cases = 0.0 if null == "cases fixed" else structure.modality_case
    sets = 2 if unpaired else 1

    def draw(variance: float, *shape: int) -> np.ndarray:
        return np.sqrt(variance) * rng.standard_normal(shape)

    by_reader = draw(structure.reader, 1, readers, 2) + draw(interaction_of_readers, 2, readers, 2)
    by_case = draw(structure.case, sets, 1, cases) + draw(interaction_of_cases, 2, 1, cases)
    both = draw(structure.reader_case, sets, readers, cases) + draw(structure.error, 2, readers, cases)
    mean = np.asarray(separations)[:, None, None]
    ratings = mean * truth + by_reader[:, :, truth.astype(int)] + by_case + both
    if not areas:
        return Study(truth, ratings, {})
    reader_variance = structure.reader + interaction_of_readers
    case_variance = structure.case + interaction_of_cases
    noise = structure.reader_case + structure.error
    places = by_case[:, 0]  # (modality, case)
    gaps = (mean[:, 0] + places[:, truth])[:, :, None] - places[:, None, ~truth]
    shift = mean[:, :, 0] + by_reader[:, :, 1] - by_reader[:, :, 0]
    return Study(
        truth,
        ratings,
        {
            "random": ndtr(mean[:, 0, 0] / np.sqrt(2 * (reader_variance + case_variance + noise))),
            "readers fixed": ndtr(shift / np.sqrt(2 * (case_variance + noise))).mean(axis=1),
            "cases fixed": ndtr(gaps / np.sqrt(2 * (reader_variance + noise))).mean(axis=(1, 2)),
        },
    )


def placements(truth: np.ndarray, curves: np.ndarray) -> stats.Placements:
    """What ``stats.placements`` gives, by the definition, for few cases and many curves at once."""
    positives, negatives = curves[:, truth], curves[:, ~truth]
    wins = (positives[:, :, None] > negatives[:, None]) + 0.5 * (positives[:, :, None] == negatives[:, None])
    cases = np.arange(len(truth))
    return stats.Placements(
        wins.mean(axis=(1, 2)), wins.mean(axis=2), wins.mean(axis=1), cases[truth], cases[~truth]
    )


def reader(
    rng: np.random.Generator, separation: float, positives: int, negatives: int, categories: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Truth and ratings of an equal-variance binormal reader, continuous or in five categories."""
    truth = np.repeat([True, False], [positives, negatives])
    ratings = rng.standard_normal(len(truth)) + separation * truth
    return truth, np.searchsorted(CUTS, ratings).astype(float) if categories else ratings


def area(separation: float, categories: bool) -> float:
    """The true empirical area of such a reader: ties in a category count half."""
    if not categories:
        return float(ndtr(separation / np.sqrt(2)))
    edges = np.concatenate([[-np.inf], CUTS, [np.inf]])
    negative, positive = np.diff(ndtr(edges)), np.diff(ndtr(edges - separation))
    return float(positive @ (np.cumsum(negative) - negative / 2))


class Panel(NamedTuple):
    """Readers who sort items into ordered categories: an item's place plus each reader's own noise, cut by each."""

    cuts: np.ndarray  # (readers, categories - 1)
    noise: float

    def ratings(self, rng: np.random.Generator, items: int) -> np.ndarray:
        """Categories (items, readers)."""
        places = rng.standard_normal((items, 1)) + self.noise * rng.standard_normal((items, len(self.cuts)))
        return (places[:, :, None] > self.cuts).sum(axis=2)

    def chances(self) -> tuple[np.ndarray, np.ndarray]:
        """Places of items on a fine grid with their weights, as chances (grid, readers, categories) and weights."""
        grid = np.linspace(-8, 8, 4001)
        weights = np.exp(-(grid**2) / 2)
        below = ndtr((self.cuts - grid[:, None, None]) / self.noise)
        return np.diff(below, axis=2, prepend=0.0, append=1.0), weights / weights.sum()

    def fleiss(self) -> float:
        """Fleiss' kappa of infinitely many items."""
        agreement, shares = self._agreement()
        chance = float(shares @ shares)
        return (agreement - chance) / (1 - chance)

    def ac1(self) -> float:
        """Gwet's AC1 of infinitely many items."""
        agreement, shares = self._agreement()
        chance = float(shares @ (1 - shares)) / (len(shares) - 1)
        return (agreement - chance) / (1 - chance)

    def cohen(self, power: float | None = None) -> float:
        """Cohen's kappa of the first two readers; with credit 1 - distance**power for near categories."""
        chances, weights = self.chances()
        joint = np.einsum("g,gc,gd->cd", weights, chances[:, 0], chances[:, 1])
        kinds = len(joint)
        distance = np.abs(np.subtract.outer(np.arange(kinds), np.arange(kinds))) / (kinds - 1)
        credit = np.eye(kinds) if power is None else 1 - distance**power
        chance = float(joint.sum(axis=1) @ credit @ joint.sum(axis=0))
        return (float((joint * credit).sum()) - chance) / (1 - chance)

    def _agreement(self) -> tuple[float, np.ndarray]:
        chances, weights = self.chances()
        readers = chances.shape[1]
        joint = np.einsum("g,grc,gsc->rs", weights, chances, chances)
        pairs = (joint.sum() - np.trace(joint)) / (readers * (readers - 1))
        return float(pairs), np.einsum("g,grc->c", weights, chances) / readers
