"""What the release gives away as it grows (DiffGuard: 500 to 10,000 pictures a class): a curve over its size.

Every synthetic picture is one more chance to come near a patient, so a privacy figure without the release's size says
little. The double is put in several random orders and cut at growing sizes; real pictures meet it once, in blocks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.privacy.distances import aligned, row_blocks, unit_vectors
from datadouble.audit.privacy.membership import ATTACKER, membership_advantage
from datadouble.audit.privacy.nearness import commonness, equal_sides, meet, patient_maximum
from datadouble.audit.privacy.permutation import own_groups, two_sides, without_class_medians
from datadouble.audit.privacy.rates import plain
from datadouble.randomness import generator_for
from datadouble.stats import Estimate, proportion_interval
from datadouble.stats.roc import roc_auc

MEASURES = {
    "auc": "membership AUC over patients; 0.5: no better than guessing",
    "advantage": "membership advantage, TPR - FPR; 0: no better than guessing",
    "nearer": "share of synthetic pictures nearer to train than to an equal-sized holdout; 0.5: no nearer",
    "auth_pct": "percent of synthetic pictures that are authentic; about 50 for an independent draw, 0 for copies",
    "copies": "share of synthetic pictures that are copies",
}


class SizePoint(NamedTuple):
    """One measure at one size: the mean over the orders, its interval, and the spread of the orders.

    ``low`` and ``high``: interval over patients (AUC, advantage) or synthetic pictures (shares), of the orders' mean.
    ``least`` and ``greatest``: over the orders; equal at the full size, of which there is one.
    """

    measure: str
    size: int
    value: float
    low: float
    high: float
    n: int
    least: float
    greatest: float


class ReleaseSizeCurve(NamedTuple):
    """All points; ``orders`` random orders of the double."""

    points: list[SizePoint]
    orders: int
    attacker: str

    def of(self, measure: str) -> list[SizePoint]:
        """The points of one measure, by size."""
        return [point for point in self.points if point.measure == measure]

    def to_json(self) -> dict[str, Any]:
        used = {point.measure for point in self.points}
        return {
            "attacker": self.attacker,
            "orders": self.orders,
            "measures": {name: text for name, text in MEASURES.items() if name in used},
            "points": [plain(point) for point in self.points],
        }


def release_size_curve(
    synthetic: np.ndarray,
    train: np.ndarray,
    holdout: np.ndarray,
    *,
    train_groups: np.ndarray | None = None,
    holdout_groups: np.ndarray | None = None,
    train_labels: np.ndarray | None = None,
    holdout_labels: np.ndarray | None = None,
    authentic: np.ndarray | None = None,
    copies: np.ndarray | None = None,
    sizes: list[int] | None = None,
    orders: int = 5,
    align: bool = True,
    seed: int = 0,
    confidence: float = 0.95,
) -> ReleaseSizeCurve:
    """Membership AUC and advantage, share nearer to train, AuthPct and copies over the size of the release.

    Parameters
    ----------
    synthetic, train, holdout, train_groups, holdout_groups, train_labels, holdout_labels, align
        As for :func:`.membership.release_membership`.
    authentic, copies : ndarray of bool, optional
        (m,): of each synthetic picture, from :func:`.authenticity.authentic` and from the search for copies.
    sizes : list of int, optional
        Default: eight, evenly spaced on a logarithmic scale from a twentieth of the release to all of it.
    orders : int
        Random orders of the release.
    """
    patients = two_sides(
        own_groups(train_groups, len(train), "train"),
        own_groups(holdout_groups, len(holdout), "holdout"),
        train_labels,
        holdout_labels,
        seed=seed,
    )
    m = len(synthetic)
    chosen = sorted(
        {min(m, max(1, s)) for s in (sizes or np.geomspace(max(10, m / 20), m, 8).round().astype(int))}
    )
    real = np.concatenate([train, holdout])
    if align:
        synthetic, real = aligned(synthetic, real)
    real = unit_vectors(real)
    permuted = [generator_for(seed, "release order", i).permutation(m) for i in range(orders)]
    near = _nearness_by_size(unit_vectors(synthetic), real, permuted, [int(s) for s in chosen])
    common = commonness(real, patients)
    nearer = meet(synthetic, real, patients, equal_sides(patients, 5, seed)).nearer
    usable = patients.informative
    member, stratum = patients.member[usable], patients.stratum[usable]

    shares = [("nearer", nearer, 1.0)]
    shares += [("auth_pct", authentic, 100.0)] if authentic is not None else []
    shares += [("copies", copies, 1.0)] if copies is not None else []
    points = []
    for j, size in enumerate(chosen):
        own = 1 if size == m else orders
        found: dict[str, list[Estimate]] = {"auc": [], "advantage": []}
        for i in range(own):
            scores = patient_maximum(near[i, j] - common, patients)[usable]
            adjusted = without_class_medians(scores, stratum)
            found["auc"].append(roc_auc(member, adjusted, confidence=confidence))
            found["advantage"].append(
                membership_advantage(member, adjusted, stratum, seed=seed, confidence=confidence)
            )
        points += [_mean(name, int(size), estimates) for name, estimates in found.items()]
        for name, values, unit in shares:
            drawn = [float(np.mean(values[order[:size]])) for order in permuted[:own]]
            value = float(np.mean(drawn))
            interval = proportion_interval(round(value * size), int(size), confidence=confidence)
            ends = (value, interval.low, interval.high, min(drawn), max(drawn))
            value, low, high, least, greatest = (unit * end for end in ends)
            points.append(SizePoint(name, int(size), value, low, high, int(size), least, greatest))
    return ReleaseSizeCurve(points, orders, ATTACKER)


def _nearness_by_size(
    synthetic: np.ndarray, real: np.ndarray, orders: list[np.ndarray], sizes: list[int]
) -> np.ndarray:
    """(orders, sizes, n): similarity of each real picture to the nearest of the first pictures of each order."""
    result = np.empty((len(orders), len(sizes), len(real)), dtype=np.float32)
    for rows in row_blocks(len(real), 2 * len(synthetic)):
        similarity = real[rows] @ synthetic.T
        for i, order in enumerate(orders):
            best = np.full(similarity.shape[0], -np.inf, dtype=np.float32)
            for j, (start, end) in enumerate(zip([0, *sizes], sizes)):
                best = np.maximum(best, similarity[:, order[start:end]].max(axis=1))
                result[i, j, rows] = best
    return result


def _mean(measure: str, size: int, estimates: list[Estimate]) -> SizePoint:
    values = [estimate.value for estimate in estimates]
    value, low, high = (float(np.mean([e[k] for e in estimates])) for k in range(3))
    return SizePoint(measure, size, value, low, high, estimates[0].n, min(values), max(values))
