"""The first screen's four answers: how faithful, how useful, how safe, how real. Each follows from the numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

from datadouble.audit.report.numbers import (
    at,
    count,
    interval,
    is_estimate,
    is_number,
    number,
    p_words,
    percent,
    plural,
    section,
    sentence,
    signed,
)


class Answer(NamedTuple):
    """One card.

    ``grade`` is ``"good"``, ``"fair"`` (a difference that a reader should know of), ``"bad"`` or ``"unknown"`` (not
    measured, or worth nothing without its controls). ``headline`` is a few words, ``text`` one or two sentences, and
    ``detail`` the small print.
    """

    question: str
    grade: str
    headline: str
    text: str
    detail: str = ""


MISSING = "Not measured"


def answers(evidence: dict[str, Any]) -> list[Answer]:
    """The four cards of an audit's evidence."""
    return [faithful(evidence), useful(evidence), safe(evidence), real(evidence)]


def faithful(evidence: dict[str, Any]) -> Answer:
    """Distances beside real against real, and variety."""
    question = "How faithful?"
    overall = section(evidence, "fidelity.overall")
    kid, fd = overall.get("kid"), overall.get("fd")
    if not is_estimate(kid) or not is_number(at(kid, "floor.value")):
        note, value = overall.get("note"), at(kid, "value")
        if is_number(value):
            name, beside = at(kid, "name") or "Distance", number(at(kid, "floor.value"))
            text = (
                f"{name} is {number(value)}, real against real {beside}, but too few patients for an interval"
            )
            return Answer(
                question, "unknown", "Too few to say", f"{text} (n = {count(overall.get('n'))} a side)."
            )
        text = f"{note}: no distance" if note else "the distances were left out"
        return Answer(question, "unknown", MISSING, sentence(text))
    n = f"n = {count(overall.get('n'))} a side"
    floor = kid["floor"]
    told_apart = kid["low"] > max(floor.get("high") or 0.0, 0.0)
    too_near = kid["high"] < min(floor.get("low") or 0.0, 0.0)
    ratio = _ratio(fd)
    if too_near:
        grade, headline = "fair", "Suspiciously close"
        text = "Nearer to the real pictures than real patients are to each other: look for copies"
    elif told_apart:
        grade, headline = "fair", "Differs from real"
        text = "Its pictures as a whole differ from real ones"
        if ratio is not None:
            text += f": {ratio:.1f} times as far from them as two groups of real patients are from each other"
    else:
        grade, headline = "good", "Not told apart"
        text = "As a whole it lies no farther from real pictures than real patients do from each other"
    measured = fd if is_estimate(fd) and ratio is not None else kid
    text = f"{text} ({measured.get('name', 'distance')} {interval(measured, number)}, real against real "
    text += f"{number(at(measured, 'floor.value'))}; {n})."
    return Answer(question, grade, headline, f"{text} {_variety(evidence)}".strip())


def _variety(evidence: dict[str, Any]) -> str:
    covered = section(evidence, "fidelity.coverage.covered")
    text = ""
    if is_estimate(covered):
        honest = at(covered, "floor.value")
        honest = covered.get("expected") if honest is None else honest
        beside = f"; other real patients: {percent(honest, 0)}" if honest is not None else ""
        text = f"It covers {percent(covered['value'], 0)} of the real variety{beside}."
    lost = at(evidence, "fidelity.coverage.lost")
    if is_number(lost) and lost:
        kinds = plural(len(at(evidence, "fidelity.coverage.modes") or []), "kind")
        text += f" Of {kinds} of real picture, {lost:,} have less than half of their share."
    return text


def _ratio(fd: Any) -> float | None:
    floor = at(fd, "floor.value")
    if not is_estimate(fd) or not is_number(floor) or floor <= 0:
        return None
    return float(fd["value"] / floor)


VERDICTS = {
    "equivalent": ("good", "As good as real"),
    "better": ("good", "Better than real"),
    "worse": ("fair", "Less than real"),
    "no difference shown": ("unknown", "Too few to say"),
}


