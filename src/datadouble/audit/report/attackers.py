"""The first screen's table of attackers and controls, and the reasons of the verdict, in plain words."""

from __future__ import annotations

from typing import Any, NamedTuple

from datadouble.audit.report.answers import broken_rules
from datadouble.audit.report.numbers import (
    at,
    count,
    interval,
    is_estimate,
    is_number,
    p_words,
    percent,
    plural,
    section,
    sentence,
)

PLAIN = {
    "controls.caught_planted": "planted copies caught",
    "controls.caught_overfitted": "overfitted double caught",
    "controls.passed_clean": "unseen patients passed",
    "double.contains_real_pixels": "real pixels in the double",
    "privacy.gate.alarm": "alarm of the privacy gate",
    "privacy.copies.rate.high": "share of copies, at most",
    "privacy.copies.p_value": "nearest pair arises by chance, P",
    "privacy.attributes.p_value": "attributes guessed by chance, P",
}
"""Names for readers of what policies hold against a limit."""


class Line(NamedTuple):
    """One line of a table: who or what, how, what came out, and its grade as in :class:`.answers.Answer`."""

    who: str
    how: str
    found: str
    grade: str


def reasons(evidence: dict[str, Any]) -> list[str]:
    """Why the verdict is what it is: the rules that do not hold, the worst first; else what the audit says."""
    findings = [f for f in at(evidence, "policy.findings") or [] if isinstance(f, dict)]
    given = [str(reason) for reason in evidence.get("reasons") or []]
    told, absent = [], []
    for verdict in ("failed", "inconclusive"):
        for finding in findings:
            if finding.get("verdict") != verdict:
                continue
            measure = str(finding.get("measure", ""))
            name = PLAIN.get(measure, measure)
            value = finding.get("found")
            if value is None:
                absent.append(name)
            elif is_number(value):
                limit = f"{_value(value, measure)}; the policy allows {_limit(str(finding.get('limit', '')), measure)}"
                told.append(f"{sentence(str(finding.get('says', name)))[:-1]} ({limit}).")
            else:
                because = at(evidence, "privacy.gate.reasons") if measure == "privacy.gate.alarm" else None
                told.append(
                    sentence(
                        ": ".join([str(finding.get("says", name)), "; ".join(because or [])]).strip(": ")
                    )
                )
    if absent:
        told.append(f"Not measured: {', '.join(absent)}.")
    # What was said besides the rules.
    measures = [str(finding.get("measure", "")) for finding in findings]
    if told:
        told += [reason for reason in given if not any(measure in reason for measure in measures)]
    return told or given


def scope(evidence: dict[str, Any]) -> str:
    """What the verdict leaves out: sections on which the policy sets no limit, and weights that were not attacked."""
    findings = [f for f in at(evidence, "policy.findings") or [] if isinstance(f, dict)]
    if not findings:
        return ""
    judged = {str(finding.get("measure", "")).split(".")[0] for finding in findings}
    left = [name for name in ("fidelity", "usefulness", "realism") if name not in judged]
    words = (
        f"The policy sets no limit on {', '.join(left[:-1])}{' and ' if left[1:] else ''}{left[-1]}. "
        if left
        else ""
    )
    if not at(evidence, "privacy.model_access.finding"):
        words += "The verdict covers the pictures, not the generator."
    return words.strip()


def _value(value: float, measure: str) -> str:
    return percent(value) if _is_share(measure) else f"{value:.4g}"


def _limit(limit: str, measure: str) -> str:
    words = limit.split()
    try:
        words[-1] = percent(float(words[-1])) if _is_share(measure) else words[-1]
    except (ValueError, IndexError):
        return limit
    return " ".join(words)


def _is_share(measure: str) -> bool:
    return measure.startswith("privacy.copies.rate")


def attackers(evidence: dict[str, Any]) -> list[Line]:
    """Each attacker: what they hold, and what they found out."""
    return [_copies(evidence), _membership(evidence), _attributes(evidence), _weights(evidence)]


def _copies(evidence: dict[str, Any]) -> Line:
    who, how = "Looks for copies", "has the release; every picture is searched in every training picture"
    rate = section(evidence, "privacy.copies.rate")
    found = rate.get("copies", at(evidence, "privacy.gate.copies"))
    n = rate.get("n", at(evidence, "privacy.gate.n"))
    if not is_number(found) or not is_number(n):
        return Line(who, how, "not measured", "unknown")
    bound = f" (at most {percent(rate['high'], 2)}, 95% confidence)" if is_estimate(rate) else ""
    return Line(
        who,
        how,
        f"copies: {count(found)} of {count(n)}{bound}",
        "bad" if found else _worth(evidence, "caught_planted"),
    )


