"""What the search for copies found in a double, for the evidence and the report."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.pictures import Pictures
from datadouble.audit.privacy.copy_threshold import copy_scores, release_p_value
from datadouble.audit.privacy.gate import GateResult, PrivacyGate
from datadouble.matching.keypoints import SIDE
from datadouble.matching.search import Matches
from datadouble.stats import proportion_interval


class CopyPair(NamedTuple):
    """A picture of the double and the training picture that it is closest to, with the regions that match.

    Parameters
    ----------
    synthetic, train : int
        Rows in their cohorts.
    score, p_value : float
        On the threshold's scale; the chance of such a score for one picture of an unseen patient.
    correlation : float
        Of the two regions' whitened texture.
    mirrored : bool
        Whether the region is mirrored left to right.
    box, train_box : tuple of float
        Left, top, right, bottom as fractions of the side; the training picture's may reach out of it.
    copy : bool
        Whether the score is above the threshold.
    """

    synthetic: int
    train: int
    score: float
    p_value: float
    correlation: float
    mirrored: bool
    box: tuple[float, float, float, float]
    train_box: tuple[float, float, float, float]
    copy: bool


class CopiesFound(NamedTuple):
    """JSON values, the closest pairs (the closest first), and the scores of the double and of the unseen patients."""

    evidence: dict[str, Any]
    pairs: list[CopyPair]
    scores: np.ndarray
    unseen: np.ndarray


def assess_copies(
    double: Pictures,
    train: Pictures,
    gate: PrivacyGate,
    *,
    result: GateResult | None = None,
    pairs: int = 20,
) -> CopiesFound:
    """Search every picture of a double in the whole training set.

    Parameters
    ----------
    double, train : Pictures
        ``train`` holds the pictures that the gate was made with, in the same order.
    gate : PrivacyGate
    result : GateResult, optional
        What the gate said of this double, where it was asked before.
    pairs : int
        Closest pairs to give.

    Notes
    -----
    The rate's upper bound is one-sided (Clopper-Pearson, 95%): 0 of 500 is at most 0.6%. It bounds the share of copies
    of the kinds that the search finds; its recall of planted ones stands among the controls.
    """
    result = gate.check_copies(double.array) if result is None else result
    scores, threshold = result.scores, result.threshold
    if scores is None or threshold is None:
        raise ValueError("the gate did not look for copies")
    matches = gate.matches(double.array)
    unseen = copy_scores(gate.matches(gate.unseen), threshold).score
    n, found = len(double), len(result.copies)
    order = np.argsort(-scores.score, kind="stable")[:pairs]
    closest = [
        _pair(
            i,
            int(scores.window[i]),
            matches,
            double,
            train,
            scores.score[i],
            scores.p_value[i],
            threshold.threshold,
        )
        for i in order.tolist()
    ]
    evidence = {
        "measure": "correlation of whitened texture after alignment, best box of each size and best lesion, "
        "against unseen patients",
        "n": n,
        "gallery": len(train),
        "alarm": result.alarm,
        "rate": {
            "value": found / n,
            "low": proportion_interval(found, n, confidence=0.9, method="clopper-pearson").low
            if found
            else 0.0,
            "high": proportion_interval(found, n, confidence=0.9, method="clopper-pearson").high,
            "n": n,
            "copies": found,
            "interval": "one-sided 95% Clopper-Pearson bounds",
        },
        "p_value": release_p_value(scores.p_value),
        "threshold": threshold.to_json(),
        "scores": {"double": _quantiles(scores.score), "unseen": _quantiles(unseen)},
        "closest": [
            {
                "image_id": str(double.image_ids[i]),
                "score": pair.score,
                "p_value": pair.p_value,
                "correlation": pair.correlation,
                "mirrored": pair.mirrored,
                "box": list(pair.box),
                "copy": pair.copy,
            }
            for i, pair in zip(order.tolist(), closest)
        ],
    }
    return CopiesFound(evidence, closest, scores.score, unseen)


def matched_boxes(
    matches: Matches, row: int, window: int
) -> tuple[tuple[float, float, float, float], tuple[float, float, float, float]]:
    """Boxes of one match in the picture and in its gallery picture, as fractions of the side."""
    height, width = (float(v) for v in matches.size[row, window])
    left, top = (float(v) for v in matches.place[row, window])
    ax, ay, bx, by = (float(v) for v in matches.transform[row, window])
    inner = (
        SIDE - width - left if matches.mirrored[row, window] else left
    )  # the transform speaks of the mirrored one
    box = (left, top, left + width, top + height)
    # pixel centres are mapped; half a pixel around them belongs to the box
    x0, y0 = ax * inner + bx + 0.5 * (1 - ax), ay * top + by + 0.5 * (1 - ay)
    there = (x0, y0, x0 + ax * width, y0 + ay * height)
    a, b, c, d = (round(v / SIDE, 4) for v in box)
    e, f, g, h = (round(v / SIDE, 4) for v in there)
    return (a, b, c, d), (e, f, g, h)


def _pair(
    i: int,
    window: int,
    matches: Matches,
    double: Pictures,
    train: Pictures,
    score: float,
    p_value: float,
    threshold: float,
) -> CopyPair:
    box, there = matched_boxes(matches, i, window)
    return CopyPair(
        int(double.rows[i]),
        int(train.rows[matches.row[i, window]]),
        float(score),
        float(p_value),
        float(matches.correlation[i, window]),
        bool(matches.mirrored[i, window]),
        box,
        there,
        bool(score > threshold),
    )


def _quantiles(values: np.ndarray) -> dict[str, Any]:
    low, middle, high = (float(np.quantile(values, q)) for q in (0.05, 0.5, 0.95))
    return {"median": middle, "q05": low, "q95": high, "greatest": float(values.max()), "n": len(values)}
