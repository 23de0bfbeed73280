"""Verification: contrast by hand, overlap by hand, and a segmenter that tells fitting masks from others."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from datadouble.cohort import CohortInfo
from datadouble.errors import DataDoubleError
from datadouble.networks.segmentation import SegmentationConfig
from datadouble.networks.weights import load_tensors
from datadouble.recipes.lesion.material import HEALTHY, LesionMaterial, Pictures
from datadouble.recipes.lesion.segmenter import (
    Segmenter,
    SegmenterPictures,
    SegmenterTask,
    dice_of,
    fit_segmenter,
    segmentation_loss,
)
from datadouble.recipes.lesion.verify import Checker, VerifyOptions, check_verify, contrast_of, fit_verify
from datadouble.training.loop import TrainingOptions

CPU = torch.device("cpu")
SIZE = 32
TRAINING: dict[str, Any] = {
    "images": 1200,
    "batch": 12,
    "learning_rate": 4e-3,
    "precision": "fp32",
    "ema_half_life": 100.0,
    "checkpoint_every": 600,
    "validate_every": 1200,
    "sheet_every": 1200,
}
OPTIONS = VerifyOptions(**TRAINING, width=8, levels=3)


def scan(number: int, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Class 0 is dark, class 1 is bright; healthy scans are noise."""
    random = np.random.default_rng(number)
    grey = random.normal(110, 14, (SIZE, SIZE))
    rows, columns = np.indices(grey.shape)
    row, column = random.uniform(9, SIZE - 9, 2)
    mask = (((rows - row) / 5) ** 2 + ((columns - column) / 7) ** 2 < 1) & (label != HEALTHY)
    grey[mask] += (-60, 60)[label]
    return np.clip(grey, 0, 255).astype(np.uint8), mask


def pictures(numbers: range) -> Pictures:
    labels = np.array([n % 3 - 1 for n in numbers])
    images, masks = (np.stack(part) for part in zip(*map(scan, numbers, labels), strict=True))
    names = tuple(f"i{n}" for n in numbers)
    return Pictures(images, masks, np.zeros_like(masks), labels, names, names)


def material(validation: range = range(60, 81)) -> LesionMaterial:
    info = CohortInfo(
        "spots", "real", "ultrasound", ("normal", "dark", "bright"), ("background", "lesion"), {}
    )
    chosen: Any = None
    return LesionMaterial(
        pictures(range(60)),
        pictures(validation),
        ("dark", "bright"),
        (1, 1),
        (0.3, 0.3, 0.4),
        "normal",
        info,
        chosen,
    )


