"""Find and remove burned-in annotations of ultrasound pictures."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from datadouble.cohort.deidentify.borders import find_bars, find_border_marks, find_frames, find_glyphs
from datadouble.cohort.deidentify.dots import dotted_lines, find_dots
from datadouble.cohort.deidentify.inpaint import inpaint_speckle
from datadouble.cohort.deidentify.markers import find_calipers, find_dotted_lines
from datadouble.cohort.deidentify.text import find_text, require_ocr
from datadouble.cohort.deidentify.types import Annotations, Found
from datadouble.errors import DataDoubleError

BATCH = 16  # pictures handed to each process at a time


@dataclass(frozen=True)
class Cleaned:
    """A cleaned picture, uint8 (H, W), and what was removed from it."""

    image: np.ndarray
    annotations: Annotations

    def columns(self) -> dict[str, str]:
        """Return what was done, as columns of ``metadata.csv``: counts and the share of pixels replaced."""
        found = self.annotations
        return {
            "cleaned_text": str(found.count("text", "logo")),
            "cleaned_calipers": str(found.count("caliper", "dotted-line")),
            "cleaned_rulers": str(found.count("ruler", "bar", "frame")),
            "cleaned_fraction": f"{found.mask.mean():.5f}",
        }


def _check(image: np.ndarray) -> None:
    if image.dtype != np.uint8 or image.ndim != 2:
        raise DataDoubleError(
            "cleaning needs a grey picture of 8 bits",
            found=f"{image.dtype} of shape {image.shape}",
            remedy="convert it first, or pass --keep-annotations",
        )


def _inside(one: Found, others: list[Found]) -> bool:
    """Say whether others cover most of what was found."""
    covered = np.zeros(one.pixels.shape, bool)
    for other in others:
        if other.item.kind == "text" and other.item.box[3] - other.item.box[1] < 40:
            x0, y0, x1, y1 = other.item.box
            covered[y0:y1, x0:x1] = True
        else:
            covered |= other.pixels
    return bool((covered & one.pixels).sum() > 0.7 * one.pixels.sum())


def find_annotations(image: np.ndarray) -> Annotations:
    """Find words, calipers, rulers, bars and logos that are burned into an ultrasound picture.

    Parameters
    ----------
    image
        uint8 array of shape (H, W).

    Returns
    -------
    Annotations
        The pixels to be filled and the list of what was found: kinds, boxes and scores, never words.

    Raises
    ------
    DataDoubleError
        Where the picture is not grey and 8-bit, or the text reader is not installed.
    """
    _check(image)
    words = find_text(image)
    glyphs, dots = find_glyphs(image), find_dots(image)
    hints = [
        ((one.item.box[0] + one.item.box[2]) / 2, (one.item.box[1] + one.item.box[3]) / 2) for one in glyphs
    ]
    hints += [(float(x), float(y)) for y, x in np.argwhere(dots)[:400]]
    calipers = [one for one in find_calipers(image, hints) if not _inside(one, words)]
    bars = find_bars(image)
    found = words + calipers + bars + find_dotted_lines(image, calipers) + find_frames(image)
    for more in (dotted_lines(dots), find_border_marks(image), glyphs):
        found += [one for one in more if not _inside(one, found)]
    mask = np.zeros(image.shape, bool)
    for one in found:
        mask |= one.pixels
    items = sorted((one.item for one in found), key=lambda item: (item.box[1], item.box[0], item.kind))
    return Annotations(mask, tuple(items))


def clean_image(image: np.ndarray) -> Cleaned:
    """Remove burned-in annotations and fill their place with matching speckle.

    Parameters
    ----------
    image
        uint8 array of shape (H, W).

    Returns
    -------
    Cleaned
        Pixels outside `annotations.mask` are those of `image`. The same picture gives the same result.

    Raises
    ------
    DataDoubleError
        Where the picture is not grey and 8-bit, or the text reader is not installed.
    """
    annotations = find_annotations(image)
    return Cleaned(inpaint_speckle(image, annotations.mask), annotations)


def map_clean(images: Iterable[np.ndarray], processes: int = 1) -> Iterator[Cleaned]:
    """Clean many pictures, in order.

    Parameters
    ----------
    images
        uint8 arrays of shape (H, W).
    processes
        How many processes share the work; each holds its own text reader on one thread.

    Yields
    ------
    Cleaned
        One for each picture, in the order of `images`. The number of processes does not change the result.
    """
    require_ocr()
    if processes <= 1:
        yield from map(clean_image, images)
        return
    import multiprocessing

    source = iter(images)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        while batch := list(islice(source, BATCH * processes)):  # never the whole cohort in memory
            yield from pool.imap(clean_image, batch)
