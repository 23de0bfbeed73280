"""The tables of lesion_table.py in Markdown, beside the figures of Wen et al. (J Med Imaging 2026;13(2):024002)."""

from collections.abc import Mapping
from typing import Any

from lesion_plan import LESION_DOUBLES, SCAN_RECIPES

NOTES = """\
How to read it. Differences are paired: the same resamples of patients on both sides. Segmenters of all rows took
equally many steps. F1 is over the pixels of all unseen lesion pictures together, Dice and IoU are means over pictures;
pictures without a lesion count in the false alarms alone. Patients with look-alike pictures count as one. Intervals
are 95%, over patients{trainings}; those of distances and IS are t intervals over folds, somewhat too narrow, for
folds share training patients. FD, {kid} and IS compare lesion pictures only, at equal class shares and numbers on both
sides ({n_fd} a side in the first fold); below some 5,000 pictures FD is biased upwards, so read it against its floor,
two sets of real patients at the same n. IS of few grey pictures says little. Real IS: {real_is}.

Limits. A row at a share of the patients trains its segmenter on that share, and `classical augmentation` sees no more;
but the generator of lesions learned from all of the fold's train patients. The discriminator is {network}
(preset `{realism}`){stand_in}; it saw the doubles of all folds ({n_auc} a side), never one patient or healthy scan in
training and scoring, and counts where its controls passed. It is not asked about classical augmentation, which
shows the very patients of the other side. Doubles on real scans hold patients' pixels: they are for one's own training
set, and the release gate refuses them.

Against the paper, of which only the abstract is public: it draws lesions with Stable Diffusion fine-tuned at 240 px,
here a small network drew pictures of {size} px; its pictures were split one by one, here by patient with look-alikes
together; it does not say on what pictures and at what n its FID, IS and AUC stand, nor its U-Net's size and budget. Its
FID is of the Inception network{fd_note}. So no row of ours is a repetition of its figures.
"""


def number(value: Mapping[str, Any] | None, digits: int = 3, sign: bool = False) -> str:
    """A value with its interval."""
    if not value or value.get("value") is None:
        return "–"
    form = f"{'+' if sign else ''}.{digits}f"
    low, high = value.get("low"), value.get("high")
    interval = f" ({low:{form}}, {high:{form}})" if low is not None and high is not None else ""
    return f"{value['value']:{form}}{interval}"


def experiments_markdown(found: Mapping[str, Any]) -> str:
    """All tables, notes, commands and costs."""
    plan, n = found["plan"], found["n"]
    rows = found["segmenters"]
    whole = [row for row in rows if row["fraction"] == 1]
    scans = f"`{plan['backgrounds']}`" if plan["backgrounds"] in SCAN_RECIPES else "a given cohort"
    lines = [
        f"# Lesion recipe: {plan['name']}, {plan['folds']} folds\n",
        f"{n['all']['pictures']} pictures of {n['all']['patients']} patients, {n['lesions']['pictures']} with lesions; "
        f"each patient is tested once, by networks that never saw them, nor did their generators. Recipe `lesion`, "
        f"preset `{plan['preset']}`, {plan['size']} px, {plan['per_class']} pictures a class in each double; synthetic "
        f"healthy scans: {scans}. U-Net of "
        f"{found['settings']['size']} px, {found['settings']['steps']} steps.\n",
        *main_table(found, whole),
        *share_table(rows),
        *realism_table(found["realism"]),
    ]
    for test in [name for name in n if name not in ("all", "lesions")]:
        lines += external_table(test, n[test], whole)
    lines += [notes(found), "## Commands and cost\n"]
    lines += ["```bash", *found["commands"], "```", *cost_lines(found)]
    return "\n".join(lines) + "\n"


