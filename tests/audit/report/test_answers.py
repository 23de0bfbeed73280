"""The sentences of the first screen follow from the numbers."""

import pytest

from datadouble.audit.report.answers import answers, faithful, real, safe, useful
from datadouble.audit.report.attackers import attackers, control_lines, reasons, scope


def test_a_double_that_passes(evidence):
    assert evidence["verdict"] == "passed"
    found = safe(evidence)
    assert (found.grade, found.headline) == ("good", "No alarm")
    assert "among 400 (at most 0.75%, 95% confidence)" in found.text
    assert "AUC 0.51 (0.45 to 0.57)" in found.text
    assert [line.grade for line in attackers(evidence)] == ["good", "good", "good", "bad"]
    assert [line.grade for line in control_lines(evidence)] == ["good"] * 3
    assert control_lines(evidence)[0].found == "2 of 2 trials caught (8 of 8 pictures named)"


def test_weights_that_were_not_attacked_are_named(evidence):
    assert "not attacked" not in attackers(evidence)[3].found
    evidence["privacy"]["model_access"]["run"] = {"stages_not_attacked": ["placement", "repair"]}
    assert attackers(evidence)[3].found.endswith("not attacked: the weights of placement, repair")


def test_an_alarm_is_said_in_the_gates_words(evidence, judge_again):
    evidence["privacy"]["gate"] |= {"alarm": True, "copies": 2, "reasons": ["2 pictures are copies (of 400)"]}
    evidence["privacy"]["copies"]["rate"] |= {"copies": 2, "value": 0.005, "high": 0.016}
    judge_again(evidence)
    assert evidence["verdict"] == "failed"
    found = safe(evidence)
    assert (found.grade, found.headline) == ("bad", "Alarm")
    assert "2 pictures are copies (of 400)." in found.text
    copies, membership = attackers(evidence)[:2]
    assert (copies.grade, copies.found[:15]) == ("bad", "copies: 2 of 40")
    assert membership.grade == "good"  # the alarm is about copies
    assert reasons(evidence)[0] == "The privacy gate raised the alarm: 2 pictures are copies (of 400)."


def test_membership_alone_raises_the_alarm(evidence):
    evidence["privacy"]["gate"] |= {"alarm": True, "reasons": ["training patients are told from unseen ones"]}
    copies, membership = attackers(evidence)[:2]
    assert (copies.grade, membership.grade) == ("good", "bad")
    assert membership.found.startswith("told from unseen ones")


@pytest.mark.parametrize("control", ["caught_planted", "caught_overfitted", "passed_clean"])
def test_without_its_controls_no_alarm_is_worth_nothing(evidence, judge_again, control):
    evidence["controls"][control] = False
    judge_again(evidence)
    found = safe(evidence)
    assert evidence["verdict"] == "inconclusive"
    assert (found.grade, found.headline) == ("unknown", "Not proven")
    assert "proves nothing" in found.text
    evidence["controls"] = None
    assert "controls were not run" in safe(evidence).text
    assert attackers(evidence)[0].grade == attackers(evidence)[1].grade == "unknown"
    assert {line.found for line in control_lines(evidence)} == {"not run"}


def test_a_control_that_could_not_run_is_no_false_alarm(evidence):
    evidence["controls"]["passed_clean"] = False
    evidence["controls"]["controls"][-1] |= {"ok": False, "pictures": 0}
    assert control_lines(evidence)[2].found == "not run"
    evidence["controls"]["controls"][-1]["pictures"] = 40
    assert (control_lines(evidence)[2].found, control_lines(evidence)[2].grade) == ("false alarm", "bad")


def test_too_few_pictures_prove_nothing(evidence, judge_again):
    evidence["privacy"]["copies"]["rate"]["high"] = 0.09
    judge_again(evidence)
    assert safe(evidence).grade == "unknown"
    assert reasons(evidence) == [
        "Too few pictures to exclude that one in fifty is a copy (9%; the policy allows at most 2%)."
    ]


def test_real_pixels_and_disclosed_attributes_are_bad(evidence, judge_again):
    evidence["double"]["contains_real_pixels"] = True
    evidence["privacy"]["attributes"]["p_value"] = 0.001
    judge_again(evidence)
    found = safe(evidence)
    assert (found.grade, found.headline) == ("bad", "Not safe")
    assert "pixels of real patients" in found.text
    assert "attribute" in found.text
    assert attackers(evidence)[2].grade == "bad"


