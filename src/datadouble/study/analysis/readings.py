"""The answers as an analysis takes them: one task a part and question, readers by code, repeats apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from datadouble.study.protocol import Part, Protocol, Question

if TYPE_CHECKING:
    import pandas as pd

EVERYTHING = "all"


class ReaderFacts(NamedTuple):
    """How far a reader got in a task. ``reader`` is a code: no name stands in the evidence."""

    reader: str
    group: str
    answered: int
    of: int

    @property
    def complete(self) -> bool:
        """Whether every case was judged: only then a reader enters analyses that cross readers with cases."""
        return self.answered == self.of


@dataclass(frozen=True)
class Task:
    """One question, asked about the images of one part.

    Attributes
    ----------
    cases : DataFrame
        What was to be judged: ``case, patient, origin, label, image, right, truth``; ``truth`` is 1.0 where the
        positive answer is right, 0.0 elsewhere. Images without a right answer are left out where the question has one.
    answers : DataFrame
        First looks: the columns of `cases`, and ``reader, group, value, called, rating, seconds, position``. ``rating``
        is the confidence, signed by the answer (± (confidence + 0.5)); without confidence it is the answer, 0 or 1.
    repeats : DataFrame
        ``reader, group, case, patient, first, second``: the values of both looks.
    readers : tuple of ReaderFacts
    scale : str
        ``"confidence"`` or ``"two answers"``; ``""`` where the question has no two sides.
    unjudgeable : int
        Images left out because no answer is right for their class.
    """

    part: Part
    question: Question
    cases: pd.DataFrame
    answers: pd.DataFrame
    repeats: pd.DataFrame
    readers: tuple[ReaderFacts, ...]
    scale: str
    unjudgeable: int

    @property
    def binary(self) -> bool:
        """Whether areas can be had: two answers of which one is positive, and a truth."""
        return bool(self.scale)

    @property
    def clustered(self) -> bool:
        """Whether a patient has several images: then they are resampled together where the method allows."""
        return bool(self.cases["patient"].duplicated().any())

    @property
    def sets(self) -> tuple[str, ...]:
        """The sets of cases that are judged apart: all, and for questions about the label each origin."""
        origins = [name for name in ("real", "synthetic") if (self.cases["origin"] == name).any()]
        return (EVERYTHING, *(origins if self.question.truth == "label" and len(origins) > 1 else ()))

    def complete(self, group: str | None = None) -> list[str]:
        """Codes of the readers who judged every case, of a group or of all."""
        return [r.reader for r in self.readers if r.complete and r.of and group in (None, r.group)]

    @property
    def groups(self) -> list[str]:
        """Names of the readers' groups, those with none left out."""
        return sorted({r.group for r in self.readers if r.group})

    def of(self, reader: str, cases: str = EVERYTHING) -> pd.DataFrame:
        """A reader's first looks at a set of cases, in the order in which they were given."""
        mine = self.answers[self.answers["reader"] == reader].sort_values("position")
        return mine if cases == EVERYTHING else mine[mine["origin"] == cases]

    def matrix(self, column: str, readers: list[str], cases: str = EVERYTHING) -> pd.DataFrame:
        """A column of the answers as (cases, readers), for complete readers."""
        kept = self.answers[self.answers["reader"].isin(readers)]
        if cases != EVERYTHING:
            kept = kept[kept["origin"] == cases]
        return kept.pivot(index="case", columns="reader", values=column)[readers]

    def patients(self, frame: pd.DataFrame) -> np.ndarray | None:
        """The patients of some rows, where it matters that rows share one; otherwise None."""
        found: np.ndarray = frame["patient"].to_numpy(dtype=str)
        return found if len(np.unique(found)) < len(found) else None

    def about(self, cases: pd.Index) -> pd.DataFrame:
        """The rows of `cases` for these case names, in their order."""
        return self.cases.set_index("case").loc[cases]


def reader_codes(ids: list[int]) -> dict[int, str]:
    """R1, R2, ... by the readers' ids."""
    return {reader: f"R{number}" for number, reader in enumerate(sorted(ids), start=1)}


def make_tasks(
    table: pd.DataFrame, protocol: Protocol, truth: pd.DataFrame, readers: dict[int, tuple[str, str]]
) -> list[Task]:
    """Arrange the answers into tasks, in the protocol's order.

    Parameters
    ----------
    table : DataFrame
        As :func:`datadouble.study.tables.answers_table` gives it, without practice and what was taken back.
    truth : DataFrame
        As :meth:`datadouble.study.study.Study.truth_table` gives it.
    readers : dict
        Code and group by the reader's id: those who count.
    """
    tasks = []
    for part in protocol.parts:
        for question in protocol.questions_of(part):
            task = _task(table, part, question, truth, readers)
            if len(task.answers):
                tasks.append(task)
    return tasks


def _task(
    table: pd.DataFrame,
    part: Part,
    question: Question,
    truth: pd.DataFrame,
    readers: dict[int, tuple[str, str]],
) -> Task:
    import pandas as pd

    facts = truth[(truth["part"] == part.name) & ~truth["practice"].astype(bool)]
    cases = facts[facts["repeat_of"] == ""].rename(columns={"pair": "case"})
    cases = cases[["case", "patient", "origin", "label", "image"]].copy()
    cases["right"] = [
        question.right_value(o, label) for o, label in zip(cases["origin"], cases["label"], strict=True)
    ]
    unjudgeable = int((cases["right"] == "").sum()) if question.truth else 0
    if question.truth:
        cases = cases[cases["right"] != ""]
    cases["truth"] = (cases["right"] == question.positive).astype(float)
    binary = bool(question.truth and question.positive and question.negative)
    scale = ("confidence" if question.confidence else "two answers") if binary else ""

    mine = table[
        (table["part"] == part.name) & (table["question"] == question.key) & table["reader"].isin(readers)
    ].copy()
    mine["group"] = [readers[reader][1] for reader in mine["reader"]]
    mine["reader"] = [readers[reader][0] for reader in mine["reader"]]
    mine = mine[mine["pair"].isin(set(cases["case"]))].rename(columns={"pair": "case"})
    mine["called"] = (mine["value"] == question.positive).astype(float)
    sign = 2 * mine["called"] - 1
    mine["rating"] = sign * (mine["confidence"].fillna(0) + 0.5) if question.confidence else mine["called"]
    keep = ["reader", "group", "case", "value", "called", "rating", "seconds", "position"]
    first = mine[mine["repeat_of"] == ""][keep].merge(cases, on="case", how="inner")
    again = mine[mine["repeat_of"] != ""][["reader", "case", "value"]]
    repeats = pd.DataFrame(
        first[["reader", "group", "case", "patient", "value"]]
        .rename(columns={"value": "first"})
        .merge(again.rename(columns={"value": "second"}), on=["reader", "case"], how="inner")
    )
    counts = first["reader"].value_counts()
    listed = tuple(
        ReaderFacts(code, group, int(counts.get(code, 0)), len(cases)) for code, group in readers.values()
    )
    return Task(part, question, cases, first, repeats, listed, scale, unjudgeable)
