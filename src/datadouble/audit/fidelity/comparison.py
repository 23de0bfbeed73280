"""What every comparison shares: draws of equal size, intervals over patients, and the real-against-real floor.

A distance between two samples depends on how many there are. So a double and its reference are brought to one n, the
floor is taken at the same n, and whole patients are drawn on every side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.evidence import named
from datadouble.audit.fidelity.floor import Floor, Rows, by_patient, floor_of, pooled, real_pairs
from datadouble.randomness import generator_for, seed_for
from datadouble.stats import Estimate, proportion_interval

SMALLEST = 10  # observations a side below which no distance is worth printing
FEWEST_PATIENTS = 4
PARTINGS = 2  # random partings of the patients for each draw: their spread needs more than a mean does


@dataclass(frozen=True)
class Sizes:
    """How much work goes into intervals: bootstrap resamples, and random draws for values and floors."""

    resamples: int = 200
    repeats: int = 10
    confidence: float = 0.95


DEFAULT_SIZES = Sizes()


class Plan(NamedTuple):
    """Which rows are compared.

    ``draws`` holds (reference rows, synthetic rows), ``floor`` (reference rows, rows of the second real set),
    ``parted`` pairs of rows of reference and second real set put together, patients parted at random; all have
    ``n`` rows. ``between`` is ``"halves"`` where the second real set is the reference's other half, else
    ``"splits"``; of halves ``parted`` is empty, for they are such partings. Where there are too few, ``note`` says so
    and the lists are empty.
    """

    n: int
    patients: int
    draws: list[tuple[Rows, Rows]]
    floor: list[tuple[Rows, Rows]]
    parted: list[tuple[Rows, Rows]]
    between: str
    note: str


def plan_comparison(
    synthetic_groups: np.ndarray,
    reference_groups: np.ndarray,
    counterpart_groups: np.ndarray | None = None,
    *,
    repeats: int = 10,
    seed: int = 0,
) -> Plan:
    """Draw rows of equal number for a comparison and for its floor, whole patients together.

    Parameters
    ----------
    synthetic_groups, reference_groups : ndarray
        Patient of each row of the double and of the real reference.
    counterpart_groups : ndarray, optional
        Of a second real set of other patients; without it the floor compares halves of the reference.
    repeats : int
        Draws each.
    """
    n_real, n_synthetic = len(reference_groups), len(synthetic_groups)
    patients = len(np.unique(reference_groups)) if n_real else 0
    n = min(n_synthetic, n_real // 2 if counterpart_groups is None else min(n_real, len(counterpart_groups)))
    between = "halves" if counterpart_groups is None else "splits"
    pairs: list[tuple[Rows, Rows]] = []
    parted: list[tuple[Rows, Rows]] = []
    if n >= SMALLEST and patients >= FEWEST_PATIENTS:
        rng = generator_for(seed, "floor")
        if counterpart_groups is None:
            pairs = [real_pairs(reference_groups, None, n, rng) for _ in range(PARTINGS * repeats)]
        else:
            pairs = [real_pairs(reference_groups, counterpart_groups, n, rng) for _ in range(repeats)]
            pool = pooled(reference_groups, counterpart_groups)
            parted = [real_pairs(pool, None, n, rng) for _ in range(PARTINGS * repeats)]
        n = min(n, *(len(pair[0]) for pair in [*pairs, *parted]))  # whole patients may leave a half smaller
    if n < SMALLEST or patients < FEWEST_PATIENTS:
        note = f"too few pictures for a distance ({n} a side, {patients} patients)"
        return Plan(n, patients, [], [], [], between, note)
    rng = generator_for(seed, "draws")
    draws = [
        (by_patient(reference_groups, rng)[:n], by_patient(synthetic_groups, rng)[:n])
        for _ in range(1 if n_real == n_synthetic == n else repeats)
    ]
    cut = [[(a[:n], b[:n]) for a, b in rows] for rows in (pairs, parted)]
    return Plan(n, patients, draws, cut[0], cut[1], between, "")


def real_floor_values(
    statistic: Callable[[np.ndarray, np.ndarray], Any], real: np.ndarray, other: np.ndarray | None, plan: Plan
) -> tuple[list[Any], list[Any]]:
    """A statistic over a plan's real pairs and, for its spread, over the partings (no values for halves).

    Parameters
    ----------
    statistic : callable
        ``statistic(real rows, real rows)``.
    real, other : ndarray
        Rows of the reference, and of the second real set; None: the reference is halved.
    """
    second = real if other is None else other
    values = [statistic(real[a], second[b]) for a, b in plan.floor]
    if not plan.parted or other is None:
        return values, []
    pool = np.concatenate([real, other])
    return values, [statistic(pool[a], pool[b]) for a, b in plan.parted]


def plan_floor(
    values: Sequence[float],
    parted: Sequence[float],
    plan: Plan,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Floor:
    """The floor from what :func:`real_floor_values` gave."""
    floor = floor_of(values, plan.n, plan.between, parted if len(parted) else None)
    low, high = (float(np.clip(end, *limits)) for end in (floor.low, floor.high))
    return floor._replace(low=low, high=high)


def patient_counts(groups: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How often each row is drawn in each bootstrap resample of whole patients: (resamples, n) float64.

    Cluster bootstrap: as many patients as there are, with replacement, all rows of a drawn patient together (Davison
    and Hinkley 1997, section 3.8). NaN for a single patient, of whom nothing can be learnt about other patients:
    intervals made of them are NaN too.
    """
    _, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    patients = int(codes.max()) + 1
    if patients < 2:
        return np.full((resamples, len(codes)), np.nan)
    drawn = np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=resamples)
    return drawn[:, codes].astype(np.float64)


