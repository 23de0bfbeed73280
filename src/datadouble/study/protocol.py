"""What a reader study asks, of which images, in which parts: data, read from TOML and checked as a whole.

A protocol never names a reader or an image. `read_protocol` takes the name of a preset or the path of a file.
"""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from datadouble.errors import DataDoubleError, suggest
from datadouble.study.faults import find_faults


@dataclass(frozen=True)
class Answer:
    """One answer that a reader may give.

    Parameters
    ----------
    key
        The key on the keyboard: one character.
    value
        What is stored.
    label
        What the reader sees.
    truth
        The origins (`"real"`, `"synthetic"`) or class names for which this answer is right.
    """

    key: str
    value: str
    label: str
    truth: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """One question, asked of every image of a part.

    Parameters
    ----------
    truth
        What the answers are held against: ``"origin"``, ``"label"``, or ``""`` where there is no right answer.
    positive
        The value counted as positive by sensitivity and AUC.
    confidence
        Ask how sure, 0 to 100; then an answer without it is refused.
    mark
        Ask for a place in the image; it may be left out.
    free_text
        Offer a field for words; it may be left empty.
    """

    key: str
    text: str
    answers: tuple[Answer, ...]
    truth: str = ""
    positive: str = ""
    confidence: bool = False
    mark: bool = False
    free_text: bool = False

    def right_value(self, origin: str, label: str) -> str:
        """Return the value of the right answer, ``""`` where there is none."""
        fact = {"origin": origin, "label": label}.get(self.truth)
        return next((answer.value for answer in self.answers if fact in answer.truth), "")

    @property
    def negative(self) -> str:
        """The other value of a question with two answers, else ``""``."""
        others = [answer.value for answer in self.answers if answer.value != self.positive]
        return others[0] if len(others) == 1 else ""


