"""LiRA, the likelihood-ratio attack, on segmentation networks (Carlini et al., IEEE S&P 2022, arXiv:2112.03570).

How sure the victim is of a picture's mask is compared with how sure networks are that were trained with that picture,
and networks that were not. Both are taken as Gaussian after the logit; the score is the log of their ratio (online),
or how unusually sure the victim is for a network without it (offline, which needs no network trained with it).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.privacy.permutation import permutation_test, ranks_within, two_sides
from datadouble.audit.privacy.rates import plain
from datadouble.audit.privacy.two_cohorts import AttackRates, attack_rates, called_above
from datadouble.errors import DataDoubleError
from datadouble.randomness import generator_for
from datadouble.stats import Estimate, TprAtFpr, roc_auc, tpr_at_fpr

MODES = ("online", "offline")
FALSE_POSITIVE_RATES = (0.01, 0.001)
LEAST_EACH = 2  # shadow networks with, and without, each picture
OWN_VARIANCE_FROM = (
    64  # shadow networks from which a spread of each picture's own pays (the paper's section VI-C)
)
ATTACKER = (
    "sees the chances that a segmentation network gives, holds pictures with masks, and trains many networks like it "
    "on random halves of those pictures: calls members what looks more like the networks that had it"
)


class LiraResult(NamedTuple):
    """By patient, the mean score over their pictures.

    ``tpr`` at false positive rates of 1% and 0.1%: where ``resolved`` is false there are too few non-members to tell.
    ``rates`` use a threshold chosen on the other half of the patients. ``p_value``: one-sided, patients dealt anew
    within their centres. ``scores`` and ``member`` (patients,) are for drawing.
    """

    mode: str
    shadows: int
    auc: Estimate
    tpr: tuple[TprAtFpr, ...]
    rates: AttackRates
    p_value: float
    scores: np.ndarray
    member: np.ndarray
    attacker: str = ATTACKER

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the scores."""
        values = {
            key: plain(value) for key, value in self._asdict().items() if key not in ("scores", "member")
        }
        return values