def paired_counts(
    first_groups: np.ndarray, second_groups: np.ndarray, sizes: Sizes, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`patient_counts` of two sets, drawn independently."""
    return (
        patient_counts(first_groups, sizes.resamples, seed_for(seed, "resample", "first")),
        patient_counts(second_groups, sizes.resamples, seed_for(seed, "resample", "second")),
    )


def centred_interval(
    value: float,
    resampled: np.ndarray,
    n: int,
    confidence: float = 0.95,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Estimate:
    """Percentile interval shifted by the bootstrap's bias, value - mean of the resampled values.

    A resample repeats rows, which moves distances between distributions; without the shift their interval may exclude
    the value itself.
    """
    kept = np.asarray(resampled, np.float64)
    kept = kept[np.isfinite(kept)]
    if len(kept) == 0:
        return Estimate(value, float("nan"), float("nan"), n)
    tail = (1 - confidence) / 2
    low, high = np.quantile(kept, [tail, 1 - tail]) + (value - kept.mean())
    low, high = (float(np.clip(end, *limits)) for end in (low, high))
    return Estimate(value, min(low, value), max(high, value), n)


def measured(
    values: Sequence[float],
    resampled: np.ndarray,
    floor: tuple[Sequence[float], Sequence[float]],
    plan: Plan,
    sizes: Sizes,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> dict[str, Any]:
    """A measurement as JSON: the mean over the plan's draws, its interval, n, and the floor.

    Parameters
    ----------
    values : sequence of float
        One value a draw.
    resampled : ndarray
        Bootstrap values of the first draw; their interval is moved along to the mean.
    floor : tuple of sequence of float
        One value a pair of real sets, and one a parting, from :func:`real_floor_values`.
    """
    estimate = recentred(
        centred_interval(values[0], resampled, plan.n, sizes.confidence, limits), values, limits
    )
    return {
        **named(estimate),
        "resamples": len(resampled),
        "draws": len(values),
        "floor": named(plan_floor(*floor, plan, limits)),
    }


def recentred(
    estimate: Estimate, values: Sequence[float], limits: tuple[float, float] = (-np.inf, np.inf)
) -> Estimate:
    """The mean over draws, with the interval of the first draw moved along."""
    value = float(np.mean(values))
    low, high = (
        float(np.clip(end + value - estimate.value, *limits)) for end in (estimate.low, estimate.high)
    )
    return Estimate(value, low, high, estimate.n)


def patient_share(
    flags: np.ndarray, groups: np.ndarray, sizes: Sizes = DEFAULT_SIZES, *, seed: int = 0
) -> Estimate:
    """Share of rows that are True, with an interval over patients.

    A share of 0 or 1 has no bootstrap spread: Wilson's interval on the number of patients stands in for it.
    """
    flags = np.asarray(flags, bool)
    if len(flags) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    value = float(flags.mean())
    patients = len(np.unique(groups))
    if value in (0.0, 1.0):
        low, high = proportion_interval(round(value * patients), patients, confidence=sizes.confidence)
        return Estimate(value, low, high, len(flags))
    counts = patient_counts(groups, sizes.resamples, seed)
    shares = counts @ flags / counts.sum(axis=1)
    return centred_interval(value, shares, len(flags), sizes.confidence, (0.0, 1.0))
