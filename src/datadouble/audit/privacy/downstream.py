"""Attacks on models trained downstream of a double: does a segmenter tell who was in the generator's training?

Every attack beside its controls: a network trained by heart on some of the members, which must be caught, and an
untrained one, which must not. Members and others come from the same centres, and patients are dealt anew within them:
else a network that knows a centre would pass for one that knows its patients.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from datadouble import files
from datadouble.audit.evidence import plain
from datadouble.audit.parts import source_fingerprint
from datadouble.audit.privacy.dice_threshold import dice_threshold_attack, optimistic_dice_attack
from datadouble.audit.privacy.downstream_subjects import (
    Subjects,
    check_same_centres,
    check_subjects,
    same_centres,
    some_of,
)
from datadouble.audit.privacy.lira import LiraResult, lira_attack, logit_confidence, shadow_membership
from datadouble.audit.privacy.shadow_model import shadow_model_attack
from datadouble.audit.privacy.two_cohorts import TwoCohortResult
from datadouble.audit.utility.segmenter_data import Cases
from datadouble.audit.utility.segmenter_scores import case_dice
from datadouble.audit.utility.segmenter_settings import SegmenterSettings
from datadouble.audit.utility.segmenter_store import CODE
from datadouble.progress import track
from datadouble.randomness import seed_for
from datadouble.stats import holm

if TYPE_CHECKING:
    from datadouble.audit.utility.segmenters import Segmenter

__all__ = ["Seen", "Subjects", "audit_downstream", "check_same_centres", "observe", "same_centres"]

LEVEL = 0.05  # of a finding, after Holm over a network's attacks
CONTROL_LEVEL = 0.01
BY_HEART_STEPS = 3  # times the steps of the settings
JUDGED = ("dice_threshold", "shadow_model", "lira", "lira_offline")  # the optimistic one is shown, not judged


class Seen(NamedTuple):
    """What an attacker sees of a network on pictures (n,): Dice, logit confidence, and predicted masks."""

    dice: np.ndarray
    confidence: np.ndarray
    predictions: np.ndarray


def observe(segmenter: Segmenter, cases: Cases) -> Seen:
    """Show pictures to a network."""
    from datadouble.audit.utility.segmenters import probabilities

    overlap, confidence, predictions = [], [], []
    for chance, mask in zip(probabilities(segmenter, cases.images), cases.masks, strict=True):
        said = chance.argmax(axis=0).astype(np.uint8)
        truth = np.asarray(mask)
        # Where there is no lesion, Dice is 1 for an empty answer.
        overlap.append(case_dice(truth, said) if truth.any() else float(not said.any()))
        confidence.append(float(logit_confidence([chance], [truth])[0]))
        predictions.append(said)
    return Seen(np.array(overlap), np.array(confidence), np.stack(predictions))


def audit_downstream(
    victims: Mapping[str, Segmenter],
    subjects: Subjects,
    own: Cases,
    classes: int,
    *,
    kind: str = "unet",
    preset: str | SegmenterSettings = "cpu-64",
    shadows: int = 16,
    upright: bool = True,
    permutations: int = 9999,
    cache: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Attack segmenters, and judge what was found by the controls.

    Parameters
    ----------
    victims : mapping
        Trained segmenters by name (``real``, ``DiffGuard``, ``DiffGuard + DP``).
    subjects : Subjects
        Of the same centres on both sides; LiRA's shadow networks train on halves of them.
    own : Cases
        The attacker's pictures, of other patients: one shadow network trains on half of them, for the Dice threshold
        and the attack model.
    kind, preset
        What the attacker trains.
    shadows : int
        Of LiRA, even.
    cache : Path, optional
        Finished shadow networks' figures; the same call again goes on.

    Returns
    -------
    dict
        ``victims[name]`` with ``finding`` (``"found"``, ``"not found"``, ``"inconclusive"``) and ``attacks``
        (``dice_threshold``, ``dice_optimistic``, ``shadow_model``, ``lira``, ``lira_offline``: rates with intervals by
        patient, ``p_value``, ``p_holm``); ``controls`` with ``passed``; ``n``.

    Raises
    ------
    DataDoubleError
        For different centres, shared patients, too few patients, volumes instead of slices.
    """
    from datadouble.audit.utility.segmenters import choose_settings

    settings = choose_settings(kind, preset)
    check_subjects(subjects, own)
    patients = subjects.cases.patients
    inside = shadow_membership(patients, shadows, seed_for(seed, "shadow"))
    key = files.fingerprint(
        source_fingerprint(*CODE, "audit/privacy/downstream.py", "audit/privacy/lira.py"),
        json.dumps(asdict(settings), sort_keys=True),
        subjects.cases.fingerprint,
        own.fingerprint,
        str((kind, shadows, seed, classes, upright)),
    )
    folder = None if cache is None else cache / f"downstream-{key}"
    trainer = _Trainer(kind, settings, classes, upright)
    confidences = np.stack(
        [
            _shadow(trainer, subjects.cases, inside[number], number, seed, folder)
            for number in track(range(shadows), "shadow networks")
        ]
    )
    half = shadow_membership(own.patients, 4, seed_for(seed, "own"))[0]
    knowledge = _Knowledge(
        subjects,
        confidences,
        inside,
        own,
        half,
        observe(trainer.train(own.only(half), seed_for(seed, "own shadow")), own),
    )
    controls = _controls(trainer, knowledge, seed, permutations)
    passed = controls["by_heart"]["caught"] and not controls["untrained"]["caught"]
    judged = {}
    for name, victim in victims.items():
        attacks = _attacks(observe(victim, subjects.cases), knowledge, permutations, seed)
        found = _caught(attacks, LEVEL)
        finding = "found" if found and passed else "inconclusive" if found or not passed else "not found"
        judged[name] = {"finding": finding, "attacks": _json(attacks)}
    return plain(
        {
            "kind": kind,
            "shadows": shadows,
            "n": {
                "members": len(np.unique(patients[subjects.member])),
                "others": len(np.unique(patients[~subjects.member])),
                "own": len(np.unique(own.patients)),
                "centres": len(np.unique(subjects.sites)),
            },
            "victims": judged,
            "controls": {**controls, "passed": passed},
        }
    )