def _membership(evidence: dict[str, Any]) -> Line:
    who, how = "Asks who was in training", "has the release, and real pictures of the patients in question"
    gate = section(evidence, "privacy.gate")
    found = section(gate, "membership")
    if not found:
        spaces = section(evidence, "privacy.membership.spaces")
        found = next((space for space in spaces.values() if isinstance(space, dict)), {})
        p_value = at(evidence, "privacy.membership.p_value")
    else:
        p_value = found.get("p_value")
    if not is_estimate(found.get("auc")):
        return Line(who, how, "not measured", "unknown")
    copies = at(evidence, "privacy.gate.copies") or 0
    if "alarm" in gate:  # the gate's own level and margin decide, not another one's
        told = bool(gate["alarm"]) and len(gate.get("reasons") or []) > (1 if copies else 0)
    else:
        told = is_number(p_value) and p_value < 0.05
    words = "told from unseen ones" if told else "not told from unseen ones"
    return Line(
        who,
        how,
        f"{words}: AUC {interval(found['auc'])}, {p_words(p_value)}",
        "bad" if told else _worth(evidence, "caught_overfitted"),
    )


def _attributes(evidence: dict[str, Any]) -> Line:
    who, how = "Guesses an attribute", "has the release with its labels, and a known patient's picture"
    worst = section(evidence, "privacy.attributes.worst")
    risk = worst.get("risk")
    if not is_estimate(risk):
        return Line(who, how, "not measured", "unknown")
    words = (
        f"{worst.get('attribute', 'worst')}: {interval(risk, lambda v: percent(v, 0))} beyond unseen patients"
    )
    p_value = at(evidence, "privacy.attributes.p_value")
    words += f", {p_words(p_value)}" if is_number(p_value) else ""
    broken = broken_rules(evidence, ("privacy.attributes",))
    return Line(who, how, words, "bad" if broken else "fair" if risk["low"] > 0 else "good")


def _weights(evidence: dict[str, Any]) -> Line:
    who, how = "Holds the generator", "has its weights; matters only where these are shared"
    found = section(evidence, "privacy.model_access")
    if not found.get("finding"):
        return Line(who, how, "not measured: keep the weights inside", "unknown")
    attack: dict[str, Any] = next(
        (a for a in found.get("attacks") or [] if a.get("name") == found.get("strongest")), {}
    )
    words = {"found": "members are told", "not found": "members are not told"}.get(
        found["finding"], "inconclusive"
    )
    if is_estimate(attack.get("auc")):
        words += f": AUC {interval(attack['auc'])} ({attack['name']})"
    stages = at(found, "run.stages_not_attacked")
    if isinstance(stages, list) and stages:
        words += f"; not attacked: the weights of {', '.join(map(str, stages))}"
    return Line(who, how, words, {"found": "bad", "not found": "good"}.get(found["finding"], "unknown"))


def control_lines(evidence: dict[str, Any]) -> list[Line]:
    """The three sorts of controls, each with how often it came out."""
    found = section(evidence, "controls")
    listed = [c for c in found.get("controls") or [] if isinstance(c, dict)]
    lines = []
    for key, who, how, prefix, good, bad in (
        ("caught_planted", "Planted copies", "must be caught", "planted", "caught", "missed"),
        ("caught_overfitted", "Overfitted double", "must be caught", "overfitted", "caught", "missed"),
        ("passed_clean", "Unseen real patients", "must raise no alarm", "unseen", "no alarm", "false alarm"),
    ):
        own = [control for control in listed if str(control.get("name", "")).startswith(prefix)]
        ran = [control for control in own if control.get("pictures")]
        if found.get(key) is None or not (ran or found.get(key)):
            lines.append(Line(who, how, "not run", "unknown"))
            continue
        ok = found[key] is True
        words = good if ok else bad
        if prefix == "planted" and own:
            right = sum(control.get("ok") is True for control in own)
            named = sum(int(control.get("recalled") or 0) for control in own)
            planted = sum(int(control.get("planted") or 0) for control in own)
            words = f"{right} of {plural(len(own), 'trial')} caught ({named} of {planted} pictures named)"
        lines.append(Line(who, how, words, "good" if ok else "bad"))
    return lines


def _worth(evidence: dict[str, Any], control: str) -> str:
    """That nothing was found is good where the control shows that it would have been, and else unknown."""
    return "good" if at(evidence, f"controls.{control}") is True else "unknown"
