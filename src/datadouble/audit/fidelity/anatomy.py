"""Implausible anatomy: how many pictures have a lesion where none can be.

DiffGuard draws a structure mask because, its authors say, fewer samples are then implausible (Zhou et al., npj Digit
Med 2024). Here that is a rate with its interval: of pictures whose lesion lies outside the body or in air, is of
several types, or in pieces. Real pictures have a rate too, by partial volume and by nature; it belongs beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from datadouble.audit.evidence import named
from datadouble.cohort.structure import interior
from datadouble.stats import proportion_estimate, proportion_interval

SIGNS = {
    "outside_body": "lesion pixels outside the body",
    "in_air": "pixels of the lesion's interior that are no tissue in the picture",
    "several_types": "lesion pixels that are not of the main type",
    "fragments": "lesion pixels outside the largest piece",
    "no_lesion": "no lesion where the class has one",
    "unexpected_lesion": "a lesion where the class has none",
}
"""What makes a picture implausible."""


class AnatomyLimits(NamedTuple):
    """Shares of the lesion's pixels above which a picture counts as implausible."""

    outside_body: float = 0.05
    in_air: float = 0.05
    several_types: float = 0.05
    fragments: float = 0.1


DEFAULT_LIMITS = AnatomyLimits()


class AnatomySigns(NamedTuple):
    """Of each picture: ``shares`` {sign: float (n,)}, NaN without a lesion, and ``found`` {sign: bool (n,)}."""

    shares: dict[str, np.ndarray]
    found: dict[str, np.ndarray]

    @property
    def implausible(self) -> np.ndarray:
        """Whether any sign was found, bool (n,)."""
        return np.any(list(self.found.values()), axis=0)


def body_of(structure: np.ndarray) -> np.ndarray:
    """The body in a tissue mask (h, w): its largest piece with lungs and airways filled; bool (h, w)."""
    from scipy import ndimage

    pieces, count = ndimage.label(np.asarray(structure) > 0)
    if count == 0:
        return np.zeros(np.shape(structure), bool)
    largest = 1 + int(np.bincount(pieces.ravel())[1:].argmax())
    filled: np.ndarray = ndimage.binary_fill_holes(pieces == largest)
    return filled


def measure_anatomy(
    images: np.ndarray,
    masks: np.ndarray,
    structure: np.ndarray,
    *,
    air_level: float | None = None,
    expects_lesion: Sequence[bool] | np.ndarray | None = None,
    limits: AnatomyLimits = DEFAULT_LIMITS,
) -> AnatomySigns:
    """Look for signs of implausible anatomy.

    Parameters
    ----------
    images : ndarray
        (n, h, w) uint8.
    masks : ndarray
        (n, h, w) ids of lesion types; 0 is no lesion. Without the structure.
    structure : ndarray of bool
        (n, h, w): where tissue is. Found in the pictures by a rule, the same for real and synthetic ones; the body is
        its largest piece with the holes filled.
    air_level : float, optional
        Pixel value up to which a pixel is air. Default: what is not in `structure` is.
    expects_lesion : sequence of bool, optional
        (n,): whether the picture's class has a lesion. Default: not judged.
    limits : AnatomyLimits

    Raises
    ------
    ValueError
        Where the shapes differ.
    """
    images, masks, structure = np.asarray(images), np.asarray(masks), np.asarray(structure) > 0
    if not images.shape == masks.shape == structure.shape or images.ndim != 3:
        raise ValueError(
            f"images, masks and structure need one shape (n, h, w): found {images.shape}, {masks.shape}, "
            f"{structure.shape}"
        )
    n = len(images)
    shares = {name: np.full(n, np.nan) for name in AnatomyLimits._fields}
    has_lesion = np.zeros(n, bool)
    for i in range(n):
        lesion = masks[i] > 0
        size = int(lesion.sum())
        if not size:
            continue
        has_lesion[i] = True
        air = ~structure[i] if air_level is None else images[i] <= air_level
        shares["outside_body"][i] = (lesion & ~body_of(structure[i])).sum() / size
        shares["in_air"][i] = air[interior(lesion)].mean()
        shares["several_types"][i] = 1 - np.bincount(masks[i][lesion]).max() / size
        shares["fragments"][i] = 1 - _largest_piece(lesion) / size
    found = {name: np.nan_to_num(share) > getattr(limits, name) for name, share in shares.items()}
    if expects_lesion is not None:
        expected = np.asarray(expects_lesion, bool)
        found |= {"no_lesion": expected & ~has_lesion, "unexpected_lesion": ~expected & has_lesion}
    return AnatomySigns(shares, found)


def _largest_piece(lesion: np.ndarray) -> int:
    from scipy import ndimage

    pieces, _ = ndimage.label(lesion, structure=np.ones((3, 3)))
    return int(np.bincount(pieces.ravel())[1:].max())


def anatomy_rates(signs: AnatomySigns) -> dict[str, Any]:
    """Rates of implausible pictures as JSON.

    Returns
    -------
    dict
        ``implausible`` and ``signs`` {sign: rate}, each ``value``, ``low``, ``high`` (Wilson with continuity
        correction, 95%) and ``n``; pictures count once whatever they show.
    """
    n = len(signs.implausible)
    if n == 0:
        return {"n": 0, "implausible": None, "signs": {}}
    return {
        "n": n,
        "implausible": named(proportion_estimate(int(signs.implausible.sum()), n)),
        "signs": {
            name: {"meaning": SIGNS[name], **named(proportion_estimate(int(found.sum()), n))}
            for name, found in signs.found.items()
        },
    }


def compare_anatomy(first: AnatomySigns, second: AnatomySigns) -> dict[str, Any]:
    """Difference of two rates of implausible pictures, first less second, as JSON.

    Returns
    -------
    dict
        ``value`` with ``low`` and ``high`` (Newcombe 1998, Stat Med 17:873, method 10: Wilson intervals combined),
        ``p_value`` of Fisher's exact test (two-sided), ``n`` of both.

    Raises
    ------
    ValueError
        Where either is empty.
    """
    from scipy.stats import fisher_exact

    counts = [(int(signs.implausible.sum()), len(signs.implausible)) for signs in (first, second)]
    if not all(n for _, n in counts):
        raise ValueError("a comparison needs pictures on both sides")
    (a, m), (b, n) = counts
    p, q = a / m, b / n
    (p_low, p_high), (q_low, q_high) = (proportion_interval(k, size, method="wilson") for k, size in counts)
    value = p - q
    return {
        "value": value,
        "low": value - float(np.hypot(p - p_low, q_high - q)),
        "high": value + float(np.hypot(p_high - p, q - q_low)),
        "p_value": float(fisher_exact([[a, m - a], [b, n - b]])[1]),
        "n": [m, n],
    }
