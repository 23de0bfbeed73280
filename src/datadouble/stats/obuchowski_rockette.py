"""Obuchowski-Rockette analysis of areas by reader and modality, with Hillis' degrees of freedom.

The model: area of modality i and reader j = mu + tau_i + R_j + (tau R)_ij + e_ij, where the errors e, which come
from the cases, have variance Var and covariances Cov1 (same reader, other modality), Cov2 (other reader, same
modality) and Cov3 (both differ). Sources: Obuchowski and Rockette, Communications in Statistics - Simulation and
Computation 1995;24:285; Hillis, Statistics in Medicine 2007;26:596 (degrees of freedom) and 2014;33:330 (fixed
readers or cases, one modality alone).
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np

from datadouble.stats.delong import NO_VARIANCE, exact_interval
from datadouble.stats.results import check_confidence, normal_quantile

MODELS = ("random", "fixed")


class VarianceComponents(NamedTuple):
    """What the areas vary by.

    Attributes
    ----------
    ms_modality, ms_reader, ms_modality_reader : float
        Mean squares of the areas: MS(T), MS(R), MS(TR). NaN where there is one modality or one reader.
    error, cov1, cov2, cov3 : float
        Var and covariances of the errors, averages over the curves, for ``cases`` cases of each modality;
        NaN, as the next two, where cases are fixed.
    reader, modality_reader : float
        Variance components of the readers, estimated by moments: may be negative where there is little to find.
    cases : int
        Cases of a modality that the covariances rest on.
    """

    ms_modality: float
    ms_reader: float
    ms_modality_reader: float
    error: float
    cov1: float
    cov2: float
    cov3: float
    reader: float
    modality_reader: float
    cases: int


class ModalityAuc(NamedTuple):
    """The average reader's area with one modality; its interval uses the data of this modality only."""

    modality: str
    value: float
    low: float
    high: float
    n: int
    standard_error: float
    degrees_of_freedom: float


class ModalityDifference(NamedTuple):
    """First modality minus second: difference of the average reader's areas, t (z where the degrees are infinite)."""

    first: str
    second: str
    value: float
    low: float
    high: float
    n: int
    standard_error: float
    degrees_of_freedom: float
    statistic: float
    p_value: float


class FTest(NamedTuple):
    """Test that all modalities have equal areas. Infinite ``df_denominator``: F is chi-square / ``df_numerator``."""

    f: float
    df_numerator: int
    df_denominator: float
    p_value: float


class ReaderStudy(NamedTuple):
    """The answer of an Obuchowski-Rockette analysis.

    Attributes
    ----------
    modalities : tuple of ModalityAuc
    differences : tuple of ModalityDifference
        One for each pair; no correction for their number (see :func:`~datadouble.stats.holm`).
    test : FTest or None
        None for one modality.
    components : VarianceComponents
    areas : ndarray, shape (modalities, readers)
    readers : tuple of str
        In the order of ``areas``.
    design : str
        ``"crossed"``, or ``"unpaired"`` where each modality has cases of its own.
    model : str
        What the answer generalises to, such as ``"random readers, random cases"``.
    covariance : str
    """

    modalities: tuple[ModalityAuc, ...]
    differences: tuple[ModalityDifference, ...]
    test: FTest | None
    components: VarianceComponents
    areas: np.ndarray
    readers: tuple[str, ...]
    design: str
    model: str
    covariance: str


def mean_squares(areas: np.ndarray) -> tuple[float, float, float]:
    """MS(T), MS(R) and MS(TR) of areas (modalities, readers); NaN where a factor has one level."""
    kinds, readers = areas.shape
    by_modality, by_reader, mean = areas.mean(axis=1), areas.mean(axis=0), areas.mean()
    rest = areas - by_modality[:, None] - by_reader + mean
    sums = (
        readers * ((by_modality - mean) ** 2).sum(),
        kinds * ((by_reader - mean) ** 2).sum(),
        (rest**2).sum(),
    )
    degrees = kinds - 1, readers - 1, (kinds - 1) * (readers - 1)
    found = [float(s / d) if d else float("nan") for s, d in zip(sums, degrees, strict=True)]
    return found[0], found[1], found[2]


