"""Agreement beyond chance: Fleiss' kappa, Gwet's AC1, Cohen's kappa.

Chance-corrected agreement cannot be arbitrarily low. Fleiss' kappa of r raters is at least -1 / (r - 1): -0.5 for
three, so that a printed -0.867 is a mistake. :class:`Kappa` refuses such a value when it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datadouble.stats.results import check_confidence

WEIGHTS = ("linear", "quadratic")
ROUNDING = 1e-9


class _Kappa(NamedTuple):
    value: float
    low: float
    high: float
    n: int
    minimum: float


class Kappa(_Kappa):
    """A chance-corrected agreement with its interval, its number of items and its attainable minimum.

    Raises
    ------
    ValueError
        Where the value lies outside [minimum, 1], or the interval leaves that range or does not hold the value.
    """

    __slots__ = ()

    def __new__(cls, value: float, low: float, high: float, n: int, minimum: float) -> Kappa:
        if not minimum - ROUNDING <= value <= 1 + ROUNDING:
            raise ValueError(f"an agreement of {value} is impossible: it lies between {minimum:g} and 1")
        if not minimum - ROUNDING <= low <= value + ROUNDING <= high + 2 * ROUNDING <= 1 + 3 * ROUNDING:
            raise ValueError(
                f"the interval ({low}, {high}) must hold {value} and stay within [{minimum:g}, 1]"
            )
        return super().__new__(cls, value, low, high, n, minimum)

    @classmethod
    def _make(cls, iterable) -> Kappa:  # type: ignore[no-untyped-def, override]
        """From a sequence of the five fields; :meth:`_replace` comes this way too, so neither evades the check."""
        return cls(*iterable)


def kappa_minimum(raters: int) -> float:
    """The lowest attainable Fleiss' kappa, -1 / (raters - 1), reached where every item splits the raters alike."""
    if raters < 2:
        raise ValueError(f"agreement needs at least 2 raters: found {raters}")
    return -1 / (raters - 1)


def check_kappa(value: float, raters: int) -> float:
    """Return a Fleiss' kappa read elsewhere, or refuse it where that many raters cannot have it.

    Raises
    ------
    ValueError
        For a value outside [-1 / (raters - 1), 1] or NaN.
    """
    minimum = kappa_minimum(raters)
    if not minimum - ROUNDING <= value <= 1 + ROUNDING:
        raise ValueError(
            f"kappa of {value} is impossible: with {raters} raters it lies between {minimum:g} and 1"
        )
    return value


def fleiss_kappa(ratings: Sequence[Sequence[object]] | np.ndarray, *, confidence: float = 0.95) -> Kappa:
    """Fleiss' kappa of several raters over the same items (Fleiss, Psychological Bulletin 1971;76:378).

    Parameters
    ----------
    ratings : array_like, shape (items, raters)
        Nominal categories (numbers, strings or booleans); every rater rated every item.
    confidence : float
        In (0, 1).

    Returns
    -------
    Kappa
        The interval is value ± t·SE with n - 1 degrees of freedom and Gwet's linearised variance over items
        (British Journal of Mathematical and Statistical Psychology 2008;61:29), cut to [minimum, 1]; raters are
        fixed. Where all items contribute alike (such as perfect agreement) that variance is 0, and the interval
        instead allows for as large a share of other items as n alike do not exclude: 1 - (alpha / 2)^(1/n).

    Raises
    ------
    ValueError
        For fewer than 2 raters, no items, missing ratings, or one category only (kappa is then 0 / 0: use
        :func:`gwet_ac1` with its categories).
    """
    counts, _ = _counts(ratings, None)
    items, raters = len(counts), int(counts[0].sum())
    shares = counts.sum(axis=0) / (items * raters)
    by_chance = counts @ shares / raters
    chance = float(shares @ shares)
    if chance > 1 - ROUNDING:
        raise ValueError(
            "all ratings are of one category: Fleiss' kappa is 0 / 0; give gwet_ac1 its categories"
        )
    return _kappa(
        _agreement(counts),
        by_chance,
        chance,
        confidence,
        kappa_minimum(raters),
        _split(raters, counts.shape[1]),
    )


def gwet_ac1(
    ratings: Sequence[Sequence[object]] | np.ndarray,
    *,
    confidence: float = 0.95,
    categories: Sequence[object] | None = None,
) -> Kappa:
    """Gwet's AC1, which stays near the raw agreement where one category is rare (Gwet 2008).

    Parameters
    ----------
    ratings : array_like, shape (items, raters)
        As in :func:`fleiss_kappa`.
    confidence : float
        In (0, 1).
    categories : sequence, optional
        All categories that the raters could choose; those seen by default.

    Returns
    -------
    Kappa
        ``minimum`` is what these numbers of raters and categories can reach (-1 for two raters and two categories).

    Raises
    ------
    ValueError
        For fewer than 2 raters or 2 categories, missing ratings, ratings outside the categories.
    """
    counts, names = _counts(ratings, categories)
    if len(names) < 2:
        raise ValueError("only one category was seen: name all that could be chosen with categories=")
    items, raters, kinds = len(counts), int(counts[0].sum()), len(names)
    shares = counts.sum(axis=0) / (items * raters)
    by_chance = counts @ (1 - shares) / raters / (kinds - 1)
    chance = float(shares @ (1 - shares)) / (kinds - 1)
    lowest = _split(raters, kinds)
    minimum = 1 - (1 - lowest) * kinds / (kinds - 1)
    return _kappa(_agreement(counts), by_chance, chance, confidence, minimum, lowest)


