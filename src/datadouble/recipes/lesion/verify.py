"""Verification: does the final mask fit the final picture?

Two filters in the form that doubles know. `contrast`: a lesion must stand out from its surroundings as real ones of
its class do. `segmenter`: a network trained on real scans must find the lesion where the mask says, at least as well
as it finds most real ones that it never saw. Both cuts are quantiles over real lesions, so they depend on the data.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from datadouble import files
from datadouble.errors import DataDoubleError, suggest
from datadouble.networks.segmentation import SegmentationConfig
from datadouble.recipes.filter_fitting import LEAST_HELD_OUT
from datadouble.recipes.filters import Candidates, Filter, FilterBank
from datadouble.recipes.lesion.descriptors import RING, ring_of
from datadouble.recipes.lesion.material import LesionMaterial, Pictures
from datadouble.recipes.lesion.segmenter import (
    Segmenter,
    SegmenterPictures,
    dice_of,
    fit_segmenter,
    training_of,
)
from datadouble.training.loop import TrainingOptions

if TYPE_CHECKING:
    from datadouble.recipes.lesion.config import LesionConfig

NAMES = ("contrast", "segmenter")
CUTS = "cuts.json"


@dataclass(frozen=True)
class VerifyOptions(TrainingOptions):
    """Section ``[verify]``; the training options are the segmenter's."""

    use: tuple[str, ...] = NAMES  # empty: nothing is verified and no segmenter trained
    contrast_quantile: float = 0.02  # of real train lesions: what has less contrast than these is dropped
    dice_quantile: float = 0.1  # of real held-out lesions: what is found worse than these is dropped
    width: int = 16  # channels of the segmenter at full size
    levels: int = 5


def contrast_of(image: np.ndarray, mask: np.ndarray) -> float:
    """Return mean grey inside a mask less that of the ring round it, in standard deviations of the ring's grey.

    Parameters
    ----------
    image, mask
        uint8 (s, s) and bool (s, s), not empty. The ring is 0.4 times the lesion's size wide, two pixels at least.
    """
    ring = ring_of(mask, max(2.0, RING * float(np.sqrt(mask.sum()))))
    if not mask.any() or not ring.any():
        return 0.0
    around = image[ring].astype(np.float64)
    return float((image[mask].mean() - around.mean()) / max(float(around.std()), 1.0))


@dataclass(frozen=True)
class LeastContrast:
    """Of a class: `sign` -1 where its lesions are darker than their surroundings, `least` how much at least."""

    sign: int
    least: float


@dataclass(frozen=True)
class Contrast:
    """Lesions that do not stand out."""

    expected: dict[str, LeastContrast]
    cut: float = 0.0
    name: ClassVar[str] = "contrast"
    meaning: ClassVar[str] = (
        "what the contrast to the ring round it, in units of the ring's spread, lacks of the class's least"
    )

    def scores(self, candidates: Candidates) -> np.ndarray:
        """See `Filter.scores`."""
        scores = np.full(len(candidates.masks), -1.0)
        for i, (image, mask) in enumerate(zip(candidates.images, candidates.masks, strict=True)):
            expected = self.expected.get(candidates.labels[i])
            if expected is not None and (mask > 0).any():
                scores[i] = expected.least - expected.sign * contrast_of(image, mask > 0)
        return scores


@dataclass(frozen=True)
class Agreement:
    """Lesions that a segmenter of real scans does not find where the mask says."""

    segmenter: Segmenter
    cut: float
    name: ClassVar[str] = "segmenter"
    meaning: ClassVar[str] = (
        "one less the Dice of the mask with that of a segmenter trained on the train scans"
    )

    def scores(self, candidates: Candidates) -> np.ndarray:
        """See `Filter.scores`; pictures without a lesion are not judged."""
        masks = candidates.masks > 0
        scores, some = np.zeros(len(masks)), masks.any(axis=(1, 2))
        if some.any():
            scores[some] = 1 - dice_of(self.segmenter.segment(candidates.images[some]), masks[some])
        return scores


def fit_verify(
    config: "LesionConfig", material: LesionMaterial, folder: Path, say: Callable[[str], None]
) -> None:
    """Train the segmenter in `folder`, or go on, and fit the cuts on real lesions.

    Without ten held-out lesions there is no cut for the segmenter: it is left out, and `say` says so.

    Raises
    ------
    DataDoubleError
        On options out of range or an unknown filter.
    """
    options = config.verify
    check_verify(options)
    folder.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = {"classes": list(material.classes), "cuts": {}, "notes": {}, "left_out": {}}
    if "contrast" in options.use:
        _fit_contrast(options, material, kept)
    if "segmenter" in options.use:
        held_out = len(material.validation.lesions)
        if held_out < LEAST_HELD_OUT:
            kept["left_out"]["segmenter"] = f"{held_out} validation lesions, {LEAST_HELD_OUT} are needed"
        else:
            _fit_agreement(options, material, folder, kept, say)
    for name, why in kept["left_out"].items():
        say(f"filter '{name}' is left out: {why}")
    files.write_json(folder / CUTS, kept)


