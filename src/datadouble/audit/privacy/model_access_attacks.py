"""Membership attacks on a generator's weights: from the probes of a picture to one score for a patient.

Whatever an attack chooses (a time, a regression, a scorer) it chooses on other patients than those it is judged on:
patients are halved, and each half is scored by what was fitted on the other. Higher scores say "was in training".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from datadouble.audit.privacy.model_access_probes import Probes
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for

TINY = 1e-30
REGULARISATION = 0.05  # C of the logistic regression: dozens of probes on some ten patients would overfit
RIDGE_ALPHAS = (1.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True)
class Rows:
    """One row for each patient, the mean over the patient's pictures.

    Attributes
    ----------
    patients : ndarray
        (p,) str, sorted.
    members : ndarray
        (p,) bool.
    losses : ndarray
        (p, times): the denoising loss.
    logs : dict
        Of each probe the logarithms (p, times).
    pictures : ndarray
        (p, m): statistics of the pictures that need no weights.
    """

    patients: np.ndarray
    members: np.ndarray
    losses: np.ndarray
    logs: dict[str, np.ndarray]
    pictures: np.ndarray

    def take(self, keep: np.ndarray) -> Rows:
        """Return the rows where `keep` (p,) is true."""
        logs = {kind: values[keep] for kind, values in self.logs.items()}
        return Rows(self.patients[keep], self.members[keep], self.losses[keep], logs, self.pictures[keep])

    def features(self) -> np.ndarray:
        """Return all probes side by side, (p, kinds x times).

        The losses of others on the same noise are taken as ratios: how hard a picture is would hide their difference.
        """
        columns = [
            values - self.logs["loss"] if kind in ("unconditional", "reference") else values
            for kind, values in self.logs.items()
        ]
        return np.concatenate(columns, axis=1)


def patient_rows(
    probes: Probes, pictures: np.ndarray, members: np.ndarray, patients: np.ndarray, keep: np.ndarray
) -> Rows:
    """Average what is known of pictures over each patient's pictures where `keep` (n,) is true.

    Raises
    ------
    DataDoubleError
        When a patient is a member with one picture and none with another.
    """
    names, codes = np.unique(np.asarray(patients)[keep].astype(str), return_inverse=True)
    counts = np.bincount(codes, minlength=len(names))

    def mean(values: np.ndarray) -> np.ndarray:
        total = np.zeros((len(names), values.shape[1]))
        np.add.at(total, codes, values[keep])
        return total / counts[:, None]

    share = np.bincount(codes, weights=np.asarray(members)[keep].astype(float)) / np.maximum(counts, 1)
    if not np.isin(share, (0.0, 1.0)).all():
        raise DataDoubleError(
            "a patient stands on both sides of the split",
            where="model access",
            found=f"{int(((share > 0) & (share < 1)).sum())} of {len(names)}",
            remedy="run `datadouble split` again, fit on its train split, and audit that run",
        )
    logs = {kind: mean(np.log(np.maximum(values, TINY))) for kind, values in probes.values.items()}
    return Rows(names, share > 0.5, mean(probes.values["loss"]), logs, mean(pictures))


def picture_statistics(latents: np.ndarray) -> np.ndarray:
    """Statistics (n, 4 c) of pictures (n, c, h, w) that need no weights.

    Of each channel: mean, log standard deviation, log mean squared step between neighbours, and kurtosis.
    What they tell about membership, the split tells, not the generator (blind baselines: Das et al. 2024,
    arXiv:2406.16201).
    """
    x = np.asarray(latents, dtype=np.float64)
    flat = x.reshape(*x.shape[:2], -1)
    mean, std = flat.mean(2), flat.std(2) + 1e-12
    steps = (np.diff(x, axis=2) ** 2).mean((2, 3)) + (np.diff(x, axis=3) ** 2).mean((2, 3))
    kurtosis = (((flat - mean[..., None]) / std[..., None]) ** 4).mean(2)
    return np.concatenate([mean, np.log(std), np.log(steps + 1e-12), np.log(kurtosis + 1e-12)], axis=1)


def halves(members: np.ndarray, strata: np.ndarray, seed: int) -> np.ndarray:
    """Deal patients (p,) into halves 0 and 1, members and others each evenly, and evenly in each stratum."""
    rng = generator_for(seed, "halves")
    half = np.zeros(len(members), dtype=np.int64)
    for side in (True, False):
        rows = np.flatnonzero(np.asarray(members) == side)
        rows = rng.permutation(rows)
        rows = rows[np.argsort(np.asarray(strata)[rows].astype(str), kind="stable")]
        half[rows[1::2]] = 1
    return half


Scorer = Callable[[Rows], np.ndarray]


class Attack(NamedTuple):
    """An attack: `fit` takes the calibration patients and returns the scorer of patients and what it chose."""

    name: str
    words: str
    source: str
    fit: Callable[[Rows], tuple[Scorer, str]]


def attacks_on(rows: Rows, times: tuple[float, ...]) -> list[Attack]:
    """Return the attacks that the probes at hand allow."""

    def best_time(kind: str) -> Callable[[Rows], tuple[Scorer, str]]:
        def fit(calibration: Rows) -> tuple[Scorer, str]:
            values = calibration.logs[kind]
            column = int(
                np.argmax([quick_auc(calibration.members, -values[:, i]) for i in range(len(times))])
            )
            centre, spread = _location(values[~calibration.members, column])
            return (lambda asked: -(asked.logs[kind][:, column] - centre) / spread), f"time {times[column]:g}"

        return fit

    def ratio(kind: str) -> Callable[[Rows], tuple[Scorer, str]]:
        return lambda _: ((lambda asked: (asked.logs[kind] - asked.logs["loss"]).mean(1)), "")

    found = [
        Attack(
            "loss",
            "the mean denoising loss over all times is low",
            "Matsumoto et al. 2023, arXiv:2302.03262",
            lambda _: ((lambda asked: -asked.losses.mean(1)), ""),
        ),
        Attack(
            "loss_best_time",
            "the denoising loss is low at the time that told most about other patients",
            "Carlini et al. 2023, arXiv:2301.13188",
            best_time("loss"),
        ),
        Attack(
            "loss_given_picture",
            "the denoising loss is lower than pictures of unseen patients with the same statistics have",
            "difficulty calibration by regression, after Bertran et al. 2023, arXiv:2307.03694",
            _fit_residual,
        ),
    ]
    if "reference" in rows.logs:
        found.append(
            Attack(
                "loss_over_reference",
                "the denoising loss is low compared with another network's on the same picture and noise",
                "difficulty calibration, Watson et al. 2022, arXiv:2111.08440",
                ratio("reference"),
            )
        )
    if "unconditional" in rows.logs:
        found.append(
            Attack(
                "conditional_gain",
                "knowing the class lowers the denoising loss more than usual",
                "CLiD, Zhai et al. 2024, arXiv:2405.14800",
                ratio("unconditional"),
            )
        )
    sources = {
        "pia": ("the network's own noise comes out again", "PIA, Kong et al. 2024, arXiv:2305.18355"),
        "pian": ("the same with the noise normalised", "PIAN, Kong et al. 2024, arXiv:2305.18355"),
        "secmi": (
            "the deterministic path there and back ends where it began",
            "SecMI, Duan et al. 2023, arXiv:2302.01316",
        ),
        "gradient": (
            "the loss's gradient in the weights is small",
            "after GSA, Pang et al. 2025, arXiv:2308.06405",
        ),
    }
    for kind, (words, source) in sources.items():
        if kind in rows.logs:
            found.append(Attack(kind, f"{words}, at the best time", source, best_time(kind)))
    found.append(
        Attack(
            "all_probes",
            "a logistic regression on all probes, fitted on patients whose membership the attacker knows",
            "the scorer of CDI, Dubiński et al. 2025, arXiv:2411.12858",
            lambda calibration: (_on_features(fit_logistic(calibration.features(), calibration.members)), ""),
        )
    )
    return found


def blind_attack() -> Attack:
    """Return the control that knows no weights: what it tells, the split tells, not the generator."""

    def fit(calibration: Rows) -> tuple[Scorer, str]:
        scorer = fit_logistic(calibration.pictures, calibration.members)
        return (lambda asked: scorer(asked.pictures)), ""

    return Attack(
        "picture_alone",
        "control without weights: a logistic regression on statistics of the pictures",
        "blind baseline, Das et al. 2024, arXiv:2406.16201",
        fit,
    )


class CrossFitted(NamedTuple):
    """What an attack says of each patient.

    Attributes
    ----------
    scores : ndarray
        (p,).
    accused : ndarray
        (p,) bool: above the threshold that the other half gave.
    given_picture : ndarray
        (p,): the scores less what unseen patients of the other half score with the same statistics of their pictures.
    scorers, chosen
        Of the halves 0 and 1; what was chosen for them.
    """

    scores: np.ndarray
    accused: np.ndarray
    given_picture: np.ndarray
    scorers: tuple[Scorer, Scorer]
    chosen: tuple[str, ...]

    def rescore(self, rows: Rows, half: np.ndarray) -> np.ndarray:
        """Score other rows of the patients (such as those of one class), `half` (q,) saying which scorer."""
        both = [scorer(rows) for scorer in self.scorers]
        return np.where(half == 0, both[0], both[1])


def cross_fitted(attack: Attack, rows: Rows, half: np.ndarray) -> CrossFitted:
    """Score each half of the patients by what was fitted on the other."""
    n = len(rows.members)
    scores, residuals, accused = np.empty(n), np.empty(n), np.zeros(n, dtype=bool)
    scorers, chosen = [], []
    for side in (0, 1):
        judged = half == side
        calibration, asked = rows.take(~judged), rows.take(judged)
        scorer, choice = attack.fit(calibration)
        known, unseen = scorer(calibration), ~calibration.members
        scores[judged] = scorer(asked)
        accused[judged] = scores[judged] >= best_threshold(calibration.members, known)
        expected = fit_ridge(calibration.pictures[unseen], known[unseen])
        residuals[judged] = scores[judged] - expected(asked.pictures)
        scorers.append(scorer)
        chosen.append(choice)
    return CrossFitted(
        scores, accused, residuals, (scorers[0], scorers[1]), tuple(choice for choice in chosen if choice)
    )


def fit_logistic(features: np.ndarray, members: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the log odds of membership as a function of features (q, m); both sides count the same."""
    from sklearn.linear_model import LogisticRegression

    centre, spread = features.mean(0), features.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    scorer = LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=1000)
    scorer.fit((features - centre) / spread, members)
    return lambda asked: np.asarray(scorer.decision_function((asked - centre) / spread))


