"""The privacy gate: verified copies and membership, joined into one alarm with a bounded rate of false alarms.

The same gate judges the double and the controls, with the same gallery, calibration patients and limits: what it lets
through or catches among the controls is what it would have done with the double.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from datadouble.audit.privacy.copies import find_matches, join_matches
from datadouble.audit.privacy.copy_threshold import CopyScores, CopyThreshold, copy_scores, learn_threshold
from datadouble.matching.gallery import Gallery, prepare_gallery
from datadouble.matching.search import Matches

Extract = Callable[[np.ndarray], np.ndarray]
"""(n, s, s) uint8 -> (n, d) features."""


@dataclass(frozen=True)
class GateLimits:
    """Thresholds of the gate, fixed before the audit.

    Parameters
    ----------
    copies : int
        Verified copies that are let pass: none.
    copy_alpha : float
        Probability that a release without copies shows one by chance, over all its pictures together.
    copy_confidence : float
        One-sided, of the threshold's tail.
    membership_alpha : float
        Level of the membership test. Both together bound the false alarms of the gate at their sum, below 5%.
    membership_advantage : float
        A significant advantage (TPR - FPR) up to this is let pass.
    """

    copies: int = 0
    copy_alpha: float = 0.01
    copy_confidence: float = 0.975
    membership_alpha: float = 0.025
    membership_advantage: float = 0.0


@dataclass(frozen=True)
class GateResult:
    """What the gate says of a release.

    Parameters
    ----------
    alarm : bool
    reasons : tuple of str
        Empty without an alarm.
    copies : ndarray of int
        Rows of the release that are verified copies.
    scores : CopyScores or None
        Of every picture; None where copies were not looked for.
    threshold : CopyThreshold or None
    membership : dict
        P value, advantage and AUC with their intervals; empty where it was not tested.
    """

    alarm: bool
    reasons: tuple[str, ...]
    copies: np.ndarray
    scores: CopyScores | None
    threshold: CopyThreshold | None
    membership: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the scores of single pictures."""
        return {
            "alarm": self.alarm,
            "reasons": list(self.reasons),
            "copies": len(self.copies),
            "n": 0 if self.scores is None else len(self.scores.score),
            "threshold": None if self.threshold is None else self.threshold.to_json(),
            "membership": self.membership,
        }


