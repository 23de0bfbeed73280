"""What the networks see, and the task: pixels or frozen features at the preset's size, and labels as two groups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from datadouble.audit.utility.presets import Preset
from datadouble.cohort.pixels import fit_square
from datadouble.errors import DataDoubleError

if TYPE_CHECKING:
    from datadouble.audit.pictures import Pictures

NORMAL = "normal"
ORDERED = (NORMAL, "benign", "malignant")


class Grouping(NamedTuple):
    """The two groups of labels that a network is to tell apart."""

    negative: tuple[str, ...]
    positive: tuple[str, ...]

    def __str__(self) -> str:
        return ",".join(self.negative) + "|" + ",".join(self.positive)

    def targets(self, labels: np.ndarray) -> np.ndarray:
        """int64 (n,): 0, 1, and -1 for labels of neither group."""
        found = np.full(len(labels), -1, np.int64)
        found[np.isin(labels, self.negative)] = 0
        found[np.isin(labels, self.positive)] = 1
        return found


def parse_grouping(text: str) -> Grouping:
    """Read ``"2,3|4,5"``: labels left of the bar are negative, right of it positive.

    Raises
    ------
    DataDoubleError
        Where it is not two groups of labels, or a label is in both.
    """
    sides = [tuple(label.strip() for label in side.split(",") if label.strip()) for side in text.split("|")]
    if len(sides) != 2 or not all(sides) or set(sides[0]) & set(sides[1]):
        raise DataDoubleError(
            "a grouping is two lists of labels with a bar between, no label in both",
            where="grouping",
            found=text,
            remedy='write, say, "2,3|4,5"',
        )
    return Grouping(*sides)


def choose_grouping(classes: Sequence[str], labels: np.ndarray) -> Grouping:
    """Cut the classes in two; only labels that occur.

    Classes with an order (categories that begin with a figure, and `ORDERED`) are cut where the pictures are split most
    evenly. Of others, such as types of tumour, `NORMAL` stands against the rest where it occurs; else they are
    cut evenly in the cohort's order.

    Raises
    ------
    DataDoubleError
        Where fewer than two classes occur.
    """
    present = [name for name in classes if (labels == name).any()]
    if len(present) < 2:
        raise DataDoubleError(
            "usefulness needs at least two classes",
            where="label",
            found=", ".join(present) or "none",
            remedy="label the pictures, or leave this part out",
        )
    if NORMAL in present and not all(name in ORDERED or name[:1].isdigit() for name in present):
        return Grouping((NORMAL,), tuple(name for name in present if name != NORMAL))
    counts = np.cumsum([(labels == name).sum() for name in present])
    cut = int(np.argmin(np.abs(counts[:-1] - counts[-1] / 2))) + 1
    return Grouping(tuple(present[:cut]), tuple(present[cut:]))


def resized(array: np.ndarray, size: int, *, masks: bool = False) -> np.ndarray:
    """(n, s, s) uint8 at the given side, by the one resize path; unchanged where it has that side."""
    if array.shape[1] == size:
        return array
    out = np.empty((len(array), size, size), np.uint8)
    for row, picture in enumerate(array):
        out[row] = fit_square(np.asarray(picture), size, mask=masks)
    return out


def network_inputs(preset: Preset, sets: Sequence[Pictures], *, cache: Path | None) -> list[np.ndarray]:
    """The inputs of the preset's network for each set: all of one size, or features of one extractor.

    Raises
    ------
    DataDoubleError
        Where the sets are of different sizes: each was resized in another way, which a network could learn to see.
    """
    check_sizes(sets)
    if preset.network == "head":
        from datadouble.audit.features import extract_features, load_extractor

        extractor = load_extractor(preset.extractor, precision=preset.precision)
        return [extract_features(list(pictures.array), extractor, cache_dir=cache).array for pictures in sets]
    size = min(preset.size, sets[0].array.shape[1])
    return [resized(pictures.array, size) for pictures in sets]


def check_sizes(sets: Sequence[Pictures]) -> None:
    """Refuse sets of different sizes (see :func:`network_inputs`)."""
    sizes = sorted({pictures.array.shape[1] for pictures in sets})
    if len(sizes) > 1:
        raise DataDoubleError(
            "real and synthetic pictures are of different sizes",
            where="pictures",
            found=", ".join(f"{size} px" for size in sizes),
            remedy="read both with one at_size",
        )


def check_patients_apart(first: Pictures, second: Pictures, what: str) -> None:
    """Refuse patients on both sides; pictures without a patient count by image id."""
    shared = len(set(first.groups) & set(second.groups))
    if shared:
        raise DataDoubleError(
            f"{what} share patients",
            where="patient_id",
            found=f"{shared} in both",
            remedy="split by patient with `datadouble split`",
        )