def error_covariances(covariance: np.ndarray, kinds: int, readers: int) -> tuple[float, float, float, float]:
    """Var, Cov1, Cov2, Cov3: averages of a covariance matrix, curves in the order modality, reader; 0 where none."""
    blocks = covariance.reshape(kinds, readers, kinds, readers)
    same, other = (np.eye(kinds), np.eye(readers)), (1 - np.eye(kinds), 1 - np.eye(readers))
    # By masks, not by subtraction: what is 0 by design stays exactly 0.
    same_curve, same_reader, same_modality, neither = (
        float(np.einsum("ijkl,ik,jl->", blocks, by_modality, by_reader))
        for by_modality, by_reader in (
            (same[0], same[1]),
            (other[0], same[1]),
            (same[0], other[1]),
            (other[0], other[1]),
        )
    )
    curves = kinds * readers
    pairs = max(kinds - 1, 1), max(readers - 1, 1)
    return (
        same_curve / curves,
        same_reader / (curves * pairs[0]),
        same_modality / (curves * pairs[1]),
        neither / (curves * pairs[0] * pairs[1]),
    )


def obuchowski_rockette(
    areas: np.ndarray,
    covariance: np.ndarray,
    *,
    cases: int,
    pairs: int,
    readers: str = "random",
    case_model: str = "random",
    confidence: float = 0.95,
    interval: str = "logit",
    modality_names: tuple[str, ...] | None = None,
    reader_names: tuple[str, ...] | None = None,
    design: str = "crossed",
    method: str = "",
) -> ReaderStudy:
    """Analyse areas whose covariances are known; :func:`~datadouble.stats.mrmc` starts from ratings.

    Parameters
    ----------
    areas : ndarray, shape (modalities, readers)
    covariance : ndarray, shape (modalities · readers, modalities · readers)
        Of the areas in that order, due to the cases.
    cases : int
        Cases of a modality.
    pairs : int
        Independent (positive, negative) pairs of a modality, for the exact interval where nothing varies.
    readers, case_model : str
        ``"random"`` or ``"fixed"``: whether the answer is to hold for readers (cases) like these or for these alone.
    confidence : float
        In (0, 1).
    interval : str
        Of the areas: ``"logit"`` or ``"symmetric"`` (as MRMCaov prints, cut at 0 and 1).
    modality_names, reader_names : tuple of str, optional
    design, method : str
        What to say of them in the answer.

    Raises
    ------
    ValueError
        For both factors fixed, one reader where readers are random, shapes that do not fit, unknown options.
    """
    check_confidence(confidence)
    kinds, count = areas.shape
    _check_model(readers, case_model, count)
    if interval not in ("logit", "symmetric"):
        raise ValueError(f"unknown interval {interval!r}: use 'logit' or 'symmetric'")
    if covariance.shape != (kinds * count,) * 2:
        raise ValueError(f"{kinds} x {count} areas but covariances of shape {covariance.shape}")
    names = modality_names or tuple(str(i) for i in range(kinds))
    ms_modality, ms_reader, ms_rest = mean_squares(areas)
    error, cov1, cov2, cov3 = error_covariances(covariance, kinds, count)
    if case_model == "fixed":
        error = cov1 = cov2 = cov3 = float("nan")
    # From the expected mean squares (Hillis 2014), solved for the components.
    by_reader = (ms_reader - ms_rest) / kinds - cov1 + cov3 if kinds > 1 else ms_reader - error + cov2
    by_both = ms_rest - error + cov1 + cov2 - cov3
    components = VarianceComponents(
        ms_modality, ms_reader, ms_rest, error, cov1, cov2, cov3, by_reader, by_both, cases
    )
    blocks = covariance.reshape(kinds, count, kinds, count)
    singles = tuple(
        _single(name, areas[i], blocks[i, :, i], cases, readers, case_model, confidence, interval, pairs)
        for i, name in enumerate(names)
    )
    differences: tuple[ModalityDifference, ...] = ()
    test = None
    if kinds > 1:
        denominator, degrees = _denominator(components, kinds, count, readers, case_model)
        if denominator <= NO_VARIANCE:
            # Nothing varies (say, all areas are 1): the exact intervals' arms in place of the error.
            arms = [_arm(single.value, pairs) for single in singles]
            denominator, degrees = count * float(np.mean(np.square(arms))), np.inf
        test = _f_test(ms_modality / denominator, kinds - 1, degrees)
        differences = tuple(
            _difference(singles[a], singles[b], 2 * denominator / count, degrees, confidence, design)
            for a, b in combinations(range(kinds), 2)
        )
    return ReaderStudy(
        singles,
        differences,
        test,
        components,
        areas,
        reader_names or tuple(str(j) for j in range(count)),
        design,
        f"{readers} readers, {case_model} cases",
        method,
    )