def useful(evidence: dict[str, Any]) -> Answer:
    """Trained on synthetic, tested on real."""
    question = "How useful?"
    found = section(evidence, "usefulness.classification")
    head = section(found, "headline")
    ours, theirs = head.get("auc_synthetic"), head.get("auc_real")
    task, what, tested = "a classifier", "AUC", at(found, "n.test")
    if not is_estimate(ours) or not is_estimate(theirs):
        found = section(evidence, "usefulness.segmentation")
        head = section(found, "headline")
        ours, theirs = head.get("dice_synthetic"), head.get("dice_real")
        task, what, tested = "a network that outlines lesions", "Dice", at(found, "n.test")
    if not is_estimate(ours) or not is_estimate(theirs):
        return Answer(question, "unknown", MISSING, "No network was trained on the double.")
    verdict = str(head.get("verdict", ""))
    grade, headline = VERDICTS.get(verdict.split(",")[0], ("unknown", "See below"))
    if "within the margin" in verdict:
        grade, headline = "good", "Nearly as good as real"
    margin = found.get("margin")
    text = (
        f"Trained on the double alone, {task} reaches {what} {interval(ours)} on {count(tested)} unseen real pictures; "
        f"trained on real ones, {interval(theirs)}."
    )
    if is_estimate(head.get("difference")):
        text += f" Difference {interval(head['difference'], lambda v: signed(v, 2))}"
        text += f"; up to ±{margin:g} would not matter." if is_number(margin) else "."
    low = theirs["low"]
    if what == "AUC" and low is not None and low <= 0.5:
        grade, headline = "unknown", "The task cannot tell"
        text += " Real pictures do not teach this task either: it says nothing of the double."
    if head.get("controls_passed") is None:
        text += " Its controls were not run."
    if head.get("controls_passed") is False:
        grade, headline = "unknown", "Control failed"
        text += " A control of this test failed: read nothing into it."
    return Answer(question, grade, headline, text)


CONTROLS = ("caught_planted", "caught_overfitted", "passed_clean")


def controls_came_out(evidence: dict[str, Any]) -> bool | None:
    """Whether all three sorts of controls came out; None where they were not run."""
    found = section(evidence, "controls")
    if not any(key in found for key in CONTROLS):
        return None
    return all(found.get(key) is True for key in CONTROLS)


def safe(evidence: dict[str, Any]) -> Answer:
    """The gate's alarm, worth what its controls are worth."""
    question = "How safe?"
    gate = section(evidence, "privacy.gate")
    broken = broken_rules(evidence, ("privacy.", "double."))
    detail = _upper_bound(evidence)
    if gate.get("alarm") is True:
        told = [sentence(str(reason)) for reason in gate.get("reasons") or ["the gate raised the alarm"]]
        return Answer(question, "bad", "Alarm", " ".join(told), detail)
    if broken:
        return Answer(
            question, "bad", "Not safe", " ".join(sentence(rule["says"]) for rule in broken), detail
        )
    if gate.get("alarm") is not False:
        return Answer(
            question,
            "unknown",
            MISSING,
            "The privacy gate was not run: that nothing looks alike does not show that no patient can be recognised.",
        )
    text = _no_copies(evidence)
    if is_estimate(at(gate, "membership.auc")):
        text += (
            " Patients that it learned from are not told from unseen ones (AUC "
            f"{interval(at(gate, 'membership.auc'))}, 0.5 is guessing; {count(at(gate, 'membership.auc.n'))} patients)."
        )
    came_out = controls_came_out(evidence)
    if not came_out:
        why = "its controls were not run" if came_out is None else "a control did not come out"
        return Answer(
            question, "unknown", "Not proven", f"No alarm, but {why}, so that proves nothing. {text}", detail
        )
    weak = broken_rules(evidence, ("privacy.",), "inconclusive")
    if weak:
        says = "; ".join(str(rule["says"]) for rule in weak)
        return Answer(question, "unknown", "Not proven", f"No alarm, but {says}. {text}", detail)
    return Answer(question, "good", "No alarm", text.strip(), detail)


