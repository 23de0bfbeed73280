"""How the segmenters are trained: U-Net, nnU-Net and TransUNet, at the sizes of a demo, a CPU and the papers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from datadouble.networks.transunet import TransUNetConfig

KINDS = ("unet", "dynunet", "transunet")
WORDS = {"unet": "U-Net", "dynunet": "nnU-Net", "transunet": "TransUNet"}


@dataclass(frozen=True)
class SegmenterSettings:
    """One fixed way of training one kind; every arm is trained in exactly this way, for equally many steps.

    Parameters
    ----------
    kind : str
        One of ``KINDS``; ``"dynunet"`` is nnU-Net's network and rules.
    size : int
        Side in pixels of pictures and slices.
    steps : int
    batch : int
        Pictures a step; 0: as nnU-Net plans it.
    batch_3d, patch_3d
        Of volumes: patches a step, and voxels (slices, rows, columns) of each.
    optimiser : str
        ``"adamw"``, or ``"sgd"`` with Nesterov momentum 0.99 (0.9 for TransUNet).
    schedule : str
        ``"cosine"`` or ``"poly"`` (to the power 0.9), both to zero.
    clip : float
        Largest norm of the gradient; 0: unbounded.
    augment : str
        A key of ``segmenter_augment.AUGMENTATIONS``.
    normalise : str
        ``"fixed"`` (grey level - 64) / 64; ``"zscore"`` of each picture; ``"ct"``: clipped to percentiles 0.5 and 99.5
        of the training lesions and standardised by their mean and spread (nnU-Net's rule for CT; a statistic of
        the training pictures: not for private training).
    foreground : float
        Share of each batch that must show a lesion.
    width, levels : int
        Channels at full size, and levels of the U-Net; ``width`` of nnU-Net.
    transunet : TransUNetConfig
    precision : str
        ``"fp32"`` or ``"bf16"`` autocast.
    test_mirror : bool
        Average the prediction with that of the mirrored picture.
    """

    kind: str
    size: int
    steps: int
    batch: int
    batch_3d: int = 2
    patch_3d: tuple[int, int, int] = (16, 64, 64)
    optimiser: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    momentum: float = 0.99
    schedule: str = "cosine"
    clip: float = 12.0
    augment: str = "light"
    normalise: str = "fixed"
    foreground: float = 0.0
    width: int = 32
    levels: int = 5
    transunet: TransUNetConfig = field(default_factory=TransUNetConfig)
    precision: str = "fp32"
    test_mirror: bool = False


_SMALL = TransUNetConfig(
    width=16,
    blocks=(1, 1, 1),
    vit_width=96,
    depth=4,
    heads=4,
    mlp_width=192,
    decoder=(64, 32, 16, 16),
    neck=96,
    grid=4,
)
_TINY = TransUNetConfig(
    width=8, blocks=(1, 1), vit_width=32, depth=2, heads=4, mlp_width=64, decoder=(16, 8, 8), neck=32, grid=4
)

# Isensee et al. 2021: SGD, Nesterov 0.99, 0.01 falling by the power 0.9, weight decay 3e-5, 1000 x 250 steps.
_NNUNET = SegmenterSettings(
    "dynunet",
    256,
    250_000,
    0,
    optimiser="sgd",
    learning_rate=0.01,
    weight_decay=3e-5,
    schedule="poly",
    augment="nnunet",
    normalise="zscore",
    foreground=0.33,
    precision="bf16",
    patch_3d=(0, 0, 0),
    batch_3d=0,
    test_mirror=True,
)
# AdamW let it fall back to background alone: of five tumours on CT at 64 px, 400 steps left a lesion's Dice of 0.52 at
# 0.002 and of 0.001 at 0.0005, SGD 0.85.
_UNET = SegmenterSettings(
    "unet",
    256,
    60_000,
    24,
    optimiser="sgd",
    learning_rate=0.01,
    weight_decay=3e-5,
    schedule="poly",
    augment="turned",
    foreground=0.33,
    precision="bf16",
)
# Chen et al. 2021: SGD 0.01, momentum 0.9, weight decay 1e-4, batch 24, poly; 14k steps on Synapse. Weights from
# ImageNet cannot be assumed here: trained from scratch it needs more.
_TRANSUNET = SegmenterSettings(
    "transunet",
    256,
    60_000,
    24,
    optimiser="sgd",
    learning_rate=0.01,
    weight_decay=1e-4,
    momentum=0.9,
    schedule="poly",
    augment="turned",
    precision="bf16",
)

SEGMENTERS: dict[str, dict[str, SegmenterSettings]] = {
    # The paper trains at 256 px and names none of the U-Net's settings: nnU-Net's width and optimiser.
    "paper": {
        "unet": replace(_UNET, steps=60_000, batch=24, levels=6),
        "dynunet": _NNUNET,
        "transunet": _TRANSUNET,
    },
    "gpu-128": {
        "unet": replace(_UNET, size=128, steps=8_000, batch=32),
        "dynunet": replace(_NNUNET, size=128, steps=8_000),
        "transunet": replace(
            _TRANSUNET, size=128, steps=8_000, optimiser="adamw", learning_rate=3e-4, weight_decay=0.01
        ),
    },
    # One to two minutes a training on one core.
    "cpu-64": {
        "unet": replace(
            _UNET,
            size=64,
            steps=400,
            batch=16,
            momentum=0.9,
            learning_rate=0.1,
            augment="light",
            precision="fp32",
            width=8,
        ),
        "dynunet": replace(
            _NNUNET,
            size=64,
            steps=400,
            batch=12,
            width=8,
            # 0.99 remembers 100 steps, and 0.01 moves little in 400.
            momentum=0.9,
            learning_rate=0.1,
            precision="fp32",
            patch_3d=(16, 64, 64),
            batch_3d=2,
            test_mirror=False,
        ),
        "transunet": SegmenterSettings("transunet", 64, 400, 16, learning_rate=1e-3, transunet=_SMALL),
    },
    # Seconds: that it works, not how well.
    "demo": {
        "unet": SegmenterSettings(
            "unet", 32, 60, 8, learning_rate=4e-3, width=8, levels=3, patch_3d=(8, 32, 32)
        ),
        "dynunet": replace(
            _NNUNET,
            size=32,
            steps=60,
            batch=8,
            width=4,
            momentum=0.9,
            learning_rate=0.2,
            augment="light",
            precision="fp32",
            patch_3d=(8, 32, 32),
            batch_3d=2,
            test_mirror=False,
        ),
        "transunet": SegmenterSettings("transunet", 32, 80, 8, learning_rate=2e-3, transunet=_TINY),
    },
}