def quick_auc(members: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, ties counting half."""
    from scipy.stats import rankdata

    ranks, positive = rankdata(scores), int(members.sum())
    negative = len(members) - positive
    return float((ranks[members].sum() - positive * (positive + 1) / 2) / (positive * negative))


def best_threshold(members: np.ndarray, scores: np.ndarray) -> float:
    """The score from which on accusing gives the greatest TPR - FPR; half-way to the next lower score."""
    order = np.argsort(-scores, kind="stable")
    ranked, sides = scores[order], np.asarray(members)[order]
    gain = np.cumsum(np.where(sides, 1 / max(sides.sum(), 1), -1 / max((~sides).sum(), 1)))
    last = np.append(ranked[:-1] != ranked[1:], True)  # equal scores are accused together
    place = int(np.argmax(np.where(last, gain, -np.inf)))
    return float(ranked[place] if place + 1 == len(ranked) else (ranked[place] + ranked[place + 1]) / 2)


def fit_ridge(features: np.ndarray, values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the values expected from features (q, m), by ridge regression as strong as leaving one out asks for."""
    from sklearn.linear_model import RidgeCV

    centre, spread = features.mean(0), features.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    fitted = RidgeCV(alphas=RIDGE_ALPHAS).fit((features - centre) / spread, values)
    return lambda asked: np.asarray(fitted.predict((asked - centre) / spread))


def _fit_residual(calibration: Rows) -> tuple[Scorer, str]:
    """Expect of a picture the mean log loss that unseen patients have with the same statistics."""
    unseen = ~calibration.members
    expected = fit_ridge(calibration.pictures[unseen], calibration.logs["loss"][unseen].mean(1))
    return (lambda asked: expected(asked.pictures) - asked.logs["loss"].mean(1)), ""


def _on_features(scorer: Callable[[np.ndarray], np.ndarray]) -> Scorer:
    return lambda asked: scorer(asked.features())


def _location(values: np.ndarray) -> tuple[float, float]:
    spread = float(values.std())
    return float(values.mean()), spread if spread > 0 else 1.0
