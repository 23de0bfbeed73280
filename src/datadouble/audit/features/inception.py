"""The Inception network of the FID paper, from a local weight file; needs neither torchvision nor torch-fidelity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from datadouble.audit.features.base import ExtractorSource
from datadouble.audit.features.efficientnet_lite import check_hash_in_name
from datadouble.audit.features.loading import (
    best_device,
    best_precision,
    find_weights,
    grey_batch,
    load_state,
    read_state,
    ready,
    run_network,
    state_digest,
)
from datadouble.files import fingerprint
from datadouble.networks.inception import POOLED, SIDE, FIDInception

WEIGHTS_NAME = "weights-inception-2015-12-05-6726825d.pth"
WEIGHTS_SOURCE = f"{WEIGHTS_NAME} from the release v0.2.0 of toshas/torch-fidelity on GitHub (95 MB)"


class InceptionExtractor:
    """Pooled features (2,048 values) of the FID Inception; only with it is a Frechet distance called FID.

    Parameters
    ----------
    weights : Path or str, optional
        torch-fidelity's conversion of the TensorFlow weights, ``weights-inception-2015-12-05-6726825d.pth``, or a
        safetensors copy of it. Default: that name, with either ending, in the weights folder.
    precision : str
        ``"fp32"`` (also for ``"auto"``, for published FIDs are fp32) or ``"bf16"``, whose distance is named
        ``FD(inception-bf16)``, not FID.
    input_size : int
        299: pictures come by our anti-aliased path. Any other side, such as that of the pictures themselves,
        leaves the last step to the original's aliased bilinear resize, for comparison with printed FIDs (Parmar et
        al., CVPR 2022).
    device : str
        ``"cpu"``, ``"cuda"``, or ``"auto"``.

    Raises
    ------
    DataDoubleError
        Where the weight file is missing, damaged or another one.
    """

    dimension = POOLED
    source: ExtractorSource | None = None

    def __init__(
        self,
        weights: Path | str | None = None,
        *,
        precision: str = "auto",
        input_size: int = SIDE,
        device: str = "auto",
    ) -> None:
        self.device = best_device(device)
        self.precision = best_precision(precision, self.device, auto="fp32")
        self.name = "inception" if self.precision == "fp32" else "inception-bf16"
        self.input_size = input_size
        names = [WEIGHTS_NAME, WEIGHTS_NAME.replace(".pth", ".safetensors")]
        path = find_weights("inception", weights, names, WEIGHTS_SOURCE)
        if path.suffix != ".safetensors":  # a conversion may keep the name, not the bytes
            check_hash_in_name(path)
        self.network = FIDInception()
        load_state(self.network, read_state(path), where=path.name, expected=WEIGHTS_SOURCE)
        ready(self.network, self.device)
        last = "" if input_size == SIDE else f", bilinear as in TensorFlow 1 to {SIDE}x{SIDE}"
        self.preprocessing = (
            f"whole picture to {input_size}x{input_size}, bicubic with anti-aliasing; rounded to 8 bits{last}; "
            f"grey to RGB; (p - 128) / 128; {self.precision}"
        )
        self.fingerprint = fingerprint("inception", state_digest(self.network), self.preprocessing)

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """See :class:`datadouble.audit.features.base.Extractor`."""
        grey = grey_batch(np.clip(np.round(pictures), 0, 255)).expand(-1, 3, -1, -1)
        return run_network(self.network, grey, device=self.device, precision=self.precision)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Class scores without bias (n, 1008), as the inception score's authors use them."""
        with torch.inference_mode():
            pooled = torch.from_numpy(np.ascontiguousarray(features)).to(self.device)
            return self.network.logits(pooled, bias=False).cpu().numpy()
