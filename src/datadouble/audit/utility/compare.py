"""Every arm held against the real one: areas, rates, tests, and whether the controls came out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.evidence import named
from datadouble.audit.utility.arms import ARMS
from datadouble.audit.utility.scores import Resamples, Sampled, auc_of, mean_curve, rates_of, weighted_auc
from datadouble.stats import (
    Estimate,
    delong_covariance,
    equivalence_from_error,
    holm,
    placements,
    wilcoxon_signed_rank,
)
from datadouble.stats.results import normal_test


class ArmScores(NamedTuple):
    """Scores of one arm's trainings on the test pictures (trainings, n), calls by each one's own threshold, sizes."""

    scores: np.ndarray
    called: np.ndarray
    real: float
    synthetic: float


def compare(
    names: Sequence[str],
    per_arm: dict[str, ArmScores],
    truth: np.ndarray,
    groups: np.ndarray,
    draws: Resamples,
    margin: float,
) -> dict[str, Any]:
    areas = {name: auc_of(truth, per_arm[name].scores, draws) for name in names}
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        arm = per_arm[name]
        found[name] = {
            "words": ARMS[name].words,
            "train_real": arm.real,
            "train_synthetic": arm.synthetic,
            "auc": named(areas[name].estimate()),
            **{key: named(rate.estimate()) for key, rate in rates_of(truth, arm.called, draws).items()},
            "roc": mean_curve(truth, arm.scores),
        }
        if name != "real":
            found[name]["against_real"] = _against_real(
                areas[name], areas["real"], arm, per_arm["real"], truth, groups, margin
            )
    others = [name for name in names if name != "real" and not ARMS[name].is_control]
    if others:
        adjusted = holm([found[name]["against_real"]["delong_p"] for name in others])
        for name, p_value in zip(others, adjusted, strict=True):
            found[name]["against_real"]["delong_p_holm"] = float(p_value)
    arms = {name: entry for name, entry in found.items() if not ARMS[name].is_control}
    controls = {name: entry for name, entry in found.items() if ARMS[name].is_control}
    if "real_as_double" in controls:
        controls["real_as_double"]["passed"] = controls["real_as_double"]["against_real"]["equivalent"]
    if "permuted_labels" in controls:
        controls["permuted_labels"]["passed"] = _centred_on_chance(
            controls["permuted_labels"]["against_real"]["auc_by_training"]
        )
    passed = all(entry["passed"] for entry in controls.values()) if controls else None
    return {"arms": arms, "controls": controls, "headline": _headline(arms, areas, passed)}


def _centred_on_chance(areas: list[float]) -> bool:
    """Whether areas of trainings on permuted labels may have the mean 0.5, by a t-test at 0.01.

    Over trainings alone, each of which has its own permutation: by chance one of them leans on a feature that tells
    the groups apart, in the right or the wrong direction, so that single areas lie far from 0.5 on any test pictures.
    """
    from scipy.stats import ttest_1samp

    if len(areas) < 2 or max(areas) == min(areas):
        return bool(abs(areas[0] - 0.5) < 0.25)
    return bool(ttest_1samp(areas, 0.5).pvalue > 0.01)


def _against_real(
    area: Sampled,
    real_area: Sampled,
    arm: ArmScores,
    real: ArmScores,
    truth: np.ndarray,
    groups: np.ndarray,
    margin: float,
) -> dict[str, Any]:
    """The difference from the real arm: how large, whether shown, and whether shown to be too small to matter."""
    difference = area.minus(real_area)
    estimate = difference.estimate()
    # Never exactly 0: two arms that score alike on every resample would leave nothing to divide by.
    error = max(difference.error(), 1e-9)
    tost = equivalence_from_error(estimate.value, error, margin=margin, n=len(truth))
    once = np.ones((1, len(truth)))
    by_training = [[float(weighted_auc(truth, row, once)[0]) for row in side.scores] for side in (arm, real)]
    return {
        "difference": named(estimate),
        "equivalent": tost.equivalent,
        "equivalence_p": tost.p_value,
        "equivalence_interval": [tost.low, tost.high],
        "delong_p": _delong(truth, arm.scores, real.scores, groups),
        "wilcoxon_p": wilcoxon_signed_rank(*by_training).p_value,
        "auc_by_training": by_training[0],
        "verdict": verdict_words(estimate, tost.equivalent),
    }


def verdict_words(difference: Estimate, equivalent: bool) -> str:
    """What may be said of a difference from the real arm."""
    words = "worse" if difference.high < 0 else "better" if difference.low > 0 else ""
    if equivalent:
        return f"{words}, within the margin" if words else "equivalent"
    return words or "no difference shown"


def _delong(truth: np.ndarray, first: np.ndarray, second: np.ndarray, groups: np.ndarray) -> float:
    """P-value of DeLong's test of the mean area over trainings (trainings, n), patients as units (Obuchowski 1997).

    Areas are averaged, not scores: an average of scores is an ensemble, which for half of the patients has seen them
    all.
    """
    placed = placements(truth, *first, *second, groups=groups)
    contrast = np.repeat([1 / len(first), -1 / len(second)], [len(first), len(second)])
    variance = float(delong_covariance(placed, contrast[None])[0, 0])
    difference = float(contrast @ placed.auc)
    if variance <= 0:
        return 1.0 if difference == 0 else 0.0
    return normal_test(difference / variance**0.5).p_value


def _headline(
    arms: dict[str, dict[str, Any]], areas: dict[str, Sampled], passed: bool | None
) -> dict[str, Any]:
    """What a first screen says."""
    head: dict[str, Any] = {"auc_real": arms["real"]["auc"], "controls_passed": passed}
    if "synthetic" in arms:
        against = arms["synthetic"]["against_real"]
        head |= {
            "auc_synthetic": arms["synthetic"]["auc"],
            "difference": against["difference"],
            "equivalent": against["equivalent"],
            "verdict": against["verdict"],
        }
    if "half_and_half" in arms and "half_real" in arms:
        # What the synthetic half adds: the comparison that "half and half against all real" cannot give.
        gain = areas["half_and_half"].minus(areas["half_real"])
        head["gain_over_half_real"] = named(gain.estimate())
    return head
