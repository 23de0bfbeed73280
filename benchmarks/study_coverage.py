"""Coverage of every interval of a reader study, and the size of its tests, by simulation with known truth.

    nice -n 10 python benchmarks/study_coverage.py --cache CACHE --out results/study

Each experiment simulates 1,000 studies and is stored when it is done; the same command goes on where it was cut
off. The simulation's own error is 0.7 points at 95%.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import time
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import study_simulation
from datadouble import files, stats
from datadouble.progress import track
from datadouble.randomness import generator_for
from study_coverage_tables import write
from study_simulation import HIGH_CORRELATION, LOW_CORRELATION, Panel, Structure, area, reader, roe_metz

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


Experiment = tuple[str, str, partial[Answers]]


def experiments() -> list[Experiment]:
    """All experiments: group, scenario, one study."""
    low, high = Structure(*HIGH_CORRELATION, 0.0055), Structure(*HIGH_CORRELATION, 0.03)
    weak = Structure(*LOW_CORRELATION, 0.0055)
    made: list[Experiment] = []
    for name, structure, one, two, options in (
        ("AUC 0.50, 6 readers, 50 + 50 cases", low, 0.0, 0.2, {}),
        ("AUC 0.70, 6 readers, 50 + 50 cases", low, 0.75, 0.95, {}),
        ("AUC 0.85, 6 readers, 50 + 50 cases", low, 1.5, 1.7, {}),
        ("AUC 0.96, 6 readers, 50 + 50 cases", low, 2.5, 2.7, {}),
        ("AUC 0.96, 6 readers, 150 + 150 cases", low, 2.5, 2.7, {"cases": (150, 150)}),
        ("AUC 0.85, readers that differ, 6 readers, 50 + 50 cases", high, 1.5, 1.7, {}),
        ("AUC 0.85, cases that correlate little, 6 readers, 50 + 50 cases", weak, 1.5, 1.7, {}),
        ("AUC 0.70, 3 readers, 50 + 50 cases", low, 0.75, 0.95, {"readers": 3}),
        ("AUC 0.70, 6 readers, 25 + 75 cases", low, 0.75, 0.95, {"cases": (25, 75)}),
        ("AUC 0.70, jackknife, 6 readers, 50 + 50 cases", low, 0.75, 0.95, {"covariance": "jackknife"}),
        ("AUC 0.70, bootstrap, 6 readers, 50 + 50 cases", low, 0.75, 0.95, {"covariance": "bootstrap"}),
        ("AUC 0.70, unpaired, 6 readers, 2 x 50 + 50 cases", low, 0.75, 0.95, {"unpaired": True}),
    ):
        study = partial(mrmc_study, structure=structure, separations=(one, two), **options)  # type: ignore[arg-type]
        made.append(("MRMC", name, study))
        if options.get("cases") != (150, 150):  # dear, and more cases only help
            study = partial(mrmc_study, structure=structure, separations=(one, one), null=True, **options)  # type: ignore[arg-type]
            made.append(("MRMC type I error", name, study))
    five = partial(mrmc_study, structure=low, separations=(0.75, 0.75), null=True, categories=True)
    made.append(("MRMC type I error", "AUC 0.70, five categories, 6 readers, 50 + 50 cases", five))
    for separation in (0.0, 0.75, 1.5, 2.3):
        for cases, categories in (
            ((20, 20), False),
            ((50, 50), True),
            ((250, 250), False),
        ):
            kind = "five categories" if categories else "continuous"
            made.append(
                (
                    "one reader, confidence ratings",
                    f"AUC {area(separation, False):.2f}, {kind}, {cases[0]} + {cases[1]} cases",
                    partial(one_reader, separation=separation, cases=cases, categories=categories),
                )
            )
    for separation in (0.0, 1.0):
        for cases in ((50, 50), (200, 200)):
            both = f"AUC {area(separation, False):.2f} and {area(separation + 0.3, False):.2f}"
            name = f"{both}, {cases[0]} + {cases[1]} cases"
            made.append(("two areas", name, partial(two_readings, separation=separation, cases=cases)))
    for who, eyes, habit in (
        ("guessing readers", (0.0, 0.2), (0.0, 0.4)),
        ("good readers", (1.5, 0.3), (0.0, 0.3)),
        ("readers who say yes too often", (0.5, 0.2), (-1.0, 0.2)),
        ("excellent readers", (3.5, 0.3), (0.0, 0.2)),
    ):
        for cases in ((20, 20), (100, 100), (500, 500)):
            name = f"{who}, {cases[0]} + {cases[1]} cases"
            made.append(("two answers", name, partial(answers_of_two, cases=cases, eyes=eyes, habit=habit)))
    for cuts, noise, items, intra, name in (
        ([[-0.3], [-0.1], [0.0], [0.1], [0.2], [0.4]], 1.0, 100, False, "6 readers, two answers, 100 items"),
        (
            [[-0.3], [-0.1], [0.0], [0.1], [0.2], [0.4]],
            1.0,
            1000,
            False,
            "6 readers, two answers, 1,000 items",
        ),
        ([[-0.2], [0.0], [0.2]], 3.0, 100, False, "3 readers who hardly agree, two answers, 100 items"),
        ([[1.3], [1.4], [1.5]], 0.5, 100, False, "3 readers, one answer rare, 100 items"),
        ([[-0.8, 0.2, 1.0]] * 6, 0.7, 100, False, "6 readers, four categories, 100 items"),
        ([[0.0], [0.1]], 0.5, 50, True, "two answers, 50 items twice"),
        ([[0.0], [0.1]], 0.5, 100, True, "two answers, 100 items twice"),
        ([[0.0], [0.0]], 2.0, 100, True, "two answers, 100 items twice, unsteady"),
        ([[-0.8, 0.2, 1.0]] * 2, 0.5, 100, True, "four categories, 100 items twice"),
    ):
        panel = Panel(np.asarray(cuts, dtype=float), noise)
        truths = {
            "cohen": panel.cohen(),
            "linear": panel.cohen(1.0),
            "fleiss": panel.fleiss(),
            "ac1": panel.ac1(),
        }
        value = truths["cohen" if intra else "fleiss"]
        made.append(
            (
                "agreement",
                f"{name} (kappa {value:.2f})",
                partial(agreement, panel=panel, items=items, truths=truths, intra=intra),
            )
        )
    for cases in ((20, 20), (500, 500), (1000, 1000)):
        for true_area in (0.55, 0.5):
            name = f"true area {true_area}, {cases[0]} + {cases[1]} cases"
            group = "equivalence, size" if true_area > 0.5 else "equivalence, power"
            made.append((group, name, partial(equivalence, cases=cases, true_area=true_area)))
    for true_area in (0.55, 0.5):
        group = "equivalence, size" if true_area > 0.5 else "equivalence, power"
        name = f"true area {true_area}, 6 readers, 500 + 500 cases"
        made.append(
            (group, name, partial(panel_equivalence, cases=(500, 500), true_area=true_area, readers=6))
        )
    for n in (20, 60):
        made.append(("ranks", f"{n} in each group", partial(ranks, n=n)))
    return made


def run(experiment: Experiment, studies: int, seed: int) -> dict[str, Any]:
    """Counts of one experiment."""
    group, name, study = experiment
    rng = generator_for(seed, "study coverage", group, name)
    counts: dict[str, list[int]] = {}
    began = time.perf_counter()
    for _ in range(studies):
        for interval, hit in study(rng):
            entry = counts.setdefault(interval, [0, 0])
            entry[0] += int(hit)
            entry[1] += 1
    return {
        "group": group,
        "scenario": name,
        "counts": counts,
        "studies": studies,
        "seconds": time.perf_counter() - began,
    }


def statements(source: Path) -> str:
    """The code of a file without comments and docstrings: what a stored experiment depends on."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body[0] = ast.Pass()
    return ast.unparse(tree)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder of finished experiments")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[""], help="groups that begin so")
    options = parser.parse_args()
    sources = [Path(study_simulation.__file__), *sorted(Path(stats.__file__).parent.glob("*.py"))]
    code = "".join(map(statements, sources))
    found = []
    for experiment in track(
        [e for e in experiments() if e[0].startswith(tuple(options.only))], "simulated studies"
    ):
        study = inspect.getsource(experiment[2].func) + repr(experiment[2].keywords)
        key = files.fingerprint(*experiment[:2], study, code, str((options.studies, options.seed)))
        path = options.cache / f"{key}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_json(path, run(experiment, options.studies, options.seed))
        found.append(json.loads(path.read_text(encoding="utf-8")))
    write(found, options.out)


if __name__ == "__main__":
    main()
