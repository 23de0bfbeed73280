"""What the page says first: four answers in plain words, each from the evidence."""

from __future__ import annotations

from typing import Any, NamedTuple

from datadouble.audit.report.numbers import fixed, interval, is_estimate, percent, plural


class Answer(NamedTuple):
    """One card of the first screen; ``grade`` is ``"good"``, ``"fair"``, ``"bad"`` or ``"unknown"``."""

    question: str
    headline: str
    text: str
    grade: str


def answers(evidence: dict[str, Any]) -> list[Answer]:
    """The cards: can readers tell, each of them, do they agree, what deceived them."""
    task = _main(evidence)
    if task is None:
        return []
    return [_average(task), _each(task), _agreement(task), _deceived(task)]


def _main(evidence: dict[str, Any]) -> dict[str, Any] | None:
    """The task that answers the study: the first that asks real or synthetic, else the first with a truth."""
    tasks = evidence["tasks"]
    return next((t for t in tasks if t["scale"] and t["truth"] == "origin"), None) or next(
        (t for t in tasks if t["scale"]), None
    )


def _average(task: dict[str, Any]) -> Answer:
    origin = task["truth"] == "origin"
    question = "Can they tell real from synthetic?" if origin else "Can they grade the images?"
    average = ((task.get("average") or {}).get("sets") or {}).get("all")
    if not average:
        return Answer(question, "not known yet", "Fewer than two readers judged every image.", "unknown")
    value = average["random readers, random cases"]
    text = f"Area under the average reader's ROC curve, {interval(value)}: 0.5 is guessing, 1 is knowing. "
    text += f"{plural(task['average']['readers'], 'reader')}, {plural(task['cases'], 'image')}."
    if not origin:
        return Answer(question, f"AUC {value['value']:.2f}", text, "unknown")
    equal = average["equivalence"]
    grades = {"inside the band": "good", "outside the band": "bad"}
    words = {
        "inside the band": "No: they guess",
        "outside the band": "Yes" if value["value"] > 0.5 else "They take one for the other",
        "open: too few cases to say": "Open",
    }
    headline = words.get(equal["verdict"], "A little, perhaps")
    text += f" Equivalence to guessing within 0.45 to 0.55: {equal['verdict']}."
    return Answer(question, headline, text, grades.get(equal["verdict"], "fair"))


def _each(task: dict[str, Any]) -> Answer:
    rows = [
        r["sets"]["all"] for r in task["readers"] if is_estimate(r.get("sets", {}).get("all", {}).get("auc"))
    ]
    if not rows:
        return Answer("Each reader", "not known yet", "No reader has judged images of both kinds.", "unknown")
    areas = [row["auc"]["value"] for row in rows]
    spread = f"Areas from {min(areas):.2f} to {max(areas):.2f}."
    better = sum(row["against_chance"]["p_holm"] < 0.05 and row["auc"]["value"] > 0.5 for row in rows)
    if task["truth"] != "origin":
        headline = f"{better} of {len(rows)} better than guessing"
        return Answer("Each reader", headline, f"{spread} Tests adjusted by Holm.", "unknown")
    equal = sum(row["equivalence"]["equivalent"] for row in rows)
    text = (
        f"{spread} {better} of {len(rows)} do better than guessing (Holm). Not shown to be inside is not shown to be "
        "outside: look at the intervals."
    )
    return Answer("Each reader", f"{equal} of {len(rows)} inside the band", text, "unknown")


def _agreement(task: dict[str, Any]) -> Answer:
    row = next((r for r in task["agreement"] if r["group"] == "all readers" and r["cases"] == "all"), None)
    if row is None or not is_estimate(row.get("fleiss_kappa")):
        return Answer(
            "Do they agree?", "not known yet", "Fewer than two readers judged every image.", "unknown"
        )
    kappa = row["fleiss_kappa"]
    word = next(w for most, w in _LANDIS if kappa["value"] <= most)
    text = f"Fleiss' κ {interval(kappa)}; attainable: {fixed(kappa['minimum'])} to 1."
    same = [r["same"] for r in task["with_oneself"]]
    if same:
        n = sum(one["n"] for one in same)
        share = sum(one["value"] * one["n"] for one in same) / n
        text += (
            f" Shown the same image again, they repeated their answer in {percent(share, 0)} of {n} cases."
        )
    return Answer("Do they agree?", word, text, "unknown")


# Landis and Koch, Biometrics 1977;33:159: habitual words, not a test.
_LANDIS = (
    (0.0, "No more than by chance"),
    (0.2, "Slightly"),
    (0.4, "Fairly"),
    (0.6, "Moderately"),
    (0.8, "Substantially"),
    (1.0, "Almost perfectly"),
)


def _deceived(task: dict[str, Any]) -> Answer:
    found = task.get("deceived")
    if not found:
        return Answer(
            "What deceived most?", "not known yet", "Fewer than two readers judged every image.", "unknown"
        )
    images = sum(kind["images"] for kind in found["kinds"])
    expected = sum(kind["expected"] for kind in found["kinds"])
    parts = ", ".join(f"{kind['images']} of {kind['share']['n']} {kind['kind']}" for kind in found["kinds"])
    text = (
        f"Wrong by at least {found['least_wrong']} of {found['readers']} readers: {parts}. If they erred independently "
        f"there would be {expected:.0f}."
    )
    return Answer("What deceived most?", plural(images, "image"), text, "unknown")
