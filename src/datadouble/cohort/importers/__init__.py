"""Importers: from the layouts in which pictures are kept to a cohort."""

from datadouble.cohort.importers.registry import KINDS, Kind
from datadouble.cohort.importers.run import import_cohort
from datadouble.cohort.importers.source import FolderColumns
from datadouble.cohort.importers.volume_options import VolumeOptions

__all__ = ["KINDS", "FolderColumns", "Kind", "VolumeOptions", "import_cohort"]
