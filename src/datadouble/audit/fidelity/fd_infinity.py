"""FD-infinity: the Frechet distance extrapolated to endlessly many pictures (Chong and Forsyth, CVPR 2020, section 4).

The distance of samples of size N exceeds that of the distributions by about a / N (their eq. 4). So it is measured at
several N and a straight line in 1 / N is fitted, whose intercept is the estimate. Here both sides shrink together, for
the real side is a small sample too.

The line holds only where N is well above the number of features. Below, the curve bends, the intercept stays too
high and the fit's own interval does not know: read it beside the same extrapolation between real and real, which
should be 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from datadouble.audit.fidelity.floor import by_patient
from datadouble.audit.fidelity.frechet import FrechetProducts, frechet_distance

POINTS = 15  # as in the paper's program
FEWEST = 20


class FrechetInfinity(NamedTuple):
    """Intercept of the line with the fit's interval, and the points it went through.

    ``above_dimension`` says whether the smallest N exceeds the number of features, so that the line is justified;
    ``r_squared`` is the share of the points' variance that the line explains.
    """

    value: float
    low: float
    high: float
    n: int
    r_squared: float
    above_dimension: bool
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


def fd_infinity(
    real: np.ndarray,
    synthetic: np.ndarray,
    *,
    real_groups: np.ndarray | None = None,
    synthetic_groups: np.ndarray | None = None,
    points: int = POINTS,
    smallest: int | None = None,
    seed: int = 0,
    confidence: float = 0.95,
) -> FrechetInfinity:
    """Frechet distance extrapolated linearly in 1 / N.

    Parameters
    ----------
    real, synthetic : ndarray
        (n, d) and (m, d).
    real_groups, synthetic_groups : ndarray, optional
        Patients; the smaller samples take whole ones.
    points : int
        Sample sizes at which the distance is measured, evenly spaced, at least 3.
    smallest : int, optional
        The smallest of them; default half of the smaller set, for the line bends over a longer way.

    Raises
    ------
    ValueError
        For fewer than 20 vectors a side or fewer than 3 points.
    """
    n = min(len(real), len(synthetic))
    if n < FEWEST or points < 3:
        raise ValueError(
            f"the fit needs at least {FEWEST} vectors a side and 3 points: found {n} and {points}"
        )
    smallest = max(FEWEST // 2, n // 2) if smallest is None else smallest
    sizes = np.unique(np.linspace(smallest, n, points).astype(int))
    groups = [
        np.arange(len(x)) if g is None else g for x, g in ((real, real_groups), (synthetic, synthetic_groups))
    ]
    rng = np.random.default_rng(seed)
    products = FrechetProducts(real, synthetic) if n <= 1.5 * real.shape[1] else None
    values = []
    for size in sizes:
        first, second = (by_patient(g, rng)[:size] for g in groups)
        if products is None:
            values.append(frechet_distance(real[first], synthetic[second]))
        else:
            counts = (
                np.bincount(first, minlength=len(real)),
                np.bincount(second, minlength=len(synthetic)),
            )
            values.append(products.distance(*counts))
    value, low, high, r_squared = _line(1.0 / sizes, np.array(values), confidence)
    return FrechetInfinity(
        value,
        low,
        high,
        n,
        r_squared,
        bool(smallest > real.shape[1]),
        tuple(int(size) for size in sizes),
        tuple(values),
    )


def _line(x: np.ndarray, y: np.ndarray, confidence: float) -> tuple[float, float, float, float]:
    """Least squares: intercept, its interval (Student's t on n - 2), r squared."""
    from scipy.stats import linregress, t

    fit = linregress(x, y)
    reach = t.ppf((1 + confidence) / 2, len(x) - 2) * fit.intercept_stderr
    intercept = float(fit.intercept)
    return intercept, float(intercept - reach), float(intercept + reach), float(fit.rvalue**2)
