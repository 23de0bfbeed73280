"""CLIP and DINOv2 image features through `transformers`: a local folder, the local cache, or the hub on request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from datadouble.audit.features.base import ExtractorSource
from datadouble.audit.features.loading import (
    best_device,
    best_precision,
    normalised_rgb,
    ready,
    run_network,
    state_digest,
    weights_folder,
)
from datadouble.errors import DataDoubleError
from datadouble.files import fingerprint

SIDE = 224  # what both were evaluated at; DINOv2 interpolates its position embeddings to it


@dataclass(frozen=True)
class Model:
    """What sets one of them apart."""

    hub: str  # name on the Hugging Face hub
    architecture: str  # class in transformers
    output: str  # field of its output that is the feature
    meaning: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


MODELS: dict[str, Model] = {
    # Radford et al., ICML 2021: the projected image embedding, on which CMMD is defined (Jayasumana et al., CVPR
    # 2024).
    "clip-vit-b32": Model(
        "openai/clip-vit-base-patch32",
        "CLIPVisionModelWithProjection",
        "image_embeds",
        "projected image embedding",
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    ),
    # Oquab et al., TMLR 2024: the class token after the last norm; Stein et al., NeurIPS 2023, for judging
    # generators by it.
    "dinov2": Model(
        "facebook/dinov2-base",
        "Dinov2Model",
        "pooler_output",
        "class token",
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    ),
}


class VisionTransformerExtractor:
    """Features of CLIP ViT-B/32 (512 values) or DINOv2 (768 for the base model).

    Parameters
    ----------
    name : str
        ``"clip-vit-b32"`` or ``"dinov2"``.
    weights : Path or str, optional
        A local folder with ``config.json`` and ``model.safetensors``, as ``save_pretrained`` writes it; any size
        of the same architecture. A name on the hub (``"facebook/dinov2-small"``) is fetched, since it was asked
        for. Default: the folder named after the model in the weights folder, else the hub's local cache; never a
        download.
    precision : str
        ``"bf16"``, ``"fp32"``, or ``"auto"``: bf16 where the hardware multiplies it.
    device : str
        ``"cpu"``, ``"cuda"``, or ``"auto"``.

    Raises
    ------
    DataDoubleError
        Where `transformers` or the weights are missing, or the weights are of another network.
    """

    source: ExtractorSource | None = None

    def __init__(
        self,
        name: str,
        weights: Path | str | None = None,
        *,
        precision: str = "auto",
        device: str = "auto",
    ) -> None:
        self.name, self._model = name, MODELS[name]
        self.device = best_device(device)
        self.precision = best_precision(precision, self.device)
        self.network = _load(name, self._model, weights)
        ready(self.network, self.device)
        config = self.network.config
        patch = int(config.patch_size)
        self.input_size = min(int(config.image_size), SIDE) // patch * patch
        is_clip = self._model.output == "image_embeds"
        self.dimension = int(config.projection_dim if is_clip else config.hidden_size)
        self.preprocessing = (
            f"whole picture to {self.input_size}x{self.input_size}, bicubic with anti-aliasing; grey to RGB; "
            f"(p / 255 - mean) / deviation; {self._model.meaning}; {self.precision}"
        )
        self.fingerprint = fingerprint(name, state_digest(self.network), self.preprocessing)

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """See :class:`datadouble.audit.features.base.Extractor`."""
        batch = normalised_rgb(pictures, self._model.mean, self._model.deviation)
        return run_network(self._forward, batch, device=self.device, precision=self.precision)

    def logits(self, features: np.ndarray) -> None:
        """None: neither has a classifier."""
        return None

    def _forward(self, batch: Tensor) -> Tensor:
        return getattr(self.network(pixel_values=batch), self._model.output)


def _load(name: str, model: Model, weights: Path | str | None) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise DataDoubleError(
            "transformers cannot be imported",
            where=f"extractor {name}",
            found=str(error)[:120],
            remedy="pip install 'datadouble[models]'",
        ) from error
    folder = weights_folder() / model.hub.split("/")[1]
    place: Path | str = (folder if folder.is_dir() else model.hub) if weights is None else weights
    # A name on the hub is fetched only where the user wrote one; a path that does not exist is no name.
    fetch = isinstance(weights, str) and not Path(weights).exists() and weights.count("/") == 1
    where = f"extractor {name}" if weights is None else str(weights)
    if weights is not None and not fetch and not (Path(weights) / "config.json").is_file():
        raise DataDoubleError(
            f"no model of {name}",
            where=where,
            found="no folder with config.json",
            remedy=f"give the folder of {model.hub}",
        )
    try:
        # Files without safetensors are read by the restricted unpickler (transformers' default).
        network, report = getattr(transformers, model.architecture).from_pretrained(
            str(place), local_files_only=not fetch, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise DataDoubleError(
            f"the weights of {name} are missing",
            where=where,
            found=str(error).split("\n")[0][:120],
            remedy=f"put the files of {model.hub} (config.json, model.safetensors) into {folder}, or give "
            f"their folder, or the name {model.hub} to fetch it, as the weights",
        ) from error
    wrong = [*report["missing_keys"], *report["mismatched_keys"]]
    if wrong:  # transformers would fill them with random numbers
        raise DataDoubleError(
            f"the weights are not those of {name}",
            where=where,
            found=f"{len(wrong)} tensors missing or of another shape, such as {next(iter(wrong))}",
            remedy=f"give the folder of {model.hub}",
        )
    return network
