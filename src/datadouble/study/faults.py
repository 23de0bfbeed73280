"""Everything that is wrong with a protocol, found at once."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datadouble.study.protocol import Part, Protocol, Question

VIEWS = ("full", "lesion")
TRUTHS = ("origin", "label", "")
BALANCES = ("class", "answer")
SPLITS = ("train", "holdout", "test")
ORIGINS = ("real", "synthetic")
KEPT_KEYS = frozenset("uUpPfFiIzZ+-?")
"""Keys that the page uses itself: undo, pause, fit, invert, zoom, help."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
MOST_IMAGES = 100_000


def find_faults(protocol: "Protocol") -> list[str]:
    """Return everything that is wrong with a protocol, one sentence each."""
    faults = []
    if not _NAME.fullmatch(protocol.name):
        faults.append(f"name '{protocol.name}' is not of small letters, digits and hyphens")
    if not protocol.title.strip():
        faults.append("title is empty")
    if protocol.size and not 32 <= protocol.size <= 2048:
        faults.append(f"size {protocol.size} is not between 32 and 2048 (or 0)")
    if protocol.window and (len(protocol.window) != 2 or not protocol.window[0] < protocol.window[1]):
        faults.append(f"window {list(protocol.window)} is not a least and a greatest value")
    if not 0 <= protocol.margin <= 4:
        faults.append(f"margin {protocol.margin:g} is not between 0 and 4")
    unknown = sorted(set(protocol.splits) - set(SPLITS))
    if unknown:
        faults.append(f"splits has {', '.join(unknown)}: only {', '.join(SPLITS)} are known")
    for what, keys in (
        ("questions", [question.key for question in protocol.questions]),
        ("parts", [part.name for part in protocol.parts]),
    ):
        if not keys:
            faults.append(f"there are no {what}")
        for key in sorted({key for key in keys if keys.count(key) > 1}):
            faults.append(f"{what} has '{key}' twice")
        faults += [
            f"{what}: '{k}' is not of small letters, digits and hyphens"
            for k in keys
            if not _NAME.fullmatch(k)
        ]
    for question in protocol.questions:
        faults += [f"question {question.key}: {fault}" for fault in _question_faults(question)]
    for number, part in enumerate(protocol.parts):
        faults += [f"part {part.name}: {fault}" for fault in _part_faults(protocol, part, number)]
    return faults


def _question_faults(question: "Question") -> list[str]:
    faults = []
    if not question.text.strip():
        faults.append("text is empty")
    if question.truth not in TRUTHS:
        faults.append(f"truth '{question.truth}' is none of origin, label and empty")
    keys = [answer.key for answer in question.answers]
    values = [answer.value for answer in question.answers]
    if len(keys) < 2 and not (question.mark or question.free_text):
        faults.append("fewer than two answers, and neither a mark nor words are asked for")
    faults += [f"key '{k}' is used twice" for k in sorted({k for k in keys if keys.count(k) > 1})]
    faults += [f"value '{v}' is used twice" for v in sorted({v for v in values if values.count(v) > 1})]
    for answer in question.answers:
        if len(answer.key) != 1 or not answer.key.isprintable() or answer.key.isspace():
            faults.append(f"key '{answer.key}' is not one character")
        elif answer.key in KEPT_KEYS:
            faults.append(f"key '{answer.key}' is kept by the page itself (undo, pause, fit, invert, zoom)")
        if not answer.value.strip() or not answer.label.strip():
            faults.append(f"the answer on key '{answer.key}' has no value or no label")
        wrong = sorted(set(answer.truth) - set(ORIGINS)) if question.truth == "origin" else []
        faults += [f"answer {answer.value}: truth '{t}' is neither real nor synthetic" for t in wrong]
    truths = [truth for answer in question.answers for truth in answer.truth]
    faults += [
        f"truth '{t}' belongs to two answers" for t in sorted({t for t in truths if truths.count(t) > 1})
    ]
    if question.truth == "origin" and not set(ORIGINS) <= set(truths):
        faults.append("no answer is right for " + " and ".join(o for o in ORIGINS if o not in truths))
    if question.truth == "label" and not truths:
        faults.append("no answer names the classes for which it is right (truth)")
    if not question.truth and truths:
        faults.append("answers have a truth, and the question says not of what: origin or label")
    if question.positive and question.positive not in values:
        faults.append(f"positive '{question.positive}' is no answer's value")
    if question.truth and not question.positive and len(values) == 2:
        faults.append("positive is not said")
    return faults


def _part_faults(protocol: "Protocol", part: "Part", number: int) -> list[str]:
    faults = []
    if part.view not in VIEWS:
        faults.append(f"view '{part.view}' is neither full nor lesion")
    if part.balance not in BALANCES:
        faults.append(f"balance '{part.balance}' is neither class nor answer")
    if part.images_of:
        earlier = {other.name: other for other in protocol.parts[:number]}
        if part.images_of not in earlier:
            faults.append(f"images_of '{part.images_of}' is no earlier part")
        elif earlier[part.images_of].images_of:
            faults.append(f"images_of '{part.images_of}' has no images of its own")
        if part.real or part.synthetic:
            faults.append("real and synthetic are those of images_of: leave them out")
    elif part.real < 0 or part.synthetic < 0 or part.real + part.synthetic < 1:
        faults.append(f"it has no images (real {part.real}, synthetic {part.synthetic})")
    if max(part.real, part.synthetic) > MOST_IMAGES:
        faults.append(f"more than {MOST_IMAGES} images")
    if not 0 <= part.repeats_share <= 0.5:
        faults.append(f"repeats_share {part.repeats_share:g} is not between 0 and 0.5")
    if not 0 <= part.after_days <= 3650:
        faults.append(f"after_days {part.after_days:g} is not between 0 and 3650")
    if part.after_days and number == 0:
        faults.append("after_days of the first part waits for nothing")
    if not 0 <= part.practice <= 500:
        faults.append(f"practice {part.practice} is not between 0 and 500")
    known = [question.key for question in protocol.questions]
    faults += [f"question '{key}' does not exist" for key in part.questions if key not in known]
    about_label = [q for q in protocol.questions_of(part) if q.truth == "label"]
    if part.balance == "answer" and not about_label:
        faults.append("balance is by answer, and none of its questions is about the label")
    return faults
