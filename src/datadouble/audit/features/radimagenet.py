"""RadImageNet's ResNet-50: features learned on 1.35 million CT, MR and ultrasound pictures.

Mei et al., Radiol Artif Intell 2022;4:e210315.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from datadouble.audit.features.base import ExtractorSource
from datadouble.audit.features.loading import (
    best_device,
    best_precision,
    find_weights,
    load_state,
    normalised_rgb,
    read_state,
    ready,
    run_network,
    state_digest,
)
from datadouble.files import fingerprint
from datadouble.networks.resnet import RESNETS, ResNet

WEIGHTS_NAMES = (
    "RadImageNet-ResNet50.safetensors",
    "RadImageNet-ResNet50.pt",
    "RadImageNet_pytorch/ResNet50.pt",
)
WEIGHTS_SOURCE = (
    "ResNet50.pt of the PyTorch weights linked by BMEII-AI/RadImageNet on GitHub as RadImageNet-ResNet50.pt"
)

# The authors saved torchvision's ResNet as a Sequential of its children: backbone.4.0.conv1 is layer1.0.conv1.
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


class RadImageNetExtractor:
    """Pooled features (2,048 values) of RadImageNet's ResNet-50.

    Parameters
    ----------
    weights : Path or str, optional
        The authors' ``ResNet50.pt``, or a state dict with torchvision's names, as .pt, .pth or .safetensors. Default:
        ``RadImageNet-ResNet50.pt`` or ``.safetensors`` in the weights folder.
    precision : str
        ``"bf16"``, ``"fp32"``, or ``"auto"``: bf16 where the hardware multiplies it.
    device : str
        ``"cpu"``, ``"cuda"``, or ``"auto"``.

    Raises
    ------
    DataDoubleError
        Where the weights are missing, or the weights are of another network.
    """

    name, dimension, input_size = "radimagenet", 2048, 224
    source: ExtractorSource | None = None

    def __init__(
        self, weights: Path | str | None = None, *, precision: str = "auto", device: str = "auto"
    ) -> None:
        self.device = best_device(device)
        self.precision = best_precision(precision, self.device)
        path = find_weights("radimagenet", weights, WEIGHTS_NAMES, WEIGHTS_SOURCE)
        self.network = ResNet(RESNETS["resnet50"], classes=0, in_channels=3)
        load_state(
            self.network, torchvision_names(read_state(path)), where=path.name, expected=WEIGHTS_SOURCE
        )
        ready(self.network, self.device)
        self.preprocessing = (
            "whole picture to 224x224, bicubic with anti-aliasing; grey to RGB; (p / 255 - 0.5) / 0.5; "
            f"{self.precision}"
        )
        self.fingerprint = fingerprint(self.name, state_digest(self.network), self.preprocessing)

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """See :class:`datadouble.audit.features.base.Extractor`."""
        batch = normalised_rgb(pictures, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        return run_network(self.network, batch, device=self.device, precision=self.precision)

    def logits(self, features: np.ndarray) -> None:
        """None: the file holds no classifier."""
        return None


def torchvision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict under torchvision's names, without classifier: from those, the authors' or DataParallel's."""
    renamed = {}
    for name, value in state.items():
        name = re.sub(r"^(module\.)?(backbone\.)?", "", name)
        first, _, rest = name.partition(".")
        name = f"{_CHILDREN.get(first, first)}.{rest}"
        if not name.startswith(("fc.", "classifier.")):
            renamed[name] = value
    return renamed
