"""What local correlation makes a copy: a bound learnt from real pictures of other patients.

Held-out patients are searched in the same gallery as the double, so that both have the same chance of a look-alike. The
greatest of many chance correlations r has a tail close to exp(-k z^2), z = atanh(r) being nearly normal (Fisher), so
each box size's z^2 is brought to units of its own mean excess, and the tail of the best size's score is carried on as
an exponential (Pickands 1975; Balkema and de Haan 1974) to the level that the greatest of a release's n pictures passes
with probability alpha.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from datadouble.errors import DataDoubleError
from datadouble.matching.alignment import WINDOWS
from datadouble.matching.search import Matches
from datadouble.randomness import generator_for

LEAST = 20  # calibration pictures
TAIL = 0.2  # share of the calibration scores in the tail
_RESAMPLES = 400


class CopyThreshold(NamedTuple):
    """A score from which a picture of a release is a copy, and how it was found.

    ``centre`` and ``spread`` (columns,): of z^2 of unseen patients' correlations, for each box size and for lesions:
    what a fifth of them passes, and by how much in the mean; by these, sizes are brought to one scale. Above ``start``
    lies a share ``share`` of the scores, with mean excess ``scale`` (its upper ``confidence`` limit over patients). The
    greatest of ``release`` unseen pictures passes ``threshold`` with probability at most ``alpha``. ``greatest``: of
    the ``n`` calibration pictures, of ``patients`` patients.
    """

    centre: np.ndarray
    spread: np.ndarray
    start: float
    share: float
    scale: float
    threshold: float
    release: int
    alpha: float
    confidence: float
    greatest: float
    n: int
    patients: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        values = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in self._asdict().items()}
        lesion = ["lesion"] * (len(self.centre) - len(WINDOWS))
        return values | {"boxes": [list(size) for size in WINDOWS] + lesion}


class CopyScores(NamedTuple):
    """Of n pictures: ``score``, the ``window`` (column of the matches) that gave it, and the chance of such a score."""

    score: np.ndarray
    window: np.ndarray
    p_value: np.ndarray


def learn_threshold(
    unseen: Matches,
    patients: np.ndarray,
    *,
    release: int,
    alpha: float = 0.025,
    confidence: float = 0.975,
    seed: int = 0,
) -> CopyThreshold:
    """Learn the threshold for a release of so many pictures from unseen patients' matches in the same gallery.

    Parameters
    ----------
    unseen : Matches
        Of real pictures whose patients are not in the gallery.
    patients : ndarray
        (n,) patient of each.
    release : int
        Pictures of the release: the bound holds for all of them together.
    alpha : float
        Probability that a release without copies holds a picture above the threshold.
    confidence : float
        Of the tail's scale, one-sided, over resampled patients: few calibration patients give a higher threshold.

    Raises
    ------
    DataDoubleError
        With fewer than 20 calibration pictures.
    """
    n = len(unseen.correlation)
    if n < LEAST:
        raise DataDoubleError(
            "too few unseen pictures to say what is a copy",
            where="holdout",
            found=f"{n} pictures",
            remedy=f"hold out {LEAST} pictures or more (`datadouble split`)",
        )
    z = _squared(unseen.correlation)
    centre = np.quantile(z, 1 - TAIL, axis=0)
    above = z > centre
    spread = (np.where(above, z - centre, 0).sum(0) / np.maximum(above.sum(0), 1)).clip(1e-4)
    score = ((z - centre) / spread).max(1)
    start = float(np.quantile(score, 1 - TAIL))
    _, codes = np.unique(np.asarray(patients).astype(str), return_inverse=True)
    excess = np.maximum(score - start, 0)
    by_patient = np.bincount(codes, excess), np.bincount(codes, excess > 0)
    rng = generator_for(seed, "copy threshold")
    weights = rng.multinomial(
        len(by_patient[0]), np.full(len(by_patient[0]), 1 / len(by_patient[0])), _RESAMPLES
    )
    scales = (weights @ by_patient[0]) / np.maximum(weights @ by_patient[1], 1)
    scale = max(float(np.quantile(scales, confidence)), 0.05)
    share = float(np.mean(score > start))
    level = 1 - (1 - alpha) ** (1 / max(release, 1))
    threshold = start + scale * float(np.log(share / level)) if share > level else start
    threshold = max(threshold, float(score.max()))
    return CopyThreshold(
        centre, spread, start, share, scale, threshold, release, alpha, confidence, float(score.max()), n,
        len(by_patient[0]),
    )  # fmt: skip


def copy_scores(matches: Matches, threshold: CopyThreshold) -> CopyScores:
    """Scores on the threshold's scale; the P value is that of one picture, not of the release."""
    standard = (_squared(matches.correlation) - threshold.centre) / threshold.spread
    score = standard.max(1) if len(standard) else np.zeros(0)
    window = standard.argmax(1) if len(standard) else np.zeros(0, np.int64)
    return CopyScores(score, window, single_p_values(score, threshold))


def single_p_values(scores: np.ndarray, threshold: CopyThreshold) -> np.ndarray:
    """The chance that one picture of an unseen patient scores as much; 1 below the tail."""
    beyond = np.maximum(scores - threshold.start, 0)
    tail = threshold.share * np.exp(-beyond / threshold.scale)
    return np.where(scores > threshold.start, tail, 1.0)


def release_p_value(single: np.ndarray) -> float:
    """The chance that the greatest of so many unseen pictures scores as much as the greatest of a release (Sidak)."""
    if len(single) == 0:
        return 1.0
    least = min(float(single.min()), 1 - 1e-12)
    return float(-np.expm1(len(single) * np.log1p(-least)))


def _squared(correlation: np.ndarray) -> np.ndarray:
    """Fisher's z times its magnitude."""
    z = np.arctanh(np.clip(np.asarray(correlation, np.float64), -0.9999, 0.9999))
    return z * np.abs(z)