def main_table(found: Mapping[str, Any], rows: list[Mapping[str, Any]]) -> list[str]:
    """Everything at all train patients, beside the paper."""
    distances, realism = found["distances"], found["realism"]
    first = next(iter(distances.values()))
    names = {key: first.get(key, {}).get("name", key.upper()) for key in ("fd", "kid")}
    score = first.get("inception_score", {}).get("name", "IS")
    lines = [
        f"| trained on | F1 | Dice | IoU | F1 less real | Dice less real | {names['fd']} | its floor | {names['kid']} "
        f"| its floor | {score} | AUC, real against synthetic | false alarms |",
        "|---" * 13 + "|",
        "| *paper, real alone* | *0.870* |" + " |" * 11,
        "| *paper, with synthetic* | *0.896* | | | *+0.026* | | *FID 15.2* | | | | *1.79* | *0.563 (ResNet-101)* | |",
    ]
    for row in rows:
        at, less = row["folds"], row["folds"].get("less_real", {})
        of = distances.get(row["double"], {})
        fd, kid = of.get("fd", {}), of.get("kid", {})
        judged = realism.get(row["double"])
        cells = [
            *(number(at.get(key)) for key in ("f1", "dice", "iou")),
            *(number(less.get(key), sign=True) for key in ("f1", "dice")),
            number(fd, 1),
            number(fd.get("floor"), 1),
            number(kid, 4),
            number(kid.get("floor"), 4),
            number(of.get("inception_score", {}).get("synthetic"), 2),
            auc(judged),
            number(at.get("false_alarms"), 2),
        ]
        lines.append(f"| {row['words']} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def auc(judged: Mapping[str, Any] | None) -> str:
    """An area, and whether it may be believed."""
    if judged is None:
        return "–"
    return number(judged["auc"]) + ("" if judged["controls_passed"] else ", *controls failed*")


def share_table(rows: list[Mapping[str, Any]]) -> list[str]:
    """Less real data."""
    shares = sorted({row["fraction"] for row in rows})
    if len(shares) < 2:
        return []
    chosen = [row for row in rows if row["double"] in ("", "augment", "synthetic")]
    lines = [
        "## Less real data\n",
        "| share of train patients | trained on | F1 | Dice | F1 less real of that share | Dice less it |",
        "|---" * 6 + "|",
    ]
    for share in shares:
        for row in (row for row in chosen if row["fraction"] == share):
            less = row["folds"].get("less_same_share", {})
            cells = [number(row["folds"].get(key)) for key in ("f1", "dice")]
            cells += [number(less.get(key), sign=True) for key in ("f1", "dice")]
            lines.append(f"| {100 * share:g}% | {row['words']} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def realism_table(found: Mapping[str, Any]) -> list[str]:
    """The discriminator with its controls."""
    lines = [
        "## Can they be told apart?\n",
        "| double | AUC | planted grid (must be 0.95 or more) | real against real (its interval must hold 0.5) "
        "| grey levels alone |",
        "|---" * 5 + "|",
    ]
    for name in LESION_DOUBLES:
        judged = found[name]
        controls = judged["controls"]
        cells = [
            number(judged["auc"]),
            *(
                number(controls[key]["auc"]) + (", passed" if controls[key]["passed"] else ", *failed*")
                for key in ("planted", "real_against_real")
            ),
            number(judged["grey_levels_only"]),
        ]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return [*lines, ""]


def external_table(test: str, n: Mapping[str, int], rows: list[Mapping[str, Any]]) -> list[str]:
    """The same networks on another cohort; one network a fold, the mean of them."""
    lines = [
        f"## On {test}\n",
        f"{n['pictures']} pictures of {n['patients']} patients; means over the folds' networks, intervals over "
        "patients and networks.\n",
        "| trained on | F1 | Dice | IoU | F1 less real | Dice less real |",
        "|---" * 6 + "|",
    ]
    for row in rows:
        at, less = row[test], row[test].get("less_real", {})
        cells = [number(at.get(key)) for key in ("f1", "dice", "iou")]
        cells += [number(less.get(key), sign=True) for key in ("f1", "dice")]
        lines.append(f"| {row['words']} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def notes(found: Mapping[str, Any]) -> str:
    """The notes, with what they need of the results."""
    first = next(iter(found["distances"].values()))
    judged = next(iter(found["realism"].values()))
    network, fd = judged["preset"]["network"], first.get("fd", {}).get("name", "FD")
    return NOTES.format(
        trainings=" and trainings"
        if found["trainings"] > 1
        else ", not over trainings (one a cell and fold)",
        kid=first.get("kid", {}).get("name", "KD"),
        n_fd=first["folds"][0]["n"],
        real_is=number(first.get("inception_score", {}).get("real"), 2),
        network="a ResNet-101" if network == "resnet101" else f"the network `{network}`",
        realism=judged["preset"]["name"],
        stand_in="" if network == "resnet101" else ", which stands in for the paper's ResNet-101",
        n_auc=judged["n"],
        size=found["plan"]["size"],
        fd_note="" if fd == "FID" else f", {fd} is of another and not on its scale",
    )


def cost_lines(found: Mapping[str, Any]) -> list[str]:
    """The machine, minutes of a fold by step, of the segmenters and of the last call."""
    cost, folds = found["cost"], found["plan"]["folds"]
    named = ", ".join(f"{step} {of['seconds'] / 60:.1f}" for step, of in cost["folds"].items())
    total = sum(of["seconds"] for of in cost["folds"].values()) / 60
    call = cost["this_call"]["seconds"] / 60
    return [
        f"\nOn {cost['machine']}. Minutes a fold: {total:.0f} ({named}); {folds} folds. Segmenters: "
        f"{cost['segmenters'] / 60:.0f} minutes in all. The call that wrote this: {call:.1f} minutes, with what was "
        "kept from earlier ones."
    ]
