"""The verdict: which numbers pass, fail, or say nothing."""

from pathlib import Path

import pytest

from datadouble.audit.policy import Policy, judge
from datadouble.errors import DataDoubleError

GOOD = {
    "double": {"contains_real_pixels": False},
    "privacy": {"gate": {"alarm": False}, "copies": {"rate": {"high": 0.006}, "p_value": 0.4}},
    "controls": {"caught_planted": True, "caught_overfitted": True, "passed_clean": True},
}


def changed(path: str, value: object) -> dict:
    import copy

    evidence = copy.deepcopy(GOOD)
    *above, last = path.split(".")
    node = evidence
    for key in above:
        node = node[key]  # type: ignore[assignment]
    node[last] = value  # type: ignore[assignment]
    return evidence


def test_the_default_policy_passes_only_where_all_holds() -> None:
    policy = Policy.read()
    assert judge(GOOD, policy).verdict == "passed"
    assert judge({}, policy).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("path", "value", "verdict"),
    [
        ("controls.caught_planted", False, "inconclusive"),
        ("controls.caught_overfitted", False, "inconclusive"),
        ("controls.passed_clean", False, "inconclusive"),
        ("controls.passed_clean", None, "inconclusive"),
        ("double.contains_real_pixels", True, "failed"),
        ("privacy.gate.alarm", True, "failed"),
        ("privacy.gate.alarm", None, "inconclusive"),
        ("privacy.copies.rate.high", 0.03, "inconclusive"),
        ("privacy.copies.p_value", 0.03, "inconclusive"),
        ("privacy.copies.rate.high", float("nan"), "inconclusive"),
    ],
)
def test_one_broken_rule_decides(path: str, value: object, verdict: str) -> None:
    judgement = judge(changed(path, value), Policy.read())
    assert judgement.verdict == verdict
    assert path in judgement.reasons[0]


def test_a_failure_outweighs_a_control_that_did_not_come_out() -> None:
    evidence = changed("privacy.gate.alarm", True)
    evidence["controls"] = {}
    assert judge(evidence, Policy.read()).verdict == "failed"


def test_true_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('[[rules]]\nmeasure = "a"\nat_most = 2\nsays = "x"\notherwise = "failed"\n')
    assert judge({"a": True}, Policy.read(path)).verdict == "failed"
    assert judge({"a": 2}, Policy.read(path)).verdict == "passed"


def test_all_faults_of_a_policy_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(
        '[[rules]]\nmeasure = "a"\nat_mots = 2\nsays = "x"\notherwise = "failed"\n'
        '[[rules]]\nmeasure = "a"\nat_most = 2\nat_least = 1\nsays = "x"\notherwise = "perhaps"\n'
    )
    with pytest.raises(DataDoubleError) as caught:
        Policy.read(path)
    text = str(caught.value)
    assert "rule 1: unknown key 'at_mots'" in text and "at_most" in text
    assert "rule 2: needs exactly one" in text and "'perhaps'" in text


def test_an_empty_policy_passes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text('name = "nothing"\n')
    with pytest.raises(DataDoubleError, match="no rules"):
        Policy.read(path)


def test_the_fingerprint_follows_the_text(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    text = '[[rules]]\nmeasure = "a"\nat_most = 2\nsays = "x"\notherwise = "failed"\n'
    path.write_text(text)
    before = Policy.read(path).fingerprint
    path.write_text(text.replace("2", "3"))
    assert Policy.read(path).fingerprint != before