def cohen_kappa(
    first: Sequence[object] | np.ndarray,
    second: Sequence[object] | np.ndarray,
    *,
    weights: str | None = None,
    confidence: float = 0.95,
    categories: Sequence[object] | None = None,
) -> Kappa:
    """Cohen's kappa of two ratings of the same items, such as one reader's first and second reading.

    Parameters
    ----------
    first, second : array_like, shape (items,)
        Nominal or ordered categories.
    weights : str, optional
        ``"linear"`` or ``"quadratic"`` partial credit for neighbouring categories (Cohen, Psychological Bulletin
        1968;70:213).
    confidence : float
        In (0, 1).
    categories : sequence, optional
        All categories in their order, for weights; the sorted ones seen by default.

    Returns
    -------
    Kappa
        The interval is made as in :func:`fleiss_kappa`, with the variance of Fleiss, Cohen and Everitt (Psychological
        Bulletin 1969;72:323). ``minimum`` is -1.

    Raises
    ------
    ValueError
        For unequal lengths, missing ratings, one category only, unknown weights.
    """
    one, two = np.asarray(first), np.asarray(second)
    if one.ndim != 1 or one.shape != two.shape:
        raise ValueError(f"the two readings must be one-dimensional and as long: {one.shape} and {two.shape}")
    codes, names = _codes(np.stack([one, two], axis=1), categories)
    kinds, items = len(names), len(codes)
    distance = np.abs(np.subtract.outer(np.arange(kinds), np.arange(kinds))) / max(kinds - 1, 1)
    if weights is None:
        credit = np.eye(kinds)
    elif weights in WEIGHTS:
        credit = 1 - distance ** (1 if weights == "linear" else 2)
    else:
        raise ValueError(f"unknown weights {weights!r}: use one of {', '.join(WEIGHTS)}, or None")
    margins = [np.bincount(column, minlength=kinds) / items for column in codes.T]
    chance = float(margins[0] @ credit @ margins[1])
    if chance > 1 - ROUNDING:
        raise ValueError("both readings are of one category only: Cohen's kappa is 0 / 0")
    by_chance = ((credit @ margins[1])[codes[:, 0]] + (credit @ margins[0])[codes[:, 1]]) / 2
    return _kappa(credit[codes[:, 0], codes[:, 1]], by_chance, chance, confidence, -1.0, 0.0)


def _kappa(
    agreement: np.ndarray,
    by_chance: np.ndarray,
    chance: float,
    confidence: float,
    minimum: float,
    lowest: float,
) -> Kappa:
    """The coefficient from each item's agreement and its part in the agreement by chance, with the interval.

    ``lowest`` is the lowest agreement that one item can have.
    """
    from scipy.special import stdtrit

    check_confidence(confidence)
    n, observed = len(agreement), float(agreement.mean())
    value = (observed - chance) / (1 - chance)
    # Each item's influence: through its own agreement, and through the shares of the categories.
    influence = (agreement - chance) / (1 - chance) - 2 * (1 - value) * (by_chance - chance) / (1 - chance)
    if n > 1 and influence.std() > ROUNDING:
        half = float(stdtrit(n - 1, (1 + confidence) / 2) * influence.std(ddof=1) / np.sqrt(n))
        low, high = value - half, value + half
    else:
        unseen = 1 - ((1 - confidence) / 2) ** (1 / n)
        low, high = (
            ((1 - unseen) * observed + unseen * other - chance) / (1 - chance) for other in (lowest, 1.0)
        )
    low, high = min(max(low, minimum), value), max(min(high, 1.0), value)
    return Kappa(value, low, high, n, minimum)


def _agreement(counts: np.ndarray) -> np.ndarray:
    """Share of agreeing pairs of raters for each item."""
    raters = counts[0].sum()
    share: np.ndarray = (counts * (counts - 1)).sum(axis=1) / (raters * (raters - 1))
    return share


def _split(raters: int, kinds: int) -> float:
    """The lowest share of agreeing pairs: raters spread over the categories as evenly as can be."""
    each, over = divmod(raters, kinds)
    return (over * (each + 1) * each + (kinds - over) * each * (each - 1)) / (raters * (raters - 1))


def _counts(
    ratings: Sequence[Sequence[object]] | np.ndarray, categories: Sequence[object] | None
) -> tuple[np.ndarray, np.ndarray]:
    """How many raters put each item in each category (items, categories), and the categories."""
    array = np.asarray(ratings)
    if array.ndim != 2 or array.shape[1] < 2:
        raise ValueError(f"ratings must be (items, raters) with at least 2 raters: found shape {array.shape}")
    codes, names = _codes(array, categories)
    return np.stack([np.bincount(row, minlength=len(names)) for row in codes]), names


def _codes(array: np.ndarray, categories: Sequence[object] | None) -> tuple[np.ndarray, np.ndarray]:
    """Codes of the ratings, in the order of the categories."""
    if len(array) == 0:
        raise ValueError("no items were rated")
    if array.dtype.kind == "O":
        missing = np.array([item is None or item != item for item in array.ravel()])
        if missing.any():
            raise ValueError(f"{int(missing.sum())} ratings are missing: drop these items")
        if len({type(item) for item in array.ravel()}) > 1:
            array = array.astype(str)
    elif array.dtype.kind in "fc" and np.isnan(array).any():
        raise ValueError(f"{int(np.isnan(array).sum())} ratings are missing (NaN): drop these items")
    names, codes = np.unique(array, return_inverse=True)
    codes = codes.reshape(array.shape)
    if categories is None:
        return codes, names
    order = {name: place for place, name in enumerate(np.asarray(categories).tolist())}
    strange = [name for name in names.tolist() if name not in order]
    if strange:
        raise ValueError(f"ratings outside the categories: {strange[:5]}")
    if len(order) != len(categories):
        raise ValueError("categories repeat")
    return np.array([order[name] for name in names.tolist()])[codes], np.asarray(categories)
