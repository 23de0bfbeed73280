"""Class ids as numbers that a diffusion model can draw, and back.

`ladder` is DiffGuard's (Zhou et al., npj Digit Med 2024): one channel, the ids on levels from -1 to 1. A blurred edge
between two far levels passes through every class between them. `onehot` gives each class a channel of its own, 1
inside and -1 outside (analog bits, Chen, Zhang and Hinton 2023, arXiv:2208.04202): a blurred edge
meets two classes only.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from datadouble.errors import DataDoubleError, suggest


class Decoded(NamedTuple):
    """Class ids (b, h, w), int64, and how far each pixel is from a code (b, h, w): 0 at one, 1 halfway between two."""

    mask: Tensor
    ambiguity: Tensor


class MaskCode(ABC):
    """A code for `classes` class ids.

    Attributes
    ----------
    classes, channels : int
        Ids are 0 to classes - 1.

    Raises
    ------
    DataDoubleError
        On fewer than two classes.
    """

    name: str
    channels: int

    def __init__(self, classes: int) -> None:
        if classes < 2:
            raise DataDoubleError(
                "a mask needs a class besides the background",
                where="mask code",
                found=f"{classes} classes",
                remedy="use a cohort with masks, or a rule for the structure",
            )
        self.classes = classes

    @abstractmethod
    def encode(self, mask: Tensor) -> Tensor:
        """Return ids (b, h, w) of any integer type as float32 (b, channels, h, w) in [-1, 1]."""

    @abstractmethod
    def decode(self, x: Tensor) -> Decoded:
        """Return the nearest ids to `x` (b, channels, h, w), which may leave [-1, 1]."""

    def _checked(self, mask: Tensor) -> Tensor:
        ids = mask.long()
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < self.classes:
            raise DataDoubleError(
                "the mask holds ids that are no class",
                where="mask code",
                found=f"ids {int(ids.min())} to {int(ids.max())}, {self.classes} classes",
                remedy="run `datadouble check` on the cohort",
            )
        return ids


class LadderCode(MaskCode):
    """One channel; id k of K stands at -1 + 2 k / (K - 1)."""

    name = "ladder"
    channels = 1

    def encode(self, mask: Tensor) -> Tensor:
        """See `MaskCode.encode`."""
        return (self._checked(mask).float() * (2 / (self.classes - 1)) - 1)[:, None]

    def decode(self, x: Tensor) -> Decoded:
        """See `MaskCode.decode`; beyond the ends of the ladder nothing is ambiguous."""
        place = (x[:, 0].float().clamp(-1, 1) + 1) * ((self.classes - 1) / 2)
        nearest = (place + 0.5).floor().clamp(max=self.classes - 1)
        return Decoded(nearest.long(), (2 * (place - nearest).abs()).clamp(max=1))


class OnehotCode(MaskCode):
    """A channel for each class: 1 where it is, -1 elsewhere; the greatest wins."""

    name = "onehot"

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.channels = classes

    def encode(self, mask: Tensor) -> Tensor:
        """See `MaskCode.encode`."""
        bits = F.one_hot(self._checked(mask), self.classes)  # (b, h, w, K)
        return bits.movedim(-1, 1).float() * 2 - 1

    def decode(self, x: Tensor) -> Decoded:
        """See `MaskCode.decode`; ambiguity falls with the lead of the greatest channel over the next, 2 at a code."""
        best, ids = x.float().clamp(-1, 1).topk(2, dim=1)
        return Decoded(ids[:, 0], 1 - (best[:, 0] - best[:, 1]) / 2)


CODES: dict[str, type[MaskCode]] = {"ladder": LadderCode, "onehot": OnehotCode}


def make_mask_code(name: str, classes: int) -> MaskCode:
    """Return the code of a name, ``"ladder"`` or ``"onehot"``, for ids 0 to classes - 1.

    Raises
    ------
    DataDoubleError
        On an unknown name, or fewer than two classes.
    """
    if name not in CODES:
        raise DataDoubleError("unknown mask code", found=name, remedy=suggest(name, list(CODES)))
    return CODES[name](classes)
