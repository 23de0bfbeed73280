"""What a page says in place of a section that was not measured: one line, with how to measure it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from datadouble.audit.report.numbers import sentence, without_paths

if TYPE_CHECKING:
    from markupsafe import Markup

HINTS = {
    "controls": "They run with the privacy gate, which needs train, holdout and test patients: `datadouble split` "
    "before `datadouble fit`.",
    "gate": "It needs patients that the generator never saw: `datadouble split` before `datadouble fit`.",
    "copies": "The search for copies needs a train split, and a holdout to learn its threshold from.",
    "neighbours": "It is part of every audit: run `datadouble audit` without `--only`.",
    "membership": "It needs a holdout, patients that the generator never saw: `datadouble split` before "
    "`datadouble fit`.",
    "attributes": "It needs a holdout, and a label, site or device in the release.",
    "release_size": "It is drawn with membership, which needs a holdout.",
    "model_access": "It needs the generator: `datadouble audit --run RUN --model-access`. Until then its weights "
    "must stay inside.",
    "distances": "They need 16 pictures or so on each side, and a reference split.",
    "texture": "It is part of every audit: run `datadouble audit` without `--only`.",
    "lesions": "They need masks in the double and in the real cohort.",
    "coverage": "It is part of every audit: run `datadouble audit` without `--only`.",
    "classification": "It needs a test split and classes: `datadouble audit --effort standard` or more.",
    "segmentation": "It needs masks in the double and in the real cohort, and `--effort standard` or more.",
    "discriminator": "A network is trained for it: `datadouble audit --effort standard` or more.",
}


def not_measured(found: Any, what: str) -> Markup:
    """Why a section is empty, as far as the evidence says, and how to fill it."""
    from markupsafe import Markup, escape

    why = ""
    if isinstance(found, dict):
        why = next((str(found[key]) for key in ("note", "reason", "error") if found.get(key)), "")
    why = without_paths(why).removeprefix("not measured: ").removeprefix("Not measured: ")
    start = f"Not measured: {why[:1].lower()}{why[1:]}" if why else "Not measured"
    text = escape(f"{sentence(start)} {HINTS.get(what, '')}".strip())
    return Markup(
        re.sub(r"`([^`]+)`", r"<code>\1</code>", str(text))
    )  # escaped above; Markup would escape the tags
