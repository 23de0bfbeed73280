"""The first report's look at memorisation: neighbours in the training set, and a control of unseen real pictures."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.evidence import named
from datadouble.audit.features.base import Features
from datadouble.audit.privacy.neighbours import nearer_to_train, nearest_neighbours
from datadouble.randomness import generator_for, seed_for


class Pair(NamedTuple):
    """Rows (in their cohorts) of a synthetic picture and of the training picture nearest to it."""

    synthetic: int
    train: int
    similarity: float


class FirstLook(NamedTuple):
    """JSON values, the closest pairs, and both sets of similarities for the histogram (control: empty if none)."""

    evidence: dict[str, Any]
    pairs: list[Pair]
    similarities: np.ndarray
    control: np.ndarray


def look_for_copies(
    synthetic: Features,
    gallery: Features,
    control: Features | None,
    *,
    queries: int = 500,
    pairs: int = 20,
    repeats: int = 20,
    seed: int = 0,
) -> FirstLook:
    """Nearest training picture of up to ``queries`` synthetic ones, chosen at random, in the whole gallery.

    ``control`` (real pictures of patients that the generator never saw) shows what similarities arise without copying.
    """
    rng = generator_for(seed, "neighbours")
    chosen = np.sort(rng.permutation(len(synthetic))[:queries])
    asked = synthetic.where(chosen)
    found = nearest_neighbours(asked.array, gallery.array)
    similarities = found.similarity[:, 0]
    evidence: dict[str, Any] = {
        "measure": "cosine similarity of features to the nearest training picture",
        "n": len(asked),
        "gallery": len(gallery),
        "synthetic": _quantiles(similarities),
    }
    control_similarities = np.empty(0, np.float32)
    if control is not None and len(control) > 0:
        control_similarities = nearest_neighbours(control.array, gallery.array).similarity[:, 0]
        evidence["control"] = _quantiles(control_similarities)
        # What the closest 1% of unseen patients reach by chance.
        limit = float(np.quantile(control_similarities, 0.99))
        evidence["above_control_99"] = {"limit": limit, "n": int(np.sum(similarities > limit))}
        nearest = float(control_similarities.max())
        beyond = int(np.sum(similarities > nearest))
        evidence["beyond_every_control"] = {
            "limit": nearest,
            "n": beyond,
            "p_value": chance_of_leading(beyond, len(similarities), len(control_similarities)),
        }
        evidence["nearer_to_train"] = named(
            nearer_to_train(
                asked.array,
                gallery.array,
                control.array,
                train_groups=gallery.groups,
                holdout_groups=control.groups,
                repeats=repeats,
                seed=seed_for(seed, "nearer"),
            )
        )
    order = np.argsort(-similarities, kind="stable")[:pairs]
    closest = [
        Pair(int(asked.rows[i]), int(gallery.rows[found.rows[i, 0]]), float(similarities[i])) for i in order
    ]
    evidence["closest"] = [
        {"image_id": str(asked.image_ids[i]), "similarity": float(similarities[i])} for i in order
    ]
    return FirstLook(evidence, closest, similarities, control_similarities)


def chance_of_leading(leading: int, n: int, control: int) -> float:
    """Probability that the ``leading`` highest of n + control exchangeable values all fall among the n.

    The product of (n - i) / (n + control - i): the one-sided P value of that many synthetic pictures beyond every
    control picture, if pictures of the two kinds were equally near to the training set.
    """
    return float(np.prod([(n - i) / (n + control - i) for i in range(leading)]))


def _quantiles(values: np.ndarray) -> dict[str, Any]:
    low, middle, high = (float(np.quantile(values, q)) for q in (0.05, 0.5, 0.95))
    return {"median": middle, "q05": low, "q95": high, "greatest": float(values.max()), "n": len(values)}