def _check_model(readers: str, cases: str, count: int) -> None:
    for name, model in (("readers", readers), ("cases", cases)):
        if model not in MODELS:
            raise ValueError(f"{name} must be 'random' or 'fixed': found {model!r}")
    if readers == cases == "fixed":
        raise ValueError("readers and cases are both fixed: then nothing is left to generalise to or to test")
    if readers == "random" and count < 2:
        raise ValueError("random readers need at least 2 readers: found 1; give readers='fixed'")


def _denominator(
    found: VarianceComponents, kinds: int, readers: int, reader_model: str, case_model: str
) -> tuple[float, float]:
    """Denominator of F and its degrees of freedom (Hillis 2014); a negative Cov2 - Cov3 counts as 0."""
    shared = max(found.cov2 - found.cov3, 0.0)
    if reader_model == "fixed":
        return max(found.error - found.cov1 + (readers - 1) * shared, 0.0), np.inf
    free = (kinds - 1) * (readers - 1)
    if case_model == "fixed":
        return found.ms_modality_reader, free
    denominator = found.ms_modality_reader + readers * shared
    return denominator, _hillis(denominator, found.ms_modality_reader, free)


def _hillis(denominator: float, mean_square: float, free: int) -> float:
    """Hillis' (2007) degrees of freedom; the covariances count as known: infinite where readers add nothing."""
    return float(denominator**2 / (mean_square**2 / free)) if mean_square > NO_VARIANCE else np.inf


def _single(
    name: str,
    areas: np.ndarray,
    covariance: np.ndarray,
    cases: int,
    reader_model: str,
    case_model: str,
    confidence: float,
    interval: str,
    pairs: int,
) -> ModalityAuc:
    count, value = len(areas), float(areas.mean())
    error, _, cov2, _ = error_covariances(covariance, 1, count)
    shared = max(cov2, 0.0)
    degrees = np.inf
    if reader_model == "fixed":
        variance = (error + (count - 1) * shared) / count
    else:
        spread = float(areas.var(ddof=1))
        variance, degrees = spread / count, count - 1.0
        if case_model == "random":
            variance += shared
            degrees = _hillis(spread + count * shared, spread, count - 1)
    if variance <= NO_VARIANCE:
        low, high = exact_interval(value, max(pairs, 1), confidence)
        arm = _arm(value, pairs)
        return ModalityAuc(name, value, low, high, cases, arm, np.inf)
    half = _quantile(confidence, degrees) * float(np.sqrt(variance))
    if interval == "symmetric" or not 0 < value < 1:
        low, high = max(value - half, 0.0), min(value + half, 1.0)
    else:
        centre, half = np.log(value / (1 - value)), half / (value * (1 - value))
        low, high = (float(1 / (1 + np.exp(-end))) for end in (centre - half, centre + half))
    return ModalityAuc(name, value, low, high, cases, float(np.sqrt(variance)), float(degrees))


def _arm(value: float, pairs: int) -> float:
    """Standard error that the longer arm of the exact interval stands for."""
    low, high = exact_interval(value, max(pairs, 1), 0.95)
    return max(value - low, high - value) / normal_quantile(0.95)


def _quantile(confidence: float, degrees: float) -> float:
    from scipy.special import stdtrit

    if np.isinf(degrees):
        return normal_quantile(confidence)
    return float(stdtrit(degrees, (1 + confidence) / 2))


def _f_test(f: float, numerator: int, denominator: float) -> FTest:
    from scipy.special import chdtrc, fdtrc

    p_value = chdtrc(numerator, f * numerator) if np.isinf(denominator) else fdtrc(numerator, denominator, f)
    return FTest(float(f), numerator, float(denominator), float(p_value))


def _difference(
    first: ModalityAuc,
    second: ModalityAuc,
    variance: float,
    degrees: float,
    confidence: float,
    design: str,
) -> ModalityDifference:
    from scipy.special import ndtr, stdtr

    value, error = first.value - second.value, float(np.sqrt(variance))
    statistic = value / error
    tail = ndtr(-abs(statistic)) if np.isinf(degrees) else stdtr(degrees, -abs(statistic))
    half = _quantile(confidence, degrees) * error
    n = first.n if design == "crossed" else first.n + second.n
    return ModalityDifference(
        first.modality,
        second.modality,
        value,
        max(value - half, -1.0),
        min(value + half, 1.0),
        n,
        error,
        float(degrees),
        float(statistic),
        float(2 * tail),
    )
