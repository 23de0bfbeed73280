"""Overlap measures against hand and MONAI; the whole segmentation test on discs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datadouble.audit.pictures import Pictures
from datadouble.audit.utility import SEGMENTATION_PRESETS, assess_segmentation
from datadouble.audit.utility.overlap import dice, hausdorff95

QUICK = replace(SEGMENTATION_PRESETS["demo"], epochs=6)


def square(top: int, left: int, side: int = 10) -> np.ndarray:
    mask = np.zeros((40, 40), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def test_by_hand() -> None:
    assert dice(square(5, 5), square(5, 10)) == 0.5
    assert hausdorff95(square(5, 5), square(5, 8)) == 3.0  # every outline point is 0 to 3 columns off
    assert dice(square(5, 5), square(5, 5)) == 1.0 and hausdorff95(square(5, 5), square(5, 5)) == 0.0
    nothing = np.zeros((40, 40), np.uint8)
    assert dice(nothing, nothing) == 1.0 and hausdorff95(nothing, nothing) == 0.0
    assert dice(square(5, 5), nothing) == 0.0 and hausdorff95(square(5, 5), nothing) == np.hypot(40, 40)


def test_equal_to_monai() -> None:
    metrics = pytest.importorskip("monai.metrics")
    import torch

    rng = np.random.default_rng(0)
    first, second = square(8, 8, 15), square(12, 9, 17) & (rng.random((40, 40)) > 0.1).astype(np.uint8)
    a, b = (torch.from_numpy(mask)[None, None].float() for mask in (first, second))
    peer = metrics.compute_hausdorff_distance(a, b, include_background=True, percentile=95)
    assert np.isclose(hausdorff95(first, second), float(peer))
    assert np.isclose(dice(first, second), float(metrics.compute_dice(a, b)))


@pytest.fixture(scope="module")
def found(
    good_double: Pictures, train_set: Pictures, test_set: Pictures, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict, Path]:
    cache = tmp_path_factory.mktemp("segmentation")
    return assess_segmentation(good_double, train_set, test_set, preset=QUICK, cache=cache), cache


def test_discs_are_found_after_either_training(found: tuple[dict, Path]) -> None:
    arms = found[0]["arms"]
    assert arms["real"]["dice"]["value"] > 0.8 < arms["synthetic"]["dice"]["value"]
    assert arms["real"]["dice"]["value"] > found[0]["floor"] + 0.1
    assert len(arms["half_real"]["quintiles"]) == 5
    assert sum(part["dice"]["n"] for part in arms["real"]["quintiles"]) == 80
    largest = [part["largest_area_percent"] for part in arms["real"]["quintiles"]]
    assert largest == sorted(largest)
    json.dumps(found[0], allow_nan=False)


def test_masks_that_lie_are_noticed(
    found: tuple[dict, Path], good_double: Pictures, train_set: Pictures, test_set: Pictures
) -> None:
    lying = replace(good_double, masks=np.roll(good_double.masks, 12, axis=2))
    result = assess_segmentation(
        lying, train_set, test_set, preset=QUICK, cache=found[1], arms=["synthetic"], controls=False
    )
    assert result["arms"]["real"] == found[0]["arms"]["real"]
    assert result["headline"]["verdict"] == "worse" and result["headline"]["equivalent"] is False


def test_a_lesion_too_small_to_be_seen_is_no_success(
    good_double: Pictures, train_set: Pictures, test_set: Pictures
) -> None:
    # Two of the test lesions are one pixel, which is not there at 8 px: whoever draws nothing must not be right.
    masks = test_set.masks.copy()
    masks[:2] = 0
    masks[:2, 1, 1] = 1
    tiny = replace(QUICK, size=8, levels=2, epochs=1)
    found = assess_segmentation(
        good_double, train_set, replace(test_set, masks=masks), preset=tiny, arms=["real"], controls=False
    )
    assert found["n"]["test"] == len(test_set) - 2


def test_a_double_without_masks_says_so(
    good_double: Pictures, train_set: Pictures, test_set: Pictures
) -> None:
    bare = replace(good_double, masks=None, has_mask=np.zeros(len(good_double), bool))
    assert "no masks" in assess_segmentation(bare, train_set, test_set, preset=QUICK)["note"]
