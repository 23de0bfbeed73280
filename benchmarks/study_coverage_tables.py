"""Tables of study_coverage.py: what was covered, what was not, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datadouble import files, stats

COVERAGE = (0.93, 0.97)
SIZE = (0.035, 0.065)
SHOWN_90 = (0.88, 0.92)
# What the analysis of a study does not print: listed to compare with other programs.
NOT_PRINTED = {
    "one reader, confidence ratings": ("AUC, delong", "binormal a", "binormal b"),
    "two answers": (
        "two-answer AUC, delong",
        "two-answer AUC, binomial",
        "sensitivity and specificity, wilson-cc",
        "sensitivity and specificity, clopper-pearson",
    ),
    "agreement": ("Cohen's kappa, linear weights",),
}
TESTS = ("MRMC type I error", "equivalence, size")
# (how group and interval begin, what the scenario holds, why)
REASONS: tuple[tuple[str, str, str], ...] = (
    (
        "one reader, confidence ratings: AUC, delong",
        "",
        "`delong` is listed to compare with other programs: symmetric, it is too short for few cases and areas far "
        "from 0.5. `delong-logit` is the one to print.",
    ),
    (
        "one reader, confidence ratings: ",
        "",
        "binormal fits of few cases, or of areas near 1: maximum likelihood is normal only for many cases, and samples "
        "without a maximum are left out (`n` in coverage.json counts the rest). b is too short at 20 + 20, the others "
        "err on the wide side.",
    ),
    (
        "two answers: two-answer AUC, binomial",
        "",
        "`binomial`, as MedCalc prints it, takes all answers for one proportion: too wide where sensitivity and "
        "specificity differ. Listed to compare with print; the two-answer AUC has its own interval.",
    ),
    (
        "two answers: two-answer AUC, delong",
        "",
        "`delong` on yes/no answers: listed to compare; with a handful of errors it holds too much or too little.",
    ),
    (
        "two answers: two-answer AUC",
        "excellent",
        "Readers who err once or twice in 40 images: the possible counts are few, and coverage jumps between them. "
        "Where any of right and wrong, positive and negative was given fewer than 5 times the analysis says so.",
    ),
    (
        "shares and d'",
        "",
        "Readers of whose answers one kind (hit, miss, false alarm, correct rejection) comes less than 5 times: the "
        "correction that keeps d' finite, and few possible counts, make the intervals wide. The analysis says so "
        "there.",
    ),
    (
        "ranks of a few readers",
        "",
        "The interval of 6 differences runs from the least to the greatest and holds exactly 1 - 2/64 = 96.9%.",
    ),
    (
        "two answers: sensitivity and specificity, wilson-cc",
        "",
        "`wilson-cc` and `clopper-pearson` are made to hold at least 95%, and hold more: `wilson` is the one to print.",
    ),
    (
        "two answers: sensitivity and specificity, clopper-pearson",
        "",
        "`wilson-cc` and `clopper-pearson` are made to hold at least 95%, and hold more: `wilson` is the one to print.",
    ),
    (
        "agreement: Fleiss",
        "rare",
        "Where one answer is rare (some 10 in 100 items) kappa rests on those few items and its symmetric interval, "
        "the usual one, is too short. In other samples a logit scale held 93.9% where this held 92.3%, but 83% and 80% "
        "of 40 items: no scale mends it. The analysis says so "
        "where an answer is given in less than 15% of looks; read AC1 beside it.",
    ),
    (
        "equivalence, size",
        "20 + 20",
        "20 + 20 cases cannot show equivalence within 0.05 whatever the truth (see the power): the test errs on the "
        "safe side.",
    ),
)


def rows(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row an interval and scenario."""
    made = []
    for part in found:
        for interval, (hits, trials) in part["counts"].items():
            share = stats.proportion_estimate(hits, trials, method="wilson")
            target: tuple[float, float] | None = SIZE if part["group"] in TESTS else COVERAGE
            if part["group"] == "equivalence, power":
                target = None
            elif "90%" in interval:
                target = SHOWN_90
            made.append(
                {
                    "group": part["group"],
                    "interval": interval,
                    "scenario": part["scenario"],
                    "share": share.value,
                    "low": share.low,
                    "high": share.high,
                    "n": trials,
                    "studies": part["studies"],
                    "printed": interval not in NOT_PRINTED.get(part["group"], ()),
                    "target": target,
                    "within": None if target is None else target[0] <= share.value <= target[1],
                    "reason": _reason(part["group"], interval, part["scenario"]),
                }
            )
    return made


def _reason(group: str, interval: str, scenario: str) -> str:
    for begins, needle, reason in REASONS:
        if f"{group}: {interval}".startswith(begins) and needle in scenario:
            return reason
    return ""


def write(found: list[dict[str, Any]], out: Path) -> None:
    """Write coverage.json and coverage.md."""
    out.mkdir(parents=True, exist_ok=True)
    made = rows(found)
    seconds = sum(part["seconds"] for part in found)
    files.write_json(out / "coverage.json", {"rows": made, "seconds": seconds})
    judged = [row for row in made if row["within"] is not None and row["printed"]]
    others = [row for row in made if row["within"] is not None and not row["printed"]]
    least = min(part["studies"] for part in found)
    lines = [
        "# Coverage of a reader study's intervals",
        "",
        "`nice -n 10 python benchmarks/study_coverage.py --cache CACHE --out results/study`",
        "",
        f"{least:,} simulated studies a row (more where a row says so): equal-variance binormal readers, the "
        "Roe-Metz model for several. Nominal 95% intervals should hold the truth in 93-97% of studies, tests at 5% "
        "should reject a true null in 3.5-6.5%. The simulation's own error is about 0.7 points.",
        "",
        f"**Of what a study's analysis prints, {sum(row['within'] for row in judged)} of {len(judged)} figures are "
        "within**; the others are marked ✗ and explained. Columns with † are not printed: methods of other programs "
        f"and papers, listed to compare ({sum(row['within'] for row in others)} of {len(others)} within). It took "
        f"{seconds / 60:.0f} minutes of one core of a loaded machine.",
    ]
    for group in dict.fromkeys(row["group"] for row in made):
        lines += ["", f"## {group[0].upper()}{group[1:]}", ""]
        members = [row for row in made if row["group"] == group]
        scenarios = list(dict.fromkeys(row["scenario"] for row in members))
        names = list(dict.fromkeys(row["interval"] for row in members))
        heads = [name + ("" if name not in NOT_PRINTED.get(group, ()) else " †") for name in names]
        lines += ["| scenario | " + " | ".join(heads) + " |", "|---" * (len(names) + 1) + "|"]
        for scenario in scenarios:
            cells = {row["interval"]: row for row in members if row["scenario"] == scenario}
            some = next(iter(cells.values()))
            more = f" ({some['studies']:,} studies)" if some["studies"] > least else ""
            lines.append(
                f"| {scenario}{more} | " + " | ".join(_cell(cells.get(name)) for name in names) + " |"
            )
        reasons = dict.fromkeys(row["reason"] for row in members if row["within"] is False)
        lines += [""] + [f"- {reason or 'Marked without a reason: look into it.'}" for reason in reasons]
    files.write_text(out / "coverage.md", "\n".join(lines).rstrip() + "\n")


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    text = f"{100 * row['share']:.1f}%"
    return f"**{text}** ✗" if row["within"] is False else text
