"""The work on each picture of an import: read, check, make grey, clean. Spread over processes where asked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from datadouble.cohort.importers.source import Item
from datadouble.cohort.pixels import to_grey
from datadouble.errors import DataDoubleError, Problem


@dataclass(frozen=True)
class Prepared:
    """A picture ready to be written, or the problem with it; `columns` say what was done to it."""

    item: Item
    image: np.ndarray | None = None
    mask: np.ndarray | None = None
    columns: dict[str, str] = field(default_factory=dict)
    problem: Problem | None = None


def prepare(item: Item, *, clean: bool, mask_classes: int) -> Prepared:
    """Read one picture and its masks, make it grey and, if asked, clean it of annotations."""
    try:
        image, mask = item.read(mask_classes)
        image, columns = make_grey(image)
        if clean:
            from datadouble.cohort.deidentify import clean_image

            cleaned = clean_image(image)
            image, columns = cleaned.image, columns | cleaned.columns()
    except DataDoubleError as error:
        where = error.where or item.where
        return Prepared(item, problem=Problem(error.what, where, error.found, error.remedy))
    return Prepared(item, image, mask, columns)


def prepare_all(
    items: Sequence[Item], *, clean: bool, mask_classes: int, processes: int
) -> Iterator[Prepared]:
    """Prepare pictures in their order; the number of processes does not change the result."""
    work = partial(prepare, clean=clean, mask_classes=mask_classes)
    if processes <= 1 or len(items) < 2:
        yield from map(work, items)
        return
    import multiprocessing

    # spawn: the text reader's threads do not survive a fork
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(work, items, chunksize=4)


def make_grey(image: np.ndarray) -> tuple[np.ndarray, dict[str, str]]:
    """Return the picture (H, W) and the column `converted`: ``"rgb"`` where colours were lost.

    RGB files whose three channels are equal lose nothing and are not noted.
    """
    if image.ndim == 2:
        return image, {"converted": ""}
    equal = (image[..., :1] == image).all()
    return (image[..., 0].copy(), {"converted": ""}) if equal else (to_grey(image), {"converted": "rgb"})
