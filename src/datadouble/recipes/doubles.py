"""Drawing a double: which images, in which batches, and how a cut-off drawing goes on.

An image is made from (run, seed, class, number within the class). Batches are fixed stretches of numbers within one
class, so that the same arithmetic is done whether the drawing was interrupted or not. Memory does not grow with
the number of images. What filters drop leaves a gap in the numbers, and the drawing goes on behind it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from datadouble import files
from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.errors import DataDoubleError
from datadouble.progress import Bar
from datadouble.recipes.rejections import Kind, RejectionJournal, Stretch
from datadouble.training.processes import start_processes


@dataclass(frozen=True)
class Drawing:
    """What to draw: `images` in all or `per_class` of each class."""

    images: int = 0
    per_class: int = 0
    seed: int = 0
    batch: int = 0


@dataclass(frozen=True)
class Drawn:
    """One batch.

    Attributes
    ----------
    images
        uint8 (b, h, w).
    masks
        (b, h, w) of class ids, where the generator draws them.
    labels
        int (b,), indices of classes, where they follow from what was drawn; otherwise the class was asked for.
    rejected
        By filter, bool (b,): which of them it drops. Needs `GeneratorFacts.filters`.
    patients
        Invented patients, for pictures that belong together; otherwise each picture is a patient.
    columns
        Further columns of the double's table, of each picture.
    """

    images: np.ndarray
    masks: np.ndarray | None = None
    labels: np.ndarray | None = None
    rejected: dict[str, np.ndarray] | None = None
    patients: tuple[str, ...] | None = None
    columns: tuple[dict[str, str], ...] | None = None


class Limit(NamedTuple):
    """Of how many pictures of a class there are at most: `most`, why, and what helps."""

    most: int
    why: str
    remedy: str


@dataclass(frozen=True)
class GeneratorFacts:
    """What a double's `cohort.json` says of its generator.

    Attributes
    ----------
    shares : tuple of float
        Of each class in the training set.
    fingerprint : dict
        Weights, settings and software: all that decides what is drawn.
    draws_any_class : bool
        No class can be asked for: it follows from what was drawn, and `Drawn.labels` tells it.
    filters : tuple of dict
        What each filter drops and above which cut, from `FilterBank.facts`; empty: nothing is dropped.
    limits : dict
        Of classes of which there are only so many pictures.
    """

    name: str
    modality: str
    classes: tuple[str, ...]
    shares: tuple[float, ...]
    batch: int
    fingerprint: dict[str, Any]
    mask_classes: tuple[str, ...] = ()
    intensity: dict[str, Any] = field(default_factory=dict)
    contains_real_pixels: bool = False
    draws_any_class: bool = False
    filters: tuple[dict[str, Any], ...] = ()
    limits: dict[str, Limit] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What can be asked for: the classes, or one kind that may be any of them."""
        return ("picture",) if self.draws_any_class else self.classes


class Generator(Protocol):
    """What a recipe gives: facts, and a function that draws."""

    facts: GeneratorFacts

    def draw(self, label: int, numbers: range, seed: int) -> Drawn:
        """Draw the images `numbers` of class `label`, an index of `facts.kinds`."""


def class_counts(facts: GeneratorFacts, drawing: Drawing) -> list[int]:
    """Return how many images of each of `facts.kinds` are drawn; shares are rounded by largest remainder.

    Raises
    ------
    DataDoubleError
        Unless exactly one of `images` and `per_class` is a positive number, where no class can be asked for, or where
        there are not so many pictures of a class.
    """
    if (drawing.images > 0) == (drawing.per_class > 0):
        raise DataDoubleError(
            "say how many images", where="generate", remedy="pass either --images or --per-class"
        )
    if facts.draws_any_class:
        if drawing.per_class:
            raise DataDoubleError(
                "this generator cannot be asked for a class: it reads the class from the mask it drew",
                where="--per-class",
                remedy="pass --images, or fit with data.conditional=true",
            )
        return [drawing.images]
    if drawing.per_class:
        counts = np.full(len(facts.classes), drawing.per_class)
    else:
        exact = np.array(facts.shares) / sum(facts.shares) * drawing.images
        counts = np.floor(exact).astype(int)
        for index in np.argsort(-(exact - counts), kind="stable")[: drawing.images - counts.sum()]:
            counts[index] += 1
    for name, count in zip(facts.classes, counts.tolist(), strict=True):
        limit = facts.limits.get(name)
        if limit is not None and count > limit.most:
            raise DataDoubleError(
                limit.why, where=f"class {name}", found=f"{count} asked for", remedy=limit.remedy
            )
    return counts.tolist()


