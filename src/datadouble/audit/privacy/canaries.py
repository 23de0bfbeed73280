"""A lower bound of epsilon from canaries: what an attacker did bounds what the mechanism can promise.

Canary patients are made up; chance puts about half of them into training and leaves the others out. Afterwards each has
a score, higher for "was in". Scores and truth give the bound; an accountant's epsilon below it is wrong.

Two ways. `"guesses"` (Steinke, Nasr and Jagielski, NeurIPS 2023, algorithm 1 and appendix D) holds for every
mechanism and one run, and cannot exceed about ln(canaries / 3). `"gaussian"` takes the mechanism for a Gaussian one
(mu-GDP, Dong et al. 2022; Nasr et al., USENIX Security 2023), turns bounds of the true and false positive rates into
mu and mu into epsilon: it sees further with few canaries.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from datadouble.errors import DataDoubleError

_SHARES = (
    1.0,
    0.5,
    0.25,
    0.1,
)  # of the canaries that are guessed about; each tested at its part of the confidence
_CUTS = tuple(np.linspace(0.1, 0.9, 9))
_MOST = 100.0


@dataclass(frozen=True)
class EpsilonLowerBound:
    """What an attack proves of epsilon.

    Attributes
    ----------
    epsilon : float
        With `confidence`, no (epsilon', delta) below this holds; 0 where nothing is proved.
    method : str
        ``"guesses"`` or ``"gaussian"``.
    canaries, included : int
        How many in all, and in training.
    correct, guesses : int
        Guesses of the best choice; 0 for ``"gaussian"``.
    """

    epsilon: float
    confidence: float
    delta: float
    method: str
    canaries: int
    included: int
    correct: int = 0
    guesses: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def epsilon_lower_bound(
    scores: np.ndarray,
    included: np.ndarray,
    *,
    delta: float,
    confidence: float = 0.95,
    method: str = "guesses",
) -> EpsilonLowerBound:
    """Return the lower bound that canaries' scores prove.

    Parameters
    ----------
    scores
        (n,), higher for "was in training".
    included
        (n,) bool; drawn with chance one half each, apart from one another.
    delta
        Of the guarantee that is tested.
    confidence
        Of the bound; several choices of the attacker share the error.
    method
        ``"guesses"`` or ``"gaussian"``.

    Raises
    ------
    DataDoubleError
        When nothing was included or nothing left out, or a score is no number.
    """
    scores, included = np.asarray(scores, dtype=float), np.asarray(included, dtype=bool)
    n = len(scores)
    if (
        scores.shape != included.shape
        or included.all()
        or not included.any()
        or not np.isfinite(scores).all()
    ):
        raise DataDoubleError(
            "canaries need finite scores, and some of them in training and some left out",
            where="canaries",
            found=f"{len(scores)} scores, {int(included.sum())} included",
        )
    if method == "gaussian":
        epsilon = _gaussian_bound(scores, included, delta, 1 - confidence)
        return EpsilonLowerBound(epsilon, confidence, delta, method, n, int(included.sum()))
    if method != "guesses":
        raise DataDoubleError("unknown method", found=method, remedy="use guesses or gaussian")
    order = np.argsort(scores, kind="stable")
    best = EpsilonLowerBound(0.0, confidence, delta, method, n, int(included.sum()))
    for share in _SHARES:
        each = max(1, int(share * n / 2))
        correct = int(included[order[-each:]].sum() + (~included[order[:each]]).sum())
        error = (1 - confidence) / len(_SHARES)
        epsilon = epsilon_from_guesses(correct, 2 * each, n, delta=delta, confidence=1 - error)
        if epsilon > best.epsilon:
            best = EpsilonLowerBound(
                epsilon, confidence, delta, method, n, int(included.sum()), correct, 2 * each
            )
    return best


def epsilon_from_guesses(
    correct: int, guesses: int, canaries: int, *, delta: float, confidence: float = 0.95
) -> float:
    """Return the greatest epsilon that `correct` right guesses of `guesses` refute at `confidence`.

    Raises
    ------
    DataDoubleError
        Unless 0 <= correct <= guesses <= canaries.
    """
    if not 0 <= correct <= guesses <= canaries or guesses == 0:
        raise DataDoubleError(
            "guesses must be of canaries", where="canaries", found=f"{correct}/{guesses}/{canaries}"
        )
    low, high = 0.0, _MOST
    if guess_probability(correct, guesses, canaries, low, delta) > 1 - confidence:
        return 0.0
    for _ in range(36):
        middle = (low + high) / 2
        refuted = guess_probability(correct, guesses, canaries, middle, delta) <= 1 - confidence
        low, high = (middle, high) if refuted else (low, middle)
    return low


def guess_probability(correct: int, guesses: int, canaries: int, epsilon: float, delta: float) -> float:
    """Return a bound of the chance that an (epsilon, delta)-private mechanism lets so many guesses be right.

    Theorem 5.2 of Steinke et al.: without delta, right guesses are no more than a binomial with chance
    e^epsilon / (1 + e^epsilon); delta adds 2 m delta times the greatest mean mass in reach below `correct`.
    """
    from scipy.stats import binom

    chance = 1 / (1 + math.exp(-min(epsilon, 700)))
    tail = float(binom.sf(correct - 1, guesses, chance))
    steps = np.arange(1, correct + 1)
    mass = np.cumsum(binom.pmf(correct - steps, guesses, chance))
    alpha = float((mass / steps).max()) if correct else 0.0
    return min(1.0, tail + 2 * canaries * delta * alpha)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the epsilon of mu-Gaussian privacy at `delta` (Dong et al. 2022, corollary 2.13); 0 for mu <= 0."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    if mu <= 0:
        return 0.0

    def excess(epsilon: float) -> float:
        # In logarithms: e^epsilon overflows where its factor vanishes.
        second = math.exp(epsilon + norm.logcdf(-epsilon / mu - mu / 2))
        return float(norm.cdf(-epsilon / mu + mu / 2) - second - delta)

    if excess(0.0) <= 0:
        return 0.0
    high = 1.0
    while excess(high) > 0:
        high *= 2
    return float(brentq(excess, 0.0, high))


def _gaussian_bound(scores: np.ndarray, included: np.ndarray, delta: float, error: float) -> float:
    """Return the best of several thresholds; rates bounded by Clopper and Pearson, error shared by all of them."""
    from scipy.stats import beta, norm

    inside, outside = scores[included], scores[~included]
    each = error / (2 * len(_CUTS))
    best = 0.0
    for cut in np.quantile(scores, _CUTS):
        hits, alarms = int((inside > cut).sum()), int((outside > cut).sum())
        true_rate = float(beta.ppf(each, hits, len(inside) - hits + 1)) if hits else 0.0
        false_rate = (
            float(beta.ppf(1 - each, alarms + 1, len(outside) - alarms)) if alarms < len(outside) else 1.0
        )
        if true_rate > 0 and false_rate < 1:
            best = max(best, float(norm.ppf(true_rate) - norm.ppf(false_rate)))
    return gaussian_epsilon(best, delta)
