"""The table of segmenters on discs: a good double is told from a useless one, and killed runs go on."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from datadouble.audit.pictures import Pictures
from datadouble.audit.utility import segmenter_store, segmenters
from datadouble.audit.utility.segmenter_data import Cases, cases_of, check_tests
from datadouble.audit.utility.segmenter_markdown import segmenters_markdown
from datadouble.audit.utility.segmenter_settings import SEGMENTERS
from datadouble.audit.utility.segmenter_table import TableArm, assess_segmenters
from datadouble.errors import DataDoubleError

TYPES = {"2": 1, "4": 2}
QUICK = {kind: SEGMENTERS["demo"][kind] for kind in ("unet", "transunet")}


class NearestMean:
    """Stands for a network: outlines what is bright, and knows the mean grey level of each type that it was shown."""

    def __init__(self, images: Any, masks: Any, classes: int, steps: int) -> None:
        pixels = np.concatenate([np.asarray(i).ravel() for i in images])
        truth = np.concatenate([np.asarray(m).ravel() for m in masks])
        self.means = [pixels[truth == k].mean() if (truth == k).any() else 1e9 for k in range(1, classes)]
        self.idle = steps == 0

    def outline(self, image: np.ndarray) -> np.ndarray:
        smooth = gaussian_filter(image.astype(float), 1.5)
        inside = smooth > (np.median(smooth) + smooth.max()) / 2
        kind = 1 + int(np.argmin([abs(image[inside].mean() - mean) for mean in self.means]))
        return (inside * (0 if self.idle else kind)).astype(np.uint8)


@pytest.fixture(scope="module", autouse=True)
def _no_training() -> Iterator[None]:
    def train(cases: Cases, classes: int, settings: Any, seed: int, **others: Any) -> NearestMean:
        for _ in range(settings.steps):
            others["step_done"]()
        return NearestMean(cases.images, cases.masks, classes, settings.steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter_store, "trained_segmenter", train)
        patch.setattr(segmenters, "predict", lambda network, images: [network.outline(i) for i in images])
        yield


@pytest.fixture(scope="module")
def arms(train_set: Pictures, good_double: Pictures) -> dict[str, TableArm]:
    return {
        "real_2d": TableArm("real 2D", cases_of(train_set, 32, types=TYPES), True),
        "good": TableArm("DiffGuard", cases_of(good_double, 32, types=TYPES), False),
        "useless": TableArm("AsynDGAN", cases_of(good_double, 32, types={"2": 2, "4": 1}), False),
    }


@pytest.fixture(scope="module")
def tests(test_set: Pictures) -> dict[str, Cases]:
    cases = cases_of(test_set, 32, types=TYPES)
    inside = np.array([int(p.rsplit("p")[-1]) < 120 for p in cases.patients])
    return {"internal": cases.only(inside), "external": cases.only(~inside)}


@pytest.fixture(scope="module")
def found(arms: dict, tests: dict, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path, list[str]]:
    cache, said = tmp_path_factory.mktemp("table"), []
    return (
        assess_segmenters(arms, tests, 3, kinds=["unet"], preset=QUICK, cache=cache, say=said.append),
        cache,
        said,
    )


def test_a_useless_double_is_told_from_a_good_one(found: tuple) -> None:
    table = found[0]["arms"]
    for test in ("internal", "external"):
        real, good, useless = (table[n]["kinds"]["unet"][test] for n in ("real_2d", "good", "useless"))
        assert real["dice"]["value"] > 0.3 and real["dice"]["n"] == 40
        assert good["f1"]["value"] > useless["f1"]["value"] + 0.1
        assert useless["against_real"]["f1"]["verdict"] == "worse"
        assert not useless["against_real"]["dice"]["equivalent"]
        assert "against_real" not in real and len(real["fifths"]) == 5
        assert real["false_alarms"] is None  # every picture has a lesion
        assert good["fifths"][0]["mann_whitney_p_holm"] >= good["fifths"][0]["mann_whitney_p"]
    json.dumps(found[0], allow_nan=False)
    assert "3 trainings left" in found[2][0]


def test_killed_and_run_again_it_goes_on(found: tuple, arms: dict, tests: dict) -> None:
    result, cache, _ = found
    stored = sorted(cache.glob("*.json"))
    assert len(stored) == 3
    stored[0].write_text("{ cut off")
    written = {path: path.stat().st_mtime_ns for path in stored[1:]}
    said: list[str] = []
    again = assess_segmenters(arms, tests, 3, kinds=["unet"], preset=QUICK, cache=cache, say=said.append)
    assert "1 trainings left" in said[0] and again == result
    assert all(path.stat().st_mtime_ns == at for path, at in written.items())


def test_markdown(found: tuple) -> None:
    text = segmenters_markdown(found[0])
    assert "### Internal test: 40 cases of 20 patients" in text and "### External test" in text
    assert "| trained on | U-Net DSC | F1 | accuracy |" in text
    assert text.count("| real 2D (80) |") == 2 and "| DiffGuard | U-Net | internal | DSC |" in text


def test_two_networks_that_learned_nothing_are_not_called_equivalent(arms: dict, tests: dict) -> None:
    idle = {"unet": replace(QUICK["unet"], steps=0)}
    table = assess_segmenters(
        {k: arms[k] for k in ("real_2d", "good")}, tests, 3, kinds=["unet"], preset=idle
    )
    for cell in table["arms"]["good"]["kinds"]["unet"].values():
        assert all(not against["equivalent"] for against in cell["against_real"].values())
        assert {against["verdict"] for against in cell["against_real"].values()} == {"real did not learn it"}
    assert 0.4 < table["floor"]["internal"]["accuracy"] < 0.6
    assert "| *one answer for all* |" in segmenters_markdown(table)


def volumes(patients: range, seed: int) -> Cases:
    """A block of one of two brightnesses on five slices, and a bright speck on one."""
    rng = np.random.default_rng(seed)
    images, masks = [], []
    for patient in patients:
        mask = np.zeros((10, 24, 24), np.uint8)
        z, y, x = rng.integers([1, 3, 3], [4, 12, 12])
        mask[z : z + 5, y : y + 9, x : x + 9] = 1 + patient % 2
        image = np.choose(mask, [20, 200, 130]) + rng.normal(0, 5, mask.shape)
        image[9, :6, 18:] = 230
        masks.append(mask)
        images.append(np.clip(image, 0, 255).astype(np.uint8))
    return Cases(images, masks, np.array([f"v{p}" for p in patients]), [(2.0, 1.0, 1.0)] * len(patients))


def test_volumes_in_2d_and_3d() -> None:
    train, test = volumes(range(8), 0), volumes(range(20, 26), 1)
    arms = {
        "real_2d": TableArm("real 2D", train.slices(), True),
        "real_3d": TableArm("real 3D", train, True),
    }
    found = assess_segmenters(arms, {"internal": test}, 3, kinds=["unet", "transunet"], preset=QUICK)
    deep = found["arms"]["real_3d"]["kinds"]
    assert set(deep) == {"unet"} and deep["unet"]["internal"]["dice"]["n"] == 6
    # The speck is dropped as a component on fewer than three slices: it would have been a false alarm.
    assert (
        deep["unet"]["internal"]["dice"]["value"] > 0.6 and deep["unet"]["internal"]["accuracy"]["value"] == 1
    )
    assert found["arms"]["real_2d"]["n"]["cases"] == 80
    assert test.lesion_volumes[0] == 5 * 81 * 2.0
    with pytest.raises(DataDoubleError, match="needs tests of volumes"):
        assess_segmenters(arms, {"internal": test.slices()}, 3, kinds=["unet"], preset=QUICK)


def test_bad_input_is_refused(arms: dict, tests: dict, train_set: Pictures) -> None:
    real = arms["real_2d"].cases
    with pytest.raises(DataDoubleError, match="share patients"):
        check_tests(real, {"internal": real.only(np.arange(5))}, 3)
    one = tests["external"].only(tests["external"].patients == tests["external"].patients[0])
    with pytest.raises(DataDoubleError, match="external test has too few patients"):
        check_tests(real, {"external": one}, 3)
    only_two = tests["internal"].only(tests["internal"].types(3) == 2)
    assert "no case of class 1" in check_tests(real, {"internal": only_two}, 3)[0]
    bare = replace(only_two, masks=np.zeros_like(only_two.masks))
    with pytest.raises(DataDoubleError, match="no mask of the internal test"):
        check_tests(real, {"internal": bare}, 3)
    without = replace(train_set, has_mask=np.zeros(len(train_set), bool))
    with pytest.raises(DataDoubleError, match="no picture has a mask"):
        cases_of(without, 32)
    with pytest.raises(DataDoubleError, match="one of the labels"):
        cases_of(train_set, 32, types={"malignant": 1})
    with pytest.raises(DataDoubleError, match="needs the real pictures"):
        assess_segmenters({"good": arms["good"]}, tests, 3)
