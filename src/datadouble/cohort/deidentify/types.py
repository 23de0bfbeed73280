"""What the finders of burned-in annotations hand on."""

from dataclasses import dataclass, field

import numpy as np

KINDS = ("text", "caliper", "dotted-line", "ruler", "logo", "bar", "frame")
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Annotation:
    """One annotation: its kind, its box and how sure the finder is. Never the words themselves.

    Parameters
    ----------
    kind
        One of `KINDS`.
    box
        ``(x0, y0, x1, y1)`` in pixels, the last two exclusive.
    score
        Confidence in [0, 1].
    """

    kind: str
    box: Box
    score: float


@dataclass(frozen=True)
class Annotations:
    """All annotations of one picture.

    Parameters
    ----------
    mask
        Boolean array of shape (H, W): the pixels to be filled.
    items
        The annotations, in reading order of their boxes.
    """

    mask: np.ndarray
    items: tuple[Annotation, ...] = field(default_factory=tuple)

    def count(self, *kinds: str) -> int:
        """Return how many annotations are of the given kinds."""
        return sum(item.kind in kinds for item in self.items)


@dataclass(frozen=True)
class Found:
    """What one finder found: an annotation and the pixels it covers, shape (H, W)."""

    item: Annotation
    pixels: np.ndarray


def box_of(pixels: np.ndarray) -> Box:
    """Return the bounding box of the true pixels of a boolean (H, W) array that has at least one."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
