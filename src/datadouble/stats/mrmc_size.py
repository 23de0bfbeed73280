"""How many readers and cases a multi-reader multi-case study needs (Hillis, Obuchowski and Berbaum, Academic Radiology
2011;18:129; fixed readers or cases: Hillis and Schartz, Journal of Medical Imaging 2018;5:045503)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from datadouble.stats.obuchowski_rockette import MODELS, ReaderStudy, VarianceComponents
from datadouble.stats.results import check_confidence

MOST_CASES = 100_000


class StudyPower(NamedTuple):
    """Power of a planned study of two modalities, with what it comes from; infinite degrees: chi-square."""

    readers: int
    cases: int
    power: float
    noncentrality: float
    df_denominator: float


class StudySize(NamedTuple):
    """The least cases that reach the power with so many readers; not ``reached``: 0, and the power of the most."""

    readers: int
    cases: int
    power: float
    reached: bool


def mrmc_power(
    pilot: ReaderStudy | VarianceComponents,
    *,
    effect: float,
    readers: int,
    cases: int,
    alpha: float = 0.05,
    reader_model: str = "random",
    case_model: str = "random",
) -> StudyPower:
    """Power to find a difference of two modalities' areas.

    Parameters
    ----------
    pilot : ReaderStudy or VarianceComponents
        A pilot's answer (not one with fixed cases), or components that are guessed: ``error``, ``cov1`` to ``cov3`` for
        ``cases`` cases, and ``modality_reader``; the rest is not used.
    effect : float
        Difference of areas, not 0.
    readers, cases : int
        Of the planned study. Covariances shrink with pilot cases / planned cases: the share of positive cases must be
        the pilot's.
    alpha : float
        Level of the two-sided test.
    reader_model, case_model : str
        ``"random"`` or ``"fixed"``.

    Raises
    ------
    ValueError
        For options out of range, and components that are unknown or leave no variance at all.
    """
    from scipy.special import chdtri, fdtri, ncfdtr
    from scipy.stats import ncx2

    found = pilot.components if isinstance(pilot, ReaderStudy) else pilot
    _check(found, effect, readers, cases, alpha, reader_model, case_model)
    shrink = found.cases / cases
    # Negative estimates of components count as 0.
    own = max(found.error - found.cov1, 0.0) * shrink
    shared = max(found.cov2 - found.cov3, 0.0) * shrink
    by_reader = 0.0 if reader_model == "fixed" else max(found.modality_reader, 0.0)
    denominator = by_reader + own + (-shared if case_model == "fixed" else (readers - 1) * shared)
    if denominator <= 0:
        raise ValueError("these components leave no variance: the power would be 1 whatever the study")
    noncentrality = readers * effect**2 / 2 / denominator
    if reader_model == "fixed":
        limit = float(chdtri(1, alpha))
        return StudyPower(readers, cases, float(ncx2.sf(limit, 1, noncentrality)), noncentrality, np.inf)
    mean_square = max(by_reader + own - shared, 0.0)
    degrees = readers - 1.0
    if case_model == "random":
        # The square of an expected mean square of 0 would divide by 0: then readers add nothing.
        degrees = min(denominator**2 / (mean_square**2 / degrees) if mean_square > 0 else 1e6, 1e6)
    limit = float(fdtri(1, degrees, 1 - alpha))
    power = 1 - float(ncfdtr(1, degrees, noncentrality, limit))
    return StudyPower(readers, cases, power, noncentrality, degrees)


def mrmc_sample_size(
    pilot: ReaderStudy | VarianceComponents,
    *,
    effect: float,
    power: float = 0.8,
    alpha: float = 0.05,
    readers: int | Iterable[int] = (3, 4, 5, 6, 8, 10, 12, 15, 20),
    reader_model: str = "random",
    case_model: str = "random",
    most_cases: int = 2000,
) -> tuple[StudySize, ...]:
    """The least number of cases for each number of readers that finds a difference with the power asked for.

    Parameters are those of :func:`mrmc_power`, and ``most_cases``, beyond which the readers count as too few.

    Raises
    ------
    ValueError
        As :func:`mrmc_power`, and for a power outside (0, 1).
    """
    check_confidence(power)
    if not 4 <= most_cases <= MOST_CASES:
        raise ValueError(f"most_cases must lie in 4..{MOST_CASES}: found {most_cases}")
    plans = []
    for count in [readers] if isinstance(readers, int) else list(readers):

        def at(cases: int, count: int = count) -> float:
            return mrmc_power(
                pilot,
                effect=effect,
                readers=count,
                cases=cases,
                alpha=alpha,
                reader_model=reader_model,
                case_model=case_model,
            ).power

        low, high = 3, most_cases
        if at(high) < power:
            plans.append(StudySize(count, 0, at(high), False))
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if at(middle) >= power else (middle, high)
        plans.append(StudySize(count, high, at(high), True))
    return tuple(plans)


def _check(
    found: VarianceComponents,
    effect: float,
    readers: int,
    cases: int,
    alpha: float,
    reader_model: str,
    case_model: str,
) -> None:
    check_confidence(alpha)
    if reader_model not in MODELS or case_model not in MODELS or reader_model == case_model == "fixed":
        raise ValueError(
            f"reader_model and case_model must be random or fixed, not both fixed: {reader_model}, {case_model}"
        )
    if not np.isfinite(effect) or effect == 0:
        raise ValueError(f"effect must be a difference of areas other than 0: found {effect}")
    if readers < (1 if reader_model == "fixed" else 2) or cases < 4:
        raise ValueError(f"too few readers or cases to plan with: found {readers} and {cases}")
    needed = {name: getattr(found, name) for name in ("error", "cov1", "cov2", "cov3")}
    if reader_model == "random":
        needed["modality_reader"] = found.modality_reader
    unknown = [name for name, value in needed.items() if not np.isfinite(value)]
    if unknown:
        raise ValueError(
            f"the pilot does not give {', '.join(unknown)}: analyse it with random cases, two modalities "
            "and, for random readers, at least two readers"
        )
