"""How readers agree: with each other, by group, and with themselves on the hidden repeats; what deceived them."""

from __future__ import annotations

from typing import Any

import numpy as np

from datadouble import stats
from datadouble.audit.evidence import named
from datadouble.study.analysis.intervals import of_patients, share
from datadouble.study.analysis.readings import Task

# CoLDiT's Fig. 4 shows images that at least 4 of 6 readers got wrong: the share, for other panels.
DECEIVED_SHARE = 4 / 6
# Where intervals rest on a handful of answers, and what they held there (results/study/coverage.md).
FEW, FEW_HELD = 5, "92.8 to 99.7%"
RARE, RARE_HELD = 0.15, "91%"


def agreement(task: Task) -> list[dict[str, Any]]:
    """Fleiss' kappa and Gwet's AC1 of all complete readers and of each group, by set of cases.

    ``minimum`` is what so many readers can reach at the lowest; 1 is the highest.
    """
    found = []
    for group in (None, *task.groups):
        codes = task.complete(group)
        if len(codes) < 2 or (group is not None and len(codes) == len(task.complete())):
            continue
        for name in task.sets:
            values = task.matrix("value", codes, name)
            if len(values):
                row: dict[str, Any] = {"group": group or "all readers", "cases": name, "readers": len(codes)}
                patients = task.patients(task.about(values.index))
                found.append(row | _both(task, values.to_numpy(dtype=str), patients))
    return found


def _both(task: Task, values: np.ndarray, patients: np.ndarray | None) -> dict[str, Any]:
    categories = [answer.value for answer in task.question.answers] or sorted(set(values.ravel().tolist()))
    if len(categories) < 2:
        return {"n": len(values), "note": "one answer only"}
    codes, kinds = _codes(values, categories), len(categories)
    ac1 = stats.gwet_ac1(values, categories=categories)
    row: dict[str, Any] = {"gwet_ac1": named(of_patients(ac1, "ac1", codes, kinds, patients))}
    if len(np.unique(values)) > 1:
        kappa = stats.fleiss_kappa(values)
        row["fleiss_kappa"] = named(of_patients(kappa, "fleiss", codes, kinds, patients))
    else:
        row["note"] = "all answers are the same: kappa is 0 / 0"
    return row


def _codes(values: np.ndarray, categories: list[str]) -> np.ndarray:
    order = np.argsort(categories)
    return order[np.searchsorted(np.asarray(categories)[order], values)]


def with_oneself(task: Task) -> list[dict[str, Any]]:
    """Each reader's agreement with themselves on the hidden repeats: Cohen's kappa and the share of equal answers."""
    found = []
    for facts in task.readers:
        mine = task.repeats[task.repeats["reader"] == facts.reader]
        if not len(mine):
            continue
        first, second = mine["first"].to_numpy(dtype=str), mine["second"].to_numpy(dtype=str)
        row: dict[str, Any] = {
            "reader": facts.reader,
            "group": facts.group,
            "same": share(first == second, units=mine["patient"].to_numpy(dtype=str)),
        }
        if len(np.unique(np.concatenate([first, second]))) > 1:
            both = np.column_stack([first, second])
            categories = sorted(set(both.ravel().tolist()))
            kappa = stats.cohen_kappa(first, second)
            row["kappa"] = named(
                of_patients(kappa, "cohen", _codes(both, categories), len(categories), task.patients(mine))
            )
        else:
            row["note"] = "always the same answer: kappa is 0 / 0"
        found.append(row)
    return found


def deceived(task: Task) -> dict[str, Any] | None:
    """The images that at least two thirds of the complete readers got wrong, as in CoLDiT's Fig. 4.

    ``expected`` is how many there would be if the readers erred independently at their own rates.
    """
    codes = task.complete()
    if not task.question.truth or len(codes) < 2:
        return None
    values = task.matrix("value", codes)
    about = task.about(values.index)
    wrong = values.to_numpy(dtype=str) != about["right"].to_numpy(dtype=str)[:, None]
    counts, least = wrong.sum(axis=1), int(np.ceil(DECEIVED_SHARE * len(codes) - 1e-9))
    chosen = counts >= least
    kinds = about["origin"].to_numpy() if task.question.truth == "origin" else about["right"].to_numpy()
    shares = []
    for kind in sorted(set(kinds.tolist())):
        here = kinds == kind
        shares.append(
            {
                "kind": str(kind),
                "share": share(chosen[here], units=about["patient"].to_numpy(dtype=str)[here]),
                "images": int(chosen[here].sum()),
                "expected": float(_at_least(wrong[here].mean(axis=0), least) * here.sum()),
            }
        )
    order = np.lexsort((about["image"].to_numpy(), -counts))
    images = [
        {
            "image": str(about["image"].iloc[i]),
            "origin": str(about["origin"].iloc[i]),
            "label": str(about["label"].iloc[i]),
            "wrong": int(counts[i]),
            "readers": len(codes),
        }
        for i in order
        if chosen[i]
    ]
    return {"readers": len(codes), "least_wrong": least, "kinds": shares, "images": images}


def _at_least(rates: np.ndarray, least: int) -> float:
    """Chance that at least so many of independent readers err."""
    chances = np.ones(1)
    for rate in rates:
        chances = np.append(chances * (1 - rate), 0.0) + np.append(0.0, chances * rate)
    return float(chances[least:].sum())


def confusion(task: Task) -> list[dict[str, Any]]:
    """For each class and origin how often each answer was given, all readers together.

    The interval of the share of right answers takes patients as units: the same image judged by six readers is one
    image.
    """
    rows = []
    answers = [answer.value for answer in task.question.answers]
    for (origin, label), frame in task.answers.groupby(["origin", "label"], sort=True):
        counts = frame["value"].value_counts()
        row: dict[str, Any] = {
            "origin": str(origin),
            "label": str(label),
            "images": int(frame["case"].nunique()),
            "looks": len(frame),
            "answers": {value: int(counts.get(value, 0)) for value in answers},
        }
        if task.question.truth:
            right = (frame["value"] == frame["right"]).to_numpy()
            row["right_answer"] = str(frame["right"].iloc[0])
            row["right"] = share(right, units=frame["patient"].to_numpy(dtype=str))
        rows.append(row)
    return rows


def few_answers(task: Task) -> list[str]:
    """What to say of intervals that rest on a handful of answers, with what they held in simulated studies."""
    found = []
    listed = []
    for facts in task.readers if task.binary else ():
        mine = task.of(facts.reader)
        counts = mine.groupby(["truth", "called"]).size()
        if mine["truth"].nunique() == 2 and (len(counts) < 4 or counts.min() < FEW):
            listed.append(facts.reader)
    if listed:
        found.append(
            f"{', '.join(listed)}: one of the four outcomes (right and wrong, positive and negative) came fewer than "
            f"{FEW} times. The 95% intervals of such readers' d', criterion, share of positive answers and two-answer "
            f"area held {FEW_HELD} in simulated studies."
        )
    codes = task.complete()
    if len(codes) > 1 and task.question.answers:
        shares = task.matrix("value", codes).stack().value_counts(normalize=True)
        rare = [one.value for one in task.question.answers if 0 < shares.get(one.value, 0.0) < RARE]
        if rare:
            found.append(
                f"“{'”, “'.join(rare)}” was answered in less than {RARE:.0%} of looks: κ rests on those few images, "
                f"and its 95% interval held {RARE_HELD} in simulated studies. Read AC1 beside it."
            )
    return found
