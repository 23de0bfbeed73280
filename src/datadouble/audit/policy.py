"""The policy: thresholds fixed before the audit, and the verdict taken against them."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from datadouble import files
from datadouble.audit.privacy.gate import GateLimits
from datadouble.errors import DataDoubleError, suggest

DEFAULT = Path(__file__).parent / "policies" / "default.toml"
VERDICTS = ("passed", "inconclusive", "failed")  # from the best to the worst


@dataclass(frozen=True)
class Rule:
    """One threshold on one number of the evidence.

    Parameters
    ----------
    measure : str
        Path in ``evidence.json``, joined by dots: ``"privacy.copies.rate.high"``.
    says : str
        The reason to give where it is broken.
    otherwise : str
        Verdict where the number is on the wrong side: ``"failed"`` or ``"inconclusive"``.
    at_most, at_least, equals : number or bool, optional
        Exactly one.
    missing : str
        Verdict where the number is absent or null.
    """

    measure: str
    says: str
    otherwise: str
    at_most: float | None = None
    at_least: float | None = None
    equals: bool | float | str | None = None
    missing: str = "inconclusive"

    def faults(self) -> list[str]:
        """Everything wrong with the rule, in words."""
        found = []
        if sum(value is not None for value in (self.at_most, self.at_least, self.equals)) != 1:
            found.append("needs exactly one of at_most, at_least and equals")
        for key, value in (("at_most", self.at_most), ("at_least", self.at_least)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                found.append(f"{key} is {value!r}, not a number")
        if self.otherwise not in VERDICTS[1:]:
            found.append(f"otherwise is {self.otherwise!r}, not failed or inconclusive")
        if self.missing not in VERDICTS:
            found.append(f"missing is {self.missing!r}, not {', '.join(VERDICTS)}")
        return found

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is on the right side."""
        if self.equals is not None:
            return bool(value == self.equals)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return value <= self.at_most if self.at_most is not None else value >= (self.at_least or 0.0)

    def limit(self) -> str:
        """The threshold in words."""
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return f"at least {self.at_least:g}" if self.at_least is not None else str(self.equals).lower()


@dataclass(frozen=True)
class Policy:
    """A named list of rules, the limits of the privacy gate, and the fingerprint of the file that they came from."""

    name: str
    rules: tuple[Rule, ...]
    gate: GateLimits
    fingerprint: str

    @classmethod
    def read(cls, path: Path | None = None) -> Policy:
        """Read a policy file; without one, the default.

        Raises
        ------
        DataDoubleError
            Where the file is missing or no TOML; all faulty rules are listed at once.
        """
        path = DEFAULT if path is None else Path(path)
        try:
            text = path.read_text(encoding="utf-8")
            content = tomllib.loads(text)
        except FileNotFoundError as error:
            raise DataDoubleError(
                "the policy file is missing",
                where=path.name,
                remedy="give a file, or none for the default policy",
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DataDoubleError("this is no TOML", where=path.name, found=str(error)) from error
        faults = [f"unknown key {key!r}" for key in content if key not in ("name", "rules", "gate")]
        limits = content.get("gate", {})
        gate_keys = [item.name for item in fields(GateLimits)]
        faults += [
            f"gate: unknown key {key!r}: {suggest(key, gate_keys)}" for key in limits if key not in gate_keys
        ]
        faults += [
            f"gate: {key} is {value!r}, not a number"
            for key, value in limits.items()
            if isinstance(value, bool) or not isinstance(value, int | float)
        ]
        known = [item.name for item in fields(Rule)]
        rules = []
        for number, entry in enumerate(content.get("rules", []), start=1):
            wrong = [f"unknown key {key!r}: {suggest(key, known)}" for key in entry if key not in known]
            wrong += [f"no {key}" for key in ("measure", "says", "otherwise") if not entry.get(key)]
            if not wrong:
                rule = Rule(**entry)
                wrong = rule.faults()
                rules.append(rule)
            faults += [f"rule {number}: {fault}" for fault in wrong]
        if not faults and not rules:
            faults.append("no rules")
        if faults:
            raise DataDoubleError(
                "the policy cannot be used",
                where=path.name,
                found="; ".join(faults),
                remedy="correct the rules named; docs/reference/policy.md says what each key means",
            )
        return cls(
            str(content.get("name", path.stem)), tuple(rules), GateLimits(**limits), files.fingerprint(text)
        )

    def to_json(self) -> dict[str, Any]:
        """Name, fingerprint, the gate's limits and every rule, for the evidence."""
        rules = [
            {
                item.name: getattr(rule, item.name)
                for item in fields(Rule)
                if getattr(rule, item.name) is not None
            }
            for rule in self.rules
        ]
        return {"name": self.name, "fingerprint": self.fingerprint, "gate": asdict(self.gate), "rules": rules}


class Finding(NamedTuple):
    """What one rule found: the verdict it asks for, and the line of the record."""

    measure: str
    limit: str
    found: Any
    verdict: str
    says: str

    def reason(self) -> str:
        """One sentence for the list of reasons."""
        if self.found is None:
            return f"Not measured: {self.measure} (policy: {self.limit})."
        found = f"{self.found:.4g}" if isinstance(self.found, float) else str(self.found).lower()
        return f"{self.says[0].upper()}{self.says[1:]}: {self.measure} is {found}, policy: {self.limit}."


class Judgement(NamedTuple):
    """The verdict, why, and every rule's finding."""

    verdict: str
    reasons: list[str]
    findings: list[Finding]


def judge(evidence: dict[str, Any], policy: Policy) -> Judgement:
    """Hold the numbers of an audit against a policy; the worst finding is the verdict.

    A control that did not come out makes a pass worthless but no failure milder: ``failed`` outweighs
    ``inconclusive``.

    Parameters
    ----------
    evidence : dict
        As in ``evidence.json``.
    policy : Policy
    """
    findings = []
    for rule in policy.rules:
        value = _at(evidence, rule.measure)
        if value is None:
            verdict = rule.missing
        else:
            verdict = "passed" if rule.holds(value) else rule.otherwise
        findings.append(Finding(rule.measure, rule.limit(), value, verdict, rule.says))
    worst = max((VERDICTS.index(finding.verdict) for finding in findings), default=1)
    order = sorted(findings, key=lambda finding: -VERDICTS.index(finding.verdict))
    reasons = [finding.reason() for finding in order if finding.verdict != "passed"]
    return Judgement(
        VERDICTS[worst], reasons or [f"Every rule of the policy '{policy.name}' holds."], findings
    )


def _at(evidence: dict[str, Any], path: str) -> Any:
    value: Any = evidence
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    if isinstance(value, float) and value != value:
        return None
    return value
