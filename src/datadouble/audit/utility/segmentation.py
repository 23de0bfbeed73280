"""Usefulness for segmentation: a U-Net trained on each arm finds the lesion in real, unseen pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble.audit.choices import choose
from datadouble.audit.evidence import named, plain
from datadouble.audit.utility.arms import ARMS, PAPER_ARMS, check_arms
from datadouble.audit.utility.assess import step_seconds
from datadouble.audit.utility.compare import verdict_words
from datadouble.audit.utility.inputs import check_patients_apart, check_sizes, resized
from datadouble.audit.utility.overlap import dice, hausdorff95
from datadouble.audit.utility.presets import SEGMENTATION_PRESETS, Preset
from datadouble.audit.utility.runs import Data, Job, Plan, digest, make_plan, run_jobs
from datadouble.audit.utility.scores import Resamples, Sampled, make_resamples, over_trainings
from datadouble.errors import DataDoubleError
from datadouble.randomness import seed_for
from datadouble.stats import equivalence_from_error, holm, mann_whitney, wilcoxon_signed_rank

if TYPE_CHECKING:
    from datadouble.audit.pictures import Pictures

DICE_MARGIN = 0.05
QUINTILES = 5


def assess_segmentation(
    double: Pictures,
    real_train: Pictures,
    real_test: Pictures,
    *,
    target: int | None = None,
    preset: str | Preset = "cpu",
    arms: Sequence[str] = PAPER_ARMS,
    controls: bool = True,
    margin: float = DICE_MARGIN,
    resamples: int = 1000,
    cache: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Dice and Hausdorff distance of U-Nets trained on each arm, on real test pictures that show the target.

    Equal steps in every arm, folds x seeds trainings (a fold of the real patients is left out each time, so that the
    trainings differ), intervals from a two-way bootstrap over test patients and trainings.

    Parameters
    ----------
    double, real_train, real_test : Pictures
        Read at one size, with masks. Rows without a mask are left out.
    target : int, optional
        Class id to find; default: the highest in the real training masks.
    preset : str or Preset
        A key of ``SEGMENTATION_PRESETS``.
    margin : float
        Largest difference of mean Dice that would not matter.
    cache : Path, optional
        Folder of finished trainings; the same call again continues.

    Returns
    -------
    dict
        Plain JSON values: ``target``, ``n``, ``arms`` (each with ``dice``, ``hausdorff95`` in percent of the picture's
        side, ``quintiles`` by true lesion size, ``against_real``), ``controls`` (the real pictures posing as the
        double), ``floor`` (Dice of one constant mask, the training set's mean), ``headline``. Where the double has no
        masks: only ``note``.

    Raises
    ------
    DataDoubleError
        For patients in both train and test, sets of different sizes, an unknown preset or arm, or no target in
        the real masks.
    """
    chosen = choose("preset", preset, SEGMENTATION_PRESETS)
    names = (*check_arms(tuple(arms)), *(("real_as_double",) if controls else ()))
    check_patients_apart(real_train, real_test, "the training and test pictures")
    check_sizes([double, real_train, real_test])
    double, real_train, real_test = (p.where(p.has_mask) for p in (double, real_train, real_test))
    if double.masks is None or len(double) == 0:
        return {"note": "The double has no masks: nothing to learn segmentation from."}
    if real_train.masks is None or real_test.masks is None:
        raise DataDoubleError(
            "the real cohort has no masks",
            where="mask_file_name",
            remedy="add masks, or leave this part out",
        )
    wanted = int(real_train.masks.max()) if target is None else target
    size = min(chosen.size, real_train.array.shape[1])
    # Seen at the size of the networks: a lesion that is lost there would be found by whoever draws nothing.
    real_test = real_test.where(_target(real_test, wanted, size).max(axis=(1, 2)) > 0)
    if wanted < 1 or len(real_test) == 0:
        raise DataDoubleError(
            "no real test mask shows the target",
            where="target",
            found=str(wanted),
            remedy="name another class",
        )
    images = [resized(np.asarray(p.array), size) for p in (real_train, real_test, double)]
    truth = [_target(p, wanted, size) for p in (real_train, real_test, double)]
    data = Data(
        images[0],
        truth[0],
        real_train.labels,
        real_train.groups,
        images[2],
        truth[2],
        double.labels,
        digest(images[0], truth[0], real_train.labels, real_train.groups),
        digest(images[2], truth[2], double.labels),
    )
    plan = make_plan(chosen, data, names, np.zeros(len(real_train), np.int64), seed)
    results = run_jobs(
        plan,
        lambda job, step_done: _train_and_measure(chosen, data, images[1], truth[1], job, seed, step_done),
        cache=None if cache is None else cache / f"segmentation-{chosen.name}-{digest(images[1], truth[1])}",
        description="usefulness for segmentation",
        step_seconds=lambda: step_seconds(chosen, data),
    )
    measured = {
        name: tuple(
            np.array([r[key] for job, r in zip(plan.jobs, results, strict=True) if job.arm == name])
            for key in ("dice", "hausdorff95")
        )
        for name in names
    }
    areas = truth[1].sum(axis=(1, 2)) / size**2
    draws = make_resamples(
        real_test.groups, len(measured["real"][0]), resamples=resamples, seed=seed_for(seed, "segmentation")
    )
    constant = (truth[0].mean(axis=0) >= 0.5 * truth[0].mean(axis=0).max()).astype(np.uint8)
    return plain(
        {
            "target": wanted,
            "preset": asdict(chosen),
            "size": size,
            "n": {
                "test": len(real_test),
                "test_patients": len(np.unique(real_test.groups)),
                "real_train": len(real_train),
                "double": len(double),
            },
            "trainings": len(measured["real"][0]),
            "steps": plan.steps,
            "resamples": resamples,
            "margin": margin,
            "floor": float(np.mean([dice(mask, constant) for mask in truth[1]])),
            **_compare(plan, names, measured, areas, draws, margin),
        }
    )


