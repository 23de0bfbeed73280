"""The Inception network of the FID paper, through torch-fidelity, from a local weight file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from datadouble.errors import DataDoubleError
from datadouble.files import fingerprint

WEIGHTS_NAME = "weights-inception-2015-12-05-6726825d.pth"


class InceptionExtractor:
    """Pool3 features (2,048 values) of the FID Inception; only with it is a Frechet distance called FID.

    Parameters
    ----------
    weights : Path
        torch-fidelity's conversion of the TensorFlow weights, ``weights-inception-2015-12-05-6726825d.pth``.

    Notes
    -----
    Pictures come to 299x299 by our anti-aliased path, not by the original's aliased bilinear one (Parmar et al., CVPR
    2022). torch-fidelity 0.4 needs torchvision to be imported.
    """

    name, input_size, dimension = "inception", 299, 2048
    preprocessing = (
        "whole picture to 299x299, bicubic with anti-aliasing; rounded to 8 bits; grey to RGB; fp32"
    )

    def __init__(self, weights: Path | None = None) -> None:
        import torch

        from datadouble.audit.features.efficientnet_lite import check_hash_in_name

        if weights is None:
            raise DataDoubleError(
                "the Inception weights are not in the package",
                where="extractor inception",
                found="no weight file given",
                remedy=f"give the path of a local {WEIGHTS_NAME} (releases of toshas/torch-fidelity, v0.2.0)",
            )
        digest = check_hash_in_name(Path(weights))
        # torch-fidelity reads the file with the full unpickler. Reading it with the restricted one first raises on
        # anything but tensors, so that no code in the file can run.
        torch.load(weights, map_location="cpu", weights_only=True)
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import (
                FeatureExtractorInceptionV3,
            )
        except (ImportError, RuntimeError) as error:
            raise DataDoubleError(
                "torch-fidelity cannot be imported",
                where="extractor inception",
                found=str(error),
                remedy="pip install torch-fidelity and the torchvision of the installed torch, or use the default",
            ) from error
        self._torch: Any = torch
        self._network: Any = FeatureExtractorInceptionV3(
            "inception", ["2048"], feature_extractor_weights_path=str(weights)
        )
        self.fingerprint = fingerprint(self.name, digest, self.preprocessing)

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """See :class:`datadouble.audit.features.base.Extractor`."""
        grey = self._torch.from_numpy(np.clip(np.round(pictures), 0, 255).astype(np.uint8))
        with self._torch.inference_mode():
            return self._network(grey[:, None].expand(-1, 3, -1, -1))[0].numpy()

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Class scores without bias (n, 1008), as the inception score's authors use them."""
        return features @ self._network.fc.weight.detach().numpy().T
