"""Train on synthetic, test on real: every arm against the real one, with controls that show what the test can see."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble.audit.choices import choose
from datadouble.audit.evidence import plain
from datadouble.audit.utility.arms import CONTROLS, PAPER_ARMS, check_arms
from datadouble.audit.utility.compare import ArmScores, compare
from datadouble.audit.utility.inputs import (
    Grouping,
    check_patients_apart,
    choose_grouping,
    network_inputs,
    parse_grouping,
)
from datadouble.audit.utility.presets import UTILITY_PRESETS, Preset
from datadouble.audit.utility.runs import Data, Job, Plan, digest, make_plan, run_jobs
from datadouble.audit.utility.scores import (
    best_threshold,
    make_resamples,
)
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for, seed_for

if TYPE_CHECKING:
    from datadouble.audit.pictures import Pictures

MARGIN = 0.05  # of the area under the ROC curve: fixed here, before any result


def assess_utility(
    double: Pictures,
    real_train: Pictures,
    real_test: Pictures,
    *,
    grouping: str | Grouping | None = None,
    classes: Sequence[str] = (),
    preset: str | Preset = "cpu",
    arms: Sequence[str] = PAPER_ARMS,
    controls: bool = True,
    margin: float = MARGIN,
    resamples: int = 1000,
    cache: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """How well networks trained on each arm tell two groups of real, unseen pictures apart.

    Every arm is trained for equally many steps, in folds x seeds trainings that leave one fold of the real training
    patients out; on those the threshold for sensitivity and specificity is chosen, never on the test pictures.
    Numbers are means over trainings on the test pictures, intervals from a two-way bootstrap over test patients and
    trainings.

    Parameters
    ----------
    double, real_train, real_test : Pictures
        Read at one size. The test patients must be in no other set; the generator may not have seen them.
    grouping : str or Grouping, optional
        Such as ``"2,3|4,5"``: negative and positive labels; others are left out. Default: the ordered ``classes``
        cut where the pictures are split most evenly.
    classes : sequence of str
        Class names in order; default: sorted.
    preset : str or Preset
        A key of ``UTILITY_PRESETS``; ``"coldit"`` is the paper's.
    arms : sequence of str
        Keys of ``ARMS``.
    controls : bool
        Also train on the real pictures posing as a double (must be equivalent to real) and on permuted labels (must
        not tell the groups apart).
    margin : float
        Largest difference of areas that would not matter.
    cache : Path, optional
        Folder of finished trainings; the same call again continues.

    Returns
    -------
    dict
        Plain JSON values: ``task``, ``preset``, ``n``, ``arms`` (each with ``auc``, ``sensitivity``, ``specificity``,
        ``f1``, ``roc`` and, except the real arm, ``against_real``), ``controls`` (with ``passed``), ``headline``.

    Raises
    ------
    DataDoubleError
        For patients in both train and test, sets of different sizes, fewer than two groups, an unknown preset or arm.
    """
    chosen = choose("preset", preset, UTILITY_PRESETS)
    names = (*check_arms(tuple(arms)), *(CONTROLS if controls else ()))
    check_patients_apart(real_train, real_test, "the training and test pictures")
    task = _grouping(grouping, classes, real_train)
    double, real_train, real_test = (_of_task(task, p) for p in (double, real_train, real_test))
    for what, pictures in (("real training", real_train), ("test", real_test)):
        _check_both_groups(task, pictures, what)
    data, test = _data(chosen, task, double, real_train, real_test, cache)
    strata = data.real_targets
    plan = make_plan(chosen, data, names, strata, seed)
    results = run_jobs(
        plan,
        lambda job, step_done: _train_and_predict(chosen, data, plan, test, job, seed, step_done),
        cache=None if cache is None else cache / f"utility-{chosen.name}-{digest(test)}",
        description="usefulness",
        step_seconds=lambda: step_seconds(chosen, data),
    )
    truth = task.targets(real_test.labels)
    per_arm = {name: _of_arm(name, plan, results, data) for name in names}
    draws = make_resamples(
        real_test.groups, len(per_arm["real"].scores), resamples=resamples, seed=seed_for(seed, "utility")
    )
    return plain(
        {
            "task": {"grouping": str(task), "negative": task.negative, "positive": task.positive},
            "preset": asdict(chosen),
            "n": {
                "test": len(real_test),
                "test_positive": int(truth.sum()),
                "test_patients": len(np.unique(real_test.groups)),
                "real_train": len(real_train),
                "real_train_patients": len(np.unique(real_train.groups)),
                "double": len(double),
            },
            "trainings": len(per_arm["real"].scores),
            "folds": len(plan.folds),
            "steps": plan.steps,
            "resamples": resamples,
            "margin": margin,
            **compare(names, per_arm, truth, real_test.groups, draws, margin),
            "notes": _notes(per_arm, len(double), len(real_train)),
        }
    )


def step_seconds(preset: Preset, data: Data) -> float:
    """What one step takes here, measured on a few."""
    from datadouble.audit.utility.training import Pool, classification_loss, segmentation_loss, train

    inputs, targets = Pool([data.real, data.synthetic]), Pool([data.real_targets, data.synthetic_targets])
    times: list[float] = []
    loss = segmentation_loss if data.real_targets.ndim == 3 else classification_loss
    train(
        preset,
        inputs,
        targets,
        [(np.arange(len(data.real)), 4)],
        loss=loss,
        seed=0,
        step_done=lambda: times.append(time.perf_counter()),
    )
    return float(np.median(np.diff(times)))


def _grouping(grouping: str | Grouping | None, classes: Sequence[str], real: Pictures) -> Grouping:
    if isinstance(grouping, Grouping):
        return grouping
    if grouping is not None:
        return parse_grouping(grouping)
    return choose_grouping(classes or sorted({str(name) for name in real.labels} - {""}), real.labels)


def _of_task(task: Grouping, pictures: Pictures) -> Pictures:
    return pictures.where(task.targets(pictures.labels) >= 0)


def _check_both_groups(task: Grouping, pictures: Pictures, what: str) -> None:
    """At least two patients of each group."""
    targets = task.targets(pictures.labels)
    for side, number in ((task.negative, 0), (task.positive, 1)):
        patients = len(np.unique(pictures.groups[targets == number]))
        if patients < 2:
            raise DataDoubleError(
                f"too few {what} patients of one group",
                where=",".join(side),
                found=str(patients),
                remedy="use another grouping or more patients: at least 2 of each group",
            )


def _data(
    preset: Preset, task: Grouping, double: Pictures, train: Pictures, test: Pictures, cache: Path | None
) -> tuple[Data, np.ndarray]:
    if len(double) == 0:
        raise DataDoubleError(
            "the double has no picture of the two groups",
            where=str(task),
            remedy="use a grouping of labels that the double has",
        )
    features = None if cache is None else cache / "features"
    real, tested, synthetic = network_inputs(preset, [train, test, double], cache=features)
    data = Data(
        real,
        task.targets(train.labels),
        train.labels,
        train.groups,
        synthetic,
        task.targets(double.labels),
        double.labels,
        digest(real, train.labels, train.groups) + str(task),
        digest(synthetic, double.labels),
    )
    return data, tested


def _train_and_predict(
    preset: Preset,
    data: Data,
    plan: Plan,
    test: np.ndarray,
    job: Job,
    seed: int,
    step_done: Callable[[], None],
) -> dict[str, Any]:
    from datadouble.audit.utility.training import Pool, classification_loss, predict, train

    key = seed_for(seed, job.arm, job.fold, job.seed)
    real_targets = data.real_targets
    if job.arm == "permuted_labels":
        real_targets = generator_for(key, "permuted").permutation(real_targets)
    network = train(
        preset,
        Pool([data.real, data.synthetic]),
        Pool([real_targets, data.synthetic_targets]),
        job.stages,
        loss=classification_loss,
        seed=key,
        step_done=step_done,
    )
    left_out = plan.folds[job.fold][1]
    return {
        "test": [round(float(p), 6) for p in predict(preset, network, test)],
        "left_out": [round(float(p), 6) for p in predict(preset, network, data.real[left_out])],
    }


def _of_arm(name: str, plan: Plan, results: list[dict[str, Any]], data: Data) -> ArmScores:
    scores, called = [], []
    own = [(job, result) for job, result in zip(plan.jobs, results, strict=True) if job.arm == name]
    for job, result in own:
        scores.append(np.array(result["test"]))
        left_out = data.real_targets[plan.folds[job.fold][1]]
        called.append(scores[-1] >= best_threshold(left_out, np.array(result["left_out"])))
    real, synthetic = (
        float(np.mean([getattr(job, side) for job, _ in own])) for side in ("real", "synthetic")
    )
    return ArmScores(np.stack(scores), np.stack(called).astype(np.float64), real, synthetic)


def _notes(per_arm: dict[str, ArmScores], double: int, real: int) -> list[str]:
    trainings = len(per_arm["real"].scores)
    notes = [
        "The generator learned from all real training patients, also those that a fold leaves out to choose its "
        "threshold; test patients are in no training."
    ]
    notes.append(
        "Wilcoxon's test pairs trainings on the same test patients, as the paper does: it speaks for other trainings, "
        "not for other patients, and finds differences that do not matter. The intervals speak "
        "for both, DeLong's test for patients."
    )
    if trainings < 6:
        notes.append(
            f"Wilcoxon's test over {trainings} trainings cannot fall below P = {2 ** (1 - trainings):.3g}."
        )
    if "synthetic" in per_arm and per_arm["synthetic"].synthetic < 0.99 * per_arm["real"].real:
        notes.append(
            f"The double has {double} pictures for {real} real ones: where a label ran out, the synthetic arm is "
            "smaller than the real one."
        )
    return notes