def config(options: VerifyOptions) -> Any:
    return SimpleNamespace(verify=options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "verify"
    fit_verify(config(OPTIONS), material(), folder, lambda _: None)
    return folder


def test_contrast_is_the_difference_in_spreads_of_the_ring() -> None:
    image = np.full((40, 40), 90, np.uint8)
    image[:, ::2] = 110  # mean 100, spread 10, wherever the ring lies
    mask = np.zeros((40, 40), bool)
    mask[15:25, 14:26] = True
    image[mask] = 60
    assert contrast_of(image, mask) == pytest.approx(-4, abs=0.01)
    image[mask] = 130
    assert contrast_of(image, mask) == pytest.approx(3, abs=0.01)


def test_dice_by_hand() -> None:
    first, second = np.zeros((3, 4, 4), bool), np.zeros((3, 4, 4), bool)
    first[0, 0, :4] = second[0, 0, 1:3] = True  # 2 * 2 / (4 + 2)
    first[1, 0, 0] = second[1, 3, 3] = True
    assert dice_of(first, second).tolist() == pytest.approx([2 / 3, 0, 1])


def test_a_perfect_answer_has_no_loss() -> None:
    masks = torch.from_numpy(pictures(range(1, 3)).masks.astype(np.int64))
    assert segmentation_loss(40.0 * (2 * masks[:, None] - 1), masks).max() < 1e-3
    wrong = segmentation_loss(-40.0 * (2 * masks[:, None] - 1), masks)
    assert wrong.min() > 20


def test_fitting_masks_pass_and_others_are_dropped(folder: Path) -> None:
    checker = Checker.load(folder, CPU)
    fresh = pictures(range(100, 130))
    some = fresh.take(fresh.lesions)
    labels = [("dark", "bright")[label] for label in some.labels]
    kept = checker.check(some.images, some.masks, labels)
    assert set(kept) == {"contrast", "segmenter"}
    assert all(rejected.dtype == bool and rejected.mean() <= 0.35 for rejected in kept.values())
    moved = np.roll(some.masks, SIZE // 2, axis=(1, 2))
    dropped = checker.check(some.images, moved, labels)
    assert dropped["segmenter"].all() and dropped["contrast"].mean() > 0.9
    other_class = ["bright" if label == "dark" else "dark" for label in labels]
    assert checker.check(some.images, some.masks, other_class)["contrast"].all()
    faint = (110 + (some.images.astype(float) - 110) * 0.02).astype(np.uint8)
    assert checker.check(np.full_like(faint, 110), some.masks, "dark")["contrast"].all()


def test_class_ids_do_as_well_and_pictures_without_a_lesion_pass(folder: Path) -> None:
    checker = Checker.load(folder, CPU)
    fresh = pictures(range(100, 112))
    lesions = fresh.take(fresh.lesions)
    labels = [("dark", "bright")[label] for label in lesions.labels]
    as_bool, as_ids = (
        checker.check(lesions.images, m, labels) for m in (lesions.masks, 3 * lesions.masks.astype(np.uint8))
    )
    assert all(np.array_equal(as_bool[name], as_ids[name]) for name in as_bool)
    healthy = fresh.take(fresh.healthy)
    assert not any(r.any() for r in checker.check(healthy.images, healthy.masks, "normal").values())


def test_the_facts_say_on_what_the_cuts_rest(folder: Path) -> None:
    contrast, segmenter = Checker.load(folder, CPU).facts()
    assert (contrast["name"], contrast["real_images"], contrast["cut"]) == ("contrast", 40, 0.0)
    assert contrast["real_share_dropped"] <= 0.05
    assert contrast["classes"]["dark"]["sign"] == -1 and contrast["classes"]["bright"]["sign"] == 1
    assert (segmenter["name"], segmenter["real_images"]) == ("segmenter", 14)
    assert 0 < segmenter["cut"] < 0.6 and segmenter["real_share_dropped"] <= 0.1
    assert segmenter["real_dice_mean"] > 0.7


def test_few_held_out_lesions_leave_the_segmenter_out(tmp_path: Path) -> None:
    said: list[str] = []
    fit_verify(config(OPTIONS), material(range(60, 66)), tmp_path / "verify", said.append)
    assert any("'segmenter' is left out: 4 validation lesions, 10 are needed" in line for line in said)
    assert [fact["name"] for fact in Checker.load(tmp_path / "verify", CPU).facts()] == ["contrast"]
    assert not (tmp_path / "verify" / "model").exists()
    with pytest.raises(DataDoubleError, match="stage verify is not finished"):
        Checker.load(tmp_path / "nowhere", CPU)


class CutOff(Exception):
    pass


def test_a_training_that_is_cut_off_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = TrainingOptions(**TRAINING | {"images": 48, "checkpoint_every": 12})
    shape, train = SegmentationConfig(4, 2), pictures(range(20))
    data = SegmenterPictures(train.images, train.masks, train.ids)
    fit_segmenter(training, shape, data, data, tmp_path / "whole")
    calls, losses = 0, SegmenterTask.losses

    def failing(self: SegmenterTask, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise CutOff
        return losses(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SegmenterTask, "losses", failing)
        with pytest.raises(CutOff):
            fit_segmenter(training, shape, data, data, tmp_path / "cut")
    with pytest.raises(DataDoubleError, match="not finished"):
        Segmenter.load(tmp_path / "cut", CPU)
    fit_segmenter(training, shape, data, data, tmp_path / "cut")
    one, other = (load_tensors(tmp_path / n / "state/state.safetensors")[0] for n in ("whole", "cut"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_wrong_settings() -> None:
    with pytest.raises(DataDoubleError, match="no filter 'contrst'"):
        check_verify(VerifyOptions(use=("contrst",)))
    with pytest.raises(DataDoubleError, match=r"verify\.dice_quantile"):
        check_verify(VerifyOptions(dice_quantile=1.5))
    train = pictures(range(6))
    data = SegmenterPictures(train.images[:, :30, :30], train.masks[:, :30, :30], train.ids)
    with pytest.raises(DataDoubleError, match="multiple of 16"):
        fit_segmenter(TrainingOptions(), SegmentationConfig(4, 5), data, data, Path("nowhere"))
