"""Tables for other programs: the long format, iMRMC's, results by reader. Every cell is safe in a spreadsheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from datadouble import files
from datadouble.study.analysis.readings import Task
from datadouble.study.tables import to_csv

if TYPE_CHECKING:
    import pandas as pd

LONG_COLUMNS = (
    "part",
    "question",
    "reader",
    "group",
    "case",
    "origin",
    "label",
    "truth",
    "value",
    "right_value",
    "rating",
    "seconds",
    "position",
    "complete",
)
"""Columns of ``answers-long.csv``: first looks only, readers and cases by code, ``truth`` 1 where the positive answer
is right, ``rating`` the confidence signed by the answer."""

IMRMC_COLUMNS = ("readerID", "caseID", "modalityID", "score")
"""Columns of ``imrmc-*.csv``, as the R package iMRMC takes them (`doIMRMC`): first a row a case with ``readerID`` and
``modalityID`` "truth" and the score 0 or 1, then a row a reader, case and modality. Complete readers only."""

READER_COLUMNS = (
    "part",
    "question",
    "reader",
    "group",
    "complete",
    "answered",
    "of",
    "cases",
    "measure",
    "value",
    "low",
    "high",
    "n",
)
MEASURES = (
    "auc",
    "binormal.auc",
    "two_answer_auc",
    "sensitivity",
    "specificity",
    "accuracy",
    "called_positive",
    "signal_detection.dprime",
    "signal_detection.criterion",
    "equivalence",
)


def case_codes(tasks: list[Task]) -> dict[str, str]:
    """C0001, C0002, ... by case; the study's own names of cases are random, so that this order says nothing."""
    cases = sorted({str(case) for task in tasks for case in task.cases["case"]})
    return {case: f"C{number:04d}" for number, case in enumerate(cases, start=1)}


def write_tables(out: Path, tasks: list[Task], evidence: dict[str, Any]) -> list[str]:
    """Write all tables and return the files' names."""
    codes = case_codes(tasks)
    texts = {
        "answers-long.csv": to_csv(LONG_COLUMNS, _long_rows(tasks, codes)),
        "readers.csv": to_csv(READER_COLUMNS, reader_rows(evidence)),
    }
    for name, chosen in imrmc_designs(tasks):
        rows = imrmc_rows(chosen, codes)
        texts[f"imrmc-{name}.csv"] = to_csv(IMRMC_COLUMNS, rows)
        texts[f"imrmc-{name}.imrmc"] = imrmc_text(rows)
    for name, text in texts.items():
        files.write_text(out / name, text)
    return sorted(texts)


def _long_rows(tasks: list[Task], codes: dict[str, str]) -> list[dict[str, Any]]:
    rows = []
    for task in tasks:
        complete = set(task.complete())
        for row in task.answers.to_dict("records"):
            rows.append(
                {
                    "part": task.part.name,
                    "question": task.question.key,
                    "reader": row["reader"],
                    "group": row["group"],
                    "case": codes[row["case"]],
                    "origin": row["origin"],
                    "label": row["label"],
                    "truth": int(row["truth"]) if task.binary else "",
                    "value": row["value"],
                    "right_value": row["right"],
                    "rating": float(row["rating"]) if task.binary else "",
                    "seconds": row["seconds"],
                    "position": int(row["position"]),
                    "complete": int(row["reader"] in complete),
                }
            )
    return rows


def imrmc_designs(tasks: list[Task]) -> list[tuple[str, list[tuple[str, pd.DataFrame]]]]:
    """Name of a design, and (modality, answers of complete readers): parts of a question, or origins of a part."""
    designs = []
    for number, key in enumerate(sorted({task.question.key for task in tasks if task.binary}), start=1):
        same = [task for task in tasks if task.binary and task.question.key == key]
        readers = set(same[0].complete()).intersection(*(task.complete() for task in same))
        if not readers:
            continue
        chosen = []
        for task in same:
            kept = task.answers[task.answers["reader"].isin(readers)]
            if task.question.truth == "label" and len(task.sets) == 3:
                chosen += [
                    (f"{task.part.name} {origin}", kept[kept["origin"] == origin]) for origin in task.sets[1:]
                ]
            else:
                chosen.append((task.part.name, kept))
        designs.append((f"question-{number}", chosen))
    return designs


def imrmc_rows(chosen: list[tuple[str, pd.DataFrame]], codes: dict[str, str]) -> list[dict[str, Any]]:
    """Rows of `IMRMC_COLUMNS`: the truth of each case once, then the ratings."""
    truth: dict[str, int] = {}
    rows = []
    for modality, frame in chosen:
        for row in frame.sort_values(["reader", "case"]).to_dict("records"):
            case = codes[row["case"]]
            truth[case] = int(row["truth"])
            rows.append(
                {
                    "readerID": row["reader"],
                    "caseID": case,
                    "modalityID": modality,
                    "score": float(row["rating"]),
                }
            )
    first = [
        {"readerID": "truth", "caseID": case, "modalityID": "truth", "score": value}
        for case, value in sorted(truth.items())
    ]
    return first + rows


def imrmc_text(rows: list[dict[str, Any]]) -> str:
    """The same for iMRMC's own program and RJafroc: counts, then readers (truth: -1), cases and modalities (truth: 0)
    as numbers."""
    truth = [row for row in rows if row["readerID"] == "truth"]
    looks = [row for row in rows if row["readerID"] != "truth"]
    readers = list(dict.fromkeys(row["readerID"] for row in looks))
    modalities = list(dict.fromkeys(row["modalityID"] for row in looks))
    positives = sum(row["score"] for row in truth)
    lines = ["Reader study, written by DataDouble"]
    lines += [f"NR: {len(readers)}", f"N0: {len(truth) - positives}", f"N1: {positives}"]
    lines += [f"NM: {len(modalities)}", "", "BEGIN DATA:"]
    lines += [f"-1,{int(row['caseID'][1:])},0,{row['score']}" for row in truth]
    lines += [
        f"{readers.index(row['readerID']) + 1},{int(row['caseID'][1:])},"
        f"{modalities.index(row['modalityID']) + 1},{row['score']:g}"
        for row in looks
    ]
    return "\n".join(lines) + "\n"


def reader_rows(evidence: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a reader, set of cases and measure, from the evidence."""
    rows = []
    for task in evidence["tasks"]:
        for reader in task["readers"]:
            for cases, found in reader.get("sets", {}).items():
                for measure in MEASURES:
                    value: Any = found
                    for key in measure.split("."):
                        value = (value or {}).get(key)
                    if isinstance(value, dict) and value.get("value") is not None:
                        rows.append(
                            {
                                "part": task["part"],
                                "question": task["question"],
                                "reader": reader["reader"],
                                "group": reader["group"],
                                "complete": int(reader["complete"]),
                                "answered": reader["answered"],
                                "of": reader["of"],
                                "cases": cases,
                                "measure": measure,
                                **{key: value.get(key) for key in ("value", "low", "high", "n")},
                            }
                        )
    return rows
