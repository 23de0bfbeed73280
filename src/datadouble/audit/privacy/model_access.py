"""What a generator's weights give away about the patients that it learned from: for whoever wants to share weights.

Membership attacks by patient, class by class, and dataset inference, each beside a control that knows no weights.
`audit` knows no recipe: a generator comes as a `DenoisingModel`, its pictures as latents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import mannwhitneyu

from datadouble.audit.privacy.model_access_attacks import (
    Attack,
    CrossFitted,
    Rows,
    attacks_on,
    blind_attack,
    cross_fitted,
    halves,
    patient_rows,
    picture_statistics,
)
from datadouble.audit.privacy.model_access_inference import DatasetInference, dataset_inference
from datadouble.audit.privacy.model_access_probes import DenoisingModel, Probes, ProbeSettings, run_probes
from datadouble.audit.privacy.model_access_results import (
    ATTACKER,
    AttackResult,
    ClassFigure,
    ModelAccess,
    TimeFigure,
)
from datadouble.errors import DataDoubleError
from datadouble.stats import (
    Estimate,
    holm,
    proportion_interval,
    roc_auc,
    tpr_at_fpr,
)

__all__ = ["ATTACKER", "AttackResult", "DenoisingModel", "ModelAccess", "ProbeSettings", "audit_model_access"]

FALSE_POSITIVE_RATES = (0.01, 0.001)
LEVEL = 0.05  # of the findings, after Holm
CONTROL_LEVEL = 0.01  # of the control without weights
LEAST_PATIENTS = 8  # on each side, for halves that something can be fitted on
LEAST_IN_CLASS = 5  # patients on each side


def audit_model_access(
    model: DenoisingModel,
    latents: np.ndarray,
    labels: np.ndarray,
    members: np.ndarray,
    patients: np.ndarray,
    *,
    class_names: tuple[str, ...],
    reference: DenoisingModel | None = None,
    settings: ProbeSettings | None = None,
    seed: int = 0,
    repeats: int = 50,
    cache_dir: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> ModelAccess:
    """Attack a generator's weights.

    Parameters
    ----------
    latents, labels, members, patients : ndarray
        (n, c, h, w) scaled as in training; class indices (n,); whether the picture was trained on (n,); patient of each
        (n,). Who only chose the checkpoint (validation) belongs on neither side.
    class_names : tuple of str
    reference : DenoisingModel, optional
        See `run_probes`.
    repeats : int
        Random divisions of the dataset inference.
    cache_dir : Path, optional
        The probes are kept here; the same call again goes on.

    Raises
    ------
    DataDoubleError
        With too few patients, or a patient on both sides.
    """
    members, labels = np.asarray(members, dtype=bool), np.asarray(labels)
    patients = np.asarray(patients).astype(str)
    counts = [len(np.unique(patients[side])) for side in (members, ~members)]
    if min(counts) < LEAST_PATIENTS:
        raise DataDoubleError(
            f"attacks on weights need {LEAST_PATIENTS} patients on each side",
            where="model access",
            found=f"{counts[0]} members, {counts[1]} others",
        )
    probes = run_probes(
        model,
        latents,
        labels,
        reference=reference,
        settings=settings,
        seed=seed,
        cache_dir=cache_dir,
        say=say,
    )
    return judge_probes(
        probes,
        picture_statistics(latents),
        labels,
        members,
        patients,
        class_names=class_names,
        fingerprint=model.fingerprint,
        seed=seed,
        repeats=repeats,
    )


def judge_probes(
    probes: Probes,
    pictures: np.ndarray,
    labels: np.ndarray,
    members: np.ndarray,
    patients: np.ndarray,
    *,
    class_names: tuple[str, ...],
    fingerprint: str = "",
    seed: int = 0,
    repeats: int = 50,
) -> ModelAccess:
    """Judge what the probes tell, by patient; see `audit_model_access`. `pictures` (n, m) needs no weights."""
    patients, everything = np.asarray(patients).astype(str), np.ones(len(members), dtype=bool)
    rows = patient_rows(probes, pictures, members, patients, everything)
    first = {patient: int(label) for patient, label in zip(patients[::-1], labels[::-1], strict=True)}
    half = halves(rows.members, np.array([first[patient] for patient in rows.patients]), seed)
    of_class = {
        name: patient_rows(probes, pictures, members, patients, labels == index)
        for index, name in enumerate(class_names)
        if (labels == index).any()
    }
    found = [(attack, cross_fitted(attack, rows, half)) for attack in attacks_on(rows, probes.times)]
    blind = blind_attack()
    blind_fitted = cross_fitted(blind, rows, half)
    control = _judge(blind, blind_fitted, rows, of_class, half)
    results = [_judge(attack, fitted, rows, of_class, half) for attack, fitted in found]
    inference = dataset_inference(rows.features(), rows.members, repeats=repeats, seed=seed)
    inference_control = dataset_inference(rows.pictures, rows.members, repeats=repeats, seed=seed)
    results, inference_p = _corrected(results, inference)
    finding, reasons = _finding(results, control, inference, inference_p, inference_control)
    return ModelAccess(
        finding=finding,
        reasons=reasons,
        attacks=tuple(results),
        control=control,
        inference=inference,
        inference_control=inference_control,
        by_time=_by_time(rows, probes.times),
        pictures=(int(members.sum()), int((~members).sum())),
        fingerprint=fingerprint,
        members=rows.members,
        scores={attack.name: fitted.scores for attack, fitted in found} | {blind.name: blind_fitted.scores},
    )


def _judge(
    attack: Attack, fitted: CrossFitted, rows: Rows, of_class: dict[str, Rows], half: np.ndarray
) -> AttackResult:
    inside, scores = rows.members, fitted.scores
    p_value = _p_value(inside, scores)
    by_class = []
    half_of = dict(zip(rows.patients, half, strict=True))
    for name, part in of_class.items():
        counts = int(part.members.sum()), int((~part.members).sum())
        auc = None
        if min(counts) >= LEAST_IN_CLASS:
            sides = np.array([half_of[patient] for patient in part.patients])
            auc = roc_auc(part.members, fitted.rescore(part, sides))
        by_class.append(ClassFigure(name, *counts, auc))
    return AttackResult(
        name=attack.name,
        words=attack.words,
        source=attack.source,
        auc=roc_auc(inside, scores),
        advantage=_advantage(fitted.accused, inside),
        tpr=tuple(tpr_at_fpr(inside, scores, rate) for rate in FALSE_POSITIVE_RATES),
        p_value=p_value,
        p_holm=p_value,
        given_picture=roc_auc(inside, fitted.given_picture),
        given_picture_p=_p_value(inside, fitted.given_picture),
        chosen=fitted.chosen,
        by_class=tuple(by_class),
    )


def _advantage(accused: np.ndarray, members: np.ndarray) -> Estimate:
    """TPR - FPR with the interval that joins two Wilson intervals (Newcombe, Stat Med 1998;17:873, method 10)."""
    hits, m = int(accused[members].sum()), int(members.sum())
    alarms, k = int(accused[~members].sum()), int((~members).sum())
    tpr, fpr = hits / m, alarms / k
    of_members = proportion_interval(hits, m, method="wilson")
    of_others = proportion_interval(alarms, k, method="wilson")
    low = tpr - fpr - np.hypot(tpr - of_members.low, of_others.high - fpr)
    high = tpr - fpr + np.hypot(of_members.high - tpr, fpr - of_others.low)
    return Estimate(tpr - fpr, float(low), float(high), m + k)


def _p_value(members: np.ndarray, scores: np.ndarray) -> float:
    """One-sided Mann-Whitney test that members score higher."""
    return float(mannwhitneyu(scores[members], scores[~members], alternative="greater").pvalue)


def _corrected(results: list[AttackResult], inference: DatasetInference) -> tuple[list[AttackResult], float]:
    """Correct the P values of attacks and dataset inference for their number (Holm 1979)."""
    *plain, together = holm([*(result.p_value for result in results), inference.p_value]).tolist()
    given = holm([result.given_picture_p for result in results]).tolist()
    corrected = [
        replace(result, p_holm=p, given_picture_p=g)
        for result, p, g in zip(results, plain, given, strict=True)
    ]
    return corrected, together


def _by_time(rows: Rows, times: tuple[float, ...]) -> tuple[TimeFigure, ...]:
    inside = rows.members
    return tuple(
        TimeFigure(
            time,
            float(rows.losses[inside, i].mean()),
            float(rows.losses[~inside, i].mean()),
            roc_auc(inside, -rows.losses[:, i]),
        )
        for i, time in enumerate(times)
    )


def _finding(
    results: list[AttackResult],
    control: AttackResult,
    inference: DatasetInference,
    inference_p: float,
    inference_control: DatasetInference,
) -> tuple[str, tuple[str, ...]]:
    told = [result for result in results if result.p_holm < LEVEL]
    reasons = [
        f"{result.name}: AUC {result.auc.value:.3f} ({result.auc.low:.3f}, {result.auc.high:.3f}), "
        f"corrected P = {result.p_holm:.2g}"
        for result in told
    ]
    if inference_p < LEVEL:
        reasons.append(
            f"dataset inference: {inference.members} members against {inference.others} others, "
            f"corrected P = {inference_p:.2g}"
        )
    if not reasons:
        return "not found", ("no attack told members from others better than chance",)
    if control.p_value >= CONTROL_LEVEL and inference_control.p_value >= CONTROL_LEVEL:
        return "found", tuple(reasons)
    reasons.append(
        f"but the pictures alone tell them apart too (AUC {control.auc.value:.3f}, P = {control.p_value:.2g}; "
        f"together P = {inference_control.p_value:.2g}): the split may be what the attacks see"
    )
    beyond = [result for result in results if result.given_picture_p < LEVEL]
    if beyond:
        listed = ", ".join(f"{r.name} {r.given_picture.value:.3f}" for r in beyond)
        reasons.append(f"beyond what like pictures of unseen patients show: AUC {listed}")
    return "inconclusive", tuple(reasons)
