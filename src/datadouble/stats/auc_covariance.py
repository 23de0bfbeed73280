"""Covariances of empirical areas of many curves over the same cases: DeLong, jackknife, bootstrap.

A curve is one reader with one modality. Sources: DeLong et al., Biometrics 1988;44:837; Efron and Tibshirani, An
Introduction to the Bootstrap (1993), chapters 7 and 11.
"""

from __future__ import annotations

import numpy as np

from datadouble.stats.delong import Placements, delong_covariance

COVARIANCES = ("delong", "jackknife", "bootstrap")


def area_covariance(
    found: Placements,
    positives: np.ndarray,
    negatives: np.ndarray,
    method: str,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Covariance matrix of the areas of all curves, with patients as the unit where placements have groups.

    Parameters
    ----------
    found : Placements
        Of the same ratings.
    positives, negatives : ndarray, shapes (curves, m) and (curves, n)
        Ratings of the positive and the negative cases.
    method : str
        ``"delong"``, ``"jackknife"`` (leave one patient out) or ``"bootstrap"`` (patients resampled within strata:
        those with positives only, negatives only, both).
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    ndarray, shape (curves, curves)

    Raises
    ------
    ValueError
        For an unknown method, and where a class has fewer than two patients.
    """
    if method not in COVARIANCES:
        raise ValueError(f"unknown covariance {method!r}: use one of {', '.join(COVARIANCES)}")
    for name, codes in (("positive", found.positive_groups), ("negative", found.negative_groups)):
        if len(np.unique(codes)) < 2:
            raise ValueError(f"a covariance needs at least 2 {name} cases (patients): found 1")
    if method == "delong":
        return delong_covariance(found)
    if method == "jackknife":
        return _jackknife(found, positives, negatives)
    return _bootstrap(found, positives, negatives, resamples, seed)


def _jackknife(found: Placements, positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    m, n = positives.shape[1], negatives.shape[1]
    units = np.union1d(found.positive_groups, found.negative_groups)
    if len(units) == m + n:
        # One case a patient: an area without case i follows from its placement.
        areas = found.auc[:, None]
        without = np.hstack(
            [(m * areas - found.positives) / (m - 1), (n * areas - found.negatives) / (n - 1)]
        )
    else:
        without = weighted_areas(
            positives,
            negatives,
            (units[:, None] != found.positive_groups).astype(np.float64),
            (units[:, None] != found.negative_groups).astype(np.float64),
        )
    centred = without - without.mean(axis=1, keepdims=True)
    covariance: np.ndarray = (len(units) - 1) / len(units) * centred @ centred.T
    return covariance


def _bootstrap(
    found: Placements, positives: np.ndarray, negatives: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2: found {resamples}")
    rng = np.random.default_rng(seed)
    size = int(max(found.positive_groups.max(), found.negative_groups.max())) + 1
    counts = np.zeros((resamples, size))
    has_positive = np.isin(np.arange(size), found.positive_groups)
    has_negative = np.isin(np.arange(size), found.negative_groups)
    for stratum in (has_positive & ~has_negative, has_negative & ~has_positive, has_positive & has_negative):
        members = np.flatnonzero(stratum)
        if len(members):
            counts[:, members] = rng.multinomial(
                len(members), np.full(len(members), 1 / len(members)), resamples
            )
    areas = weighted_areas(
        positives, negatives, counts[:, found.positive_groups], counts[:, found.negative_groups]
    )
    return np.atleast_2d(np.cov(areas))


def weighted_areas(
    positives: np.ndarray, negatives: np.ndarray, positive_weights: np.ndarray, negative_weights: np.ndarray
) -> np.ndarray:
    """Areas (curves, w) of each curve under each of w sets of case weights."""
    total = positive_weights.sum(axis=1) * negative_weights.sum(axis=1)
    if not total.all():
        raise ValueError("leaving one patient out leaves one class only: use covariance='delong'")
    areas = np.empty((len(positives), len(positive_weights)))
    for curve, (above, below) in enumerate(zip(positives, negatives, strict=True)):
        wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)  # (m, n)
        areas[curve] = np.einsum("wn,wn->w", positive_weights @ wins, negative_weights) / total
    return areas