def _no_copies(evidence: dict[str, Any]) -> str:
    n, copies = at(evidence, "privacy.gate.n"), at(evidence, "privacy.gate.copies")
    rate = section(evidence, "privacy.copies.rate")
    n = rate.get("n", n)
    if not is_number(n) or (copies is None and not rate):
        return ""
    text = f"No copy of a training picture among {count(n)}"
    return text + (
        f" (at most {percent(rate['high'], 2)}, 95% confidence)." if is_number(rate.get("high")) else "."
    )


def _upper_bound(evidence: dict[str, Any]) -> str:
    worst = section(evidence, "privacy.attributes.worst")
    if not is_estimate(worst.get("risk")):
        return ""
    beyond = interval(worst["risk"], lambda v: percent(v, 0))
    name, chance = worst.get("attribute", "the worst"), p_words(at(evidence, "privacy.attributes.p_value"))
    return f"Attributes: {name} guessed {beyond} better than of unseen patients, {chance}."


def broken_rules(
    evidence: dict[str, Any], prefixes: tuple[str, ...], verdict: str = "failed"
) -> list[dict[str, Any]]:
    """Findings of the policy with a verdict, on measures that begin with one of the prefixes."""
    return [
        finding
        for finding in at(evidence, "policy.findings") or []
        if isinstance(finding, dict)
        and finding.get("verdict") == verdict
        and str(finding.get("measure", "")).startswith(prefixes)
        and finding.get("found") is not None
        and finding.get("measure") != "privacy.gate.alarm"
    ]


def real(evidence: dict[str, Any]) -> Answer:
    """Whether a network tells synthetic from real pictures; readers have a study of their own.

    What is found counts where the same method finds nothing between real and real; what is not found counts only
    where it would have found a planted artefact.
    """
    question = "How real?"
    methods = _methods(evidence)
    if not methods:
        return Answer(
            question,
            "unknown",
            MISSING,
            "No network was trained to tell synthetic from real, and no reader study was read in.",
        )
    told = [
        method
        for method in methods
        if method[1]["auc"]["low"] > 0.5 and at(method[1], "controls.real_against_real.passed") is not False
    ]
    who, found = max(told, key=lambda method: method[1]["auc"]["value"]) if told else methods[0]
    auc = found["auc"]
    share = interval(auc, lambda value: percent(value, 1 if auc["value"] > 0.95 else 0))
    text = (
        f"{who} finds the synthetic picture in {share} of pairs; 50% is guessing "
        f"(n = {count(found.get('n'))} a side). That is a machine's eye: a reader study asks people's."
    )
    if told:
        headline = "A machine can tell" if auc["value"] >= 0.9 else "A machine often can tell"
        return Answer(question, "fair", headline, text)
    if found.get("controls_passed") is False:
        return Answer(
            question, "unknown", "Control failed", f"{text} Its own control failed: read nothing into it."
        )
    if found.get("controls_passed") is None:
        return Answer(question, "unknown", "Not told apart", f"{text} Without its control that is no proof.")
    return Answer(question, "good", "Not told apart", text)


def _methods(evidence: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What was trained to tell synthetic from real, in words, with what it found; the network first."""
    network = section(evidence, "realism.discriminator")
    found = [("A network trained to tell synthetic from real", network)] if network else []
    for probe in probes(evidence):
        name, _, features = str(probe.get("name", "linear probe")).partition("(")
        found.append((f"A {name}" + (f" on {features.rstrip(')')} features" if features else ""), probe))
    return [(who, method) for who, method in found if is_estimate(method.get("auc"))]


def probes(evidence: dict[str, Any]) -> list[dict[str, Any]]:
    """The linear probes, whether the evidence lists them or names them."""
    listed = at(evidence, "realism.probes") or []
    values = listed.values() if isinstance(listed, dict) else listed
    return [probe for probe in values if isinstance(probe, dict)]
