"""What one simulated study says of each interval that `datadouble.stats` gives, for study_coverage.py."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

import study_simulation
from datadouble import stats
from study_simulation import HIGH_CORRELATION, Panel, Structure, area, reader, roe_metz

MODELS = {
    "random": ("random", "random"),
    "readers fixed": ("fixed", "random"),
    "cases fixed": ("random", "fixed"),
}
# What one study says: (interval, whether it holds the truth), or (test, whether it rejects).
Answers = Iterator[tuple[str, bool]]


def held(interval: Any, truth: float) -> bool:
    return bool(interval.low <= truth <= interval.high)


def mrmc_study(
    rng: np.random.Generator,
    *,
    structure: Structure,
    separations: tuple[float, float],
    readers: int = 6,
    cases: tuple[int, int] = (50, 50),
    null: bool = False,
    unpaired: bool = False,
    categories: bool = False,
    covariance: str = "delong",
) -> Answers:
    """Coverage of both modalities' areas and their difference, or the tests' size where the modalities are equal."""
    for model, (reader_model, case_model) in MODELS.items():
        if null and unpaired and model == "cases fixed":
            continue  # other cases are other areas: there is no null to test
        if null and covariance == "bootstrap" and model == "cases fixed":
            continue  # no covariances are used
        # The model matters to the draw only where there must be no difference.
        if null or model == "random":
            study = roe_metz(
                rng,
                structure,
                separations,
                readers=readers,
                positives=cases[0],
                negatives=cases[1],
                null=model if null else "",
                unpaired=unpaired,
                areas=not null,
            )
            flat = study.ratings.reshape(-1, sum(cases))
            if categories:
                flat = np.searchsorted(study_simulation.CUTS, flat).astype(float)
            found = study_simulation.placements(study.truth, flat)
            matrix = stats.area_covariance(
                found, flat[:, study.truth], flat[:, ~study.truth], covariance, resamples=200, seed=1
            )
            if unpaired:
                matrix = matrix * np.kron(np.eye(2), np.ones((readers, readers)))
        answer = stats.obuchowski_rockette(
            found.auc.reshape(2, readers),
            matrix,
            cases=sum(cases),
            pairs=min(cases),
            readers=reader_model,
            case_model=case_model,
        )
        if null:
            assert answer.test is not None
            yield f"F test, {model}", answer.test.p_value < 0.05
            continue
        truth = study.areas[model]
        for modality, value in zip(answer.modalities, truth, strict=True):
            yield f"AUC of a modality, {model}", held(modality, value)
        yield f"difference of AUCs, {model}", held(answer.differences[0], truth[0] - truth[1])


@cache
def share(successes: int, trials: int, method: str) -> stats.Interval:
    return stats.proportion_interval(successes, trials, method=method)


def one_reader(
    rng: np.random.Generator, *, separation: float, cases: tuple[int, int], categories: bool
) -> Answers:
    """Intervals of one reader's area from confidence ratings."""
    truth, ratings = reader(rng, separation, *cases, categories)
    value = area(separation, categories)
    for method in ("delong", "delong-logit"):
        yield f"AUC, {method}", held(stats.roc_auc(truth, ratings, method=method), value)
    fit = stats.binormal_roc(truth, ratings)
    if not fit.degenerate:
        yield "AUC, binormal", held(fit.auc, area(separation, False))
        yield "binormal a", held(fit.a, separation)
        yield "binormal b", held(fit.b, 1.0)


def two_readings(rng: np.random.Generator, *, separation: float, cases: tuple[int, int]) -> Answers:
    """Differences of two areas, paired (two sittings) and unpaired (two sets of cases)."""
    truth, first = reader(rng, separation, *cases, False)
    more = separation + 0.3
    shared = 0.6 * (first - separation * truth) + 0.8 * rng.standard_normal(len(truth)) + more * truth
    other, second = reader(rng, more, *cases, False)
    gap = area(separation, False) - area(more, False)
    yield "difference of AUCs, paired", held(stats.auc_difference(truth, first, shared), gap)
    yield (
        "difference of AUCs, unpaired",
        held(stats.auc_difference_unpaired(truth, first, other, second), gap),
    )


