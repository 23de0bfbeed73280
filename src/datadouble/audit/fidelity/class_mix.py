"""How the classes are mixed: the share of each among synthetic and real pictures, and the distance of the two mixes.

Total variation, half the sum of the absolute differences, is the share of the double that would have to change class
to match the reference. A distance over all classes includes it; distances by class do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from datadouble.audit.evidence import named
from datadouble.audit.fidelity.comparison import (
    DEFAULT_SIZES,
    Sizes,
    measured,
    paired_counts,
    patient_share,
    plan_comparison,
    real_floor_values,
)
from datadouble.randomness import seed_for


def total_variation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Half the sum of absolute differences of two distributions along the last axis, in [0, 1]."""
    return np.abs(np.asarray(first, np.float64) - second).sum(axis=-1) / 2


def mix_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Total variation between the mixes of two one-hot arrays, (n, classes) and (m, classes)."""
    return float(total_variation(first.mean(axis=0), second.mean(axis=0)))


def class_mix(
    synthetic: np.ndarray,
    reference: np.ndarray,
    counterpart: np.ndarray | None = None,
    *,
    synthetic_groups: np.ndarray,
    reference_groups: np.ndarray,
    counterpart_groups: np.ndarray | None = None,
    sizes: Sizes = DEFAULT_SIZES,
    seed: int = 0,
) -> dict[str, Any]:
    """Shares of the classes and the total variation between the two mixes.

    Parameters
    ----------
    synthetic, reference, counterpart : ndarray of str
        Label of each picture; ``""`` where unknown, counted as a class of its own.
    synthetic_groups, reference_groups, counterpart_groups : ndarray
        Patient of each.

    Returns
    -------
    dict
        ``classes`` {label: {``synthetic``, ``real``}} with intervals, and ``total_variation`` with interval and floor
        (``note`` instead where there are too few pictures).
    """
    names = sorted({str(label) for label in [*synthetic, *reference]})
    result: dict[str, Any] = {
        "classes": {
            name: {
                key: named(
                    patient_share(labels == name, groups, sizes, seed=seed_for(seed, "share", key, name))
                )
                for key, labels, groups in (
                    ("synthetic", synthetic, synthetic_groups),
                    ("real", reference, reference_groups),
                )
            }
            for name in names
        }
    }
    plan = plan_comparison(
        synthetic_groups,
        reference_groups,
        counterpart_groups,
        repeats=sizes.repeats,
        seed=seed_for(seed, "class mix"),
    )
    if plan.note:
        return result | {"note": plan.note}
    s, x = (
        np.stack([labels == name for name in names], axis=1).astype(float)
        for labels in (synthetic, reference)
    )
    other = None
    if counterpart is not None:
        other = np.stack([counterpart == name for name in names], axis=1).astype(float)
    first, second = plan.draws[0]
    a, b = paired_counts(reference_groups[first], synthetic_groups[second], sizes, seed_for(seed, "mix"))
    resampled = total_variation(
        a @ x[first] / a.sum(axis=1, keepdims=True), b @ s[second] / b.sum(axis=1, keepdims=True)
    )
    result["total_variation"] = measured(
        [mix_distance(x[a], s[b]) for a, b in plan.draws],
        resampled,
        real_floor_values(mix_distance, x, other, plan),
        plan,
        sizes,
        (0.0, 1.0),
    )
    return result
