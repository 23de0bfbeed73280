"""Paired yes or no: McNemar's test, with the difference of the two shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from datadouble.stats.results import as_numbers, check_confidence, check_lengths, normal_quantile

MCNEMAR_METHODS = ("exact", "chi2", "chi2-cc")


class McNemar(NamedTuple):
    """McNemar's test with the difference of shares (``value``), its interval, n pairs and the discordant ones."""

    statistic: float
    p_value: float
    value: float
    low: float
    high: float
    n: int
    discordant: int


def mcnemar(
    first: Sequence[int] | Sequence[Sequence[int]] | np.ndarray,
    second: Sequence[int] | np.ndarray | None = None,
    *,
    method: str = "exact",
    confidence: float = 0.95,
) -> McNemar:
    """Test that two paired yes/no outcomes are yes equally often.

    Parameters
    ----------
    first, second : array_like of bool or {0, 1}, shape (n,)
        Such as: reader right without and with help, model A and model B right. Without ``second``, ``first`` is the
        2 x 2 table of counts: rows first yes, no; columns second yes, no.
    method : str
        ``"exact"`` (binomial on the discordant pairs), ``"chi2"`` (McNemar, Psychometrika 1947;12:153) or
        ``"chi2-cc"`` (with Edwards' continuity correction).
    confidence : float
        In (0, 1).

    Returns
    -------
    McNemar
        ``statistic`` is the smaller discordant count for ``"exact"``, else chi-squared with one degree of freedom.
        ``value`` is the first share minus the second, with Bonett and Price's adjusted interval (Journal of
        Educational and Behavioral Statistics 2012;37:479), which keeps a width where no pair is discordant. No
        discordant pair: p = 1.

    Raises
    ------
    ValueError
        For values other than 0 and 1, unequal lengths, no pairs, a table that is not 2 x 2 counts, an unknown method.
    """
    from scipy.special import chdtrc
    from scipy.stats import binomtest

    check_confidence(confidence)
    if method not in MCNEMAR_METHODS:
        raise ValueError(f"unknown method {method!r}: use one of {', '.join(MCNEMAR_METHODS)}")
    n, only_first, only_second = _discordant(first, second)
    discordant = only_first + only_second
    if method == "exact":
        statistic = float(min(only_first, only_second))
        p_value = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    else:
        excess = abs(only_first - only_second)
        if method == "chi2-cc":
            excess = max(excess - 1, 0)
        statistic = excess**2 / discordant if discordant else 0.0
        p_value = float(chdtrc(1, statistic))
    a, b = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    half = normal_quantile(confidence) * float(np.sqrt((a + b - (a - b) ** 2) / (n + 2)))
    value = (only_first - only_second) / n
    low, high = min(value, max(-1.0, a - b - half)), max(value, min(1.0, a - b + half))
    return McNemar(statistic, p_value, value, low, high, n, discordant)


def _discordant(
    first: Sequence[int] | Sequence[Sequence[int]] | np.ndarray, second: Sequence[int] | np.ndarray | None
) -> tuple[int, int, int]:
    """Pairs, pairs that are yes in the first only, in the second only."""
    if second is None:
        table = np.asarray(first)
        if (
            table.shape != (2, 2)
            or table.dtype.kind not in "iuf"
            or (table < 0).any()
            or (table % 1 != 0).any()
        ):
            raise ValueError(
                f"without second, first must be a 2 x 2 table of counts: found shape {table.shape}"
            )
        if table.sum() < 1:
            raise ValueError("the table is empty")
        return int(table.sum()), int(table[0, 1]), int(table[1, 0])
    a, b = as_numbers(np.asarray(first), "first"), as_numbers(second, "second")
    check_lengths(first=a, second=b)
    if not np.isin(np.concatenate([a, b]), (0.0, 1.0)).all():
        raise ValueError("the outcomes must be 0 and 1 (or booleans)")
    return len(a), int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
