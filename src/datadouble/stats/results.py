"""What a test answers, and the checks of input that the topics share."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

Groups = Sequence[Hashable] | np.ndarray


class TestResult(NamedTuple):
    """A test statistic and its p-value."""

    statistic: float
    p_value: float


TestResult.__test__ = False  # type: ignore[attr-defined]  # its name makes pytest look for tests in it


def check_confidence(confidence: float) -> None:
    """Refuse a confidence (or a level) that is not inside (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1: found {confidence}")


def as_numbers(values: Sequence[float] | np.ndarray, name: str, *, least: int = 1) -> np.ndarray:
    """A one-dimensional float array without NaN, of at least ``least`` entries."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional: found shape {array.shape}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be numbers: found {array.dtype}")
    array = array.astype(np.float64)
    if len(array) < least:
        raise ValueError(f"{name} needs at least {least} entries: found {len(array)}")
    if np.isnan(array).any():
        raise ValueError(f"{name} holds NaN ({int(np.isnan(array).sum())} of {len(array)} entries)")
    return array


def as_labels(labels: Sequence[int] | np.ndarray) -> np.ndarray:
    """A boolean array with both classes present, from booleans or from 0 and 1."""
    numbers = as_numbers(labels, "labels")
    if not np.isin(numbers, (0.0, 1.0)).all():
        raise ValueError(f"labels must be 0 and 1 (or booleans): found {np.unique(numbers)[:5].tolist()}")
    positive = numbers == 1.0
    if positive.all() or not positive.any():
        raise ValueError(f"labels hold one class only: all {len(positive)} are {int(positive[0])}")
    return positive


def check_lengths(**arrays: np.ndarray) -> None:
    """Refuse arrays of unequal lengths, by name."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            "unequal lengths: " + ", ".join(f"{name} {length}" for name, length in lengths.items())
        )


def normal_test(statistic: float) -> TestResult:
    """A standard normal statistic with its two-sided p-value."""
    from scipy.special import ndtr

    return TestResult(float(statistic), float(2 * ndtr(-abs(statistic))))


def normal_quantile(confidence: float) -> float:
    """The half-width of a two-sided normal interval in standard errors (1.96 at 0.95)."""
    from scipy.special import ndtri

    return float(ndtri((1 + confidence) / 2))
