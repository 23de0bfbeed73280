"""Scores of segmenters: Dice by case on the classes it shows, and classification read from the masks.

Intervals resample patients and trainings (`scores.Resamples`); arms share the resamples, so that differences are
paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.evidence import named
from datadouble.audit.utility.mask_classes import classify_from_masks
from datadouble.audit.utility.overlap import dice
from datadouble.audit.utility.scores import Resamples, Sampled, over_trainings

MEASURES = ("dice", "f1", "accuracy")
MEASURE_WORDS = {"dice": "DSC", "f1": "macro F1", "accuracy": "accuracy"}
QUINTILES = 5


class CaseScores(NamedTuple):
    """Of each case (n,): ``dice`` over the classes it shows, NaN where it shows none, and the type ``called``."""

    dice: np.ndarray
    called: np.ndarray

    def to_json(self) -> dict[str, list[Any]]:
        """Plain values; NaN as null."""
        return {
            "dice": [None if np.isnan(value) else round(float(value), 5) for value in self.dice],
            "called": [int(value) for value in self.called],
        }

    @classmethod
    def from_json(cls, value: dict[str, list[Any]]) -> CaseScores:
        """Read what ``to_json`` gave."""
        dice_values = np.array([np.nan if v is None else v for v in value["dice"]], np.float64)
        return cls(dice_values, np.array(value["called"], np.int64))


def score_cases(
    truth: Sequence[np.ndarray] | np.ndarray, found: Sequence[np.ndarray] | np.ndarray, classes: int
) -> CaseScores:
    """Score predicted masks (or volumes) of class ids, case by case."""
    return CaseScores(
        np.array([case_dice(a, b) for a, b in zip(truth, found, strict=True)]),
        classify_from_masks(found, classes),
    )


def case_dice(truth: np.ndarray, found: np.ndarray) -> float:
    """Mean Dice over the classes, without the background, that the true mask shows; NaN where it shows none."""
    present = [int(k) for k in np.unique(truth) if k > 0]
    return float(np.mean([dice(truth == k, found == k) for k in present])) if present else float("nan")


class ArmMeasures(NamedTuple):
    """The measures of one arm under every resample, by name."""

    dice: Sampled
    f1: Sampled
    accuracy: Sampled


def measure(types: np.ndarray, scores: Sequence[CaseScores], draws: Resamples) -> ArmMeasures:
    """Means over cases and trainings.

    Parameters
    ----------
    types : ndarray
        (n,) true type of each case, 0 for normal. Macro F1 is over the types that occur.
    scores : sequence of CaseScores
        One for each training.
    draws : Resamples
        Of the n cases' patients and these trainings.
    """
    weights = draws.pictures.astype(np.float64)
    overlap = np.stack([score.dice for score in scores])  # (trainings, n)
    called = np.stack([score.called for score in scores])
    shown = np.isfinite(overlap[0])
    with_lesion = weights * shown
    total = with_lesion.sum(axis=1, keepdims=True)
    mean = np.divide(
        with_lesion @ np.where(np.isfinite(overlap), overlap, 0).T,
        total,
        out=np.full((len(weights), len(scores)), np.nan),
        where=total > 0,
    )
    cases = weights.sum(axis=1, keepdims=True)
    right = np.divide(
        weights @ (called == types).T,
        cases,
        out=np.full((len(weights), len(scores)), np.nan),
        where=cases > 0,
    )
    return ArmMeasures(
        over_trainings(mean, draws, int(shown.sum())),
        over_trainings(macro_f1(types, called, weights), draws, len(types)),
        over_trainings(right, draws, len(types)),
    )


def macro_f1(types: np.ndarray, called: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(b, trainings): mean F1 over the types that occur in ``types`` (n,), of ``called`` (trainings, n).

    A type that no case of a resample has, and none is called, is left out of that resample's mean.
    """
    weights, each = np.asarray(weights, np.float64), []
    for kind in np.unique(types):
        truth, said = types == kind, called == kind
        both = weights @ (said & truth).T
        total = weights @ said.T + (weights @ truth)[:, None]
        each.append(np.divide(2 * both, total, out=np.full_like(both, np.nan), where=total > 0))
    stacked = np.stack(each)
    there = np.isfinite(stacked)
    count = there.sum(axis=0)
    return np.divide(
        np.where(there, stacked, 0).sum(axis=0), count, out=np.full(count.shape, np.nan), where=count > 0
    )