def _target(pictures: Pictures, wanted: int, size: int) -> np.ndarray:
    assert pictures.masks is not None  # seen by the caller
    return resized((np.asarray(pictures.masks) == wanted).astype(np.uint8), size, masks=True)


def _train_and_measure(
    preset: Preset,
    data: Data,
    images: np.ndarray,
    truth: np.ndarray,
    job: Job,
    seed: int,
    step_done: Callable[[], None],
) -> dict[str, Any]:
    from datadouble.audit.utility.training import Pool, predict, segmentation_loss, train

    network = train(
        preset,
        Pool([data.real, data.synthetic]),
        Pool([data.real_targets, data.synthetic_targets]),
        job.stages,
        loss=segmentation_loss,
        seed=seed_for(seed, job.arm, job.fold, job.seed),
        step_done=step_done,
    )
    found = (predict(preset, network, images, batch=32) > 0.5).astype(np.uint8)
    pairs = list(zip(truth, found, strict=True))
    return {
        "dice": [round(dice(a, b), 5) for a, b in pairs],
        "hausdorff95": [round(100 * hausdorff95(a, b) / truth.shape[1], 3) for a, b in pairs],
    }


def mean_of(each: np.ndarray, resamples: Resamples, keep: np.ndarray | None = None) -> Sampled:
    """Mean over pictures and trainings of (trainings, n) values; ``keep`` (n,) picks pictures."""
    weights = resamples.pictures.astype(np.float64)
    if keep is not None:
        weights = weights * keep
    total = weights.sum(axis=1, keepdims=True)
    per_training = np.divide(
        weights @ each.T, total, out=np.full((len(weights), len(each)), np.nan), where=total > 0
    )
    return over_trainings(per_training, resamples, int(len(each[0]) if keep is None else keep.sum()))


def _compare(
    plan: Plan,
    names: Sequence[str],
    measured: dict[str, tuple[np.ndarray, ...]],
    areas: np.ndarray,
    draws: Resamples,
    margin: float,
) -> dict[str, Any]:
    cuts = np.quantile(areas, np.linspace(0, 1, QUINTILES + 1)[1:-1])
    quintile = np.searchsorted(cuts, areas, side="left")
    overall = {name: mean_of(measured[name][0], draws) for name in names}
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        overlap, distance = measured[name]
        own = [job for job in plan.jobs if job.arm == name]
        entry: dict[str, Any] = {
            "words": ARMS[name].words,
            "train_real": float(np.mean([job.real for job in own])),
            "train_synthetic": float(np.mean([job.synthetic for job in own])),
            "dice": named(overall[name].estimate()),
            "hausdorff95": named(mean_of(distance, draws).estimate()),
            "quintiles": [],
        }
        for number in range(QUINTILES):
            keep = quintile == number
            if keep.any():
                part = {
                    "largest_area_percent": float(100 * areas[keep].max()),
                    "dice": named(mean_of(overlap, draws, keep).estimate()),
                }
                if name != "real":
                    ours, real = overlap[:, keep].mean(axis=0), measured["real"][0][:, keep].mean(axis=0)
                    part["mann_whitney_p"] = mann_whitney(ours, real).p_value
                entry["quintiles"].append(part)
        if name != "real":
            adjusted = holm([part["mann_whitney_p"] for part in entry["quintiles"]])
            for part, p_value in zip(entry["quintiles"], adjusted, strict=True):
                part["mann_whitney_p_holm"] = float(p_value)
            difference = overall[name].minus(overall["real"])
            estimate = difference.estimate()
            tost = equivalence_from_error(
                estimate.value, max(difference.error(), 1e-9), margin=margin, n=len(areas)
            )
            entry["against_real"] = {
                "difference": named(estimate),
                "equivalent": tost.equivalent,
                "equivalence_p": tost.p_value,
                # Of pictures, each the mean over trainings.
                "wilcoxon_p": wilcoxon_signed_rank(
                    overlap.mean(axis=0), measured["real"][0].mean(axis=0)
                ).p_value,
                "verdict": verdict_words(estimate, tost.equivalent),
            }
        found[name] = entry
    arms = {name: entry for name, entry in found.items() if not ARMS[name].is_control}
    controls = {name: entry for name, entry in found.items() if ARMS[name].is_control}
    for entry in controls.values():
        entry["passed"] = entry["against_real"]["equivalent"]
    head: dict[str, Any] = {
        "dice_real": arms["real"]["dice"],
        "controls_passed": all(entry["passed"] for entry in controls.values()) if controls else None,
    }
    if "synthetic" in arms:
        against = arms["synthetic"]["against_real"]
        head |= {"dice_synthetic": arms["synthetic"]["dice"]} | {
            key: against[key] for key in ("difference", "equivalent", "verdict")
        }
    return {"arms": arms, "controls": controls, "headline": head}
