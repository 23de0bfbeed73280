"""Removal of burned-in annotations: find words and marks, fill them with matching speckle, show what was done."""

from datadouble.cohort.deidentify.clean import Cleaned, clean_image, find_annotations, map_clean
from datadouble.cohort.deidentify.types import Annotation, Annotations

__all__ = ["Annotation", "Annotations", "Cleaned", "clean_image", "find_annotations", "map_clean"]
