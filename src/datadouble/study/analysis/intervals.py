"""Intervals of shares, of d' and of medians, as a study has them: strata of cases, patients with several looks.

What each holds in simulated studies stands in ``results/study/coverage.md``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from datadouble import stats

CONFIDENCE = 0.95


def share(
    hits: np.ndarray,
    *,
    units: np.ndarray | None = None,
    strata: np.ndarray | None = None,
    equal: bool = False,
) -> dict[str, Any]:
    """A share of looks with its 95% interval.

    Parameters
    ----------
    hits : ndarray of bool or {0, 1}, shape (n,)
    units : ndarray, shape (n,), optional
        Patients. Where one has several looks, Wilson's interval is taken at the effective number of looks: the number
        at which a binomial share would vary as this one does between patients (Korn and Graubard, Survey Methodology
        1998;24:193).
    strata : ndarray, shape (n,), optional
        Kinds of cases, whose numbers the study has fixed. Then the share is the sum of theirs, and its interval squares
        and adds their arms (Newcombe, Statistics in Medicine 1998;17:873): one proportion of all looks would vary more.
    equal : bool
        The strata count alike, however many looks they have: the two-answer area.

    Returns
    -------
    dict
        ``value, low, high, n``; with `units` also ``units``, their number.
    """
    hits = np.asarray(hits, dtype=np.float64)
    if units is not None and len(np.unique(units)) == len(hits):
        units = None
    kinds = np.zeros(len(hits), dtype=int) if strata is None else np.unique(strata, return_inverse=True)[1]
    value, below, above = 0.0, 0.0, 0.0
    for kind in np.unique(kinds):
        here = kinds == kind
        weight = 1 / len(np.unique(kinds)) if equal else float(here.mean())
        part, low, high = _wilson(hits[here], None if units is None else units[here])
        value += weight * part
        below += (weight * (part - low)) ** 2
        above += (weight * (high - part)) ** 2
    low, high = max(0.0, value - float(np.sqrt(below))), min(1.0, value + float(np.sqrt(above)))
    found: dict[str, Any] = {"value": value, "low": low, "high": high, "n": len(hits)}
    return found if units is None else found | {"units": len(np.unique(units))}


def _wilson(hits: np.ndarray, units: np.ndarray | None) -> tuple[float, float, float]:
    if units is None:
        return stats.proportion_estimate(int(hits.sum()), len(hits), method="wilson")[:3]
    from scipy.special import ndtri

    p, effective, z = float(hits.mean()), effective_looks(hits, units), float(ndtri((1 + CONFIDENCE) / 2))
    middle = (p + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z * float(np.sqrt(p * (1 - p) / effective + z**2 / (4 * effective**2))) / (1 + z**2 / effective)
    return p, 0.0 if p == 0 else max(0.0, middle - half), 1.0 if p == 1 else min(1.0, middle + half)


def effective_looks(hits: np.ndarray, units: np.ndarray) -> float:
    """How many independent looks would tell a share as well as these, of which some are of one patient."""
    from scipy.special import ndtri, stdtrit

    _, codes = np.unique(units, return_inverse=True)
    m, n, p = int(codes.max()) + 1, len(hits), float(np.mean(hits))
    if m < 2 or p in (0.0, 1.0):
        return float(m)  # nothing varies, or one unit alone: a unit is one look
    between = np.bincount(codes, hits - p)
    variance = m / (m - 1) * float(between @ between) / n**2
    level = (1 + CONFIDENCE) / 2
    factor = (float(ndtri(level)) / float(stdtrit(m - 1, level))) ** 2
    return min(float(n), factor * p * (1 - p) / variance) if variance > 0 else float(n)


def signal_detection(
    called: np.ndarray, truth: np.ndarray, units: np.ndarray | None = None
) -> dict[str, Any]:
    """d' and criterion of a reader with equal variances, with intervals; counts are moved off 0 and 1 by a half.

    Hautus, Behavior Research Methods, Instruments and Computers 1995;27:46 (the correction); Gourevitch and Galanter,
    Psychometrika 1967;32:25 (the variances, here at the effective numbers of looks where patients have several). A
    criterion above 0: the positive answer is given too seldom.

    Parameters
    ----------
    called, truth : ndarray of {0, 1}, shape (n,)
    units : ndarray, shape (n,), optional
        Patients.
    """
    from scipy.special import ndtri

    z, places, variance = float(ndtri((1 + CONFIDENCE) / 2)), [], 0.0
    for kind in (1, 0):
        hits = np.asarray(called, dtype=np.float64)[truth == kind]
        share_of_kind = (float(hits.sum()) + 0.5) / (len(hits) + 1)
        places.append(float(ndtri(share_of_kind)))
        density = float(np.exp(-(places[-1] ** 2) / 2) / np.sqrt(2 * np.pi))
        looks = len(hits) if units is None else effective_looks(hits, units[truth == kind])
        variance += share_of_kind * (1 - share_of_kind) / (looks + 1) / density**2
    half = z * float(np.sqrt(variance))
    found = {}
    for name, value, width in (
        ("dprime", places[0] - places[1], half),
        ("criterion", -(places[0] + places[1]) / 2, half / 2),
    ):
        found[name] = {"value": value, "low": value - width, "high": value + width, "n": len(truth)}
    return found


def of_patients(
    kappa: stats.Kappa, kind: str, ratings: np.ndarray, kinds: int, units: np.ndarray | None
) -> stats.Kappa:
    """An agreement with the interval that takes patients as units: the jackknife that leaves out one at a time.

    Parameters
    ----------
    kappa : Kappa
        Of ``stats``, which takes items as units: returned as it is where each patient has one, or nothing varies.
    kind : str
        ``"fleiss"``, ``"ac1"`` or ``"cohen"``.
    ratings : ndarray of int, shape (items, raters)
        Codes from 0.
    kinds : int
        How many categories could be chosen.
    units : ndarray, shape (items,), optional
    """
    if units is None or len(np.unique(units)) == len(ratings):
        return kappa
    from scipy.special import stdtrit

    raters = ratings.shape[1]
    if kind == "cohen":
        sums = np.eye(kinds * kinds)[ratings[:, 0] * kinds + ratings[:, 1]]
    else:
        counts = (ratings[:, :, None] == np.arange(kinds)).sum(axis=1)
        agree = (counts * (counts - 1)).sum(axis=1) / (raters * (raters - 1))
        sums = np.column_stack([np.ones(len(counts)), agree, counts])
    _, codes = np.unique(units, return_inverse=True)
    m = int(codes.max()) + 1
    of_unit = np.zeros((m, sums.shape[1]))
    np.add.at(of_unit, codes, sums)
    if m < 3:
        return kappa
    left = sums.sum(axis=0) - of_unit
    if kind == "cohen":
        table = left.reshape(m, kinds, kinds) / left.sum(axis=1)[:, None, None]
        observed = np.trace(table, axis1=1, axis2=2)
        chance = (table.sum(axis=1) * table.sum(axis=2)).sum(axis=1)
    else:
        observed, shares = left[:, 1] / left[:, 0], left[:, 2:] / left[:, :1] / raters
        chance = (shares**2).sum(axis=1)
        if kind == "ac1":
            chance = (1 - chance) / (kinds - 1)
    if (chance > 1 - 1e-9).any():
        return kappa
    values = (observed - chance) / (1 - chance)
    error = float(np.sqrt((m - 1) / m * ((values - values.mean()) ** 2).sum()))
    half = float(stdtrit(m - 1, (1 + CONFIDENCE) / 2)) * error
    if not half > 0:
        return kappa
    return kappa._replace(low=max(kappa.minimum, kappa.value - half), high=min(1.0, kappa.value + half))


def contrast(placed: stats.Placements, weights: np.ndarray) -> dict[str, Any]:
    """A weighted sum of readers' areas over the same cases, with DeLong's 95% interval and test: for these readers.

    Parameters
    ----------
    placed : Placements
    weights : ndarray, shape (readers,)
        Summing to 0: the result lies in -1..1. Where nothing varies there are neither ends nor P.
    """
    from scipy.special import ndtr, ndtri

    value = float(weights @ placed.auc)
    error = float(np.sqrt(stats.delong_covariance(placed, weights[None])[0, 0]))
    if not error > 0:
        return {"value": value}
    half = float(ndtri((1 + CONFIDENCE) / 2)) * error
    return {
        "value": value,
        "low": max(-1.0, value - half),
        "high": min(1.0, value + half),
        "p_value": float(2 * ndtr(-abs(value / error))),
    }


def median_interval(values: np.ndarray) -> dict[str, Any] | None:
    """The median with an interval that rests on no distribution: order statistics, interpolated.

    Hettmansperger and Sheather, Statistics and Probability Letters 1986;4:75. Below 6 values the sample cannot bound
    its median at 95%: the ends are None.
    """
    from scipy.stats import binom

    values = np.sort(values[np.isfinite(values)])
    n = len(values)
    if not n:
        return None
    low = high = None
    rank = int(binom.ppf((1 - CONFIDENCE) / 2, n, 0.5))  # of the last pair of values that holds at least 95%
    if rank >= 1:
        wide, narrow = (1 - 2 * float(binom.cdf(k - 1, n, 0.5)) for k in (rank, rank + 1))
        way = (wide - CONFIDENCE) / (wide - narrow)
        way = (n - rank) * way / (rank + (n - 2 * rank) * way)
        low = float((1 - way) * values[rank - 1] + way * values[min(rank, n - 1)])
        high = float((1 - way) * values[n - rank] + way * values[max(n - rank - 1, 0)])
    return {
        "value": float(np.median(values)),
        "low": low,
        "high": high,
        "n": n,
        "quartiles": [float(q) for q in np.quantile(values, [0.25, 0.75])],
    }
