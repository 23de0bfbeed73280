"""A training set made ready for the search for copies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from datadouble import files
from datadouble.errors import DataDoubleError
from datadouble.matching import alignment, candidates
from datadouble.matching.candidates import Describer
from datadouble.matching.keypoints import Blobs, find_blobs, to_working
from datadouble.matching.lesions import Lesions, prepare_lesions

VERSION = "copies-5"  # of the method: another one does not read this one's cache


class Gallery(NamedTuple):
    """A training set made ready for searching; about 0.4 MB a picture, and 0.1 MB a lesion.

    ``lesions``: descriptions of the patches in lesions; ``pieces``: the lesions themselves; None without masks.
    """

    blobs: Blobs
    described: torch.Tensor
    lesions: torch.Tensor | None
    pieces: Lesions | None
    details: torch.Tensor
    whitened: torch.Tensor
    thumbnails: torch.Tensor
    describer: Describer
    gain: torch.Tensor
    fingerprint: str

    def __len__(self) -> int:
        return len(self.details)


def prepare_gallery(pictures: np.ndarray, masks: np.ndarray | None = None) -> Gallery:
    """Describe the training pictures; about 50 ms a picture on one core, and 10 to 30 ms a lesion.

    Parameters
    ----------
    pictures : ndarray
        (n, s, s) uint8.
    masks : ndarray, optional
        (n, s, s), not 0 in lesions: these are then searched for by themselves, too, which finds smaller ones.

    Raises
    ------
    DataDoubleError
        Where there are fewer than two pictures, or one is not square uint8.
    """
    check_pictures(pictures)
    if len(pictures) < 2:
        raise DataDoubleError(
            "the gallery is too small",
            where="training pictures",
            found=str(len(pictures)),
            remedy="search among two pictures or more",
        )
    blobs = find_blobs(pictures)
    describer = candidates.learn_describer(blobs)
    described = describer.describe(blobs)
    details, thumbs = [], []
    for start in range(0, len(pictures), 64):
        working = to_working(pictures[start : start + 64])
        details.append(alignment.detail(working))
        thumbs.append(candidates.thumbnails(working))
    kept = torch.cat(details)
    gain = alignment.whitener(kept)
    return Gallery(
        Blobs(blobs.place, blobs.sigma, np.zeros((len(pictures), 0, 0), np.float32)),  # patches are described
        described,
        None if masks is None else candidates.patches_inside(described, blobs, _with_margin(masks)),
        None if masks is None else prepare_lesions(pictures, masks, gain),
        kept,
        torch.cat([alignment.whiten(kept[i : i + 64], gain) for i in range(0, len(kept), 64)]),
        torch.cat(thumbs),
        describer,
        gain,
        files.fingerprint(VERSION, *(np.ascontiguousarray(p).tobytes() for p in pictures), *_bytes(masks)),
    )


def check_pictures(pictures: np.ndarray) -> None:
    """Raise a DataDoubleError where pictures are not (n, s, s) uint8."""
    if pictures.ndim != 3 or pictures.shape[1] != pictures.shape[2] or pictures.dtype != np.uint8:
        raise DataDoubleError(
            "the pictures must be square, grey and of 8 bits",
            where="pictures",
            found=f"{pictures.dtype} {pictures.shape}",
            remedy="read them with `read_pictures`",
        )


def _with_margin(masks: np.ndarray) -> np.ndarray:
    """Lesions and what is within a thirty-second of the side of them."""
    from scipy.ndimage import binary_dilation

    steps = max(1, masks.shape[-1] // 32)
    return np.stack(
        [binary_dilation(mask > 0, iterations=steps) if mask.any() else mask > 0 for mask in masks]
    )


def _bytes(masks: np.ndarray | None) -> list[bytes]:
    return [] if masks is None else [np.packbits(mask > 0).tobytes() for mask in masks]
