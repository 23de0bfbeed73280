"""Which real modes the double does not cover, and what they look like.

Real features are cut into modes by k-means (the bins of Richardson and Weiss, NeurIPS 2018), and the share of each
mode is compared between synthetic and real pictures. Within a mode, coverage (Naeem et al., ICML 2020, eq. 4)
counts the real pictures whose ball, to the k-th nearest other real picture, holds a synthetic one at equal n.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.evidence import named
from datadouble.audit.features.base import Features
from datadouble.audit.fidelity.class_mix import mix_distance, total_variation
from datadouble.audit.fidelity.comparison import (
    DEFAULT_SIZES,
    Sizes,
    centred_interval,
    measured,
    paired_counts,
    patient_share,
    plan_comparison,
    plan_floor,
    real_floor_values,
)
from datadouble.audit.fidelity.precision_recall import (
    COVERAGE_NEIGHBOURS,
    distance_blocks,
    distances,
    neighbour_radii,
)
from datadouble.randomness import generator_for, seed_for

MODES = 20  # at most
PICTURES_A_MODE = 20  # on average, at least
COMPONENTS = 50  # principal components in which modes are sought
EXEMPLARS = 6  # pictures shown of a mode
LOST = 0.5  # a mode of whose share the double has less than half, beyond chance, is lost


class ModeExemplars(NamedTuple):
    """Rows (of the cohort) of real pictures of one mode, uncovered ones first, each of another patient while they last.

    ``nearest_rows`` are the rows, in the double, of the synthetic picture nearest to each.
    """

    mode: int
    rows: np.ndarray
    nearest_rows: np.ndarray


class CoverageMaterial(NamedTuple):
    """What a report shows: modes by how much of them is missing, and uncovered real pictures, the farthest first."""

    modes: list[ModeExemplars]
    uncovered_rows: np.ndarray


def find_modes(
    features: np.ndarray, modes: int, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """K-means modes of real features, in their leading principal components.

    Parameters
    ----------
    features : ndarray
        (n, d).
    modes : int

    Returns
    -------
    tuple of ndarray
        Mean (d,), components (c, d) and centres (modes, c), for :func:`assign_modes`.
    """
    from sklearn.cluster import KMeans

    x = np.asarray(features, np.float64)
    mean = x.mean(axis=0)
    count = min(COMPONENTS, len(x) - 1, x.shape[1])
    _, _, components = np.linalg.svd(x - mean, full_matrices=False)
    components = components[:count]
    fit = KMeans(modes, n_init=4, random_state=seed_for(seed, "modes") % 2**32)
    fit.fit((x - mean) @ components.T)
    return mean, components, fit.cluster_centers_


def assign_modes(features: np.ndarray, found: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Nearest mode of each vector: (n, d) -> (n,) int."""
    mean, components, centres = found
    return distances((np.asarray(features, np.float64) - mean) @ components.T, centres).argmin(axis=1)


def covered_share(real: np.ndarray, radii: np.ndarray, synthetic_draws: list[np.ndarray]) -> np.ndarray:
    """In how many draws of synthetic vectors each real vector's ball holds one: (n,) in [0, 1].

    Parameters
    ----------
    radii : ndarray
        (n,), from :func:`.precision_recall.neighbour_radii`.
    """
    covered = np.zeros(len(real))
    for draw in synthetic_draws:
        for rows, block in distance_blocks(real, draw):
            covered[rows] += (block <= radii[rows, None]).any(axis=1)
    return covered / len(synthetic_draws)


def expected_coverage(n: int, m: int, neighbours: int) -> float:
    """Share of n balls that hold one of m vectors drawn independently from the same distribution.

    1 - (n - 1)...(n - k) / ((n + m - 1)...(n + m - k)) (Naeem et al., lemma 2, for unequal numbers): none of the m is
    among the k nearest. Several pictures of one patient lie closer together, so real ones reach a little less.
    """
    i = np.arange(1, neighbours + 1)
    return float(1 - np.prod((n - i) / (n + m - i)))


