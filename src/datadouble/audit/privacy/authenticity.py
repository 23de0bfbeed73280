"""Distances to the training set: nearest-neighbour distance ratio, authenticity and the data-copying test C_T.

Distances are Euclidean, in the feature space given. Each measure is taken of the holdout too, posing as a release: what
it reads on patients whom nobody copied is what it should read. All three look at how near pictures come, not at whom
they come near to, so that a release of poor likeness passes them; :mod:`.membership` does not have that hole.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.privacy.distances import nearest
from datadouble.audit.privacy.permutation import own_groups
from datadouble.audit.privacy.rates import clustered_rate, difference, plain
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for
from datadouble.stats import Estimate, bootstrap
from datadouble.stats.delong import delong_covariance, placements
from datadouble.stats.roc import roc_auc

ATTACKER = "none: how much nearer to training pictures the release comes than unseen real pictures do"
LEAST_IN_CELL = 20  # synthetic pictures; Z of fewer says little


class DistanceRatios(NamedTuple):
    """(m,) and (h,): distance to the nearest training picture over that to the nearest of another patient."""

    synthetic: np.ndarray
    holdout: np.ndarray


class DataCopying(NamedTuple):
    """C_T, its interval and one-sided P value (small: copying). ``n`` counts synthetic pictures in the cells used."""

    value: float
    low: float
    high: float
    n: int
    p_value: float
    cells: int
    cells_used: int


class AuthenticityResult(NamedTuple):
    """Distance-based measures of a release, beside the holdout's.

    Attributes
    ----------
    auth_pct, auth_pct_control, auth_pct_difference : Estimate
        Percent authentic, of the release, of the holdout posing as one, and release - holdout.
    ratio, ratio_control : Estimate
        Median nearest-neighbour distance ratio; a copy's is 0.
    ratio_auc : Estimate
        Chance that a synthetic picture's ratio is below a holdout picture's: 0.5 without copying, 1 for copies.
    c_t, c_t_exchanged : DataCopying
        As it is, and with train and holdout exchanged: a release of ordinary pictures (few modes, low diversity) is
        near to any real pictures, and both are then far below 0. Copying lowers the first alone.
    ratios : DistanceRatios
        For plots; not in :meth:`to_json`.
    """

    auth_pct: Estimate
    auth_pct_control: Estimate
    auth_pct_difference: Estimate
    ratio: Estimate
    ratio_control: Estimate
    ratio_auc: Estimate
    c_t: DataCopying
    c_t_exchanged: DataCopying
    attacker: str
    authentic: np.ndarray
    ratios: DistanceRatios

    def to_json(self) -> dict[str, Any]:
        drawn = ("ratios", "authentic")
        return {key: plain(value) for key, value in self._asdict().items() if key not in drawn}


def assess_authenticity(
    synthetic: np.ndarray,
    train: np.ndarray,
    holdout: np.ndarray,
    *,
    train_groups: np.ndarray | None = None,
    holdout_groups: np.ndarray | None = None,
    cells: int = 3,
    resamples: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> AuthenticityResult:
    """Distance ratio, AuthPct and C_T of a release, with the holdout as control.

    Parameters
    ----------
    synthetic, train, holdout : ndarray
        (m, d), (t, d), (h, d) features.
    train_groups, holdout_groups : ndarray, optional
        Patient of each real picture; two pictures of one patient are never each other's "other" picture.
    cells : int
        k-means cells of C_T; fewer are used where one would lack pictures.
    resamples : int
        Of the bootstrap of medians.
    """
    of_train = own_groups(train_groups, len(train), "train")
    of_holdout = own_groups(holdout_groups, len(holdout), "holdout")
    between = nearest(train, train, query_groups=of_train, gallery_groups=of_train).distance
    flags, nearest_row = authentic(synthetic, train, of_train, between)
    control_flags, _ = authentic(holdout, train, of_train, between)
    # Pictures near to one training patient stand or fall together with them.
    share = clustered_rate(flags, of_train[nearest_row], confidence=confidence)._replace(n=len(flags))
    control = clustered_rate(control_flags, of_holdout, confidence=confidence)
    ratios = DistanceRatios(
        distance_ratio(synthetic, train, of_train), distance_ratio(holdout, train, of_train)
    )
    medians = [
        bootstrap(np.median, values, groups=groups, resamples=resamples, seed=seed, confidence=confidence)
        for values, groups in ((ratios.synthetic, None), (ratios.holdout, of_holdout))
    ]
    both, is_release, groups = _pooled(ratios.synthetic, ratios.holdout, of_holdout)
    return AuthenticityResult(
        auth_pct=_percent(share),
        auth_pct_control=_percent(control),
        auth_pct_difference=_percent(difference(share, control)),
        ratio=medians[0],
        ratio_control=medians[1],
        ratio_auc=roc_auc(is_release, -both, groups=groups, confidence=confidence),
        c_t=data_copying(
            synthetic,
            train,
            holdout,
            holdout_groups=of_holdout,
            cells=cells,
            seed=seed,
            confidence=confidence,
        ),
        c_t_exchanged=data_copying(
            synthetic, holdout, train, holdout_groups=of_train, cells=cells, seed=seed, confidence=confidence
        ),
        attacker=ATTACKER,
        authentic=flags,
        ratios=ratios,
    )


def authentic(
    synthetic: np.ndarray, train: np.ndarray, train_groups: np.ndarray, between: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Authenticity (Alaa et al., ICML 2022): (m,) bool, and the row of the nearest training picture.

    A picture is authentic where it is farther from its nearest training picture than that one is from its own nearest
    training picture, here one of another patient. Copies are never authentic, an independent draw is in about half of
    the cases. ``between`` holds the latter distances, where they are known.
    """
    if between is None:
        between = nearest(train, train, query_groups=train_groups, gallery_groups=train_groups).distance
    found = nearest(synthetic, train)
    return found.distance > between[found.row], found.row


