"""What an analysis found, as plain JSON: every number with its interval and n; readers by code, no patient, no path."""

from __future__ import annotations

from typing import Any

from datadouble.audit.evidence import plain
from datadouble.study.analysis.agreement import agreement, confusion, deceived, few_answers, with_oneself
from datadouble.study.analysis.comparisons import (
    group_against_group,
    part_against_part,
    real_against_synthetic,
)
from datadouble.study.analysis.mrmc import average_reader, modalities
from datadouble.study.analysis.readers import ALPHA, CHANCE, MARGIN, ONE_SIDED, reader_results
from datadouble.study.analysis.readings import Task
from datadouble.study.protocol import Protocol

SCHEMA_VERSION = 1
KIND = "reader study"


def make_evidence(
    tasks: list[Task], protocol: Protocol, study: dict[str, Any], notes: list[str], *, seed: int = 0
) -> dict[str, Any]:
    """Compute all that can be said of the tasks.

    Parameters
    ----------
    study : dict
        What is known of the study itself (images, size, fingerprints, warnings).
    notes : list of str
        What was left out and why.
    """
    comparisons = {
        "parts": part_against_part(tasks),
        "origins": [entry for task in tasks if (entry := real_against_synthetic(task))],
        "mrmc": modalities(tasks),
    }
    found: dict[str, Any] = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "study": _protocol(protocol) | study,
            "settings": {
                "confidence": 0.95,
                "chance": CHANCE,
                "margin": MARGIN,
                "alpha": ALPHA,
                "one_sided_below": ONE_SIDED,
                "seed": seed,
                "auc_interval": "delong-logit, patients as units where they have several images",
                "proportion_interval": "Wilson, patients as units where they have several images",
                "coverage": "results/study/coverage.md",
            },
            "tasks": [_task(task, seed) for task in tasks],
            "comparisons": comparisons,
            "notes": [*notes, *_notes(tasks)],
        }
    )
    return found


def _protocol(protocol: Protocol) -> dict[str, Any]:
    return {
        "protocol": protocol.name,
        "title": protocol.title,
        "source": protocol.source,
        "parts": [
            {
                "name": part.name,
                "title": part.title or part.name,
                "view": part.view,
                "after_days": part.after_days,
            }
            for part in protocol.parts
        ],
        "questions": [
            {
                "key": question.key,
                "text": question.text,
                "truth": question.truth,
                "positive": question.positive,
                "answers": {answer.value: answer.label for answer in question.answers},
                "confidence": question.confidence,
            }
            for question in protocol.questions
        ],
    }


def _task(task: Task, seed: int) -> dict[str, Any]:
    return {
        "part": task.part.name,
        "part_title": task.part.title or task.part.name,
        "view": task.part.view,
        "question": task.question.key,
        "text": task.question.text,
        "truth": task.question.truth,
        "positive": task.question.positive,
        "scale": task.scale,
        "sets": list(task.sets),
        "cases": len(task.cases),
        "patients": int(task.cases["patient"].nunique()),
        "several_images_a_patient": task.clustered,
        "origins": {str(k): int(v) for k, v in task.cases["origin"].value_counts().items()},
        "readers": reader_results(task),
        "average": average_reader(task),
        "groups": group_against_group(task),
        "agreement": agreement(task),
        "with_oneself": with_oneself(task),
        "deceived": deceived(task),
        "confusion": confusion(task),
    }


def _notes(tasks: list[Task]) -> list[str]:
    notes = []
    for task in tasks:
        where = f"Part {task.part.title or task.part.name}, {task.question.key}"
        unfinished = [r for r in task.readers if not r.complete]
        if unfinished:
            listed = ", ".join(f"{r.reader} ({r.answered} of {r.of})" for r in unfinished)
            notes.append(
                f"{where}: not every image was judged by {listed}. They are shown, and left out of what crosses "
                "readers with cases: agreement, the average reader, comparisons, images that deceived."
            )
        if task.unjudgeable:
            notes.append(
                f"{where}: {task.unjudgeable} images have a class for which no answer is right; left out."
            )
        if task.clustered:
            notes.append(
                f"{where}: {len(task.cases)} images are of {task.cases['patient'].nunique()} patients or look-alike "
                "groups. Intervals take patients as units, but for those of the binormal fit and of answer times: "
                "those take images, and are somewhat too narrow."
            )
        notes += [f"{where}: {text}" for text in few_answers(task)]
        if task.scale == "two answers":
            notes.append(
                f"{where}: no confidence was asked for, so the areas are those of two answers. They fall towards 0.5 "
                "for readers who favour one answer, however well they see."
            )
    return notes
