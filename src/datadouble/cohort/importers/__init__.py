"""Importers: from the layouts in which pictures are kept to a cohort."""

from datadouble.cohort.importers.registry import KINDS, Kind
from datadouble.cohort.importers.run import import_cohort
from datadouble.cohort.importers.source import FolderColumns

__all__ = ["KINDS", "FolderColumns", "Kind", "import_cohort"]
