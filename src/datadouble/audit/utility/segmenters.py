"""Training a segmenter of several classes on pictures or on volumes, and predicting with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datadouble.audit.choices import choose
from datadouble.audit.utility.segmenter_augment import AUGMENTATIONS, augment
from datadouble.audit.utility.segmenter_inputs import Drawer, Levels, lesion_levels, to_grey
from datadouble.audit.utility.segmenter_losses import dice_ce_loss, supervised_loss
from datadouble.audit.utility.segmenter_privacy import (
    PrivateTraining,
    check_private_training,
    train_private_segmenter,
)
from datadouble.audit.utility.segmenter_settings import SEGMENTERS, SegmenterSettings
from datadouble.audit.utility.segmenter_steps import make_optimiser, rate_at
from datadouble.audit.utility.sliding import sliding_window
from datadouble.errors import DataDoubleError
from datadouble.networks.dynunet import build_dynunet, supervised_scales
from datadouble.networks.nnunet_plan import NnunetPlan, fingerprint_of, plan_nnunet
from datadouble.networks.segmentation import SegmentationConfig, SegmentationUNet
from datadouble.networks.transunet import TransUNet
from datadouble.randomness import generator_for, seed_for
from datadouble.training.privacy.per_sample import replace_batch_norm
from datadouble.training.privacy.supervised import PrivateSteps

Masks = Sequence[np.ndarray] | np.ndarray


@dataclass
class Segmenter:
    """A trained segmenter.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; scores (b, classes, ...).
    classes : int
        With the background.
    dims : int
        2: pictures and single slices; 3: volumes.
    patch : tuple of int
        Of a 3D network: voxels that it sees at once.
    levels : Levels
        How grey levels were normalised.
    privacy : PrivateSteps, optional
        What a private training spent.
    """

    network: nn.Module
    settings: SegmenterSettings
    classes: int
    dims: int
    patch: tuple[int, ...]
    levels: Levels
    plan: NnunetPlan | None = None
    privacy: PrivateSteps | None = None

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.network.parameters()).device


class Padded(nn.Module):
    """A network that wants sides divisible by ``divisor``, for any side: padded at the end, and cut again."""

    def __init__(self, network: nn.Module, divisor: Sequence[int]) -> None:
        super().__init__()
        self.network, self.divisor = network, tuple(divisor)

    def forward(self, x: Tensor) -> Tensor:
        sides = x.shape[2:]
        more = [-side % by for side, by in zip(sides, self.divisor, strict=True)]
        if not any(more):
            return self.network(x)
        pad = [amount for axis in reversed(more) for amount in (0, axis)]
        found = self.network(F.pad(x, pad, mode="replicate"))
        return found[(..., *(slice(None, side) for side in sides))]


def choose_settings(kind: str, preset: str | SegmenterSettings) -> SegmenterSettings:
    """The settings of a kind under a preset's name; settings that are given as such pass unchanged.

    Raises
    ------
    DataDoubleError
        For an unknown preset or kind.
    """
    if isinstance(preset, SegmenterSettings):
        return preset
    return choose("segmenter", kind, choose("preset", preset, SEGMENTERS))


def plan_segmenter(
    settings: SegmenterSettings,
    shapes: Sequence[Sequence[int]],
    classes: int,
    *,
    dims: int = 2,
    spacings: Sequence[Sequence[float]] | None = None,
) -> NnunetPlan:
    """nnU-Net's plan for pictures or volumes of these shapes; what the settings fix is not planned."""
    fixed = settings.patch_3d if dims == 3 and settings.patch_3d[0] else None
    batch = settings.batch if dims == 2 else settings.batch_3d
    return plan_nnunet(
        fingerprint_of(shapes, classes, spacings),
        dims,
        base_features=settings.width,
        patch=fixed,
        batch=batch or None,
    )


