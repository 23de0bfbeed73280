"""The average reader, and modalities compared over readers and cases (Obuchowski and Rockette, Hillis)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datadouble import stats
from datadouble.audit.evidence import named
from datadouble.study.analysis.readers import ALPHA, CHANCE, MARGIN, verdict
from datadouble.study.analysis.readings import Task

if TYPE_CHECKING:
    import pandas as pd

MODELS = (("random", "random"), ("fixed", "random"), ("random", "fixed"))
COLUMNS = ["reader", "modality", "case", "truth", "rating", "patient"]
EFFECT = 0.05  # of a study that is planned from this one


def average_reader(task: Task) -> dict[str, Any] | None:
    """The average area of the complete readers, by set of cases, for readers and cases taken as random or fixed.

    ``equivalence`` is TOST within 0.5 ± 0.05 for random readers and cases.
    """
    codes = task.complete()
    if not task.binary or len(codes) < 2:
        return None
    found: dict[str, Any] = {"readers": len(codes), "cases": len(task.cases), "sets": {}}
    for name in task.sets:
        table = long_table([(task, name, name)], codes)
        if table["truth"].nunique() < 2:
            continue
        entry: dict[str, Any] = {}
        for readers, cases in MODELS:
            study = _mrmc(table, readers, cases)
            entry[_key(readers, cases)] = named(study.modalities[0])
        average = entry[_key("random", "random")]
        entry["equivalence"] = _equivalence(average)
        entry["by_covariance"] = _by_covariance(table)
        found["sets"][name] = entry
    return found if found["sets"] else None


def _by_covariance(table: pd.DataFrame) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for method in ("delong", "jackknife", "bootstrap"):
        try:
            found[method] = named(_mrmc(table, "random", "random", method).modalities[0])
        except ValueError as error:  # such as a jackknife that would leave one class only
            found[method] = {"note": str(error)}
    return found


def _equivalence(average: dict[str, Any]) -> dict[str, Any]:
    found = stats.equivalence_from_error(
        average["value"] - CHANCE,
        average["standard_error"],
        margin=MARGIN,
        n=average["n"],
        alpha=ALPHA,
        degrees_of_freedom=average["degrees_of_freedom"],
    )
    low, high = found.low + CHANCE, found.high + CHANCE
    return {
        "value": found.value + CHANCE,
        "low": low,
        "high": high,
        "n": found.n,
        "confidence": 1 - 2 * ALPHA,
        "band": [CHANCE - MARGIN, CHANCE + MARGIN],
        "p_value": found.p_value,
        "equivalent": found.equivalent,
        "verdict": verdict(found.equivalent, False, low, high),
    }


def modalities(tasks: list[Task]) -> list[dict[str, Any]]:
    """Compare what the design lets be compared: parts with the same cases (crossed), real with synthetic (unpaired)."""
    found = []
    binary = [task for task in tasks if task.binary]
    for key in sorted({task.question.key for task in binary}):
        same = [task for task in binary if task.question.key == key]
        shared = [t for t in same if set(t.cases["case"]) == set(same[0].cases["case"])]
        if len(shared) > 1:
            codes = [c for c in shared[0].complete() if all(c in t.complete() for t in shared)]
            found.append(_compare("parts", key, [(t, "all", t.part.name) for t in shared], codes))
    for task in binary:
        if len(task.sets) == 3:
            chosen = [(task, name, name) for name in task.sets[1:]]
            found.append(
                _compare(f"origins, part {task.part.name}", task.question.key, chosen, task.complete())
            )
    return [entry for entry in found if entry]


def _compare(
    what: str, question: str, chosen: list[tuple[Task, str, str]], codes: list[str]
) -> dict[str, Any]:
    entry: dict[str, Any] = {"compares": what, "question": question, "readers": len(codes)}
    if len(codes) < 2:
        return entry | {"note": "fewer than two readers judged every case: nothing to cross"}
    table = long_table(chosen, codes)
    if (table.groupby("modality")["truth"].nunique() < 2).any():
        return entry | {"note": "a modality holds one kind of case only"}
    entry["models"] = {}
    for readers, cases in MODELS:
        study = _mrmc(table, readers, cases)
        entry["design"] = study.design
        entry["models"][_key(readers, cases)] = {
            "modalities": [named(one) for one in study.modalities],
            "differences": [named(one) for one in study.differences],
            "test": None if study.test is None else named(study.test),
            "components": named(study.components),
        }
        if (readers, cases) == ("random", "random"):
            entry["next_study"] = next_study(study)
    return entry


def next_study(pilot: stats.ReaderStudy) -> dict[str, Any] | None:
    """Readers and cases that another study of two modalities needs to find a difference of 0.05 with power 0.8."""
    if len(pilot.modalities) != 2 or pilot.design != "crossed":
        return None
    try:
        plans = stats.mrmc_sample_size(pilot, effect=EFFECT, readers=(3, 6, 10, 15))
    except ValueError:  # components that leave no variance: nothing to plan with
        return None
    return {"effect": EFFECT, "power": 0.8, "plans": [named(plan) for plan in plans]}


def _mrmc(table: pd.DataFrame, readers: str, cases: str, covariance: str = "delong") -> stats.ReaderStudy:
    groups = "patient" if table["patient"].nunique() < table["case"].nunique() else None
    return stats.mrmc(
        table, readers=readers, cases=cases, covariance=covariance, groups=groups, resamples=500
    )


def long_table(chosen: list[tuple[Task, str, str]], codes: list[str]) -> pd.DataFrame:
    """One row a reader, case and modality, as :func:`datadouble.stats.mrmc` takes it.

    Parameters
    ----------
    chosen : list of (Task, set of cases, name of the modality)
    """
    import pandas as pd

    frames = []
    for task, name, modality in chosen:
        for code in codes:
            frames.append(task.of(code, name).assign(modality=modality)[COLUMNS])
    return pd.concat(frames, ignore_index=True)


def _key(readers: str, cases: str) -> str:
    return f"{readers} readers, {cases} cases"