class _Trainer(NamedTuple):
    kind: str
    settings: SegmenterSettings
    classes: int
    upright: bool

    def train(self, cases: Cases, seed: int, settings: SegmenterSettings | None = None) -> Segmenter:
        from datadouble.audit.utility.segmenters import train_segmenter

        return train_segmenter(
            self.kind,
            cases.images,
            cases.masks,
            self.classes,
            settings or self.settings,
            seed,
            upright=self.upright,
        )


class _Knowledge(NamedTuple):
    """What the attacker has gathered before meeting a victim."""

    subjects: Subjects
    shadows: np.ndarray  # (networks, n) logit confidence
    inside: np.ndarray  # (networks, n)
    own: Cases
    own_member: np.ndarray
    own_seen: Seen

    def only(self, keep: np.ndarray) -> _Knowledge:
        return self._replace(
            subjects=self.subjects.only(keep), shadows=self.shadows[:, keep], inside=self.inside[:, keep]
        )


def _shadow(
    trainer: _Trainer, cases: Cases, inside: np.ndarray, number: int, seed: int, folder: Path | None
) -> np.ndarray:
    path = None if folder is None else folder / f"shadow-{number:04d}.json"
    if path is not None and path.is_file():
        try:
            stored = np.array(json.loads(path.read_text())["confidence"], np.float64)
            if stored.shape == (len(cases),):
                return stored
        except (ValueError, TypeError, KeyError):
            pass  # damaged: done again
    network = trainer.train(cases.only(inside), seed_for(seed, "lira", number))
    confidence = observe(network, cases).confidence
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, {"confidence": [float(value) for value in confidence]})
    return confidence


def _attacks(
    seen: Seen, known: _Knowledge, permutations: int, seed: int
) -> dict[str, TwoCohortResult | LiraResult]:
    subjects, member = known.subjects, np.asarray(known.subjects.member, bool)
    patients, sites = subjects.cases.patients, subjects.sites
    common = {
        "member_groups": patients[member],
        "non_member_groups": patients[~member],
        "member_sites": sites[member],
        "non_member_sites": sites[~member],
        "permutations": permutations,
        "seed": seed,
    }
    dice = seen.dice[member], seen.dice[~member]
    return {
        "dice_threshold": dice_threshold_attack(
            *dice,
            shadow_member_dice=known.own_seen.dice[known.own_member],
            shadow_non_member_dice=known.own_seen.dice[~known.own_member],
            **common,
        ),
        "dice_optimistic": optimistic_dice_attack(*dice, **common),
        "shadow_model": shadow_model_attack(
            np.asarray(known.own.masks),
            known.own_seen.predictions,
            known.own_member,
            np.asarray(subjects.cases.masks),
            seen.predictions,
            member,
            groups=patients,
            sites=sites,
            permutations=permutations,
            seed=seed,
        ),
        **{
            # Offline also sees a network that is surer than any shadow network, whichever pictures that had.
            name: lira_attack(
                seen.confidence,
                known.shadows,
                known.inside,
                member,
                groups=patients,
                sites=sites,
                mode=mode,
                permutations=permutations,
                seed=seed,
            )
            for name, mode in (("lira", "online"), ("lira_offline", "offline"))
        },
    }


def _p_holm(attacks: Mapping[str, TwoCohortResult | LiraResult]) -> dict[str, float]:
    return dict(zip(JUDGED, holm([attacks[name].p_value for name in JUDGED]).tolist(), strict=True))


def _caught(attacks: Mapping[str, TwoCohortResult | LiraResult], level: float) -> bool:
    return min(_p_holm(attacks).values()) < level


def _json(attacks: Mapping[str, TwoCohortResult | LiraResult]) -> dict[str, Any]:
    corrected = _p_holm(attacks)
    return {name: {**found.to_json(), "p_holm": corrected.get(name)} for name, found in attacks.items()}


def _controls(trainer: _Trainer, known: _Knowledge, seed: int, permutations: int) -> dict[str, Any]:
    """A network that learned some members by heart, judged on them and as many others; and an untrained one on all."""
    subjects = known.subjects
    keep = some_of(subjects, seed)
    few = subjects.only(keep)
    settings = replace(
        trainer.settings, steps=BY_HEART_STEPS * trainer.settings.steps, augment="none", weight_decay=0.0
    )
    learned = trainer.train(few.cases.only(few.member), seed_for(seed, "by heart"), settings)
    # All subjects' shadow networks know these patients too.
    by_heart = _attacks(observe(learned, few.cases), known.only(keep), permutations, seed)
    blank = trainer.train(few.cases.only(few.member), seed_for(seed, "untrained"), replace(settings, steps=0))
    untrained = _attacks(observe(blank, subjects.cases), known, permutations, seed)
    return {
        "by_heart": {
            "patients": len(np.unique(few.cases.patients[few.member])),
            "caught": _caught(by_heart, CONTROL_LEVEL),
            "attacks": _json(by_heart),
        },
        "untrained": {"caught": _caught(untrained, CONTROL_LEVEL), "attacks": _json(untrained)},
    }
