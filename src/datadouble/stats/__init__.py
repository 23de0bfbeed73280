"""Intervals and tests: pure functions over arrays that import nothing else of DataDouble."""

from datadouble.stats.intervals import Estimate, Interval, bootstrap, proportion_estimate, proportion_interval

__all__ = ["Estimate", "Interval", "bootstrap", "proportion_estimate", "proportion_interval"]
