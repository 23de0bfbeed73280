"""Training one network on one arm: deterministic, a fixed number of steps, the last weights are the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datadouble.audit.utility.presets import Preset
from datadouble.networks.resnet import RESNETS, ResNet
from datadouble.networks.segmentation import SegmentationConfig, SegmentationUNet
from datadouble.randomness import generator_for, seed_for

Loss = Callable[[Tensor, Tensor], Tensor]


class Pool:
    """Rows of several arrays under one numbering: real pictures first, then synthetic ones; nothing is copied."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self._parts = [part for part in parts]
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The given rows, in order."""
        which = np.searchsorted(self._starts, rows, side="right") - 1
        out = np.empty((len(rows), *self._parts[0].shape[1:]), self._parts[0].dtype)
        for number, part in enumerate(self._parts):
            here = which == number
            if here.any():
                out[here] = part[rows[here] - self._starts[number]]
        return out


class Head(nn.Module):
    """Logistic regression on standardised features: scores (b, 1) of features (b, d)."""

    def __init__(self, mean: np.ndarray, spread: np.ndarray) -> None:
        super().__init__()
        self.linear = nn.Linear(len(mean), 1)
        nn.init.zeros_(self.linear.weight)
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("spread", torch.from_numpy(spread.astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear((x - self.mean) / self.spread)


def build_network(preset: Preset, sample: np.ndarray) -> nn.Module:
    """The preset's network; ``sample`` are training inputs, from which a head takes its mean and spread."""
    if preset.network == "head":
        return Head(sample.mean(axis=0), np.maximum(sample.std(axis=0), 1e-3))
    if preset.network == "unet":
        return SegmentationUNet(SegmentationConfig(preset.width, preset.levels))
    return ResNet(RESNETS[preset.network])


def classification_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of scores (b, 1) and targets (b,)."""
    return F.binary_cross_entropy_with_logits(scores[:, 0], targets.float())


def segmentation_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice loss of scores (b, 1, h, w) and masks (b, h, w) of 0 and 1."""
    truth = targets.float()
    scores = scores[:, 0]
    chance = scores.sigmoid()
    overlap = 2 * (chance * truth).sum((1, 2)) + 1
    dice = overlap / (chance.sum((1, 2)) + truth.sum((1, 2)) + 1)
    return F.binary_cross_entropy_with_logits(scores, truth) + (1 - dice).mean()


def choose_device(preset: Preset) -> tuple[torch.device, bool]:
    """A GPU where there is one, and whether bf16 autocast is used."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if preset.network == "head" or preset.precision == "fp32":
        return device, False
    if preset.precision == "bf16" or device.type == "cuda":
        return device, preset.precision == "bf16" or torch.cuda.is_bf16_supported()
    return device, bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def train(
    preset: Preset,
    inputs: Pool,
    targets: Pool,
    stages: Sequence[tuple[np.ndarray, int]],
    *,
    loss: Loss,
    seed: int,
    step_done: Callable[[], None] | None = None,
) -> nn.Module:
    """Train the preset's network on the stages, one after the other; equal seeds give equal networks on a CPU.

    Parameters
    ----------
    inputs, targets : Pool
        Pictures (s, s) uint8 or features (d,) float32; classes 0 and 1, or masks (s, s) of them.
    stages : sequence of (rows, steps)
        Every stage goes through its rows again and again, each time in a new order, and has a learning rate schedule
        of its own.
    """
    device, bf16 = choose_device(preset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "weights") % 2**32)
        network = build_network(preset, inputs.take(stages[0][0]) if preset.network == "head" else NOTHING)
    network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=preset.learning_rate, weight_decay=preset.weight_decay
    )
    network.train()
    for number, (rows, steps) in enumerate(stages):
        rng = generator_for(seed, "order", number)
        for done, batch in enumerate(_batches(rows, preset.batch, steps, rng)):
            x, y = augment(preset, inputs.take(batch), targets.take(batch), rng)
            rate = 0.5 * (1 + math.cos(math.pi * done / steps)) if preset.schedule == "cosine" else 1.0
            for group in optimiser.param_groups:
                group["lr"] = preset.learning_rate * rate
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                scores = network(to_input(x, device))
            value = loss(scores.float(), torch.from_numpy(y).to(device))
            value.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if step_done:
                step_done()
    return network.eval()


def predict(preset: Preset, network: nn.Module, inputs: np.ndarray, *, batch: int = 128) -> np.ndarray:
    """Chance of class 1 of every input, float32: (n,), or (n, s, s) from a U-Net."""
    device, bf16 = choose_device(preset)
    found = []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for start in range(0, len(inputs), batch):
            scores = network(to_input(np.asarray(inputs[start : start + batch]), device))
            found.append(scores[:, 0].float().sigmoid().cpu().numpy())
    return np.concatenate(found)


NOTHING = np.empty(0, np.float32)


def to_input(batch: np.ndarray, device: torch.device) -> Tensor:
    """Features as they are; pictures (b, s, s) on the 0..255 scale as (b, 1, s, s), roughly centred."""
    tensor = torch.from_numpy(np.ascontiguousarray(batch, dtype=np.float32)).to(device)
    if tensor.ndim == 2:
        return tensor
    tensor = (tensor[:, None] / 255 - 0.25) / 0.25
    return tensor.contiguous(memory_format=torch.channels_last)


def _batches(rows: np.ndarray, batch: int, steps: int, rng: np.random.Generator) -> list[np.ndarray]:
    orders: list[np.ndarray] = []
    while sum(len(order) for order in orders) < batch * steps:
        orders.append(rng.permutation(rows))
    stream = np.concatenate(orders) if orders else rows
    return [stream[i * batch : (i + 1) * batch] for i in range(steps)]


def augment(
    preset: Preset, x: np.ndarray, y: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mirror, shift and brighten pictures (b, s, s); masks move with them. Features pass unchanged."""
    if x.ndim == 2:
        return x, y
    with_masks = y.ndim == 3
    most = round(preset.shift * x.shape[1])
    flips = rng.random(len(x)) < 0.5 if preset.flip else np.zeros(len(x), bool)
    shifts = rng.integers(-most, most + 1, size=(len(x), 2))
    gains = rng.uniform(1 - preset.gain, 1 + preset.gain, size=len(x)).astype(np.float32)
    places = np.arange(x.shape[1])
    moved, masks = np.empty(x.shape, np.float32), y.copy()
    for i, (down, right) in enumerate(shifts):
        columns = np.clip(places + right, 0, x.shape[2] - 1)
        take = np.ix_(np.clip(places + down, 0, x.shape[1] - 1), columns[::-1] if flips[i] else columns)
        moved[i] = x[i][take]
        if with_masks:
            masks[i] = y[i][take]
    return np.minimum(moved * gains[:, None, None], 255), masks
