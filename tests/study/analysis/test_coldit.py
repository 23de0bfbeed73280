"""CoLDiT's Tables 2 and 3 (Research 2024;7:0532) from their counts, through the whole analysis.

The paper's intervals of shares are Wilson's with continuity correction, those of its two-answer areas binomial (as
MedCalc prints them): both hold more than 95%, so the analysis prints others, and here the paper's are had from its
counts.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datadouble import stats
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


def as_printed(found: dict[str, Any]) -> stats.Interval:
    """The paper's interval of a share that the analysis found."""
    return stats.proportion_interval(round(found["value"] * found["n"]), found["n"], method="wilson-cc")


def binomial(hits: int, positives: int, passes: int, negatives: int) -> stats.Estimate:
    """The paper's interval of a two-answer area."""
    answers = np.concatenate([np.arange(positives) < hits, np.arange(negatives) >= passes]) * 1.0
    return stats.roc_auc(np.repeat([1, 0], [positives, negatives]), answers, method="binomial")


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
    assert found["value"] == 278 / 500 and found["n"] == 500
    low, high = as_printed(found)
    assert (round(low, 3), round(high, 3)) == (0.511, 0.600)
    assert low < found["low"] < found["high"] < high


def test_table_2_area_of_two_answers(origin_study: Callable[[int, int], dict[str, Any]]) -> None:
    found = origin_study(384, 242)
    ours, printed = found["two_answer_auc"], binomial(384, 500, 242, 500)
    assert [round(end, 2) for end in printed[:3]] == [0.63, 0.60, 0.66]
    assert ours["value"] == printed.value and ours["n"] == 1000
    assert printed.low < ours["low"] < ours["high"] < printed.high
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
    low, high = as_printed(evidence["tasks"][0]["readers"][0]["sets"]["real"]["sensitivity"])
    assert (round(low, 3), high) == (0.954, 1.0)


def test_table_3_149_of_200(without_confidence: Callable[[str], Protocol]) -> None:
    cells = [
        ("real", "4", "4-5", "3", 90, 100),
        ("real", "3", "3", "4-5", 59, 100),
        ("synthetic", "4", "4-5", "3", 90, 100),
        ("synthetic", "3", "3", "4-5", 59, 100),
    ]
    table, truth = answers_from(cells, "birads", "grading")
    evidence = analyse_answers(table, without_confidence("coldit-3"), truth)
    found = evidence["tasks"][0]["readers"][0]["sets"]["real"]
    assert found["two_answer_auc"]["value"] == pytest.approx(149 / 200)
    counts = [round(found[kind]["value"] * 100) for kind in ("sensitivity", "specificity")]
    assert counts == [90, 59]
    printed = binomial(counts[0], 100, counts[1], 100)
    assert [round(end, 2) for end in (printed.low, printed.high)] == [0.68, 0.80]
    # The analysis' own: sensitivity and specificity differ, so the area is known better than one share of 200.
    assert printed.low < found["two_answer_auc"]["low"] < found["two_answer_auc"]["high"] < printed.high
