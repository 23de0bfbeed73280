"""Dataset inference on a generator's weights (CDI): were these patients, taken together, in its training set?

One patient's probes may tell next to nothing while a hundred patients' together leave no doubt. A scorer is fitted on
some members and non-members, and a one-sided Welch test asks whether it scores other members higher than other
non-members (Dubiński et al., "CDI: Copyrighted Data Identification in Diffusion Models", CVPR 2025,
arXiv:2411.12858; dataset inference: Maini et al. 2021, arXiv:2104.10706). By patient, not by picture.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.privacy.model_access_attacks import fit_logistic
from datadouble.randomness import generator_for

SIZES = (5, 10, 20, 40, 80, 160, 320, 640)


class InferencePoint(NamedTuple):
    """`p_value` is the median over repeats with `patients` on each side, `detected` the share of repeats below 0.01."""

    patients: int
    p_value: float
    detected: float


class DatasetInference(NamedTuple):
    """Dataset inference at full size, and as a curve over the number of patients the attacker brings.

    `p_value` is twice the median P value over random divisions, at most 1: a valid P value whatever their
    dependence (Rüschendorf 1982). `members` and `others` are the patients tested in each division.
    """

    p_value: float
    effect: float  # median over divisions: difference of mean scores, in pooled standard deviations
    members: int
    others: int
    repeats: int
    curve: tuple[InferencePoint, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**self._asdict(), "curve": [dict(point._asdict()) for point in self.curve]}


def dataset_inference(
    features: np.ndarray,
    members: np.ndarray,
    *,
    repeats: int = 50,
    sizes: tuple[int, ...] = SIZES,
    seed: int = 0,
) -> DatasetInference:
    """Infer from many patients at once.

    Parameters
    ----------
    features : ndarray
        (p, m), one row for each patient.
    members : ndarray
        (p,) bool.
    repeats : int
        Random divisions into patients to fit on and patients to test; half of each side.
    sizes : tuple of int
        Patients on each side, for the curve; those beyond what is there are left out.
    """
    sides = [np.flatnonzero(members), np.flatnonzero(~np.asarray(members))]
    if min(len(side) for side in sides) < 4:
        raise ValueError("dataset inference needs four patients on each side")
    tested = [len(side) - len(side) // 2 for side in sides]
    possible = [size for size in sizes if size <= min(tested)]
    values, effects = np.empty(repeats), np.empty(repeats)
    by_size = np.empty((repeats, len(possible)))
    for repeat in range(repeats):
        rng = generator_for(seed, "dataset inference", repeat)
        dealt = [rng.permutation(side) for side in sides]
        fitted = np.concatenate([side[: len(side) // 2] for side in dealt])
        scorer = fit_logistic(features[fitted], members[fitted])
        inside, outside = (scorer(features[side[len(side) // 2 :]]) for side in dealt)
        values[repeat] = welch_greater(inside, outside)
        spread = np.sqrt((inside.var(ddof=1) + outside.var(ddof=1)) / 2)
        effects[repeat] = (inside.mean() - outside.mean()) / spread if spread > 0 else 0.0
        by_size[repeat] = [welch_greater(inside[:size], outside[:size]) for size in possible]
    curve = tuple(
        InferencePoint(size, float(np.median(column)), float(np.mean(column < 0.01)))
        for size, column in zip(possible, by_size.T, strict=True)
    )
    p_value = min(1.0, 2 * float(np.median(values)))
    return DatasetInference(p_value, float(np.median(effects)), tested[0], tested[1], repeats, curve)


def welch_greater(first: np.ndarray, second: np.ndarray) -> float:
    """One-sided P value of Welch's test that `first` has the greater mean; 1 where nothing varies or differs."""
    from scipy.stats import ttest_ind

    if np.ptp(first) == 0 and np.ptp(second) == 0:
        return 1.0 if first[0] <= second[0] else 0.0
    return float(ttest_ind(first, second, equal_var=False, alternative="greater").pvalue)