def train_segmenter(
    kind: str,
    images: Masks,
    masks: Masks,
    classes: int,
    preset: str | SegmenterSettings = "cpu-64",
    seed: int = 0,
    *,
    spacings: Sequence[Sequence[float]] | None = None,
    upright: bool = True,
    step_done: Callable[[], None] | None = None,
    private: PrivateTraining | None = None,
) -> Segmenter:
    """Train one segmenter for the preset's number of steps; equal seeds give equal networks on a CPU.

    Parameters
    ----------
    kind : str
        ``"unet"``, ``"dynunet"`` (nnU-Net; needs MONAI) or ``"transunet"`` (2D only).
    images, masks : ndarray, or sequence of ndarray
        Pictures (n, h, w) uint8 and class ids of the same shape; or volumes (d, h, w), one a case.
    classes : int
        With the background.
    preset : str or SegmenterSettings
        A key of ``SEGMENTERS``.
    spacings : sequence, optional
        mm (z, y, x) of each volume, for nnU-Net's plan.
    upright : bool
        Up is up (ultrasound, chest CT): see :func:`segmenter_augment.augment`.
    private : PrivateTraining, optional
        Train pictures with differential privacy; group norm takes the place of batch norm.

    Raises
    ------
    DataDoubleError
        For no pictures, masks of other shapes, no lesion in any mask, an undeclared class, a kind that has no 3D
        form, or MONAI missing.
    """
    settings = choose_settings(kind, preset)
    dims = _check(images, masks, classes, settings)
    if private is not None:
        check_private_training(settings, dims, len(images), private)
    levels = lesion_levels(images, masks) if settings.normalise == "ct" else Levels(settings.normalise)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "weights") % 2**32)
        shapes = [np.shape(image) for image in images]
        segmenter = untrained_segmenter(
            settings, shapes, classes, levels, spacings=spacings, private=private is not None
        )
        network, plan = segmenter.network, segmenter.plan
        torch.manual_seed(seed_for(seed, "dropout") % 2**32)
        if private is not None:
            segmenter.privacy = train_private_segmenter(
                network,
                images,
                masks,
                levels,
                settings,
                private,
                scales=supervised_scales(plan) if plan is not None else (),
                upright=upright,
                step_done=step_done,
            )
        else:
            batch = plan.batch if plan else settings.batch if dims == 2 else settings.batch_3d
            drawer = Drawer(images, masks, levels, segmenter.patch, settings.foreground, seed)
            _train(network, drawer, batch, settings, plan, seed, upright, step_done)
    network.eval()
    return segmenter


def untrained_segmenter(
    settings: SegmenterSettings,
    shapes: Sequence[Sequence[int]],
    classes: int,
    levels: Levels,
    *,
    spacings: Sequence[Sequence[float]] | None = None,
    private: bool = False,
) -> Segmenter:
    """A segmenter for cases of these shapes, with fresh weights by torch's own generator.

    Parameters
    ----------
    private : bool
        Group norm in place of batch norm.
    """
    dims, plan = len(shapes[0]), None
    if settings.kind == "dynunet":
        plan = plan_segmenter(settings, shapes, classes, dims=dims, spacings=spacings)
    patch = tuple(plan.patch if plan and dims == 3 else settings.patch_3d) if dims == 3 else ()
    network = build_segmenter(settings, classes, dims, plan)
    network = replace_batch_norm(network) if private else network
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Segmenter(network.to(device), settings, classes, dims, patch, levels, plan)


def build_segmenter(
    settings: SegmenterSettings, classes: int, dims: int = 2, plan: NnunetPlan | None = None
) -> nn.Module:
    """The network of the settings, untrained, for pictures of any side."""
    if settings.kind == "dynunet":
        assert plan is not None
        return Padded(build_dynunet(plan, classes), plan.divisor)
    if settings.kind == "transunet":
        return TransUNet(settings.transunet, classes)
    config = SegmentationConfig(settings.width, settings.levels, dims=dims)
    return Padded(SegmentationUNet(config, classes), [2 ** (settings.levels - 1)] * dims)


def _train(
    network: nn.Module,
    drawer: Drawer,
    batch: int,
    settings: SegmenterSettings,
    plan: NnunetPlan | None,
    seed: int,
    upright: bool,
    step_done: Callable[[], None] | None,
) -> None:
    device = next(network.parameters()).device
    parameters = list(network.parameters())
    optimiser = make_optimiser(network, settings)
    scales = supervised_scales(plan) if plan is not None else []
    batch_dice = plan is None or plan.batch_dice
    how = AUGMENTATIONS[settings.augment]
    network.train()
    for step in range(settings.steps):
        rng = generator_for(seed, "step", step)
        x, y = drawer.draw(batch, step, rng)
        images, truth = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
        images, truth = augment(images, truth, how, rng, upright=upright)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * rate_at(settings, step)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            scores = network(images)
        scores, wanted = scores.float(), truth.long()
        if scores.ndim == images.ndim + 1:
            loss = supervised_loss(scores, wanted, scales, batch_dice=batch_dice)
        else:
            loss = dice_ce_loss(scores, wanted, batch_dice=batch_dice)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if settings.clip:
            torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimiser.step()
        if step_done:
            step_done()


