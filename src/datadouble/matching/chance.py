"""Which of many best matches stand outside what chance gives, told from the bulk of them alone.

For a set of pictures that is searched within itself, with no unseen set to learn from. The square of Fisher's z of the
greatest of many chance correlations has a tail close to an exponential. Its scale is read off the median and the 80%
quantile, so that true matches, a seventh of the pictures say, hardly move it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BULK = 0.8
"""Share of the pictures that are held to have chance matches only."""
LEAST = 20
"""Pictures below which the bulk says nothing."""

_FACTOR = float(np.log(0.5 / (1 - BULK)))  # an exponential's 80% quantile less its median over its scale


class Chance(NamedTuple):
    """What chance gives: ``middle`` and ``scale`` (windows,) of z^2, and the ``threshold`` of the greatest score."""

    middle: np.ndarray
    scale: np.ndarray
    threshold: float

    def scores(self, correlation: np.ndarray) -> np.ndarray:
        """Correlations (n, windows) brought to one scale for all windows."""
        return (_squared(correlation) - self.middle) / self.scale


def learn_chance(correlation: np.ndarray, searched: int, *, alpha: float) -> Chance:
    """Learn what chance gives from the best matches of a set of pictures, most of which are chance matches.

    Parameters
    ----------
    correlation : ndarray
        (n, windows): each picture's greatest correlation, for boxes of several sizes.
    searched : int
        Pictures that were searched, in all.
    alpha : float
        Probability that the greatest of so many chance scores passes the threshold.

    Returns
    -------
    Chance
        With fewer than :data:`LEAST` pictures the threshold is minus infinity: everything passes.
    """
    n, windows = correlation.shape
    if n < LEAST:
        return Chance(np.zeros(windows), np.ones(windows), -np.inf)
    middle, scale = _tail(_squared(correlation), 1e-4)
    chance = Chance(middle, scale, 0.0)
    start, step = _tail(chance.scores(correlation).max(1), 0.05)
    level = -np.expm1(np.log1p(-alpha) / max(searched, 1))
    return chance._replace(threshold=float(start + step * np.log(0.5 / level)))


def _tail(values: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Median, and the scale of the exponential through it and the upper quantile."""
    middle, upper = np.quantile(values, [0.5, BULK], axis=0)
    return middle, np.maximum((upper - middle) / _FACTOR, least)


def _squared(correlation: np.ndarray) -> np.ndarray:
    """Fisher's z times its magnitude."""
    z = np.arctanh(np.clip(np.asarray(correlation, np.float64), -0.9999, 0.9999))
    return z * np.abs(z)