def write_double(
    generator: Generator,
    drawing: Drawing,
    path: Path,
    *,
    overwrite: bool = False,
    say: Callable[[str], None],
) -> Cohort:
    """Draw what is missing at `path` and finish the double.

    Where the generator filters what it draws, numbers follow one another until as many are kept as are wanted;
    `filters.json` then says what was dropped.

    Raises
    ------
    DataDoubleError
        When `path` holds another cohort, or a double of other settings, or the filters drop over nine tenths.
    """
    facts, processes = generator.facts, start_processes()
    batch = drawing.batch or facts.batch
    counts = class_counts(facts, drawing)
    info = double_info(facts, drawing.seed, batch)
    writer = CohortWriter(path, info, overwrite=overwrite) if processes.is_main else None
    journal = RejectionJournal(path)
    found = (sorted(writer.image_ids), journal.read()) if writer is not None else None
    have, dropped = processes.broadcast(found)
    kinds = [
        Kind(
            label, name, count, batch, bool(facts.filters), _numbers(facts, name, have), dropped.get(name, {})
        )
        for label, (name, count) in enumerate(zip(facts.kinds, counts, strict=True))
    ]
    listed = ", ".join(f"{kind.name}: {kind.wanted}" for kind in kinds)
    wanted = sum(kind.wanted for kind in kinds)
    say(f"drawing {wanted} images ({listed}), {len(have)} of them there already")
    with Bar("drawing", wanted, min(len(have), wanted)) as bar:
        while todo := _next_stretches(kinds, processes.count):
            mine = todo[processes.rank : processes.rank + 1]
            drawn = [(*stretch, generator.draw(*stretch, drawing.seed)) for stretch in mine]
            for label, numbers, pictures in processes.gather(drawn):
                kind = kinds[label]
                kept, rejected = kind.settle(numbers, pictures.rejected or {})
                if writer is not None:
                    journal.add(kind.name, rejected)
                    for n in kept:
                        _write(writer, facts, kind, n, n - numbers.start, pictures)
                bar.advance(len(kept))
                kind.check()
    if writer is not None:
        if facts.filters:
            journal.finish(facts.filters, kinds)
        writer.finish()
    processes.wait()
    return Cohort.open(path)


def double_info(facts: GeneratorFacts, seed: int, batch: int) -> CohortInfo:
    """Return what `cohort.json` of a double says; filters are part of what made it, and rest on real pictures."""
    filters = {"filters": list(facts.filters)} if facts.filters else {}
    return CohortInfo(
        name=f"double of {facts.name}",
        origin="synthetic",
        modality=facts.modality,
        classes=facts.classes,
        mask_classes=facts.mask_classes,
        intensity=facts.intensity,
        source="drawn by DataDouble",
        licence="",
        contains_real_pixels=facts.contains_real_pixels,
        generator={**facts.fingerprint, **filters, "seed": seed, "batch": batch},
    )


def _next_stretches(kinds: list[Kind], count: int) -> list[Stretch]:
    """Return up to `count` stretches that are needed, one for each process."""
    return list(islice(chain.from_iterable(kind.missing() for kind in kinds), count))


def _numbers(facts: GeneratorFacts, kind: str, image_ids: list[str]) -> set[int]:
    """Return the numbers of a kind among the images that are there."""
    beginning = image_name(kind, 0, facts.kinds).removesuffix("000000")
    ends = [name.removeprefix(beginning) for name in image_ids if name.startswith(beginning)]
    return {int(end) for end in ends if end.isdecimal()}


def _write(
    writer: CohortWriter, facts: GeneratorFacts, kind: Kind, number: int, place: int, pictures: Drawn
) -> None:
    name = image_name(kind.name, number, facts.kinds)
    index = kind.index if pictures.labels is None else int(pictures.labels[place])
    writer.add(
        pictures.images[place],
        image_id=name,
        patient_id=f"synthetic-{name if pictures.patients is None else pictures.patients[place]}",
        label=facts.classes[index],
        mask=None if pictures.masks is None else pictures.masks[place],
        extra=None if pictures.columns is None else pictures.columns[place],
    )


def image_name(label: str, number: int, among: Sequence[str] = ()) -> str:
    """Return the image id of number `number` of class `label`, safe as a file name.

    Parameters
    ----------
    among
        All classes of the double. One that would be called like another, such as any two names in Chinese, or ``"4 a"``
        and ``"4-a"``, gets a fingerprint of its own behind it; a class that is its own file name keeps that.
    """
    stem = _stem(label)
    if stem != label and any(_stem(other) == stem for other in among if other != label):
        stem += f"-{files.fingerprint(label)[:8]}"
    return f"{stem}-{number:06d}"


def _stem(label: str) -> str:
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in label).strip("-") or "class"
