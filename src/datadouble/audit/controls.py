"""The controls of the privacy gate: planted copies and an overfitted double must be caught, unseen patients must pass.

They run in every audit, with the gate that judged the double: an audit whose controls did not come out proves nothing,
whatever it found (design, rule 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.privacy.gate import GateResult, PrivacyGate
from datadouble.audit.privacy.planted import KINDS, leak, redrawn
from datadouble.randomness import generator_for, seed_for
from datadouble.stats import proportion_interval

SHARES = (0.001, 0.01, 0.1)


class Control(NamedTuple):
    """One control: what was done, what the gate should say and said, and whether that came out.

    ``planted`` and ``found`` count leaks and those of them that the gate named; 0 where none were planted. ``details``
    holds the gate's numbers.
    """

    name: str
    done: str
    expected: str
    found: str
    ok: bool
    pictures: int
    planted: int
    recalled: int
    details: dict[str, Any]


class Controls(NamedTuple):
    """All controls, and the gate's recall of planted leaks by kind (kind -> [named, planted])."""

    controls: list[Control]
    recall: dict[str, list[int]]

    @property
    def ok(self) -> bool:
        """Whether every control came out."""
        return all(control.ok for control in self.controls)

    def to_json(self) -> dict[str, Any]:
        """Plain values; the three summaries are false where a control of that sort failed or did not run."""

        def sort(*names: str) -> bool:
            mine = [c.ok for c in self.controls if c.name.split(":")[0] in names]
            return bool(mine) and all(mine)

        recall = {}
        for kind, (named, planted) in self.recall.items():
            low, high = proportion_interval(named, planted, method="clopper-pearson")
            recall[kind] = {"value": named / planted, "low": low, "high": high, "n": planted}
        return {
            "ok": self.ok,
            "caught_planted": sort("planted"),
            "caught_overfitted": sort("overfitted"),
            "passed_clean": sort("unseen patients"),
            "recall": recall,
            "controls": [dict(control._asdict()) for control in self.controls],
        }


def run_controls(
    double: np.ndarray,
    gate: PrivacyGate,
    unseen: np.ndarray,
    *,
    train_masks: np.ndarray | None = None,
    shares: Sequence[float] = SHARES,
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
) -> Controls:
    """Run every control.

    Parameters
    ----------
    double : ndarray
        (n, s, s) uint8: the double under audit, in which leaks are planted.
    gate : PrivacyGate
        The gate that judges the double.
    unseen : ndarray
        (m, s, s) uint8: real pictures of patients that are neither in train nor among the gate's calibration patients;
        they pose as a double. Empty: that control fails, for it could not be run.
    train_masks : ndarray, optional
        (t, s, s) lesion masks of the gate's training pictures.
    shares : sequence of float
        Of the double; each kind is planted alone at the smallest, all kinds in turn at the others.

    Notes
    -----
    A planted control comes out where the gate names at least one of the planted pictures: an alarm that the double
    raised by itself does not count.
    """
    controls: list[Control] = []
    recall: dict[str, list[int]] = {kind: [0, 0] for kind in kinds}
    for share in sorted(shares):
        lots = [(kind,) for kind in kinds] if share == min(shares) else [tuple(kinds)]
        for lot in lots:
            control, counts = _planted(double, gate, lot, share, train_masks, seed)
            controls.append(control)
            for kind, (named, planted) in counts.items():
                recall[kind][0] += named
                recall[kind][1] += planted
    controls.append(_overfitted(double, gate, seed))
    controls.append(_unseen(unseen, gate))
    return Controls(controls, {kind: counts for kind, counts in recall.items() if counts[1]})


def _planted(
    double: np.ndarray,
    gate: PrivacyGate,
    kinds: tuple[str, ...],
    share: float,
    masks: np.ndarray | None,
    seed: int,
) -> tuple[Control, dict[str, list[int]]]:
    """Plant a share of leaks, the kinds taking turns, and ask the gate which pictures are copies."""
    count = max(1, round(share * len(double)))
    name = kinds[0] if len(kinds) == 1 else "all kinds"
    pictures, rows, told = plant_mixture(
        double, gate.train, kinds, count, masks=masks, seed=seed_for(seed, name, count)
    )
    result = gate.check_copies(pictures)
    named = np.isin(rows, result.copies)
    counts: dict[str, list[int]] = {}
    for kind, hit in zip(told, named):
        tally = counts.setdefault(kind, [0, 0])
        tally[0] += int(hit)
        tally[1] += 1
    ok = result.alarm and bool(named.any())
    return (
        Control(
            f"planted: {name}, {share:.1%}",
            f"{count} of the double's {len(double)} pictures replaced by leaks ({', '.join(kinds)})",
            "alarm, naming planted pictures",
            f"{'alarm' if result.alarm else 'no alarm'}; {int(named.sum())} of {count} named",
            ok,
            len(double),
            count,
            int(named.sum()),
            _numbers(result, rows),
        ),
        counts,
    )


def plant_mixture(
    double: np.ndarray,
    train: np.ndarray,
    kinds: Sequence[str],
    count: int,
    *,
    masks: np.ndarray | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Replace ``count`` pictures of a double by leaks, the kinds taking turns: pictures, rows (count,), kinds."""
    from datadouble.audit.privacy.planted import choose_sources

    rng = generator_for(seed, "mixture")
    rows = np.sort(rng.permutation(len(double))[: min(count, len(double))])
    told = [kinds[i % len(kinds)] for i in range(len(rows))]
    pictures = np.array(double)
    for row, kind in zip(rows, told):
        source = int(choose_sources(len(train), 1, kind, rng, masks)[0])
        mask = None if masks is None else masks[source]
        pictures[row] = leak(
            kind, train[source], seed=seed, key=source, background=double[row], mask=mask
        ).picture
    return pictures, rows, told


def _overfitted(double: np.ndarray, gate: PrivacyGate, seed: int) -> Control:
    """Training pictures redrawn with small warps and fresh speckle: the membership test must see it."""
    count = max(1, min(len(double), len(gate.train)))
    pictures, sources = redrawn(gate.train, count, seed=seed)
    result = gate.check_membership(pictures)
    return Control(
        "overfitted",
        f"{count} pictures redrawn from {len(np.unique(sources))} training pictures: small warps, fresh speckle",
        "alarm of the membership test",
        "alarm" if result.alarm else "no alarm",
        result.alarm,
        count,
        0,
        0,
        _numbers(result),
    )


def _unseen(unseen: np.ndarray, gate: PrivacyGate) -> Control:
    """Patients that no generator saw pose as a double: nothing may be found."""
    if len(unseen) == 0:
        nothing = "no unseen patients were left for it"
        return Control("unseen patients", "not run", "no alarm", nothing, False, 0, 0, 0, {})
    result = gate(unseen)
    return Control(
        "unseen patients",
        f"{len(unseen)} real pictures of patients that are neither in train nor among the calibration patients",
        "no alarm",
        "no alarm" if not result.alarm else "alarm: " + "; ".join(result.reasons),
        not result.alarm,
        len(unseen),
        0,
        0,
        _numbers(result),
    )


def _numbers(result: GateResult, rows: np.ndarray | None = None) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    if result.scores is not None and result.threshold is not None:
        numbers["threshold"] = result.threshold.threshold
        numbers["greatest_score"] = float(result.scores.score.max())
        if rows is not None and len(rows):
            numbers["least_planted_score"] = float(result.scores.score[rows].min())
            rest = np.delete(result.scores.score, rows)
            numbers["greatest_other_score"] = float(rest.max()) if len(rest) else None
    if result.membership:
        numbers["membership"] = result.membership
    return numbers