class PrivacyGate:
    """Judges releases against one training set, calibrated on one set of unseen patients.

    Parameters
    ----------
    train, unseen : ndarray
        (n, s, s) and (m, s, s) uint8: what the generator learned from, and pictures of patients that it never saw.
    train_groups, unseen_groups : ndarray
        Patient of each.
    train_masks : ndarray, optional
        (n, s, s) lesion masks: lesions are then searched for by themselves, too.
    train_labels, unseen_labels : ndarray, optional
        Class of each, for the membership test.
    extract : mapping of str to callable, optional
        Feature spaces for the membership test; without any, copies alone are looked for.
    limits : GateLimits
    cache_dir : Path, optional
        Finished searches are kept there.
    seed : int

    Notes
    -----
    Pictures that were searched once are not searched again, so a release that differs from another by ten pictures
    costs ten searches.
    """

    def __init__(
        self,
        train: np.ndarray,
        unseen: np.ndarray,
        *,
        train_groups: np.ndarray,
        unseen_groups: np.ndarray,
        train_masks: np.ndarray | None = None,
        train_labels: np.ndarray | None = None,
        unseen_labels: np.ndarray | None = None,
        extract: Mapping[str, Extract] | None = None,
        limits: GateLimits | None = None,
        cache_dir: Path | None = None,
        seed: int = 0,
    ) -> None:
        self.limits = limits or GateLimits()
        self.train, self.unseen, self._masks = train, unseen, train_masks
        self._groups = np.asarray(train_groups), np.asarray(unseen_groups)
        self._labels = train_labels, unseen_labels
        self._extract, self._cache, self._seed = dict(extract or {}), cache_dir, seed
        self._gallery: Gallery | None = None
        self._matches: dict[str, Matches] = {}
        self._features: dict[str, np.ndarray] = {}

    @property
    def gallery(self) -> Gallery:
        """The training set, made ready at the first search."""
        if self._gallery is None:
            self._gallery = prepare_gallery(self.train, self._masks)
        return self._gallery

    def __call__(self, pictures: np.ndarray, *, seed_key: int = 0) -> GateResult:
        """Judge a release (n, s, s) uint8."""
        copies = self.check_copies(pictures)
        if not self._extract:
            return copies
        membership = self.check_membership(pictures, seed_key=seed_key)
        return GateResult(
            copies.alarm or membership.alarm,
            copies.reasons + membership.reasons,
            copies.copies,
            copies.scores,
            copies.threshold,
            membership.membership,
        )

    def check_copies(self, pictures: np.ndarray) -> GateResult:
        """The copies alone."""
        threshold = self.threshold(len(pictures))
        scores = copy_scores(self.matches(pictures), threshold)
        rows = np.flatnonzero(scores.score > threshold.threshold)
        reasons: tuple[str, ...] = ()
        if len(rows) > self.limits.copies:
            what = "1 picture is a copy" if len(rows) == 1 else f"{len(rows)} pictures are copies"
            reasons = (f"{what} of training pictures, in whole or in part (of {len(pictures)})",)
        return GateResult(bool(reasons), reasons, rows, scores, threshold)

    def check_membership(self, pictures: np.ndarray, *, seed_key: int = 0) -> GateResult:
        """Membership alone: is the release nearer to the training patients than to the unseen ones?"""
        from datadouble.audit.privacy.membership import Space, joint_membership
        from datadouble.randomness import seed_for

        found = joint_membership(
            {
                name: Space(*(self.features(name, x) for x in (pictures, self.train, self.unseen)))
                for name in self._extract
            },
            train_groups=self._groups[0],
            holdout_groups=self._groups[1],
            train_labels=self._labels[0],
            holdout_labels=self._labels[1],
            permutations=1999,
            seed=seed_for(self._seed, "gate", seed_key),
        )
        name, best = max(found.spaces.items(), key=lambda item: item[1].advantage.value)
        advantage = best.advantage
        reasons: tuple[str, ...] = ()
        if (
            found.p_value <= self.limits.membership_alpha
            and advantage.value > self.limits.membership_advantage
        ):
            reasons = (
                f"training patients are told from unseen ones by the release: advantage {advantage.value:.2f} "
                f"({advantage.low:.2f} to {advantage.high:.2f}), P = {found.p_value:.2g}",
            )
        told = {
            "p_value": found.p_value,
            "space": name,
            "advantage": advantage._asdict(),
            "auc": best.auc._asdict(),
            "nearer": best.nearer._asdict(),
        }
        return GateResult(bool(reasons), reasons, np.zeros(0, np.int64), None, None, told)

    def threshold(self, release: int) -> CopyThreshold:
        """What makes a copy in a release of so many pictures."""
        return learn_threshold(
            self.matches(self.unseen),
            self._groups[1],
            release=release,
            alpha=self.limits.copy_alpha,
            confidence=self.limits.copy_confidence,
            seed=self._seed,
        )

    def matches(self, pictures: np.ndarray) -> Matches:
        """Best matches in the training set; only pictures that were not seen before are searched."""
        keys = [_key(p) for p in pictures]
        fresh = {key: i for i, key in enumerate(keys) if key not in self._matches}
        if fresh:
            rows = sorted(fresh.values())
            found = find_matches(
                pictures[rows], self.gallery, cache_dir=self._cache, description="searching for copies"
            )
            for i, row in enumerate(rows):
                self._matches[keys[row]] = found.rows(np.array([i]))
        return join_matches([self._matches[key] for key in keys])

    def features(self, space: str, pictures: np.ndarray) -> np.ndarray:
        """Features (n, d) of pictures in one space, those seen before from memory."""
        keys = [space + _key(p) for p in pictures]
        fresh = {key: i for i, key in enumerate(keys) if key not in self._features}
        if fresh:
            rows = sorted(fresh.values())
            for row, values in zip(rows, self._extract[space](pictures[rows])):
                self._features[keys[row]] = values
        return np.stack([self._features[key] for key in keys])


def _key(picture: np.ndarray) -> str:
    return hashlib.sha256(str(picture.shape).encode() + np.ascontiguousarray(picture).tobytes()).hexdigest()
