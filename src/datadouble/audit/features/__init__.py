"""Feature extractors: a registry, one small file an entry, and cached extraction over a cohort."""

from typing import TYPE_CHECKING, Any

from datadouble.audit.features.base import Extractor, ExtractorSource, Features, standardise
from datadouble.audit.features.extract import extract_features
from datadouble.audit.features.registry import EXTRACTORS, display_name, load_extractor

if TYPE_CHECKING:
    from datadouble.audit.features.autoencoder import train_autoencoder
    from datadouble.training.reconstruction import AutoencoderOptions

__all__ = [
    "EXTRACTORS",
    "AutoencoderOptions",
    "Extractor",
    "ExtractorSource",
    "Features",
    "display_name",
    "extract_features",
    "load_extractor",
    "standardise",
    "train_autoencoder",
]


def __getattr__(name: str) -> Any:
    if name in ("AutoencoderOptions", "train_autoencoder"):  # they import torch
        from datadouble.audit.features import autoencoder

        return getattr(autoencoder, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
