"""The experiments of study_coverage.py: group, scenario, one study."""

from __future__ import annotations

from functools import partial

import numpy as np

from study_coverage_analysis import (
    average_reader_of_patients,
    equivalence_interval,
    few_readers,
    groups_of_readers,
    kappas_of_patients,
    medians,
    panel_share,
    several_images_a_patient,
    shares_and_habits,
)
from study_coverage_studies import (
    Answers,
    agreement,
    answers_of_two,
    equivalence,
    mrmc_study,
    one_reader,
    panel_equivalence,
    ranks,
    two_readings,
)
from study_simulation import HIGH_CORRELATION, LOW_CORRELATION, Panel, Structure, area

Experiment = tuple[str, str, partial[Answers]]

# Experiments with so many times the studies: 1,000 left open on which side of a bound they lie.
MORE = {
    ("MRMC type I error", "AUC 0.70, five categories, 6 readers, 50 + 50 cases"): 5,
    ("ranks of a few readers", "6 readers"): 20,
}
# d' and the criterion's shift, each with its mean and spread.
READERS = (
    ("guessing readers", (0.0, 0.2), (0.0, 0.4)),
    ("good readers", (1.5, 0.3), (0.0, 0.3)),
    ("readers who say yes too often", (0.5, 0.2), (-1.0, 0.2)),
    ("excellent readers", (3.5, 0.3), (0.0, 0.2)),
)


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
    for who, eyes, habit in READERS:
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
        ([[0.0], [0.1]], 0.5, 28, True, "two answers, 28 items twice"),
        ([[-0.2], [0.0], [0.2]], 1.0, 40, False, "3 readers, two answers, 40 items"),
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
    return [*made, *of_the_analysis()]


def of_the_analysis() -> list[Experiment]:
    """Experiments on intervals that stand in a study's analysis alone."""
    made: list[Experiment] = []
    for who, eyes, habit in READERS:
        for cases in ((20, 20), (50, 150), (500, 500)):
            name = f"{who}, {cases[0]} + {cases[1]} cases"
            made.append(
                ("shares and d'", name, partial(shares_and_habits, cases=cases, eyes=eyes, habit=habit))
            )
    for images in (20, 50, 140):
        for cut, words in ((0.0, "half right"), (1.2, "one in eight right")):
            name = f"6 readers, {images} images, {words}"
            made.append(("shares by class", name, partial(panel_share, images=images, readers=6, cut=cut)))
    for separation in (0.0, 1.5):
        for patients, each in ((40, 3), (100, 2)):
            name = f"AUC {area(separation, False):.2f}, {patients} + {patients} patients of {each} images"
            study = partial(several_images_a_patient, separation=separation, patients=patients, each=each)
            made.append(("several images a patient", name, study))
    for separation in (0.0, 1.5):
        name = f"AUC {area(separation, False):.2f}, 6 readers, 40 + 40 patients of 3 images"
        study = partial(average_reader_of_patients, separation=separation, patients=40, each=3, readers=6)
        made.append(("average reader, several images a patient", name, study))
    for patients, each in ((40, 3), (100, 2)):
        panel = Panel(np.array([[-0.2], [0.0], [0.2]]), 0.7)
        truths = {"fleiss": panel.fleiss(), "ac1": panel.ac1(), "cohen": panel.cohen()}
        study = partial(kappas_of_patients, panel=panel, patients=patients, each=each, truths=truths)
        name = f"3 readers, {patients} patients of {each} images (kappa {truths['fleiss']:.2f})"
        made.append(("agreement, several images a patient", name, study))
    for separation in (0.0, 0.75, 2.3):
        for cases in ((20, 20), (140, 140)):
            name = f"AUC {area(separation, False):.2f}, {cases[0]} + {cases[1]} cases"
            study = partial(equivalence_interval, separation=separation, cases=cases)
            made.append(("equivalence, the interval shown", name, study))
    for separation in (0.0, 1.0):
        for cases in ((50, 50), (200, 200)):
            name = f"3 and 3 readers, AUC around {area(separation, False):.2f}, {cases[0]} + {cases[1]} cases"
            study = partial(groups_of_readers, readers=(3, 3), separation=separation, cases=cases)
            made.append(("groups of readers", name, study))
    for n in (6, 10, 28, 140):
        made.append(("answer times", f"{n} answers", partial(medians, n=n)))
    for n in (6, 8):
        made.append(("ranks of a few readers", f"{n} readers", partial(few_readers, n=n)))
    return made
