"""What one simulated study says of the intervals that a study's analysis adds to those of `datadouble.stats`."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from datadouble import stats
from datadouble.study.analysis import intervals
from study_coverage_studies import Answers
from study_simulation import Panel, area, reader


def within(found: dict[str, object], truth: float) -> bool:
    """Whether an interval of the analysis holds the truth."""
    low, high = found["low"], found["high"]
    assert isinstance(low, float) and isinstance(high, float)
    return bool(low <= truth <= high)


def shares_and_habits(
    rng: np.random.Generator,
    *,
    cases: tuple[int, int],
    eyes: tuple[float, float],
    habit: tuple[float, float],
) -> Answers:
    """Readers as in ``answers_of_two``: what crosses positives with negatives, and the signal-detection measures."""
    separation, shift = rng.normal(*eyes), rng.normal(*habit)
    sensitivity = float(ndtr(separation / 2 - shift))
    specificity = float(ndtr(separation / 2 + shift))
    hits, passes = rng.random(cases[0]) < sensitivity, rng.random(cases[1]) < specificity
    kinds = np.repeat([1, 0], cases)
    weight = cases[0] / sum(cases)
    right, called = np.concatenate([hits, passes]), np.concatenate([hits, ~passes])
    yield (
        "accuracy",
        within(
            intervals.share(right, strata=kinds),
            weight * sensitivity + (1 - weight) * specificity,
        ),
    )
    yield (
        "called positive",
        within(
            intervals.share(called, strata=kinds),
            weight * sensitivity + (1 - weight) * (1 - specificity),
        ),
    )
    found = intervals.signal_detection(called, kinds)
    yield "d'", within(found["dprime"], separation)
    yield "criterion", within(found["criterion"], shift)


def panel_share(rng: np.random.Generator, *, images: int, readers: int, cut: float) -> Answers:
    """Share of right answers of a class: `readers` who differ, each looking at every image, half the noise shared."""
    cuts = cut + np.linspace(-0.3, 0.3, readers)
    noise = np.sqrt(0.5) * (rng.standard_normal((images, 1)) + rng.standard_normal((images, readers)))
    found = intervals.share((noise > cuts).ravel(), units=np.repeat(np.arange(images), readers))
    yield "share right in a class, all readers", within(found, float(ndtr(-cuts).mean()))


def several_images_a_patient(
    rng: np.random.Generator, *, separation: float, patients: int, each: int
) -> Answers:
    """One reader and patients with several images that resemble each other (correlation 0.5)."""
    truth = np.repeat([True, False], patients * each)
    units = np.repeat(np.arange(2 * patients), each)
    noise = np.sqrt(0.5) * (rng.standard_normal(2 * patients)[units] + rng.standard_normal(len(units)))
    ratings = noise + separation * truth
    called = ratings > separation / 2
    value = float(ndtr(separation / 2))
    found = stats.roc_auc(truth, ratings, method="delong-logit", groups=units)
    yield "AUC", bool(found.low <= area(separation, False) <= found.high)
    yield "sensitivity", within(intervals.share(called[truth], units=units[truth]), value)
    yield (
        "two-answer AUC",
        within(intervals.share(called == truth, units=units, strata=truth, equal=True), value),
    )
    yield "accuracy", within(intervals.share(called == truth, units=units, strata=truth), value)
    measures = intervals.signal_detection(called, truth * 1, units)
    yield "d'", within(measures["dprime"], separation)
    yield "criterion", within(measures["criterion"], 0.0)


def kappas_of_patients(
    rng: np.random.Generator, *, panel: Panel, patients: int, each: int, truths: dict[str, float]
) -> Answers:
    """Agreement on patients with several images that resemble each other (correlation 0.5)."""
    units = np.repeat(np.arange(patients), each)
    places = np.sqrt(0.5) * (rng.standard_normal(patients)[units] + rng.standard_normal(len(units)))
    noise = panel.noise * rng.standard_normal((len(units), len(panel.cuts)))
    ratings = ((places[:, None] + noise)[:, :, None] > panel.cuts).sum(axis=2)
    kinds = panel.cuts.shape[1] + 1
    for name, kind, found in (
        ("Fleiss' kappa", "fleiss", stats.fleiss_kappa(ratings)),
        ("Gwet's AC1", "ac1", stats.gwet_ac1(ratings, categories=range(kinds))),
    ):
        wide = intervals.of_patients(found, kind, ratings, kinds, units)
        yield name, bool(wide.low <= truths[kind] <= wide.high)
    pair = ratings[:, :2]
    cohen = stats.cohen_kappa(pair[:, 0], pair[:, 1], categories=range(kinds))
    wide = intervals.of_patients(cohen, "cohen", pair, kinds, units)
    yield "Cohen's kappa", bool(wide.low <= truths["cohen"] <= wide.high)


def average_reader_of_patients(
    rng: np.random.Generator, *, separation: float, patients: int, each: int, readers: int
) -> Answers:
    """The average of several readers over patients with several images that resemble each other (correlation 0.5)."""
    truth = np.repeat([True, False], patients * each)
    units = np.repeat(np.arange(2 * patients), each)
    spread = 0.0055  # variance of readers, of each kind of image, as Roe and Metz have it

    def cases(*shape: int) -> np.ndarray:
        """Noise of variance 1, half of it the patient's."""
        of_patient, own = (
            rng.standard_normal((*shape, 2 * patients)),
            rng.standard_normal((*shape, len(units))),
        )
        return np.sqrt(0.5) * (of_patient[..., units] + own)

    habits = np.sqrt(spread) * rng.standard_normal((readers, 2))
    ratings = separation * truth + habits[:, truth * 1] + np.sqrt(0.5) * (cases() + cases(readers))
    placed = stats.placements(truth, *ratings, groups=units)
    matrix = stats.delong_covariance(placed)
    these = float(ndtr((separation + habits[:, 1] - habits[:, 0]) / np.sqrt(2)).mean())
    for name, model, value in (
        ("average, random", "random", float(ndtr(separation / np.sqrt(2 * (1 + spread))))),
        ("average, readers fixed", "fixed", these),
    ):
        found = stats.obuchowski_rockette(
            placed.auc[None], matrix, cases=len(truth), pairs=placed.independent_pairs, readers=model
        ).modalities[0]
        yield name, bool(found.low <= value <= found.high)