def shadow_membership(groups: np.ndarray, shadows: int, seed: int = 0) -> np.ndarray:
    """Who is in which shadow network's training: boolean (shadows, n), whole patients, each in exactly half of them.

    Raises
    ------
    DataDoubleError
        For an odd number, or fewer than 4: each picture needs two networks with it and two without.
    """
    if shadows % 2 or shadows < 2 * LEAST_EACH:
        raise DataDoubleError(
            "LiRA needs an even number of shadow networks, 4 at least",
            where="shadows",
            found=str(shadows),
            remedy="16 tell something; the paper uses 256",
        )
    names, code = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    inside = np.zeros((shadows, len(names)), bool)
    for pair in range(0, shadows, 2):
        order = generator_for(seed, "lira", pair).permutation(len(names))
        inside[pair, order[: len(names) // 2]] = True
        inside[pair + 1] = ~inside[pair]
    return inside[:, code]


def logit_confidence(chances: Iterable[np.ndarray], masks: Iterable[np.ndarray]) -> np.ndarray:
    """(n,): log p - log(1 - p) of each picture, p the geometric mean of the chances of its pixels' true classes.

    Classes of a mask weigh equally, whatever their area: else the background would speak alone.

    Parameters
    ----------
    chances : iterable of ndarray
        (classes, ...) of each picture, summing to 1.
    masks : iterable of ndarray
        (...) true class ids.
    """
    found = []
    for chance, mask in zip(chances, masks, strict=True):
        truth = np.asarray(mask).astype(np.int64)
        own = np.take_along_axis(np.asarray(chance, np.float64), truth[None], axis=0)[0]
        logs = np.log(np.clip(own, 1e-12, 1 - 1e-7))
        mean = float(np.mean([logs[truth == name].mean() for name in np.unique(truth)]))
        found.append(mean - np.log(-np.expm1(mean)))
    return np.array(found)


def lira_scores(
    victim: np.ndarray,
    shadows: np.ndarray,
    inside: np.ndarray,
    *,
    mode: str = "online",
    own_variance: bool | None = None,
) -> np.ndarray:
    """The paper's algorithm 1: a score for each picture, higher for members.

    Parameters
    ----------
    victim : ndarray
        (n,) logit confidence of the attacked network.
    shadows : ndarray
        (networks, n) that of the shadow networks.
    inside : ndarray of bool
        (networks, n): whether the picture was in that network's training.
    mode : str
        ``"online"``: log N(victim; in) - log N(victim; out); ``"offline"``: (victim - mean out) / spread out, which
        orders pictures as the paper's 1 - Pr[Z > victim] does.
    own_variance : bool, optional
        A spread for each picture, or one for all (within pictures). Default: own from 64 networks on.

    Raises
    ------
    DataDoubleError
        For an unknown mode, or a picture with fewer than two networks on a side that the mode needs.
    """
    if mode not in MODES:
        raise DataDoubleError("unknown mode", where="mode", found=mode, remedy="use online or offline")
    inside = np.asarray(inside, bool)
    needed = [~inside, inside] if mode == "online" else [~inside]
    fewest = min(int(side.sum(axis=0).min()) for side in needed)
    if fewest < LEAST_EACH:
        raise DataDoubleError(
            "too few shadow networks with or without a picture",
            where="shadows",
            found=f"{fewest} for some picture",
            remedy=f"train more: {LEAST_EACH} at least on each side, in mode offline without it only",
        )
    own = len(shadows) >= OWN_VARIANCE_FROM if own_variance is None else own_variance
    out_mean, out_spread = _gaussian(shadows, ~inside, own)
    out = (np.asarray(victim, np.float64) - out_mean) / out_spread
    if mode == "offline":
        return out
    in_mean, in_spread = _gaussian(shadows, inside, own)
    within = (victim - in_mean) / in_spread
    return (out**2 - within**2) / 2 + np.log(out_spread) - np.log(in_spread)


def _gaussian(values: np.ndarray, keep: np.ndarray, own: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each picture over the networks kept, and spread: its own or one for all."""
    count = keep.sum(axis=0)
    mean = np.where(keep, values, 0).sum(axis=0) / count
    squares = np.where(keep, (values - mean) ** 2, 0).sum(axis=0)
    if own:
        return mean, np.sqrt(squares / (count - 1)) + 1e-12
    pooled = float(np.sqrt(squares.sum() / (count - 1).sum()))
    return mean, np.full(len(mean), pooled + 1e-12)


def lira_attack(
    victim: np.ndarray,
    shadows: np.ndarray,
    inside: np.ndarray,
    member: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    sites: np.ndarray | None = None,
    mode: str = "online",
    own_variance: bool | None = None,
    permutations: int = 9999,
    seed: int = 0,
    confidence: float = 0.95,
) -> LiraResult:
    """Attack a network and judge the attack by patient.

    Parameters
    ----------
    victim, shadows, inside, mode, own_variance
        As in :func:`lira_scores`.
    member : ndarray of bool
        (n,): whether the victim (or the generator whose double it trained on) learned from the picture.
    groups, sites : ndarray, optional
        (n,) patient and centre.
    """
    scores = lira_scores(victim, shadows, inside, mode=mode, own_variance=own_variance)
    member = np.asarray(member, bool)
    names = np.array([f"picture:{i}" for i in range(len(member))]) if groups is None else np.asarray(groups)
    order = np.argsort(~member, kind="stable")  # members first
    cut = int(member.sum())
    of, scores = names.astype(str)[order], scores[order]
    places = None if sites is None else np.asarray(sites).astype(str)[order]
    patients = two_sides(
        of[:cut],
        of[cut:],
        None if places is None else places[:cut],
        None if places is None else places[cut:],
        seed=seed,
    )
    average = np.bincount(patients.code, weights=scores) / patients.sizes
    tested = permutation_test(
        ranks_within(average, patients.stratum),
        patients.member,
        patients.stratum,
        permutations=permutations,
        seed=seed,
    )
    everyone = np.arange(len(average))
    called = called_above(average, patients.member, everyone, None, seed)
    return LiraResult(
        mode,
        len(shadows),
        roc_auc(patients.member, average, confidence=confidence),
        tuple(
            tpr_at_fpr(patients.member, average, rate, confidence=confidence) for rate in FALSE_POSITIVE_RATES
        ),
        attack_rates(called, patients.member, everyone, confidence),
        tested.p_value,
        average,
        patients.member,
    )
