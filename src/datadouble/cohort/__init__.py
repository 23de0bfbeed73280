"""Cohorts: sets of images with labels, masks and patients, real or synthetic, in one format."""

from datadouble.cohort.cohort import COLUMNS, Cohort, CohortInfo, Sample
from datadouble.cohort.writer import CohortWriter

__all__ = ["COLUMNS", "Cohort", "CohortInfo", "CohortWriter", "Sample"]