def equivalence_interval(rng: np.random.Generator, *, separation: float, cases: tuple[int, int]) -> Answers:
    """The 90% interval that stands beside a verdict of equivalence."""
    truth, ratings = reader(rng, separation, *cases, False)
    found = stats.roc_auc(truth, ratings, method="delong-logit", confidence=0.9)
    yield "90% interval of the area", bool(found.low <= area(separation, False) <= found.high)


def groups_of_readers(
    rng: np.random.Generator, *, readers: tuple[int, int], separation: float, cases: tuple[int, int]
) -> Answers:
    """Difference of the mean areas of two groups of these readers, over the same cases."""
    places = separation + np.concatenate([np.linspace(-0.2, 0.2, n) for n in readers])
    places[readers[0] :] += 0.4
    truth = np.repeat([True, False], cases)
    noise = np.sqrt(0.5) * (rng.standard_normal(len(truth)) + rng.standard_normal((len(places), len(truth))))
    placed = stats.placements(truth, *(noise + places[:, None] * truth))
    weights = np.concatenate([np.full(readers[0], 1 / readers[0]), np.full(readers[1], -1 / readers[1])])
    found = intervals.contrast(placed, weights)
    yield "difference of mean areas", within(found, float(weights @ ndtr(places / np.sqrt(2))))


def medians(rng: np.random.Generator, *, n: int) -> Answers:
    """The median of answer times (lognormal, as they are)."""
    yield "median", within(intervals.median_interval(np.exp(0.45 * rng.standard_normal(n))) or {}, 1.0)


def few_readers(rng: np.random.Generator, *, n: int) -> Answers:
    """Wilcoxon's median difference over a handful of readers."""
    found = stats.wilcoxon_signed_rank(rng.standard_normal(n) + 0.5)
    yield "Wilcoxon median difference", bool(found.low <= 0.5 <= found.high)
