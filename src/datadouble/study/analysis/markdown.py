"""The tables of an analysis as Markdown."""

from __future__ import annotations

from typing import Any

from datadouble.audit.report.numbers import fixed, interval, p_value, percent


def _cell(text: Any) -> str:
    """Text that neither ends a cell nor starts markup of its own."""
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def markdown(evidence: dict[str, Any]) -> str:
    """All tables: readers, average, agreement, comparisons, classes."""
    blocks = [
        f"# {_cell(evidence['study']['title'])}\n",
        "Values with 95% intervals; n in study-evidence.json.\n",
    ]
    for task in evidence["tasks"]:
        blocks.append(f"## {_cell(task['part_title'])}: {_cell(task['text'])}\n")
        for name in task["sets"]:
            blocks.append(_readers(task, name))
        blocks.append(_agreement(task))
        blocks.append(_classes(task))
    for kind in ("parts", "origins"):
        for entry in evidence["comparisons"][kind]:
            blocks.append(f"## {_cell(entry['first'])} against {_cell(entry['second'])} ({entry['test']})\n")
            rows = [
                [
                    r["reader"],
                    *(interval(a) for a in r["areas"]),
                    interval(r),
                    p_value(r["p_value"]),
                    p_value(r["p_holm"]),
                ]
                for r in entry["readers"]
            ]
            blocks.append(
                _table(
                    ["Reader", _cell(entry["first"]), _cell(entry["second"]), "Difference", "P", "P (Holm)"],
                    rows,
                )
            )
    blocks.append("## Notes\n\n" + "\n".join(f"- {_cell(note)}" for note in evidence["notes"]) + "\n")
    return "\n".join(block for block in blocks if block)


def _readers(task: dict[str, Any], cases: str) -> str:
    rows = []
    for reader in task["readers"]:
        found = reader.get("sets", {}).get(cases, {})
        if "auc" not in found:
            continue
        rows.append(
            [
                reader["reader"] + ("" if reader["complete"] else " (unfinished)"),
                reader["group"],
                found["n"],
                interval(found["auc"]),
                interval(found["binormal"].get("auc")),
                interval(found["two_answer_auc"]),
                interval(found["sensitivity"], percent),
                interval(found["specificity"], percent),
                p_value(found["against_chance"]["p_holm"]),
                found["equivalence"]["verdict"],
            ]
        )
    if not rows:
        return ""
    head = ["Reader", "Group", "n", "AUC", "Binormal AUC", "Two-answer AUC", "Sensitivity", "Specificity"]
    return f"### Readers, {cases} images\n\n" + _table(
        [*head, "P against 0.5 (Holm)", "In 0.45 to 0.55?"], rows
    )


def _agreement(task: dict[str, Any]) -> str:
    rows = [
        [
            row["group"],
            row["cases"],
            row["readers"],
            interval(row.get("fleiss_kappa")),
            f"{fixed(row['fleiss_kappa']['minimum'])} to 1" if "fleiss_kappa" in row else "",
            interval(row.get("gwet_ac1")),
        ]
        for row in task["agreement"]
    ]
    if not rows:
        return ""
    return "### Agreement\n\n" + _table(
        ["Readers", "Images", "n readers", "Fleiss' kappa", "Attainable", "Gwet's AC1"], rows
    )


def _classes(task: dict[str, Any]) -> str:
    rows = [
        [
            row["origin"],
            row["label"],
            row["images"],
            *row["answers"].values(),
            interval(row.get("right"), percent),
        ]
        for row in task["confusion"]
    ]
    if not rows:
        return ""
    answers = [_cell(value) for value in task["confusion"][0]["answers"]]
    return "### By class\n\n" + _table(["Origin", "Class", "Images", *answers, "Right"], rows)
