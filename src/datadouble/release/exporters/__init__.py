"""Cohorts in the formats of others: one module a format, each with a function `export`."""

from datadouble.release.exporters.registry import FORMATS, Exported, ExportOptions, export_cohort

__all__ = ["FORMATS", "ExportOptions", "Exported", "export_cohort"]
