"""What a phantom returns, whatever its kind."""

from dataclasses import dataclass, field

import numpy as np

from datadouble.errors import DataDoubleError, suggest


@dataclass(frozen=True)
class Annotation:
    """Something burned into a picture, in the half-open pixel box ``[y0:y1, x0:x1]``.

    `kind` is ``"text"``, ``"caliper"``, ``"line"`` (the dots between two calipers) or ``"ruler"``.
    """

    kind: str
    text: str
    x0: int
    y0: int
    x1: int
    y1: int


@dataclass(frozen=True)
class PhantomScan:
    """A simulated picture.

    Attributes
    ----------
    image
        uint8 (H, W).
    mask
        uint8 (H, W) of class ids, 0 is the background.
    descriptors
        What is seen, in the words of the field; the same keys for all pictures of a kind, ``""`` where one
        does not apply.
    structure
        For CT, uint8 (H, W): 1 where the body is denser than -200 HU.
    hounsfield
        For CT, int16 (H, W).
    annotations
        What was burned in, with its place.
    """

    image: np.ndarray
    mask: np.ndarray
    label: str
    site: str
    device: str
    descriptors: dict[str, str]
    structure: np.ndarray | None = None
    hounsfield: np.ndarray | None = None
    annotations: tuple[Annotation, ...] = field(default=())


def check_request(label: str, classes: tuple[str, ...], size: int) -> None:
    """Refuse an unknown class or an impossible size.

    Raises
    ------
    DataDoubleError
    """
    if label not in classes:
        raise DataDoubleError(
            "the phantom has no such class",
            where="label",
            found=repr(label),
            remedy=suggest(label, list(classes)),
        )
    if not 16 <= size <= 2048:
        raise DataDoubleError(
            "the size is out of range", where="size", found=str(size), remedy="use 16 to 2048 pixels"
        )