def distance_ratio(queries: np.ndarray, train: np.ndarray, train_groups: np.ndarray) -> np.ndarray:
    """(q,): distance to the nearest training picture over that to the nearest one of another patient; 0 for a copy."""
    first = nearest(queries, train)
    second = nearest(queries, train, query_groups=train_groups[first.row], gallery_groups=train_groups)
    return np.where(second.distance > 0, first.distance / np.maximum(second.distance, 1e-300), 1.0)


def data_copying(
    synthetic: np.ndarray,
    train: np.ndarray,
    holdout: np.ndarray,
    *,
    holdout_groups: np.ndarray | None = None,
    cells: int = 3,
    seed: int = 0,
    confidence: float = 0.95,
) -> DataCopying:
    """C_T (Meehan, Chaudhuri and Dasgupta, AISTATS 2020): are synthetic pictures nearer to train than unseen real ones?

    In each k-means cell of train the distances of synthetic and of holdout pictures to the nearest training picture of
    the cell are compared by a Mann-Whitney test; C_T is the mean of its Z over the cells, weighted by the holdout's
    share in each. Far below 0: copying; about 0: none; far above: unlike the real pictures. Z assumes independent
    pictures; the interval and the P value use the variance between patients instead (Obuchowski 1997).

    Raises
    ------
    DataDoubleError
        Where no cell holds enough synthetic pictures.
    """
    of_holdout = own_groups(holdout_groups, len(holdout), "holdout")
    least = min(LEAST_IN_CELL, max(1, len(synthetic) // (2 * cells)))
    where = _cells(synthetic, train, holdout, cells, seed)
    total, weight, variance, n, used = 0.0, 0.0, 0.0, 0, 0
    number = int(where[1].max()) + 1
    for cell in range(number):
        in_synthetic, in_train, in_holdout = (part == cell for part in where)
        m, h = int(in_synthetic.sum()), int(in_holdout.sum())
        if m < least:
            continue
        distances = [
            nearest(part, train[in_train]).distance for part in (synthetic[in_synthetic], holdout[in_holdout])
        ]
        both, is_release, groups = _pooled(distances[0], distances[1], of_holdout[in_holdout])
        found = placements(is_release, both, groups=groups)
        auc = float(found.auc[0])
        # At perfect separation no variance is seen: that of as many pairs as there are independent ones.
        spread = max(float(delong_covariance(found)[0, 0]), 0.0) or 0.25 / max(found.independent_pairs, 1)
        scale = np.sqrt(12 * m * h / (m + h + 1))  # Z = (AUC - 1/2) * scale
        total += h * (auc - 0.5) * scale
        variance += (h * scale) ** 2 * spread
        weight, n, used = weight + h, n + m, used + 1
    if used == 0:
        raise DataDoubleError(
            "no cell of the training set holds enough synthetic pictures for C_T",
            found=f"{len(synthetic)} synthetic pictures in {number} cells",
            remedy="give more synthetic pictures or fewer cells",
        )
    from scipy.special import ndtr, ndtri

    value, error = total / weight, np.sqrt(variance) / weight
    half = float(ndtri((1 + confidence) / 2)) * error
    return DataCopying(
        float(value), float(value - half), float(value + half), n, float(ndtr(value / error)), number, used
    )


def _cells(
    synthetic: np.ndarray, train: np.ndarray, holdout: np.ndarray, cells: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cell of each picture: as many cells as leave 10 training and 10 holdout pictures in each, at most ``cells``."""
    from scipy.cluster.vq import kmeans2, vq

    sets = [part.astype(np.float64) for part in (synthetic, train, holdout)]
    for k in range(max(1, cells), 1, -1):
        centres, _ = kmeans2(sets[1], k, minit="++", seed=generator_for(seed, "cells", k))
        places = [vq(part, centres)[0] for part in sets]
        if all(np.bincount(part, minlength=k).min() >= 10 for part in places[1:]):
            return places[0], places[1], places[2]
    return tuple(np.zeros(len(part), dtype=np.int64) for part in sets)  # type: ignore[return-value]


def _pooled(
    release: np.ndarray, control: np.ndarray, control_groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values of both, whether each is the release's, and its group: synthetic pictures are each their own."""
    return (
        np.concatenate([release, control]),
        np.repeat([True, False], [len(release), len(control)]),
        np.concatenate([own_groups(None, len(release), "synthetic"), control_groups.astype(str)]),
    )


def _percent(share: Estimate) -> Estimate:
    return Estimate(100 * share.value, 100 * share.low, 100 * share.high, share.n)
