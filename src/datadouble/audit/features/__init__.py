"""Feature extractors: a registry, one small file an entry, and cached extraction over a cohort."""

from datadouble.audit.features.base import Extractor, Features
from datadouble.audit.features.extract import extract_features
from datadouble.audit.features.registry import EXTRACTORS, display_name, load_extractor

__all__ = ["EXTRACTORS", "Extractor", "Features", "display_name", "extract_features", "load_extractor"]
