"""How the networks of the usefulness test are trained: the paper's settings, and others for a CPU and for tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """One fixed way of training; every arm is trained in exactly this way, for equally many steps.

    Parameters
    ----------
    name : str
    network : str
        A key of ``networks.resnet.RESNETS``; ``"head"``: logistic regression on frozen features; for segmentation
        ``"unet"``.
    size : int
        Side in pixels to which every picture is brought; never above the side that the pictures have. Unused by a head.
    epochs : int
        Passes over the real training pictures: with ``batch`` it fixes the number of steps of every arm.
    batch : int
        Pictures a step.
    learning_rate, weight_decay : float
        Of AdamW.
    schedule : str
        ``"constant"`` or ``"cosine"`` (to zero at the last step).
    folds, seeds : int
        Each arm is trained ``folds`` x ``seeds`` times.
    flip : bool
        Mirror half of the pictures left to right.
    shift, gain : float
        Largest shift, as a share of the side, and largest relative change of brightness.
    precision : str
        ``"fp32"``, ``"bf16"`` or ``"auto"``: bf16 autocast where the processor multiplies it in hardware.
    extractor : str
        Registry name of the frozen features of a head.
    width, levels : int
        Of the U-Net.
    least_steps : int
        Steps below which ``epochs`` are too few for few pictures.
    """

    name: str
    network: str
    size: int
    epochs: int
    batch: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    schedule: str = "constant"
    folds: int = 5
    seeds: int = 1
    flip: bool = True
    shift: float = 0.06
    gain: float = 0.1
    precision: str = "auto"
    extractor: str = "efficientnet-lite0"
    width: int = 32
    levels: int = 5
    least_steps: int = 0


UTILITY_PRESETS = {
    # Xu et al., Research 2024;7:0532: ResNet-50, 50 epochs, batch 32, AdamW with 1e-4, five folds, an outside test set.
    # The paper names no size for the classifier: 512 px is that of its pictures.
    "coldit": Preset("coldit", "resnet50", 512, 50),
    "coldit-128": Preset("coldit-128", "resnet18", 128, 50),
    # About 20 minutes on one core for 900 pictures, eight arms, five folds.
    "cpu": Preset("cpu", "small", 64, 16, learning_rate=1e-3, weight_decay=0.05, schedule="cosine"),
    # Seconds, once the features are there; the seeds differ in initial weights, order and choice of pictures.
    "features": Preset(
        "features", "head", 0, 20, learning_rate=1e-3, weight_decay=1.0, schedule="cosine", seeds=3
    ),
    "demo": Preset("demo", "small", 32, 4, batch=16, learning_rate=1e-3, schedule="cosine", folds=2),
}

SEGMENTATION_PRESETS = {
    "unet-256": Preset("unet-256", "unet", 256, 100, batch=16, learning_rate=1e-3, schedule="cosine"),
    "cpu": Preset(
        "cpu", "unet", 64, 15, batch=16, learning_rate=2e-3, schedule="cosine", folds=2, width=8, levels=4
    ),
    "demo": Preset(
        "demo", "unet", 32, 8, batch=8, learning_rate=4e-3, schedule="cosine", folds=2, width=8, levels=3
    ),
}