def assess_coverage(
    synthetic: Features,
    reference: Features,
    counterpart: Features | None = None,
    *,
    modes: int | None = None,
    neighbours: int = COVERAGE_NEIGHBOURS,
    sizes: Sizes = DEFAULT_SIZES,
    seed: int = 0,
) -> tuple[dict[str, Any], CoverageMaterial | None]:
    """Modes of the real pictures, how much of each the double has, and pictures of those that it lacks.

    Parameters
    ----------
    synthetic, reference : Features
        Of the double, and of real pictures that the generator did not learn from.
    counterpart : Features or None
        Real pictures of other patients: they help to find the modes, and give the floor.
    modes : int, optional
        How many; default one for every 20 real pictures, 2 to 20.
    neighbours : int
        k of the balls.

    Returns
    -------
    dict
        ``n``, ``covered`` (share of real pictures whose ball holds a synthetic one; ``expected`` of an independent
        draw, ``floor`` of the counterpart), ``total_variation`` of the mode
        shares with its floor, ``lost`` (how many modes), and ``modes``, each with ``share_real``, ``share_synthetic``,
        ``difference``, ``covered``, ``patients`` and ``lost``; or ``note`` where there are too few pictures.
    CoverageMaterial or None
    """
    plan = plan_comparison(
        synthetic.groups,
        reference.groups,
        None if counterpart is None else counterpart.groups,
        repeats=sizes.repeats,
        seed=seed_for(seed, "coverage"),
    )
    result: dict[str, Any] = {"n": plan.n, "n_real": len(reference), "n_synthetic": len(synthetic)}
    if plan.note:
        return result | {"note": plan.note}, None
    x, s = reference.array.astype(np.float64), synthetic.array.astype(np.float64)
    other = x if counterpart is None else counterpart.array.astype(np.float64)
    groups = [reference.groups, synthetic.groups]

    # The second real set helps to find the modes, in equal number, or modes would be drawn around the reference alone.
    pool = x
    if counterpart is not None:
        rows = generator_for(seed, "pool").permutation(len(other))[: len(x)]
        pool = np.concatenate([x, other[rows]])
    count = int(np.clip(len(x) // PICTURES_A_MODE, 2, MODES)) if modes is None else modes
    found = find_modes(pool, count, seed=seed)
    real_mode, synthetic_mode = assign_modes(x, found), assign_modes(s, found)
    one_hot = [np.eye(count)[mode] for mode in (real_mode, synthetic_mode)]
    other_hot = None if counterpart is None else np.eye(count)[assign_modes(other, found)]

    radii = neighbour_radii(x, neighbours)
    covered = covered_share(x, radii, [s[b] for _, b in plan.draws])
    many = replace(sizes, resamples=max(sizes.resamples, 1000))  # for the tails read below
    counts = paired_counts(groups[0], groups[1], many, seed_for(seed, "modes"))
    weights = [c / c.sum(axis=1, keepdims=True) for c in counts]
    shares = [part.mean(axis=0) for part in one_hot]
    resampled = [w @ part for w, part in zip(weights, one_hot, strict=True)]
    resampled_covered = weights[0] @ covered
    result["covered"] = named(
        centred_interval(float(covered.mean()), resampled_covered, len(x), sizes.confidence, (0.0, 1.0))
    ) | {"neighbours": neighbours, "expected": expected_coverage(len(x), plan.n, neighbours), "floor": None}
    if counterpart is not None:
        floors = [float(covered_share(x, radii, [other[b]]).mean()) for _, b in plan.floor]
        everyone, parted = np.concatenate([x, other]), []
        for first, second in plan.parted:
            balls = everyone[first]
            share = covered_share(balls, neighbour_radii(balls, neighbours), [everyone[second]])
            parted.append(float(share.mean()))
        result["covered"]["floor"] = named(plan_floor(floors, parted, plan, (0.0, 1.0)))
    first, second = plan.draws[0]
    drawn = paired_counts(groups[0][first], groups[1][second], sizes, seed_for(seed, "draw"))
    drawn_shares = [
        c / c.sum(axis=1, keepdims=True) @ part
        for c, part in zip(drawn, (one_hot[0][first], one_hot[1][second]), strict=True)
    ]
    result["total_variation"] = measured(
        [mix_distance(one_hot[0][a], one_hot[1][b]) for a, b in plan.draws],
        total_variation(*drawn_shares),
        real_floor_values(mix_distance, one_hot[0], other_hot, plan),
        plan,
        sizes,
        (0.0, 1.0),
    )

    # So many modes, so many chances to be wrong: each interval is widened (Bonferroni).
    confidence = 1 - (1 - sizes.confidence) / count
    table: list[dict[str, Any]] = []
    for mode in range(count):
        members = real_mode == mode
        difference = centred_interval(
            float(shares[1][mode] - shares[0][mode]),
            resampled[1][:, mode] - resampled[0][:, mode],
            len(x),
            confidence,
            (-1.0, 1.0),
        )
        lost = bool(difference.high < 0 and shares[1][mode] < LOST * shares[0][mode])
        table.append(
            {
                "mode": mode,
                "share_real": named(
                    patient_share(members, groups[0], sizes, seed=seed_for(seed, "real", mode))
                ),
                "share_synthetic": named(
                    patient_share(
                        synthetic_mode == mode, groups[1], sizes, seed=seed_for(seed, "double", mode)
                    )
                ),
                "difference": named(difference),
                "covered": float(covered[members].mean()) if members.any() else None,
                "patients": len(np.unique(groups[0][members])),
                "lost": lost,
            }
        )
    table.sort(key=lambda entry: entry["difference"]["value"])
    result["lost"] = sum(entry["lost"] for entry in table)
    result["modes"] = table
    nearest, gap = _nearest(x, s)
    beyond = gap / np.maximum(radii, 1e-12)  # how far the nearest synthetic picture is, in radii of the ball
    return result, _material(table, real_mode, covered, beyond, nearest, reference, synthetic)


def _nearest(x: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row of the nearest vector of s to each of x, and its distance."""
    nearest, gap = np.empty(len(x), dtype=np.int64), np.empty(len(x))
    for rows, block in distance_blocks(x, s):
        nearest[rows], gap[rows] = block.argmin(axis=1), block.min(axis=1)
    return nearest, gap


def _material(
    table: list[dict[str, Any]],
    real_mode: np.ndarray,
    covered: np.ndarray,
    beyond: np.ndarray,
    nearest: np.ndarray,
    reference: Features,
    synthetic: Features,
) -> CoverageMaterial:
    exemplars = []
    for entry in table:
        members = np.flatnonzero(real_mode == entry["mode"])
        members = members[np.argsort(covered[members] - 1e-3 * beyond[members], kind="stable")]
        _, firsts = np.unique(reference.groups[members], return_index=True)
        chosen = members[np.sort(firsts)][:EXEMPLARS]
        exemplars.append(
            ModeExemplars(entry["mode"], reference.rows[chosen], synthetic.rows[nearest[chosen]])
        )
    uncovered = np.flatnonzero(covered == 0)
    uncovered = uncovered[np.argsort(-beyond[uncovered], kind="stable")]
    return CoverageMaterial(exemplars, reference.rows[uncovered])