def answers_of_two(
    rng: np.random.Generator,
    *,
    cases: tuple[int, int],
    eyes: tuple[float, float],
    habit: tuple[float, float],
) -> Answers:
    """Yes/no readers drawn from a population: d' and the criterion's shift, each with a mean and a spread."""
    from scipy.special import ndtr

    separation, cut = rng.normal(*eyes), rng.normal(*habit)
    cut += separation / 2
    truth, ratings = reader(rng, separation, *cases, False)
    called = ratings > cut
    sensitivity, specificity = float(ndtr(separation - cut)), float(ndtr(cut))
    value = (sensitivity + specificity) / 2
    found = stats.two_answer_auc(truth, called)
    yield "two-answer AUC", held(found, value)
    yield "two-answer AUC, delong", held(stats.roc_auc(truth, called * 1.0), value)
    yield "two-answer AUC, binomial", held(stats.roc_auc(truth, called * 1.0, method="binomial"), value)
    for method in ("wilson", "wilson-cc", "clopper-pearson"):
        hits, passes = int(called[truth].sum()), int((~called[~truth]).sum())
        yield f"sensitivity and specificity, {method}", held(share(hits, cases[0], method), sensitivity)
        yield f"sensitivity and specificity, {method}", held(share(passes, cases[1], method), specificity)


def agreement(
    rng: np.random.Generator, *, panel: Panel, items: int, truths: dict[str, float], intra: bool
) -> Answers:
    """Kappas of a panel, or of one reader's two readings."""
    ratings = panel.ratings(rng, items)
    kinds = range(panel.cuts.shape[1] + 1)
    if intra:
        one, two = ratings[:, 0], ratings[:, 1]
        yield "Cohen's kappa", held(stats.cohen_kappa(one, two, categories=kinds), truths["cohen"])
        if len(kinds) > 2:
            weighted = stats.cohen_kappa(one, two, weights="linear", categories=kinds)
            yield "Cohen's kappa, linear weights", held(weighted, truths["linear"])
        return
    yield "Fleiss' kappa", held(stats.fleiss_kappa(ratings), truths["fleiss"])
    yield "Gwet's AC1", held(stats.gwet_ac1(ratings, categories=kinds), truths["ac1"])


def equivalence(rng: np.random.Generator, *, cases: tuple[int, int], true_area: float) -> Answers:
    """How often a reader is declared inside [0.45, 0.55]; at an area of 0.55 at most 5% may be."""
    from scipy.special import ndtr, ndtri

    separation = float(ndtri(true_area) * np.sqrt(2))
    truth, ratings = reader(rng, separation, *cases, False)
    yield "TOST of one reader", stats.auc_equivalence_test_value(truth, ratings).equivalent
    # A yes/no reader with the same two-answer area, who says yes a little too often.
    shift = float(ndtri((1 + (2 * true_area - 1)) / 2)) * 2
    truth, ratings = reader(rng, shift, *cases, False)
    called = (ratings > shift / 2) * 1.0
    assert abs(ndtr(shift / 2) - true_area) < 1e-9
    yield "TOST of one reader, two answers", stats.auc_equivalence_test_value(truth, called).equivalent


def panel_equivalence(
    rng: np.random.Generator, *, cases: tuple[int, int], true_area: float, readers: int
) -> Answers:
    """The same of the average reader, random readers and cases."""
    from scipy.special import ndtri

    structure = Structure(*HIGH_CORRELATION, 0.0055)
    separation = float(ndtri(true_area) * np.sqrt(2 * (1 + 2 * structure.reader)))
    study = roe_metz(
        rng,
        structure,
        (separation, separation),
        readers=readers,
        positives=cases[0],
        negatives=cases[1],
        areas=False,
    )
    found = stats.placements(study.truth, *study.ratings[0])
    answer = stats.obuchowski_rockette(
        found.auc[None], stats.delong_covariance(found), cases=sum(cases), pairs=min(cases)
    ).modalities[0]
    test = stats.equivalence_from_error(
        answer.value - 0.5,
        answer.standard_error,
        margin=0.05,
        n=answer.n,
        degrees_of_freedom=answer.degrees_of_freedom,
    )
    yield "TOST of the average reader", test.equivalent


def ranks(rng: np.random.Generator, *, n: int) -> Answers:
    """Rank tests of two groups and of pairs, such as answer times."""
    first, second = rng.standard_normal(n) + 0.5, rng.standard_normal(n)
    yield "Mann-Whitney area", held(stats.mann_whitney(first, second), area(0.5, False))
    yield "Wilcoxon median difference", held(stats.wilcoxon_signed_rank(first, second), 0.5)
