"""CoLDiT's Tables 2 and 3 (Research 2024;7:0532) from their counts, through the whole analysis."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from datadouble.study.analysis import analyse_answers
from datadouble.study.protocol import Protocol
from datadouble.study.study import Truth

from .conftest import look, row_of_truth, table_of


def answers_from(
    cells: list[tuple[str, str, str, str, int, int]], question: str, part: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answers of one reader: (origin, label, right value, wrong value, right answers, images)."""
    truths: list[Truth] = []
    rows = []
    for origin, label, right, wrong, hits, images in cells:
        for number in range(images):
            truth = row_of_truth(len(truths), part, origin, label)
            truths.append(truth)
            rows.append(look(1, truth, question, right if number < hits else wrong, len(rows)))
    return pd.DataFrame(rows), table_of(truths)


@pytest.fixture
def origin_study(without_confidence: Callable[[str], Protocol]) -> Callable[[int, int], dict[str, Any]]:
    def run(synthetic_right: int, real_right: int) -> dict[str, Any]:
        cells = [
            ("synthetic", "3", "synthetic", "real", synthetic_right, 500),
            ("real", "3", "real", "synthetic", real_right, 500),
        ]
        table, truth = answers_from(cells, "origin", "full")
        evidence = analyse_answers(table, without_confidence("coldit-1"), truth)
        return evidence["tasks"][0]["readers"][0]["sets"]["all"]

    return run


def test_table_2_sensitivity(origin_study: Callable[[int, int], dict[str, Any]]) -> None:
    found = origin_study(278, 250)["sensitivity"]
    assert (round(found["low"], 3), round(found["high"], 3), found["n"]) == (0.511, 0.600, 500)


def test_table_2_area_of_two_answers(origin_study: Callable[[int, int], dict[str, Any]]) -> None:
    found = origin_study(384, 242)
    printed = found["two_answer_auc"]
    assert [round(printed[key], 2) for key in ("value", "low", "high")] == [0.63, 0.60, 0.66]
    assert printed["n"] == 1000
    # The same answers by DeLong: (0.597, 0.655).
    assert found["auc"]["value"] == pytest.approx(0.626)
    assert [found["auc"][key] for key in ("low", "high")] == pytest.approx([0.597, 0.655], abs=1.5e-3)


def test_table_2_against_one_half(origin_study: Callable[[int, int], dict[str, Any]]) -> None:
    assert round(origin_study(285, 244)["against_chance"]["p_value"], 2) == 0.07


def test_table_3_real_against_synthetic(without_confidence: Callable[[str], Protocol]) -> None:
    """Senior reader 8: real 100/100 and 42/100, synthetic 100/100 and 61/100: P = 0.006 by unpaired DeLong."""
    cells = [
        ("real", "4", "4-5", "3", 100, 100),
        ("real", "3", "3", "4-5", 42, 100),
        ("synthetic", "4", "4-5", "3", 100, 100),
        ("synthetic", "3", "3", "4-5", 61, 100),
    ]
    table, truth = answers_from(cells, "birads", "grading")
    evidence = analyse_answers(table, without_confidence("coldit-3"), truth)
    (origins,) = evidence["comparisons"]["origins"]
    assert round(origins["readers"][0]["p_value"], 3) == 0.006
    assert origins["readers"][0]["value"] == pytest.approx(0.71 - 0.805)
    sensitivity = evidence["tasks"][0]["readers"][0]["sets"]["real"]["sensitivity"]
    assert (round(sensitivity["low"], 3), sensitivity["high"]) == (0.954, 1.0)


def test_table_3_149_of_200(without_confidence: Callable[[str], Protocol]) -> None:
    cells = [
        ("real", "4", "4-5", "3", 90, 100),
        ("real", "3", "3", "4-5", 59, 100),
        ("synthetic", "4", "4-5", "3", 90, 100),
        ("synthetic", "3", "3", "4-5", 59, 100),
    ]
    table, truth = answers_from(cells, "birads", "grading")
    evidence = analyse_answers(table, without_confidence("coldit-3"), truth)
    found = evidence["tasks"][0]["readers"][0]["sets"]["real"]["two_answer_auc"]
    assert [round(found[key], 2) for key in ("low", "high")] == [0.68, 0.80]
