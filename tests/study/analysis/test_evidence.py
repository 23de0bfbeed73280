"""Known abilities come out, guessing is shown only by enough cases, bias hides nothing, names stay out."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as reference_kappa

from datadouble.study.protocol import read_protocol
from datadouble.study.simulate import SimulatedReader

from .conftest import simulated

Analysed = Callable[..., dict[str, Any]]


def sets(evidence: dict[str, Any], reader: int = 0, task: int = 0) -> dict[str, Any]:
    return evidence["tasks"][task]["readers"][reader]["sets"]["all"]


def holds(estimate: dict[str, Any], value: float) -> bool:
    return estimate["low"] <= value <= estimate["high"]


@pytest.mark.parametrize(("dprime", "ratio"), [(0.0, 1.0), (1.0, 1.0), (1.8, 1.0), (1.0, 1.5)])
def test_known_ability_lies_in_its_intervals(analysed: Analysed, dprime: float, ratio: float) -> None:
    reader = SimulatedReader("Dr Anne Example", dprime=dprime, ratio=ratio, own_noise=1.0)
    found = sets(analysed("coldit-1", [reader], 400, seed=3))
    area = float(norm.cdf(dprime / np.hypot(1, ratio)))
    assert holds(found["auc"], area)
    assert holds(found["binormal"]["auc"], area)
    if ratio == 1:
        assert holds(found["signal_detection"]["dprime"], dprime)
        assert holds(found["signal_detection"]["criterion"], 0.0)


def test_area_is_scikit_learns() -> None:
    from datadouble.study.analysis import analyse_answers

    protocol = read_protocol("coldit-1")
    table, truth = simulated(protocol, [SimulatedReader("a", dprime=0.7)], 60)
    sign = np.where(table["value"] == "synthetic", 1, -1)
    origins = truth.set_index("pair").loc[table["pair"], "origin"] == "synthetic"
    expected = roc_auc_score(origins, sign * (table["confidence"] + 0.5))
    assert sets(analyse_answers(table, protocol, truth))["auc"]["value"] == pytest.approx(expected)


def test_guessing_is_equivalent_with_enough_cases_only(analysed: Analysed) -> None:
    guesser = SimulatedReader("g", dprime=0.0, own_noise=1.0)
    few, many = (sets(analysed("coldit-1", [guesser], n, seed=1))["equivalence"] for n in (40, 1500))
    assert not few["equivalent"] and few["verdict"] == "open: too few cases to say"
    assert many["equivalent"] and many["verdict"] == "inside the band"


def test_a_biased_reader_is_not_equivalent(analysed: Analysed) -> None:
    """One who sees but hardly ever says so has a two-answer area near 0.5; one who never looks proves nothing."""
    seeing = SimulatedReader("s", dprime=1.0, bias=2.2, own_noise=1.0)
    blind = SimulatedReader("b", dprime=0.0, bias=2.5, own_noise=1.0)
    evidence = analysed("coldit-1", [seeing, blind], 1000)
    assert holds(sets(evidence, 0)["two_answer_auc"], 0.5 + 0.02)
    assert sets(evidence, 0)["auc"]["low"] > 0.7
    assert not sets(evidence, 0)["equivalence"]["equivalent"]
    assert sets(evidence, 1)["equivalence"]["one_sided"]
    assert not sets(evidence, 1)["equivalence"]["equivalent"]
    assert sets(evidence, 1)["equivalence"]["verdict"].startswith("not judged")


def test_agreement_is_statsmodels_and_repeats_follow_own_noise(analysed: Analysed) -> None:
    steady = [SimulatedReader(f"s{i}", own_noise=0.0, dprime=0.5, group="senior") for i in range(3)]
    noisy = [SimulatedReader(f"n{i}", own_noise=1.0, dprime=0.0, group="junior") for i in range(3)]
    protocol = read_protocol("coldit-1")
    evidence = analysed("coldit-1", steady + noisy, 100, repeats=40)
    rows = {row["group"]: row for row in evidence["tasks"][0]["agreement"]}
    assert rows["senior"]["gwet_ac1"]["value"] == 1.0
    assert holds(rows["junior"]["fleiss_kappa"], 0.0)
    assert rows["junior"]["fleiss_kappa"]["minimum"] == pytest.approx(-0.5)
    table, _ = simulated(protocol, steady + noisy, 100)
    wide = table[table["reader"] > 3].pivot(index="pair", columns="reader", values="value")
    assert rows["junior"]["fleiss_kappa"]["value"] == pytest.approx(
        reference_kappa(aggregate_raters(wide.to_numpy())[0])
    )
    same = {row["reader"]: row["same"]["value"] for row in evidence["tasks"][0]["with_oneself"]}
    assert [same[f"R{i}"] for i in (1, 2, 3)] == [1.0, 1.0, 1.0]
    assert max(same[f"R{i}"] for i in (4, 5, 6)) < 0.9


def test_unfinished_readers_are_shown_and_left_out_of_crossed_analyses(analysed: Analysed) -> None:
    readers = [SimulatedReader(f"r{i}", dprime=0.8) for i in range(2)]
    evidence = analysed("coldit-1", [*readers, SimulatedReader("u", dprime=0.8, answers=30)], 50)
    task = evidence["tasks"][0]
    assert [r["complete"] for r in task["readers"]] == [True, True, False]
    assert task["readers"][2]["sets"]["all"]["auc"]["n"] == 30
    assert task["average"]["readers"] == 2 and task["deceived"]["readers"] == 2
    assert any("R3 (30 of 100)" in note for note in evidence["notes"])


def test_parts_are_compared_paired_and_by_mrmc(analysed: Analysed) -> None:
    readers = [
        SimulatedReader(f"r{i}", by_part={"full": 1.5, "lesion": 0.2}, group="junior" if i < 3 else "senior")
        for i in range(6)
    ]
    evidence = analysed("coldit-2", readers, 80, parts=("full", "lesion"))
    (parts,) = evidence["comparisons"]["parts"]
    assert len(parts["readers"]) == 6
    assert all(row["value"] > 0 and row["p_holm"] < 0.05 for row in parts["readers"])
    assert parts["wilcoxon"]["p_value"] == pytest.approx(
        2 / 2**6
    )  # all six agree: the least that six can give
    (crossed,) = evidence["comparisons"]["mrmc"]
    assert crossed["design"] == "crossed"
    truth = float(norm.cdf(1.5 / 2**0.5) - norm.cdf(0.2 / 2**0.5))
    assert holds(crossed["models"]["random readers, random cases"]["differences"][0], truth)
    assert crossed["next_study"]["plans"][0]["reached"] in (True, False)
    assert evidence["tasks"][0]["groups"][0]["readers"] == [3, 3]


def test_origins_are_compared_unpaired(analysed: Analysed) -> None:
    readers = [SimulatedReader(f"r{i}", by_origin={"real": 2.0, "synthetic": 0.3}) for i in range(3)]
    evidence = analysed("coldit-3", readers, 150, parts=("grading",))
    (origins,) = evidence["comparisons"]["origins"]
    assert all(row["value"] > 0.1 for row in origins["readers"])
    (unpaired,) = evidence["comparisons"]["mrmc"]
    assert unpaired["design"] == "unpaired"
    kinds = {
        (row["origin"], row["label"]): row["right"]["value"] for row in evidence["tasks"][0]["confusion"]
    }
    assert kinds["real", "4"] > kinds["synthetic", "4"]


def test_patients_with_several_images_widen_and_are_said(analysed: Analysed) -> None:
    reader = SimulatedReader("r", dprime=0.5)
    apart, together = (analysed("coldit-1", [reader], 60, patients=patients) for patients in (0, 12))
    assert not apart["tasks"][0]["several_images_a_patient"]
    assert together["tasks"][0]["several_images_a_patient"] and together["tasks"][0]["patients"] < 120
    assert sets(apart)["auc"]["value"] == sets(together)["auc"]["value"]
    assert any("patients as units" in note for note in together["notes"])


def test_shares_take_patients_as_units(analysed: Analysed) -> None:
    reader = SimulatedReader("r", dprime=0.5)
    apart, together = (sets(analysed("coldit-1", [reader], 60, patients=patients)) for patients in (0, 12))
    assert apart["sensitivity"]["value"] == together["sensitivity"]["value"]
    assert "units" not in apart["sensitivity"] and together["sensitivity"]["units"] == 6
    assert together["accuracy"]["units"] == 12


def test_intervals_that_rest_on_a_handful_are_named(analysed: Analysed) -> None:
    sharp = SimulatedReader("s", dprime=6.0, own_noise=1.0)
    plain = [SimulatedReader(f"p{i}", dprime=0.5, own_noise=1.0) for i in range(2)]
    notes = " ".join(analysed("coldit-1", [sharp, *plain], 60)["notes"])
    assert "R1: one of the four outcomes" in notes and "fewer than 5 times" in notes
    assert "R2" not in notes and "was answered in less than" not in notes
    shy = [SimulatedReader(f"y{i}", bias=1.6, own_noise=1.0) for i in range(2)]
    notes = " ".join(analysed("coldit-1", shy, 200)["notes"])
    assert "“synthetic” was answered in less than 15% of looks" in notes and "91%" in notes


def test_what_cannot_be_bounded_has_no_interval(analysed: Analysed) -> None:
    readers = [SimulatedReader(f"r{i}", dprime=0.8, group=("junior", "senior")[i % 2]) for i in range(4)]
    evidence = analysed("coldit-2", readers, 30, parts=("full", "lesion"))
    wilcoxon = evidence["comparisons"]["parts"][0]["wilcoxon"]
    assert wilcoxon["low"] is wilcoxon["high"] is None and "4 readers" in wilcoxon["note"]
    ranks = evidence["tasks"][0]["groups"][0]["ranks"]
    assert "p_value" in ranks and "low" not in ranks


def test_images_that_deceive_everybody_are_found(analysed: Analysed) -> None:
    readers = [SimulatedReader(f"r{i}", dprime=1.0, own_noise=0.0) for i in range(6)]
    task = analysed("coldit-1", readers, 60)["tasks"][0]
    found = task["deceived"]
    assert found["least_wrong"] == 4
    assert {image["wrong"] for image in found["images"]} == {6}  # they share all they see
    expected = sum(kind["expected"] for kind in found["kinds"])
    assert len(found["images"]) > 3 * expected


def test_learning_and_times(analysed: Analysed) -> None:
    readers = [SimulatedReader("l", dprime=0.0, learning=3.0, seconds=4.0, own_noise=1.0)]
    entry = analysed("coldit-1", readers, 200)["tasks"][0]["readers"][0]
    assert entry["learning"]["auc_gained"]["low"] > 0
    assert holds(entry["times"]["seconds"], 4.0)


def test_the_evidence_names_nobody(analysed: Analysed) -> None:
    readers = [SimulatedReader(f"Dr Anne Example {i}", years=7.0) for i in range(2)]
    evidence = analysed("coldit-1", readers, 20)
    text = json.dumps(evidence, allow_nan=False)
    assert "Anne" not in text and "secret-patient" not in text and "case0" not in text
    assert evidence["schema_version"] == 1
