"""All distances of features between a double and its reference at equal n, each beside its real-against-real floor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from datadouble.audit.evidence import named
from datadouble.audit.features.base import Extractor, Features
from datadouble.audit.features.registry import display_name
from datadouble.audit.fidelity.class_mix import class_mix
from datadouble.audit.fidelity.cmmd import cmmd, cmmd_interval, cmmd_name
from datadouble.audit.fidelity.comparison import (
    DEFAULT_SIZES,
    Plan,
    Sizes,
    measured,
    paired_counts,
    plan_comparison,
    plan_floor,
    real_floor_values,
    recentred,
)
from datadouble.audit.fidelity.fd_infinity import FEWEST, FrechetInfinity, fd_infinity
from datadouble.audit.fidelity.floor import pooled
from datadouble.audit.fidelity.frechet import SMALL_SAMPLE, frechet_distance, frechet_interval
from datadouble.audit.fidelity.inception_score import inception_score_interval
from datadouble.audit.fidelity.kernel_distance import kernel_distance, kernel_distance_interval, squared_mmd
from datadouble.audit.fidelity.precision_recall import (
    COVERAGE_NEIGHBOURS,
    PRECISION_NEIGHBOURS,
    ManifoldDistances,
    density_coverage,
    precision_recall,
)
from datadouble.progress import track
from datadouble.randomness import seed_for
from datadouble.stats import Estimate

KERNEL_LIMIT = 5000  # pictures a side whose kernel matrices are held for the bootstrap (3 x 200 MB)
MANIFOLD_LIMIT = 2500  # pictures a side whose distances, and the order of them, are held for the bootstrap
SLOW_FRECHET = 2000  # pictures a side from which one Frechet resample takes about a second
CURVES = 5  # extrapolations whose mean is FD-infinity

Interval = Callable[..., Estimate]


def assess_fidelity(
    synthetic: Features,
    reference: Features,
    counterpart: Features | None,
    extractor: Extractor,
    *,
    sizes: Sizes = DEFAULT_SIZES,
    seed: int = 0,
) -> dict[str, Any]:
    """All distances between a double and its reference, as JSON values.

    Both sides, and both sides of the floor, are brought to one n by random draws (whole patients on the real side):
    a Frechet distance of few pictures is too high, by an amount that cancels only at equal n.

    Parameters
    ----------
    synthetic, reference : Features
    counterpart : Features or None
        Real pictures of other patients than the reference's, for the floor; None: the reference is halved.
    extractor : Extractor
        The one that the features came from.

    Returns
    -------
    dict
        ``n`` compared, ``n_real``, ``n_synthetic``, ``patients``, then ``fd``, ``kid``, ``cmmd``, ``precision``,
        ``recall``, ``density``, ``coverage``, ``fd_infinity`` and ``inception_score``. All but the last have ``name``,
        ``value``, ``low``, ``high``, ``n`` and ``floor``. Where there are too few pictures ``note`` says so and they
        are absent.
    """
    plan = plan_comparison(
        synthetic.groups,
        reference.groups,
        None if counterpart is None else counterpart.groups,
        repeats=sizes.repeats,
        seed=seed_for(seed, "plan"),
    )
    result: dict[str, Any] = {
        "n": plan.n,
        "n_real": len(reference),
        "n_synthetic": len(synthetic),
        "patients": plan.patients,
    }
    if plan.note:
        return result | {"note": plan.note}

    def name(metric: str) -> dict[str, str]:
        return {"name": display_name(metric, extractor.name)}

    fd_sizes = sizes if plan.n < SLOW_FRECHET else replace(sizes, resamples=min(sizes.resamples, 50))
    measure = _Measure(synthetic, reference, counterpart, plan, sizes, seed)
    result["fd"] = (
        name("FD")
        | measure.distance(frechet_distance, frechet_interval, sizes=fd_sizes)
        | {"small_sample": plan.n < SMALL_SAMPLE}
    )
    subsets = kernel_distance(measure.x, measure.s, seed=seed_for(seed, "subsets"))
    result["kid"] = (
        name("KD")
        | measure.distance(squared_mmd, kernel_distance_interval, KERNEL_LIMIT)
        | {key: getattr(subsets, key) for key in ("standard_error", "subset_mean", "subsets", "subset_size")}
    )
    result["cmmd"] = {"name": cmmd_name(extractor.name)} | measure.distance(cmmd, cmmd_interval, KERNEL_LIMIT)
    for key, found in measure.manifolds().items():
        result[key] = name(key) | found
    if plan.n >= FEWEST:
        result["fd_infinity"] = name("FD-infinity") | measure.infinity()
    scores = measure.inception(extractor)
    if scores:
        result["inception_score"] = name("IS") | scores
    return result


def assess_by_class(
    synthetic: Features,
    reference: Features,
    counterpart: Features | None,
    extractor: Extractor,
    *,
    classes: Sequence[str] = (),
    sizes: Sizes = DEFAULT_SIZES,
    seed: int = 0,
) -> dict[str, Any]:
    """:func:`assess_fidelity` of all pictures and of each class, and how the classes are mixed.

    Parameters
    ----------
    classes : sequence of str
        The order of the classes; those found besides follow in alphabetical order.

    Returns
    -------
    dict
        ``overall``, ``classes`` (by name) and ``class_mix``.
    """
    found = {str(label) for label in [*synthetic.labels, *reference.labels]} - {""}
    names = [name for name in classes if name in found]
    names += sorted(found - set(names))
    result: dict[str, Any] = {"overall": {}, "classes": {}}
    for name in track([None, *names] if len(names) > 1 else [None], "distances"):
        sides: list[Features | None] = [synthetic, reference, counterpart]
        if name is not None:
            sides = [None if side is None else side.where(side.labels == name) for side in sides]
        double, real, other = sides
        assert double is not None and real is not None
        assessed = assess_fidelity(double, real, other, extractor, sizes=sizes, seed=seed)
        if name is None:
            result["overall"] = assessed
        else:
            result["classes"][name] = assessed
    result["class_mix"] = class_mix(
        synthetic.labels,
        reference.labels,
        None if counterpart is None else counterpart.labels,
        synthetic_groups=synthetic.groups,
        reference_groups=reference.groups,
        counterpart_groups=None if counterpart is None else counterpart.groups,
        sizes=sizes,
        seed=seed,
    )
    return result


class _Measure:
    """One pair of feature sets with its plan: each method is one measurement as JSON."""

    def __init__(
        self,
        synthetic: Features,
        reference: Features,
        counterpart: Features | None,
        plan: Plan,
        sizes: Sizes,
        seed: int,
    ) -> None:
        self.synthetic, self.reference = synthetic, reference
        self.x, self.s = reference.array.astype(np.float64), synthetic.array.astype(np.float64)
        self.other = None if counterpart is None else counterpart.array.astype(np.float64)
        self.other_groups = None if counterpart is None else counterpart.groups
        self.plan, self.sizes, self.seed = plan, sizes, seed

    def values(self, metric: Callable[[np.ndarray, np.ndarray], Any]) -> list[Any]:
        """Real against synthetic, one a draw."""
        return [metric(self.x[a], self.s[b]) for a, b in self.plan.draws]

    def distance(
        self,
        metric: Callable[[np.ndarray, np.ndarray], float],
        interval: Interval,
        limit: int | None = None,
        *,
        sizes: Sizes | None = None,
    ) -> dict[str, Any]:
        sizes = sizes or self.sizes
        real_rows, rows = self.plan.draws[0]
        few, few_real = rows[:limit], real_rows[:limit]
        estimate = interval(
            self.x[few_real],
            self.s[few],
            real_groups=self.reference.groups[few_real],
            synthetic_groups=self.synthetic.groups[few],
            resamples=sizes.resamples,
            seed=seed_for(self.seed, "bootstrap"),
            confidence=self.sizes.confidence,
        )
        estimate = recentred(estimate, self.values(metric))._replace(n=self.plan.n)
        floor = plan_floor(*real_floor_values(metric, self.x, self.other, self.plan), self.plan)
        return {
            **named(estimate),
            "resamples": sizes.resamples,
            "draws": len(self.plan.draws),
            "floor": named(floor),
        }

    def manifolds(self) -> dict[str, dict[str, Any]]:
        """Precision, recall, density and coverage, all from the same distances."""
        keys = ("precision", "recall", "density", "coverage")
        values = self.values(_manifolds)
        floors, parted = real_floor_values(_manifolds, self.x, self.other, self.plan)
        real_rows, rows = self.plan.draws[0]
        few, few_real = rows[:MANIFOLD_LIMIT], real_rows[:MANIFOLD_LIMIT]
        held = ManifoldDistances(self.x[few_real], self.s[few])
        counts = paired_counts(
            self.reference.groups[few_real],
            self.synthetic.groups[few],
            self.sizes,
            seed_for(self.seed, "manifolds"),
        )
        resampled = np.array([held.measures(a, b) for a, b in zip(*counts, strict=True)])
        neighbours = (PRECISION_NEIGHBOURS,) * 2 + (COVERAGE_NEIGHBOURS,) * 2
        return {
            key: measured(
                [v[i] for v in values],
                resampled[:, i],
                ([v[i] for v in floors], [v[i] for v in parted]),
                self.plan,
                self.sizes,
                (0.0, np.inf if key == "density" else 1.0),
            )
            | {"neighbours": neighbours[i]}
            for i, key in enumerate(keys)
        }

    def infinity(self) -> dict[str, Any]:
        """FD-infinity, the mean of a few curves; the interval is the mean fit's, not one over patients."""
        x, plan, groups = self.x, self.plan, self.reference.groups

        def curves(
            real: np.ndarray,
            real_groups: np.ndarray,
            double: np.ndarray,
            double_groups: np.ndarray,
            rows: list[tuple[np.ndarray, np.ndarray]],
        ) -> list[FrechetInfinity]:
            return [
                fd_infinity(
                    real[a],
                    double[b],
                    real_groups=real_groups[a],
                    synthetic_groups=double_groups[b],
                    seed=seed_for(self.seed, "extrapolation", i),
                    confidence=self.sizes.confidence,
                )
                for i, (a, b) in enumerate(rows)
            ]

        ours = curves(x, groups, self.s, self.synthetic.groups, plan.draws[:CURVES])
        if self.other is None or self.other_groups is None:
            floor, parted = curves(x, groups, x, groups, plan.floor[: 2 * CURVES]), []
        else:
            floor = curves(x, groups, self.other, self.other_groups, plan.floor[:CURVES])
            pool, pool_groups = np.concatenate([x, self.other]), pooled(groups, self.other_groups)
            parted = curves(pool, pool_groups, pool, pool_groups, plan.parted[: 2 * CURVES])
        value, low, high = (float(np.mean([curve[i] for curve in ours])) for i in range(3))
        first = ours[0]
        return {
            **named(Estimate(value, low, high, self.plan.n)),
            "interval": "of the fit",
            "draws": len(ours),
            "floor": named(
                plan_floor([curve.value for curve in floor], [curve.value for curve in parted], plan)
            ),
            "r_squared": float(np.mean([curve.r_squared for curve in ours])),
            "above_dimension": first.above_dimension,
            "sizes": list(first.sizes),
            "distances": np.mean([curve.distances for curve in ours], axis=0).tolist(),
        }

    def inception(self, extractor: Extractor) -> dict[str, Any]:
        scores: dict[str, Any] = {}
        real_rows, rows = self.plan.draws[0]
        for key, features, chosen in (
            ("synthetic", self.synthetic, rows),
            ("real", self.reference, real_rows),
        ):
            logits = extractor.logits(features.array[chosen])
            if logits is None:
                return {}
            score, log_score = inception_score_interval(
                logits,
                groups=features.groups[chosen],
                resamples=self.sizes.resamples,
                seed=seed_for(self.seed, "inception score", key),
                confidence=self.sizes.confidence,
            )
            scores[key] = named(score)
            scores[f"log_{key}"] = named(log_score)
        return scores


def _manifolds(real: np.ndarray, synthetic: np.ndarray) -> tuple[float, float, float, float]:
    """The four measures; from distances that are held where they fit, for they are then computed once."""
    if max(len(real), len(synthetic)) > MANIFOLD_LIMIT:
        return (*precision_recall(real, synthetic), *density_coverage(real, synthetic))
    held = ManifoldDistances(real, synthetic)
    return held.measures(np.ones(len(real)), np.ones(len(synthetic)))
