"""What attacks on a generator's weights found: results by attack, by class and by time, and their JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.evidence import named
from datadouble.audit.privacy.model_access_inference import DatasetInference
from datadouble.stats import Estimate, TprAtFpr

ATTACKER = (
    "Someone who holds the generator's weights, its encoder and its latent scale, and a person's pictures with "
    "their class, and asks whether this person was in the training set. They know of other people of the same "
    "cohort, half of them members, whether they were (this sets thresholds and fits scorers): more than most "
    "attackers know, so the figures err on the safe side. They train no shadow "
    "generators, and use gradients only where the attack 'gradient' is listed; who does more may do better."
)


class ClassFigure(NamedTuple):
    """AUC among the patients with pictures of one class, on these pictures alone; None where they are too few."""

    label: str
    members: int
    others: int
    auc: Estimate | None


class TimeFigure(NamedTuple):
    """The denoising loss at one time: means over member and other patients, and the AUC of the low loss."""

    time: float
    members: float
    others: float
    auc: Estimate


@dataclass(frozen=True)
class AttackResult:
    """One attack, judged by patient.

    Attributes
    ----------
    advantage : Estimate
        TPR - FPR at the threshold that the other half of the patients gave, with Newcombe's interval (1998, method 10).
    tpr : tuple of TprAtFpr
        At 1% and 0.1% false positives.
    p_value, p_holm : float
        One-sided Mann-Whitney test that members score higher; the second corrected for the number of attacks.
    given_picture, given_picture_p : Estimate, float
        AUC and corrected P value of the score less what unseen patients with like pictures score: what remains where
        the split itself can be seen in the pictures.
    chosen : tuple of str
        What each half made the attack choose for the other.
    """

    name: str
    words: str
    source: str
    auc: Estimate
    advantage: Estimate
    tpr: tuple[TprAtFpr, ...]
    p_value: float
    p_holm: float
    given_picture: Estimate
    given_picture_p: float
    chosen: tuple[str, ...]
    by_class: tuple[ClassFigure, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "name": self.name,
            "words": self.words,
            "source": self.source,
            "auc": named(self.auc),
            "membership_advantage": named(self.advantage),
            "tpr_at_fpr": [named(value) for value in self.tpr],
            "p_value": self.p_value,
            "p_holm": self.p_holm,
            "auc_given_picture": named(self.given_picture),
            "p_holm_given_picture": self.given_picture_p,
            "chosen_on_other_half": list(self.chosen),
            "by_class": [
                {**figure._asdict(), "auc": None if figure.auc is None else named(figure.auc)}
                for figure in self.by_class
            ],
        }


@dataclass(frozen=True)
class ModelAccess:
    """All attacks, their control and the dataset inference.

    Attributes
    ----------
    finding : str
        ``"found"``: an attack tells members from others. ``"not found"``: none does. ``"inconclusive"``: some do, but
        the pictures alone do too, so that the split may be what they see.
    control : AttackResult
        The blind control.
    inference, inference_control : DatasetInference
        On the probes, and on statistics of the pictures.
    members, scores : ndarray, dict
        For drawings, not in the JSON: (p,) bool, and of each attack the scores (p,).
    """

    finding: str
    reasons: tuple[str, ...]
    attacks: tuple[AttackResult, ...]
    control: AttackResult
    inference: DatasetInference
    inference_control: DatasetInference
    by_time: tuple[TimeFigure, ...]
    pictures: tuple[int, int]
    fingerprint: str
    members: np.ndarray
    scores: dict[str, np.ndarray]

    @property
    def strongest(self) -> AttackResult:
        """The attack whose AUC has the highest lower end."""
        return max(self.attacks, key=lambda attack: attack.auc.low)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; no patient ids."""
        return {
            "attacker": ATTACKER,
            "finding": self.finding,
            "reasons": list(self.reasons),
            "strongest": self.strongest.name,
            "member_patients": int(self.members.sum()),
            "other_patients": int((~self.members).sum()),
            "member_pictures": self.pictures[0],
            "other_pictures": self.pictures[1],
            "weights": self.fingerprint,
            "attacks": [attack.to_json() for attack in self.attacks],
            "control_without_weights": self.control.to_json(),
            "dataset_inference": self.inference.to_json(),
            "dataset_inference_without_weights": self.inference_control.to_json(),
            "loss_by_time": [{**figure._asdict(), "auc": named(figure.auc)} for figure in self.by_time],
        }
