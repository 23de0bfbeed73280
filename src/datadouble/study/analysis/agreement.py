"""How readers agree: with each other, by group, and with themselves on the hidden repeats; what deceived them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble import stats
from datadouble.audit.evidence import named
from datadouble.study.analysis.readings import Task

if TYPE_CHECKING:
    import pandas as pd

# CoLDiT's Fig. 4 shows images that at least 4 of 6 readers got wrong: the share, for other panels.
DECEIVED_SHARE = 4 / 6


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
                found.append(row | _both(task, values.to_numpy(dtype=str)))
    return found


def _both(task: Task, values: np.ndarray) -> dict[str, Any]:
    categories = [answer.value for answer in task.question.answers] or sorted(set(values.ravel().tolist()))
    if len(categories) < 2:
        return {"n": len(values), "note": "one answer only"}
    row: dict[str, Any] = {"gwet_ac1": named(stats.gwet_ac1(values, categories=categories))}
    if len(np.unique(values)) > 1:
        row["fleiss_kappa"] = named(stats.fleiss_kappa(values))
    else:
        row["note"] = "all answers are the same: kappa is 0 / 0"
    return row


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
            "same": named(stats.proportion_estimate(int((first == second).sum()), len(mine))),
        }
        if len(np.unique(np.concatenate([first, second]))) > 1:
            row["kappa"] = named(stats.cohen_kappa(first, second))
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
                "share": named(stats.proportion_estimate(int(chosen[here].sum()), int(here.sum()))),
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


def confusion(task: Task, *, resamples: int = 500, seed: int = 0) -> list[dict[str, Any]]:
    """For each class and origin how often each answer was given, all readers together.

    The share of right answers has an interval by bootstrap over patients: the same image judged by six readers is one
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
            right = (frame["value"] == frame["right"]).to_numpy(dtype=np.float64)
            row["right_answer"] = str(frame["right"].iloc[0])
            row["right"] = _share(right, frame, resamples, seed)
        rows.append(row)
    return rows


def _share(right: np.ndarray, frame: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    patients = frame["patient"].to_numpy(dtype=str)
    units = len(np.unique(patients))
    if units < 2 or right.min() == right.max():
        # Nothing varies between patients: Wilson's interval on the patients, which errs on the wide side.
        low, high = stats.proportion_interval(round(float(right.mean()) * units), units)
        return {"value": float(right.mean()), "low": low, "high": high, "n": units}
    found = stats.bootstrap(_mean, right, groups=patients, resamples=resamples, seed=seed)
    return named(found) | {"n": units}


def _mean(values: np.ndarray) -> float:
    return float(values.mean())
