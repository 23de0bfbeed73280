"""Several tests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datadouble.stats.results import as_numbers


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """P-values adjusted by Holm's step-down method: reject where the adjusted one is below alpha.

    The chance of any false rejection is at most alpha, however the tests depend on one another (Holm, Scandinavian
    Journal of Statistics 1979;6:65).

    Parameters
    ----------
    p_values : array_like, shape (tests,)
        In [0, 1].

    Returns
    -------
    ndarray, shape (tests,)
        In the order given.

    Raises
    ------
    ValueError
        For no tests, NaN, or values outside [0, 1].
    """
    values = as_numbers(p_values, "p_values")
    if (values < 0).any() or (values > 1).any():
        raise ValueError("p-values must lie between 0 and 1")
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
