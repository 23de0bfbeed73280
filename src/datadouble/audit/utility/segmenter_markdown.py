"""The segmenters' tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datadouble.audit.utility.segmenter_scores import MEASURE_WORDS, MEASURES
from datadouble.audit.utility.segmenter_settings import WORDS
from datadouble.audit.utility.table import p_words


def segmenters_markdown(found: dict[str, Any]) -> str:
    """The tables: one for each test set, rows as in the paper, then what synthetic training is worth against real."""
    kinds = list(dict.fromkeys(kind for arm in found["arms"].values() for kind in arm["kinds"]))
    lines = []
    for test, n in found["n"].items():
        lines += [
            f"### {test[:1].upper()}{test[1:]} test: {n['cases']} cases of {n['patients']} patients",
            "",
            "| trained on | " + " | ".join(f"{WORDS[k]} DSC | F1 | accuracy" for k in kinds) + " |",
            "|---|" + "---|---|---|" * len(kinds),
        ]
        for arm in found["arms"].values():
            cells = []
            for kind in kinds:
                cell = arm["kinds"].get(kind, {}).get(test)
                cells += ["–"] * 3 if cell is None else [_words(cell[name]) for name in MEASURES]
            lines.append(f"| {arm['words']} ({arm['n']['cases']}) | " + " | ".join(cells) + " |")
        floor = found["floor"][test]
        blind = " | ".join(f"{floor[name]:.3f}" for name in MEASURES)
        lines += [f"| *one answer for all* |{f' {blind} |' * len(kinds)}", ""]
    lines += [
        f"### Against real 2D, equivalence within ±{found['margin']:g} (two one-sided tests)",
        "",
        "| trained on | segmenter | test | measure | difference | equivalent | P | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm in found["arms"].values():
        for kind, tests in arm["kinds"].items():
            for test, cell in tests.items():
                for name, against in cell.get("against_real", {}).items():
                    lines.append(
                        f"| {arm['words']} | {WORDS[kind]} | {test} | {MEASURE_WORDS[name]} | "
                        f"{_words(against['difference'], '+.3f')} | "
                        f"{'yes' if against['equivalent'] else 'no'} | {p_words(against['equivalence_p'])} | "
                        f"{against['verdict']} |"
                    )
    lines += ["", *(f"- {note}" for note in found["notes"])]
    return "\n".join(lines).rstrip() + "\n"


def _words(estimate: Mapping[str, Any], form: str = ".3f") -> str:
    if estimate["value"] is None:
        return "–"
    if estimate["low"] is None:
        return f"{estimate['value']:{form}}"
    return f"{estimate['value']:{form}} ({estimate['low']:{form}}, {estimate['high']:{form}})"