def check_verify(options: VerifyOptions) -> None:
    """Refuse unknown filters and quantiles that are none.

    Raises
    ------
    DataDoubleError
    """
    unknown = [name for name in options.use if name not in NAMES]
    if unknown:
        raise DataDoubleError(
            f"there is no filter '{unknown[0]}'", where="verify.use", remedy=suggest(unknown[0], list(NAMES))
        )
    for name in ("contrast_quantile", "dice_quantile"):
        if not 0 <= getattr(options, name) < 1:
            raise DataDoubleError(
                "a quantile lies in [0, 1)", where=f"verify.{name}", found=f"{getattr(options, name):g}"
            )


def _fit_contrast(options: VerifyOptions, material: LesionMaterial, kept: dict[str, Any]) -> None:
    train, expected, dropped = material.train, {}, []
    for index, name in enumerate(material.classes):
        rows = np.flatnonzero(train.labels == index)
        found = np.array([contrast_of(train.images[row], train.masks[row]) for row in rows])
        sign = -1 if np.median(found) < 0 else 1
        least = _round(np.floor, np.quantile(sign * found, options.contrast_quantile, method="lower"))
        expected[name] = {"sign": sign, "least": least}
        dropped.append(sign * found < least)
    lost = np.concatenate(dropped)
    kept["contrast"] = expected
    kept["cuts"]["contrast"] = 0.0
    kept["notes"]["contrast"] = {
        "data_dependent": True,
        "real_images": len(lost),
        "of": "train, by class",
        "quantile": options.contrast_quantile,
        "real_share_dropped": round(float(lost.mean()), 6),
        "classes": expected,
    }


def _round(to: np.ufunc, value: float) -> float:
    """Round to a millionth so that the lesion at the cut itself is kept."""
    return round(float(to(1e6 * value)) / 1e6, 6)


def segmenter_pictures(pictures: Pictures) -> SegmenterPictures:
    """Return pictures with all that their masks mark as lesion."""
    return SegmenterPictures(pictures.images, pictures.masks | pictures.others, pictures.ids)


def _fit_agreement(
    options: VerifyOptions,
    material: LesionMaterial,
    folder: Path,
    kept: dict[str, Any],
    say: Callable[[str], None],
) -> None:
    held = material.validation.take(material.validation.lesions)
    fit_segmenter(
        training_of(options),
        SegmentationConfig(options.width, options.levels),
        segmenter_pictures(material.train),
        segmenter_pictures(held),
        folder,
        say,
    )
    segmenter = Segmenter.load(folder, torch.device("cpu"))
    pictures = segmenter_pictures(held)
    scores = 1 - dice_of(segmenter.segment(pictures.images), pictures.masks)
    cut = _round(np.ceil, np.quantile(scores, 1 - options.dice_quantile, method="higher"))
    kept["cuts"]["segmenter"] = cut
    kept["notes"]["segmenter"] = {
        "data_dependent": True,
        "real_images": len(scores),
        "of": "validation",
        "quantile": options.dice_quantile,
        "real_dice_mean": round(float(1 - scores.mean()), 6),
        "real_share_dropped": round(float((scores > cut).mean()), 6),
    }


class Checker:
    """The filters of a run.

    Attributes
    ----------
    bank : FilterBank
    fingerprint : str
        Of the cuts and of the segmenter's weights: another checker keeps other pictures.
    """

    def __init__(self, bank: FilterBank, fingerprint: str = "") -> None:
        self.bank, self.fingerprint = bank, fingerprint

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> "Checker":
        """Load what `fit_verify` kept.

        Raises
        ------
        DataDoubleError
            When it did not come to its end: a double without its filters would pass for a verified one.
        """
        path = folder / CUTS
        if not path.is_file():
            raise DataDoubleError(
                "stage verify is not finished",
                where=folder.name,
                remedy="run the same `datadouble fit` again, or generate with --without verify",
            )
        kept, parts = json.loads(path.read_text()), [path.read_bytes()]
        filters: list[Filter] = []
        for name, cut in kept["cuts"].items():
            if name == "contrast":
                expected = {label: LeastContrast(**one) for label, one in kept["contrast"].items()}
                filters.append(Contrast(expected, cut))
            else:
                filters.append(Agreement(Segmenter.load(folder, device), cut))
                parts += [one.read_bytes() for one in Segmenter.paths(folder)]
        return cls(FilterBank(tuple(filters), kept["notes"]), files.fingerprint(*parts))

    def check(
        self, images: np.ndarray, masks: np.ndarray, labels: str | Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Return by filter which pictures it drops, bool (b,): what `Drawn.rejected` takes.

        Parameters
        ----------
        images, masks
            uint8 (b, s, s) and the final masks (b, s, s), bool or class ids.
        labels
            Their classes; one name is that of them all.
        """
        ids = np.asarray(masks).astype(np.uint8)
        return self.bank.rejected(images, ids, np.zeros(ids.shape, np.float32), labels)

    def facts(self) -> tuple[dict[str, Any], ...]:
        """Return what a double says of its filters: `GeneratorFacts.filters`."""
        return self.bank.facts()
