"""FD, KID and IS of one pair of sets at equal n, each beside its real-against-real floor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from datadouble.audit.evidence import named
from datadouble.audit.features.base import Extractor, Features
from datadouble.audit.features.registry import display_name
from datadouble.audit.fidelity.floor import by_patient, real_floor
from datadouble.audit.fidelity.frechet import SMALL_SAMPLE, frechet_distance, frechet_interval
from datadouble.audit.fidelity.inception_score import inception_score_interval
from datadouble.audit.fidelity.kernel_distance import kernel_distance, kernel_distance_interval, squared_mmd
from datadouble.randomness import seed_for
from datadouble.stats import Estimate

SMALLEST = 10  # pictures a side below which no distance is worth printing
KERNEL_LIMIT = 5000  # pictures a side whose kernel matrices are held for the bootstrap (3 x 200 MB)
SLOW_FRECHET = 2000  # pictures a side from which one Frechet resample takes about a second


@dataclass(frozen=True)
class Sizes:
    """How much work goes into intervals: bootstrap resamples, and random draws for values and floors."""

    resamples: int = 200
    repeats: int = 10
    confidence: float = 0.95


def assess_fidelity(
    synthetic: Features,
    reference: Features,
    counterpart: Features | None,
    extractor: Extractor,
    *,
    sizes: Sizes = Sizes(),
    seed: int = 0,
) -> dict[str, Any]:
    """All distances between a double and its reference, as JSON values.

    Both sides, and both sides of the floor, are brought to one n by random draws (whole patients on the real side):
    a Frechet distance of few pictures is too high, by an amount that cancels only at equal n.

    Returns
    -------
    dict
        ``n`` compared, ``n_real``, ``n_synthetic``, ``patients``, ``fd``, ``kid``, ``inception_score``; the last three
        absent where there are too few pictures (``note`` says so).
    """
    n_real, n_synthetic = len(reference), len(synthetic)
    patients = len(np.unique(reference.groups)) if n_real else 0
    n = min(n_synthetic, n_real // 2 if counterpart is None else min(n_real, len(counterpart)))
    result: dict[str, Any] = {"n": n, "n_real": n_real, "n_synthetic": n_synthetic, "patients": patients}
    if n < SMALLEST or patients < 4:
        return result | {"note": f"too few pictures for a distance ({n} a side, {patients} patients)"}

    x, s = reference.array.astype(np.float64), synthetic.array.astype(np.float64)
    floor_args: dict[str, Any] = {
        "groups": reference.groups,
        "repeats": sizes.repeats,
        "other": None if counterpart is None else counterpart.array.astype(np.float64),
        "other_groups": None if counterpart is None else counterpart.groups,
        "seed": seed_for(seed, "floor"),
    }
    fd_floor = real_floor(x, n, metric=frechet_distance, **floor_args)
    n = min(n, fd_floor.n)  # whole patients may leave a half a little smaller
    result["n"] = n
    kid_floor = real_floor(x, n, metric=squared_mmd, **floor_args)

    rng = np.random.default_rng(seed_for(seed, "draws"))
    draws = [
        (by_patient(reference.groups, rng)[:n], by_patient(synthetic.groups, rng)[:n])
        for _ in range(1 if n_real == n_synthetic == n else sizes.repeats)
    ]
    first, second = draws[0]
    common: dict[str, Any] = {
        "real_groups": reference.groups[first],
        "synthetic_groups": synthetic.groups[second],
        "seed": seed_for(seed, "bootstrap"),
        "confidence": sizes.confidence,
    }
    fd_resamples = sizes.resamples if n < SLOW_FRECHET else min(sizes.resamples, 50)
    fd = frechet_interval(x[first], s[second], resamples=fd_resamples, **common)
    fd = _recentred(fd, [frechet_distance(x[a], s[b]) for a, b in draws])
    result["fd"] = {
        "name": display_name("FD", extractor.name),
        **named(fd),
        "resamples": fd_resamples,
        "draws": len(draws),
        "floor": named(fd_floor),
        "small_sample": n < SMALL_SAMPLE,
    }

    few = slice(0, KERNEL_LIMIT)
    common["real_groups"], common["synthetic_groups"] = (
        common["real_groups"][few],
        common["synthetic_groups"][few],
    )
    kid = kernel_distance_interval(x[first][few], s[second][few], resamples=sizes.resamples, **common)
    kid = _recentred(kid, [squared_mmd(x[a], s[b]) for a, b in draws])._replace(n=n)
    subsets = kernel_distance(x, s, seed=seed_for(seed, "subsets"))
    result["kid"] = {
        "name": display_name("KD", extractor.name),
        **named(kid),
        "resamples": sizes.resamples,
        "draws": len(draws),
        "floor": named(kid_floor),
        "standard_error": subsets.standard_error,
        "subset_mean": subsets.subset_mean,
        "subsets": subsets.subsets,
        "subset_size": subsets.subset_size,
    }

    scores: dict[str, Any] = {"name": display_name("IS", extractor.name)}
    for key, features, rows in (("synthetic", synthetic, second), ("real", reference, first)):
        logits = extractor.logits(features.array[rows])
        if logits is None:
            continue
        score, log_score = inception_score_interval(
            logits,
            groups=features.groups[rows],
            resamples=sizes.resamples,
            seed=seed_for(seed, "inception score", key),
            confidence=sizes.confidence,
        )
        scores[key] = named(score)
        scores[f"log_{key}"] = named(log_score)
    if "synthetic" in scores:
        result["inception_score"] = scores
    return result


def _recentred(estimate: Estimate, values: list[float]) -> Estimate:
    """The mean over draws, with the interval of the first draw moved along."""
    value = float(np.mean(values))
    shift = value - estimate.value
    return Estimate(value, estimate.low + shift, estimate.high + shift, estimate.n)