def constant_floor(
    train_masks: Sequence[np.ndarray] | np.ndarray, masks: Sequence[np.ndarray] | np.ndarray, classes: int
) -> dict[str, float]:
    """What an answer that looks at no picture reaches: a network at or below this has learned nothing.

    Dice is that of one mask for all, drawn where at least half as many training pictures as anywhere show a lesion, of
    the type that most of them show there; F1 and accuracy those of the type that serves best for all cases.

    Parameters
    ----------
    train_masks : ndarray
        (m, s, s).
    masks : sequence of ndarray
        True masks of the test, (s, s) or (d, s, s).
    """
    share = np.zeros(np.shape(train_masks)[1:])
    counts = np.zeros(classes, np.int64)
    for mask in train_masks:
        share += np.asarray(mask) > 0
        counts += np.bincount(np.asarray(mask).ravel(), minlength=classes)
    kind = 1 + int(np.argmax(counts[1:]))
    answer = (share >= 0.5 * share.max()) * kind * (share.max() > 0)
    overlap = [case_dice(np.asarray(m), np.broadcast_to(answer, np.shape(m))) for m in masks]
    types = classify_from_masks(masks, classes)
    once = np.ones((1, len(types)))
    said = np.repeat(np.arange(classes)[:, None], len(types), axis=1)
    return {
        "dice": float(np.nanmean(overlap)) if np.isfinite(overlap).any() else 0.0,
        "f1": float(np.nanmax(macro_f1(types, said, once))),
        "accuracy": float(np.bincount(types).max() / len(types)),
    }


def volume_fifths(volumes: np.ndarray) -> np.ndarray:
    """(n,) the fifth, 0 to 4, of each lesion's volume; -1 where there is none."""
    fifth = np.full(len(volumes), -1, np.int64)
    shown = volumes > 0
    if shown.any():
        cuts = np.quantile(volumes[shown], np.linspace(0, 1, QUINTILES + 1)[1:-1])
        fifth[shown] = np.searchsorted(cuts, volumes[shown], side="left")
    return fifth


def by_volume(
    volumes: np.ndarray,
    scores: Sequence[CaseScores],
    draws: Resamples,
    reference: Sequence[CaseScores] | None = None,
) -> list[dict[str, Any]]:
    """Mean Dice in each fifth of true lesion volume, smallest first.

    Against a reference Mann-Whitney's test of cases, each the mean over trainings, with Holm's correction.
    """
    from datadouble.stats import holm, mann_whitney

    fifth = volume_fifths(volumes)
    overlap = np.stack([score.dice for score in scores])
    entries = []
    for number in range(QUINTILES):
        keep = fifth == number
        if not keep.any():
            continue
        only = Resamples(draws.pictures * keep, draws.trainings)
        sampled = measure(np.zeros(len(fifth), np.int64), scores, only).dice
        entry: dict[str, Any] = {
            "fifth": number,
            "largest_volume": float(volumes[keep].max()),
            "dice": named(Sampled(sampled.values, int(keep.sum())).estimate()),
        }
        if reference is not None:
            other = np.stack([score.dice for score in reference])
            test = mann_whitney(overlap[:, keep].mean(axis=0), other[:, keep].mean(axis=0))
            entry["mann_whitney_p"] = test.p_value
        entries.append(entry)
    if reference is not None and entries:
        for entry, p_value in zip(entries, holm([e["mann_whitney_p"] for e in entries]), strict=True):
            entry["mann_whitney_p_holm"] = float(p_value)
    return entries


def false_alarms(types: np.ndarray, scores: Sequence[CaseScores]) -> float | None:
    """Share of normal cases in which something is drawn, over trainings; None without normal cases."""
    normal = types == 0
    return float(np.mean([(score.called[normal] > 0).mean() for score in scores])) if normal.any() else None