def probabilities(segmenter: Segmenter, images: Masks, *, batch: int = 32) -> Iterator[np.ndarray]:
    """Chances of the classes, float32 (classes, [d,] h, w), of one picture or volume after the other.

    A 2D network reads a volume slice by slice, a 3D one by a sliding window with Gaussian weights.
    """
    start = 0
    while start < len(images):
        first = np.asarray(images[start])
        if segmenter.dims == 3:
            if first.ndim != 3:
                raise DataDoubleError(
                    "a 3D segmenter needs volumes", found=f"shape {first.shape}", remedy="stack the slices"
                )
            yield _of_volume(segmenter, first)
            start += 1
        elif first.ndim == 3:
            slices = [_of_pictures(segmenter, first[i : i + batch]) for i in range(0, len(first), batch)]
            yield np.concatenate(slices).swapaxes(0, 1)
            start += 1
        else:
            yield from _of_pictures(
                segmenter, np.stack([np.asarray(i) for i in images[start : start + batch]])
            )
            start += batch


def predict(segmenter: Segmenter, images: Masks, *, batch: int = 32) -> list[np.ndarray]:
    """Class ids, uint8, of each picture (h, w) or volume (d, h, w)."""
    return [
        chance.argmax(axis=0).astype(np.uint8) for chance in probabilities(segmenter, images, batch=batch)
    ]


def _of_pictures(segmenter: Segmenter, pictures: np.ndarray) -> np.ndarray:
    """(b, classes, h, w) of (b, h, w)."""
    x = np.stack([segmenter.levels.apply(to_grey(picture)) for picture in pictures])
    return _chances(segmenter, torch.from_numpy(x)[:, None]).cpu().numpy()


def _of_volume(segmenter: Segmenter, volume: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(segmenter.levels.apply(to_grey(volume)))[None, None]
    return sliding_window(lambda part: _chances(segmenter, part), x, segmenter.patch)[0].numpy()


def _chances(segmenter: Segmenter, x: Tensor) -> Tensor:
    x = x.to(segmenter.device)
    bf16 = segmenter.settings.precision == "bf16"
    with torch.inference_mode(), torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        found = segmenter.network(x).float().softmax(dim=1)
        if segmenter.settings.test_mirror:
            found = (found + segmenter.network(x.flip(-1)).float().softmax(dim=1).flip(-1)) / 2
    return found


def _check(images: Masks, masks: Masks, classes: int, settings: SegmenterSettings) -> int:
    if len(images) == 0 or len(images) != len(masks):
        raise DataDoubleError(
            "a segmenter needs a mask for every picture",
            where="masks",
            found=f"{len(images)} pictures, {len(masks)} masks",
            remedy="leave out pictures without a mask",
        )
    dims = np.asarray(images[0]).ndim
    highest = 0
    for image, mask in zip(images, masks, strict=True):
        if np.shape(image) != np.shape(mask) or np.ndim(image) != dims:
            raise DataDoubleError(
                "a mask has another shape than its picture",
                where="masks",
                found=f"{np.shape(mask)} beside {np.shape(image)}",
                remedy="bring both to one size",
            )
        highest = max(highest, int(np.asarray(mask).max()))
    if not 1 <= highest < classes:
        raise DataDoubleError(
            "no mask shows a lesion" if highest == 0 else "a mask has a class that was not declared",
            where="masks",
            found=f"highest id {highest} of {classes} classes",
            remedy="train on pictures with lesions"
            if highest == 0
            else "declare every class, background first",
        )
    if dims == 3 and settings.kind == "transunet":
        raise DataDoubleError(
            "TransUNet has no 3D form",
            where="segmenter",
            found="volumes",
            remedy="use unet or dynunet, or slices",
        )
    return dims
