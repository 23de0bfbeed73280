"""The usefulness table, laid out as Table 4 of the CoLDiT paper, with the arm that it lacks."""

from __future__ import annotations

from typing import Any


def markdown_table(found: dict[str, Any]) -> str:
    """Markdown of what :func:`~datadouble.audit.utility.assess_utility` returned: one line an arm, controls last."""
    lines = [
        "| trained on | real + synthetic | AUC | sensitivity | specificity | F1 | AUC against real | DeLong P (Holm) "
        "| Wilcoxon P | within ±{:g} |".format(found["margin"]),
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in [*found["arms"].values(), *found["controls"].values()]:
        cells = [
            entry["words"],
            f"{entry['train_real']:.0f} + {entry['train_synthetic']:.0f}",
            *(_cell(entry[key]) for key in ("auc", "sensitivity", "specificity", "f1")),
        ]
        against = entry.get("against_real")
        if against is None:
            cells += ["", "", "", ""]
        else:
            adjusted = against.get("delong_p_holm")
            delong = p_words(against["delong_p"])
            cells += [
                _cell(against["difference"], signed=True),
                delong if adjusted is None else f"{delong} ({p_words(adjusted)})",
                p_words(against["wilcoxon_p"]),
                f"{'yes' if against['equivalent'] else 'no'}, P = {p_words(against['equivalence_p'])}",
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def p_words(value: float | None) -> str:
    """A p-value to two digits, or that it is below 0.001."""
    if value is None:
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.2g}"


def _cell(estimate: dict[str, Any], *, signed: bool = False) -> str:
    if estimate["value"] is None:
        return "–"
    form = "+.3f" if signed else ".3f"
    return f"{estimate['value']:{form}} ({estimate['low']:{form}}, {estimate['high']:{form}})"