@dataclass(frozen=True)
class Part:
    """One sitting-down of a study: some images, a view, an order.

    Parameters
    ----------
    view
        ``"full"`` or ``"lesion"`` (the box of the mask with a margin).
    real, synthetic
        How many images of each origin; with `per_class` of each class.
    balance
        ``"class"``: equal shares of the classes; ``"answer"``: equal shares of the answers of the first question
        that is about the label, and within each of its classes.
    classes
        The classes to draw from; empty: all that both cohorts have.
    images_of
        Show the images of that earlier part, in this part's view and a new order.
    after_days
        Washout: days between a reader's last answer of the part before and the first of this one.
    repeats_share
        Share of the images that are shown a second time, unannounced.
    practice, feedback
        How many cases come first and are not counted (half of them synthetic), and whether the truth is told after
        each of them. A part with many of them is the training on known fakes.
    questions
        Keys of the questions; empty: all.
    """

    name: str
    title: str = ""
    instructions: str = ""
    view: str = "full"
    real: int = 0
    synthetic: int = 0
    per_class: bool = False
    balance: str = "class"
    classes: tuple[str, ...] = ()
    images_of: str = ""
    after_days: float = 0.0
    repeats_share: float = 0.1
    practice: int = 0
    feedback: bool = True
    questions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """A reader study before it has images.

    Parameters
    ----------
    size
        Side of the images shown, in pixels; 0: that of the double.
    window
        For cohorts in HU: the least and greatest value shown; empty: the double's own.
    margin
        Of the lesion view: share of the box's longer side added on each side.
    splits
        Splits of the real cohort that images may come from. Empty: test and holdout, and train only where those have
        too few, with a warning: a reader should not judge the scans that a generator learnt from.
    """

    name: str
    title: str
    instructions: str
    questions: tuple[Question, ...]
    parts: tuple[Part, ...]
    source: str = ""
    size: int = 0
    window: tuple[float, ...] = ()
    margin: float = 0.25
    splits: tuple[str, ...] = ()

    def part(self, name: str) -> Part:
        """Return the part of that name; KeyError where there is none."""
        return {part.name: part for part in self.parts}[name]

    def questions_of(self, part: Part | str) -> tuple[Question, ...]:
        """Return the questions that a part asks, in their order."""
        chosen = (self.part(part) if isinstance(part, str) else part).questions
        return tuple(q for q in self.questions if not chosen or q.key in chosen)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `protocol_from` reads them."""
        return _plain(dataclasses.asdict(self))


def preset_names() -> list[str]:
    """Return the names of the presets."""
    folder = package_files("datadouble.study") / "presets"
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def read_protocol(source: Path | str) -> Protocol:
    """Read a protocol from a preset's name or a TOML file.

    Raises
    ------
    DataDoubleError
        When there is no such preset or file, or the protocol has faults: all of them are listed.
    """
    path = Path(source)
    if path.suffix != ".toml" and not path.is_file():
        name = str(source)
        if name not in preset_names():
            raise DataDoubleError(
                f"there is no protocol '{name}'",
                where="--protocol",
                remedy=suggest(name, preset_names()) + ", or give the path of a .toml file",
            )
        text = (package_files("datadouble.study") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
        return protocol_from(tomllib.loads(text), where=f"{name}.toml")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataDoubleError(
            "the protocol is missing",
            where=path.name,
            remedy="give a preset (" + ", ".join(preset_names()) + ") or the path of a .toml file",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataDoubleError("this is no TOML", where=path.name, found=str(error)[:120]) from error
    return protocol_from(values, where=path.name)


def protocol_from(values: Mapping[str, Any], *, where: str = "protocol") -> Protocol:
    """Build a protocol from plain values (TOML or JSON).

    Raises
    ------
    DataDoubleError
        With every fault: keys, types and contents.
    """
    faults: list[str] = []
    protocol = _fill(Protocol, values, "", faults)
    if not faults:
        faults = find_faults(protocol)
    if faults:
        raise DataDoubleError(
            "the protocol has faults" if len(faults) > 1 else "the protocol has a fault",
            where=where,
            found="; ".join(faults),
            remedy="correct them",
        )
    return protocol


def with_counts(
    protocol: Protocol, *, real: int | None = None, synthetic: int | None = None, practice: int | None = None
) -> Protocol:
    """Return the protocol with other numbers of images in every part that draws its own."""
    changes = {"real": real, "synthetic": synthetic, "practice": practice}
    given = {key: value for key, value in changes.items() if value is not None}
    parts = []
    for part in protocol.parts:
        mine = {k: v for k, v in given.items() if not part.images_of or k == "practice"}
        parts.append(dataclasses.replace(part, **mine))  # type: ignore[arg-type]
    changed = dataclasses.replace(protocol, parts=tuple(parts))
    return protocol_from(changed.to_json())


def _fill(kind: type, values: Mapping[str, Any], at: str, faults: list[str]) -> Any:
    """Build the dataclass `kind`; what does not fit is added to `faults` (and the result is then useless)."""
    hints = get_type_hints(kind)
    required = {item.name for item in dataclasses.fields(kind) if item.default is dataclasses.MISSING}
    faults += [f"{at}{key} is missing" for key in hints if key in required and key not in values]
    arguments: dict[str, Any] = {key: "" for key in required}
    for key, value in values.items():
        if key not in hints:
            faults.append(f"there is no key {at}{key}: {suggest(key, list(hints))}")
            continue
        hint = hints[key]
        if get_origin(hint) is tuple:
            if isinstance(value, list | tuple):
                inner = get_args(hint)[0]
                arguments[key] = tuple(
                    _value(inner, item, f"{at}{key}[{number}]", faults) for number, item in enumerate(value)
                )
            else:
                faults.append(f"{at}{key} is no list")
        else:
            arguments[key] = _value(hint, value, f"{at}{key}", faults)
    return kind(**arguments)


def _value(hint: type, value: Any, at: str, faults: list[str]) -> Any:
    if dataclasses.is_dataclass(hint):
        if isinstance(value, Mapping):
            return _fill(hint, value, f"{at}.", faults)
        faults.append(f"{at} is no table")
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif type(value) is hint:
        return value
    else:
        faults.append(f"{at} is {value!r}, which is no {_WORDS[hint]}")
    return value


_WORDS: dict[type, str] = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