def test_faithful_compares_with_the_floor(evidence, estimates):
    floor = estimates(10.0, 8.0, 12.0)
    kid_floor = estimates(0.001, -0.001, 0.002)
    overall = {"n": 60, "fd": estimates(30.0, 25, 35, name="FD(patches)", floor=floor)}
    evidence["fidelity"]["overall"] = overall
    for kid, headline, grade in (
        (estimates(0.05, 0.04, 0.06), "Differs from real", "fair"),
        (estimates(0.002, 0.001, 0.003), "Not told apart", "good"),
        (estimates(-0.009, -0.01, -0.008), "Suspiciously close", "fair"),
    ):
        overall["kid"] = kid | {"name": "KD(patches)", "floor": kid_floor}
        found = faithful(evidence)
        assert (found.headline, found.grade) == (headline, grade)
        assert "FD(patches) 30.0 (25.0 to 35.0), real against real 10.0; n = 60 a side" in found.text
    overall["kid"] = estimates(0.05, 0.04, 0.06, floor=kid_floor)
    assert "3.0 times as far" in faithful(evidence).text
    evidence["fidelity"] = {"overall": {"note": "too few pictures"}}
    assert faithful(evidence).text == "Too few pictures: no distance."
    overall["kid"] = {
        "value": 0.05,
        "low": None,
        "high": None,
        "name": "KD(patches)",
        "floor": {"value": 0.001},
    }
    evidence["fidelity"] = {"overall": overall}
    assert (faithful(evidence).headline, faithful(evidence).grade) == ("Too few to say", "unknown")
    assert faithful(evidence).text.startswith(
        "KD(patches) is 0.0500, real against real 0.00100, but too few patients"
    )


@pytest.mark.parametrize(
    ("verdict", "grade"),
    [
        ("equivalent", "good"),
        ("worse", "fair"),
        ("worse, within the margin", "good"),
        ("better", "good"),
        ("no difference shown", "unknown"),
    ],
)
def test_useful_says_what_was_shown(evidence, verdict, grade):
    evidence["usefulness"]["classification"]["headline"]["verdict"] = verdict
    found = useful(evidence)
    assert found.grade == grade
    assert "AUC 0.84 (0.79 to 0.89) on 40 unseen real pictures" in found.text
    assert "trained on real ones, 0.85 (0.80 to 0.90)" in found.text
    assert "±0.05" in found.text


def test_useful_says_nothing_of_a_task_that_real_pictures_do_not_teach(evidence, estimates):
    head = evidence["usefulness"]["classification"]["headline"]
    head["auc_real"] = estimates(0.55, 0.45, 0.65)
    assert useful(evidence).headline == "The task cannot tell"
    head["controls_passed"] = False
    assert useful(evidence).headline == "Control failed"


def test_useful_falls_back_on_segmentation(evidence):
    evidence["usefulness"]["classification"] = None
    assert "Dice 0.79 (0.74 to 0.84)" in useful(evidence).text


def test_real_needs_its_controls(evidence, estimates):
    assert real(evidence).grade == "good"
    network = evidence["realism"]["discriminator"]
    evidence["realism"]["probes"] = {}
    network["controls_passed"] = False
    assert real(evidence).headline == "Control failed"
    network |= {"auc": estimates(0.97, 0.95, 0.99), "controls_passed": False}
    assert (
        real(evidence).headline == "A machine can tell"
    )  # nothing between real and real: the finding stands
    assert "97.0%" in real(evidence).text or "97%" in real(evidence).text
    network["controls"]["real_against_real"]["passed"] = False
    assert real(evidence).headline == "Control failed"


def test_real_takes_the_sharpest_eye(evidence, estimates):
    evidence["realism"]["probes"]["patches"]["auc"] = estimates(0.8, 0.7, 0.9)
    found = real(evidence)
    assert found.headline == "A machine often can tell"
    assert found.text.startswith(
        "A linear probe on patches features finds the synthetic picture in 80% (70% to 90%)"
    )


def test_nothing_measured_is_said_four_times(evidence):
    for name in ("fidelity", "privacy", "usefulness", "realism", "controls", "policy"):
        evidence[name] = None
    assert [answer.headline for answer in answers(evidence)] == ["Not measured"] * 4
    assert {answer.grade for answer in answers(evidence)} == {"unknown"}


def test_what_was_not_measured_is_one_reason(evidence, judge_again):
    evidence["controls"] = evidence["privacy"] = None
    judge_again(evidence)
    told = reasons(evidence)
    assert len(told) == 1
    assert told[0].startswith("Not measured: planted copies caught, overfitted double caught")
    evidence["reasons"].append("One part was left out.")
    assert reasons(evidence)[-1] == "One part was left out."


def test_the_verdict_says_what_it_leaves_out(evidence):
    assert scope(evidence) == "The policy sets no limit on fidelity, usefulness and realism."
    evidence["privacy"]["model_access"] = None
    evidence["policy"]["findings"].append({"measure": "realism.discriminator.auc.high"})
    assert scope(evidence).startswith(
        "The policy sets no limit on fidelity and usefulness. The verdict covers the pic"
    )
    evidence["policy"] = None
    assert scope(evidence) == ""
