"""Drawing a double: which images, in which batches, and how a cut-off drawing goes on.

An image is made from (run, seed, class, number within the class). Batches are fixed stretches of numbers within one
class, so that the same arithmetic is done whether the drawing was interrupted or not. Memory does not grow with
the number of images.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.errors import DataDoubleError
from datadouble.progress import Bar
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
    """One batch: images uint8 (b, h, w), and masks (b, h, w) of class ids where the generator draws them."""

    images: np.ndarray
    masks: np.ndarray | None = None


@dataclass(frozen=True)
class GeneratorFacts:
    """What a double's `cohort.json` says of its generator.

    Attributes
    ----------
    shares : tuple of float
        Of each class in the training set.
    fingerprint : dict
        Weights, settings and software: all that decides what is drawn.
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


class Generator(Protocol):
    """What a recipe gives: facts, and a function that draws."""

    facts: GeneratorFacts

    def draw(self, label: int, numbers: range, seed: int) -> Drawn:
        """Draw the images `numbers` of class `label`."""


def class_counts(facts: GeneratorFacts, drawing: Drawing) -> list[int]:
    """Return how many images of each class are drawn; shares are rounded by largest remainder.

    Raises
    ------
    DataDoubleError
        Unless exactly one of `images` and `per_class` is a positive number.
    """
    if (drawing.images > 0) == (drawing.per_class > 0):
        raise DataDoubleError(
            "say how many images", where="generate", remedy="pass either --images or --per-class"
        )
    if drawing.per_class:
        return [drawing.per_class] * len(facts.classes)
    exact = np.array(facts.shares) / sum(facts.shares) * drawing.images
    counts = np.floor(exact).astype(int)
    for index in np.argsort(-(exact - counts), kind="stable")[: drawing.images - counts.sum()]:
        counts[index] += 1
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

    Raises
    ------
    DataDoubleError
        When `path` holds another cohort, or a double of other settings.
    """
    facts, processes = generator.facts, start_processes()
    batch = drawing.batch or facts.batch
    counts = class_counts(facts, drawing)
    info = CohortInfo(
        name=f"double of {facts.name}",
        origin="synthetic",
        modality=facts.modality,
        classes=facts.classes,
        mask_classes=facts.mask_classes,
        intensity=facts.intensity,
        source="drawn by DataDouble",
        licence="",
        contains_real_pixels=facts.contains_real_pixels,
        generator={**facts.fingerprint, "seed": drawing.seed, "batch": batch},
    )
    stretches = [
        (label, range(start, min(start + batch, count)))
        for label, count in enumerate(counts)
        for start in range(0, count, batch)
    ]
    writer = CohortWriter(path, info, overwrite=overwrite) if processes.is_main else None
    have = set(processes.broadcast(sorted(writer.image_ids) if writer is not None else None))
    todo = []
    for label, numbers in stretches:
        names = {n: image_name(facts.classes[label], n) for n in numbers}
        missing = {n: name for n, name in names.items() if name not in have}
        if missing:
            todo.append((label, numbers, missing))
    listed = ", ".join(f"{name}: {count}" for name, count in zip(facts.classes, counts, strict=True))
    say(f"drawing {sum(counts)} images ({listed}), {len(have)} of them there already")
    with Bar("drawing", sum(counts), min(len(have), sum(counts))) as bar:
        for start in range(0, len(todo), processes.count):
            mine = todo[start : start + processes.count][processes.rank : processes.rank + 1]
            drawn = [(*stretch, generator.draw(stretch[0], stretch[1], drawing.seed)) for stretch in mine]
            for label, numbers, missing, pictures in processes.gather(drawn):
                for n, name in missing.items():
                    if writer is not None:
                        place = n - numbers.start
                        mask = None if pictures.masks is None else pictures.masks[place]
                        patient = f"synthetic-{name}"
                        image, label_name = pictures.images[place], facts.classes[label]
                        writer.add(image, image_id=name, patient_id=patient, label=label_name, mask=mask)
                bar.advance(len(missing))
    if writer is not None:
        writer.finish()
    processes.wait()
    return Cohort.open(path)


def image_name(label: str, number: int) -> str:
    """Return the image id of number `number` of class `label`, safe as a file name."""
    safe = "".join(c if c.isalnum() and c.isascii() else "-" for c in label).strip("-") or "class"
    return f"{safe}-{number:06d}"
