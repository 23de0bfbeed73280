"""Whether what a reader sent answers what was asked."""

import unicodedata
from collections.abc import Mapping, Sequence
from math import isfinite

from datadouble.errors import DataDoubleError
from datadouble.study.protocol import Question
from datadouble.study.records import AnswerRefused, Given

MOST_WORDS = 2000
"""Characters of a free text."""


def check_given(questions: Sequence[Question], answers: Mapping[str, Given]) -> dict[str, Given]:
    """Return the answers as they are stored, in the order of the questions.

    Raises
    ------
    AnswerRefused
        ``invalid``, with all faults.
    """
    faults = [f"'{key}' was not asked" for key in answers if key not in {q.key for q in questions}]
    checked = {}
    for question in questions:
        given = answers.get(question.key)
        if given is None:
            faults.append(f"'{question.key}' is not answered")
            continue
        faults += _faults(question, given)
        checked[question.key] = given._replace(text=without_controls(given.text).strip())
    if faults:
        raise AnswerRefused("invalid", "the answer does not fit the question", found="; ".join(faults)[:400])
    return checked


def _faults(question: Question, given: Given) -> list[str]:
    faults = []
    values = [answer.value for answer in question.answers]
    if given.value not in values and (values or given.value):
        faults.append(f"{question.key}: the value is none of {', '.join(values) or '(no value)'}")
    if question.confidence and given.confidence is None:
        faults.append(f"{question.key}: the confidence is missing")
    if given.confidence is not None:
        if not question.confidence:
            faults.append(f"{question.key}: no confidence was asked for")
        elif not (isfinite(given.confidence) and 0 <= given.confidence <= 100):
            faults.append(f"{question.key}: the confidence is not between 0 and 100")
    if given.mark is not None:
        if not question.mark:
            faults.append(f"{question.key}: no mark was asked for")
        elif len(given.mark) != 2 or not all(isfinite(v) and 0 <= v <= 1 for v in given.mark):
            faults.append(f"{question.key}: the mark is outside the image")
    if given.text and not question.free_text:
        faults.append(f"{question.key}: no words were asked for")
    if len(given.text) > MOST_WORDS:
        faults.append(f"{question.key}: more than {MOST_WORDS} characters")
    return faults


def without_controls(text: str) -> str:
    """Return a text without control characters, tabs and line ends excepted."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs", "Cf"))


def clean_text(text: str, longest: int, where: str) -> str:
    """Return one line without control characters.

    Raises
    ------
    DataDoubleError
        When it is too long.
    """
    line = " ".join(without_controls(text).split())
    if len(line) > longest:
        raise DataDoubleError(
            "too long", where=where, found=f"{len(line)} characters", remedy=f"{longest} at most"
        )
    return line
