"""Rates over pictures whose patients are the independent units, their differences, and what an attack gains."""

from __future__ import annotations

import numpy as np

from datadouble.stats import Estimate


def clustered_rate(
    values: np.ndarray, groups: np.ndarray, *, weights: np.ndarray | None = None, confidence: float = 0.95
) -> Estimate:
    """Mean of values in [0, 1] with a Wilson interval at the effective number of pictures.

    The effective number is that of independent pictures that would give the variance found between patients (Kish
    1965; Korn and Graubard, Survey Methodology 1998;24:193). Where the rate is 0 or 1 no variance is seen and the
    number of patients stands for it, so the interval has a width.

    Parameters
    ----------
    values : ndarray
        (n,), 0 or 1, or a share of a draw.
    groups : ndarray
        (n,), the patient of each.
    weights : ndarray, optional
        (n,), of any sum.

    Returns
    -------
    Estimate
        ``n`` counts patients.
    """
    v = np.asarray(values, dtype=np.float64)
    if len(v) == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    w = np.ones(len(v)) if weights is None else np.asarray(weights, dtype=np.float64)
    value = float((w * v).sum() / w.sum())  # in this order 1 stays exactly 1
    w = w / w.sum()
    _, code = np.unique(np.asarray(groups), return_inverse=True)
    patients = int(code.max()) + 1
    residual = np.bincount(code, weights=w * (v - value))
    variance = float((residual**2).sum()) * patients / max(patients - 1, 1)
    most = 1 / float((w**2).sum())  # pictures, where their weights are equal
    if 0 < value < 1:
        effective = min(value * (1 - value) / variance, most) if variance > 0 else most
    else:
        effective = float(patients)
    low, high = wilson(value, effective, confidence)
    return Estimate(value, low, high, patients)


def wilson(value: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a rate for a number of trials that need not be whole."""
    from scipy.special import ndtri

    z = float(ndtri((1 + confidence) / 2))
    centre = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(value * (1 - value) / n + z**2 / (4 * n**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def difference(first: Estimate, second: Estimate) -> Estimate:
    """first - second of two independent rates: Newcombe's interval (Stat Med 1998;17:873, method 10), from theirs."""
    value = first.value - second.value
    low = value - np.hypot(first.value - first.low, second.high - second.value)
    high = value + np.hypot(first.high - first.value, second.value - second.low)
    return Estimate(float(value), float(low), float(high), first.n + second.n)


def residual_risk(attack: Estimate, control: Estimate) -> Estimate:
    """(attack - control) / (1 - control), cut at 0 and 1: of the patients whom an attack on unseen ones would miss,
    the share that the release gives away (anonymeter: Giomi et al., PoPETs 2023;2:312).

    As there, the rates are taken at the centres of their Wilson intervals and the half-widths are propagated. Not a
    number where the control attack never fails.
    """
    a, c = (attack.low + attack.high) / 2, (control.low + control.high) / 2
    half_a, half_c = (attack.high - attack.low) / 2, (control.high - control.low) / 2
    if not c < 1 or np.isnan(a):
        return Estimate(np.nan, np.nan, np.nan, attack.n + control.n)
    value = (a - c) / (1 - c)
    half = np.hypot(half_a / (1 - c), half_c * (1 - a) / (1 - c) ** 2)
    low, high = (float(np.clip(end, 0.0, 1.0)) for end in (value - half, value + half))
    return Estimate(float(np.clip(value, 0.0, 1.0)), low, high, attack.n + control.n)


def plain(value: object) -> object:
    """Small named types, at any depth, as dictionaries."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items()}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value
