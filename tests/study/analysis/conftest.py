"""Answers without a study's folder: from published counts, and from simulated readers."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from datadouble.study.analysis import analyse_answers
from datadouble.study.protocol import Protocol, read_protocol
from datadouble.study.records import Shown
from datadouble.study.simulate import SimulatedReader, answer
from datadouble.study.study import TRUTH_COLUMNS, Truth

Rows = list[dict[str, Any]]


def row_of_truth(number: int, part: str, origin: str, label: str, patient: str = "") -> Truth:
    return Truth(
        image=f"{part[:1]}{number:015d}",
        part=part,
        origin=origin,
        label=label,
        practice=False,
        repeat_of="",
        pair=f"case{number:05d}",
        cohort=origin,
        source_image_id=f"{origin}-{number}",
        patient=patient or f"secret-patient-{number}",
        split="test",
    )


def table_of(rows: Sequence[Truth]) -> pd.DataFrame:
    return pd.DataFrame([vars(row) for row in rows], columns=list(TRUTH_COLUMNS))


def look(reader: int, truth: Truth, question: str, value: str, position: int, **more: Any) -> dict[str, Any]:
    return {
        "reader": reader,
        "group": "",
        "part": truth.part,
        "question": question,
        "value": value,
        "confidence": float("nan"),
        "seconds": 5.0,
        "position": position,
        "pair": truth.pair,
        "repeat_of": truth.repeat_of,
    } | more


@pytest.fixture
def without_confidence() -> Callable[[str], Protocol]:
    """A preset whose readers give two answers only, as the paper's did."""

    def read(preset: str) -> Protocol:
        from datadouble.study.protocol import protocol_from

        values = read_protocol(preset).to_json()
        for question in values["questions"]:
            question["confidence"] = False
        return protocol_from(values)

    return read


def simulated(
    protocol: Protocol,
    readers: Sequence[SimulatedReader],
    cases: int,
    *,
    parts: Sequence[str] = ("full",),
    repeats: int = 0,
    patients: int = 0,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answers of simulated readers to `cases` images of each origin; no store, no pictures."""
    study: Any = SimpleNamespace(protocol=protocol)
    rows: Rows = []
    truths: list[Truth] = []
    for part in parts:
        own = []
        for number in range(2 * cases):
            origin = "synthetic" if number % 2 else "real"
            patient = f"secret-patient-{origin}-{number % patients}" if patients else ""
            own.append(row_of_truth(number, part, origin, "4" if number % 4 < 2 else "3", patient))
        again = [
            Truth(**{**vars(one), "image": f"r{one.image[1:]}", "repeat_of": one.image})
            for one in own[:repeats]
        ]
        truths += own + again
        for id_, who in enumerate(readers, start=1):
            for position, one in enumerate(own + again):
                shown = Shown("", part, position, one.image, False, 1, 1, 0.0)
                if who.answers is not None and position >= who.answers:
                    break
                seconds, given = answer(study, one, shown, who, len(own), seed)
                for key, value in given.items():
                    rows.append(
                        look(
                            id_,
                            one,
                            key,
                            value.value,
                            position,
                            group=who.group,
                            seconds=seconds,
                            confidence=float("nan") if value.confidence is None else value.confidence,
                        )
                    )
    return pd.DataFrame(rows), table_of(truths)


@pytest.fixture
def analysed() -> Callable[..., dict[str, Any]]:
    """The evidence of simulated readers under a preset."""

    def run(preset: str, readers: Sequence[SimulatedReader], cases: int, **options: Any) -> dict[str, Any]:
        protocol = read_protocol(preset)
        table, truth = simulated(protocol, readers, cases, **options)
        return analyse_answers(table, protocol, truth)

    return run
