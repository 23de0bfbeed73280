"""Structure masks: by hand on drawn pictures, on the CT phantom where the body is known, and on real ultrasound."""

from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.cohort.phantom import draw
from datadouble.cohort.pixels import fit_square
from datadouble.cohort.structure import (
    check_structure,
    choose_rule,
    compose_drawn,
    drawn_classes,
    interior,
    lesions_of,
    structure_mask,
    structure_of,
)
from datadouble.errors import DataDoubleError

WINDOW = {"unit": "HU", "low": -400, "high": 300}


@pytest.mark.parametrize(
    ("modality", "intensity", "rule"),
    [
        ("chest CT", WINDOW, "hounsfield"),
        ("Breast Ultrasound", {"unit": "grey level"}, "sector"),
        ("CT", {}, "tissue"),
    ],
)
def test_the_rule_follows_the_cohort(modality: str, intensity: dict, rule: str) -> None:
    assert choose_rule(CohortInfo("x", "real", modality, ("a",), intensity=intensity)) == rule


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_hounsfield_cuts_at_minus_200(depth: type) -> None:
    hounsfield = np.array([[-400, -250, -206, -194, -100, 40, 300]], dtype=np.float64)
    image = np.round((hounsfield + 400) / 700 * np.iinfo(depth).max).astype(depth)
    found = structure_mask(image, "hounsfield", intensity=WINDOW)
    assert found.tolist() == [[False, False, False, True, True, True, True]]


def test_a_window_that_begins_at_minus_200_takes_all_that_is_not_black() -> None:
    image = np.array([[0, 1, 128]], np.uint8)
    found = structure_mask(image, "hounsfield", intensity={"unit": "HU", "low": -200, "high": 200})
    assert found.tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ("intensity", "message"),
    [({}, "needs the window"), ({"unit": "HU", "low": -150, "high": 250}, "does not show -200 HU")],
)
def test_a_cohort_without_a_fitting_window_is_refused(intensity: dict, message: str) -> None:
    with pytest.raises(DataDoubleError, match=message):
        structure_mask(np.zeros((4, 4), np.uint8), "hounsfield", intensity=intensity)


def test_on_the_phantom_the_rule_finds_the_phantoms_own_structure() -> None:
    for number, label in enumerate(("normal", "thymoma", "lymphoma", "neurogenic")):
        scan = draw("chest-ct", number, 0, label, size=128, seed=2)
        assert scan.structure is not None
        found = structure_mask(scan.image, "hounsfield", intensity=WINDOW)
        agree = 2 * (found & (scan.structure > 0)).sum() / (found.sum() + (scan.structure > 0).sum())
        assert agree > 0.995
        assert ((scan.mask > 0) & ~found).sum() <= 0.05 * (scan.mask > 0).sum()  # half-filled pixels


def speckle(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Rayleigh speckle, of which a part of the pixels is black."""
    amplitude = np.random.default_rng(seed).rayleigh(28, (height, width))
    return np.clip(amplitude - 10, 0, 255).astype(np.uint8)


def test_a_picture_cropped_to_the_sector_is_all_imaged() -> None:
    image = speckle(180, 240)
    assert (image == 0).mean() > 0.05
    image[120:] = 0  # lost depth
    image[20:160, 100:130] = 1  # a shadow
    assert structure_mask(image, "sector", intensity={}).all()
    assert structure_mask(np.zeros((64, 64), np.uint8), "sector", intensity={}).all()


@pytest.mark.parametrize("size", [64, 128, 300])
def test_a_trapezoid_is_found_in_speckle_frames_words_and_shadows(size: int) -> None:
    y, x = (np.mgrid[:300, :400] + 0.5) / np.array([300, 400])[:, None, None]
    truth = np.minimum(x, 1 - x) > 0.22 * np.clip(1 - y / 0.6, 0, 1)
    image = np.where(truth, speckle(300, 400), 0).astype(np.uint8)
    image[60:, 70:90] = 0  # a shadow beside the left border
    image[120:200, 180:260] = 0  # a cyst
    image[230:] = 0  # lost depth, over a fifth of the picture: no border, for it ends anyhow
    ragged = np.random.default_rng(1).integers(205, 231, 400)
    image[np.arange(300)[:, None] >= ragged[None]] = 0
    image[:2], image[-2:], image[:, :2], image[:, -2:] = 255, 255, 255, 255  # a burnt frame
    image[8:16, 4:20] = 200  # a word in the corner
    found = structure_mask(fit_square(image, size), "sector", intensity={})
    expected = fit_square(truth.astype(np.uint8), size, mask=True) > 0
    assert (found != expected).mean() < 0.006 + 1 / size  # a pixel in all
    assert found[size // 3 :, size // 4 : -size // 4].all()


def test_a_curved_border_below_ends_the_sector() -> None:
    y, x = (np.mgrid[:200, :200] + 0.5) / 200
    truth = y < 0.95 - 0.5 * (x - 0.5) ** 2 * 1.6
    image = np.where(truth, speckle(200, 200) + 30, 0).astype(np.uint8)
    assert (structure_mask(image, "sector", intensity={}) != truth).mean() < 0.015


def test_real_sectors_hold_their_lesions(shared_data: Path) -> None:
    """The annotators drew lesions where they saw something: none of it may lie outside."""
    from PIL import Image

    folder = shared_data / "busi" / "Dataset_BUSI_with_GT" / "malignant"
    cut = 0
    for number in range(60, 120):
        image = np.asarray(Image.open(folder / f"malignant ({number}).png").convert("L"))
        mask = np.asarray(Image.open(folder / f"malignant ({number})_mask.png").convert("L")) > 0
        found = structure_mask(image, "sector", intensity={})
        assert (mask & ~found).sum() <= 0.002 * mask.sum(), number
        cut += not found.all()
    assert 0 < cut < 30  # most are cropped to the sector, some show black corners


def test_tissue_is_bright_large_and_without_holes() -> None:
    image = np.full((100, 100), 20, np.uint8)
    image[30:80, 20:90] = 120
    image[45:60, 40:60] = 30  # a lesion
    image[5:8, 5:8] = 200  # a mark
    truth = np.zeros((100, 100), bool)
    truth[30:80, 20:90] = True
    found = structure_mask(image, "tissue", intensity={})
    assert (found != truth).mean() < 0.01
    assert not structure_mask(np.full((9, 9), 7, np.uint8), "tissue", intensity={}).any()


def test_drawn_masks_put_the_structure_below_the_lesions() -> None:
    lesions = np.array([[0, 0, 1, 2]], np.uint8)
    structure = np.array([[False, True, True, False]])
    drawn = compose_drawn(lesions, structure)
    assert drawn.tolist() == [[0, 1, 2, 3]]
    assert lesions_of(drawn, "hounsfield").tolist() == lesions.tolist()
    assert lesions_of(compose_drawn(lesions, None), "none").tolist() == lesions.tolist()
    assert drawn_classes(("background", "cyst"), "sector") == ("background", "imaged sector", "cyst")
    assert drawn_classes(("background", "cyst"), "none") == ("background", "cyst")
    assert drawn_classes((), "tissue") == ("background", "tissue")
    with pytest.raises(DataDoubleError, match="name of the structure"):
        drawn_classes(("background", "tissue"), "tissue")


def test_the_interior_leaves_out_the_outermost_pixels() -> None:
    lesion = np.zeros((6, 6), np.uint8)
    lesion[1:4, 2:6] = 2
    assert np.argwhere(interior(lesion)).tolist() == [
        [2, 3],
        [2, 4],
        [2, 5],
    ]  # the picture's end is no border
    speck = np.zeros((6, 6), np.uint8)
    speck[2, 2:4] = 1
    assert interior(speck).sum() == 2


def test_wrong_rules_and_files_are_told(tmp_path: Path) -> None:
    with CohortWriter(tmp_path / "c", CohortInfo("c", "real", "CT", ("a",))) as writer:
        writer.add(np.zeros((8, 8), np.uint8), image_id="one", patient_id="p", label="a")
        cohort = writer.finish()
    with pytest.raises(DataDoubleError, match="did you mean 'sector'"):
        check_structure(cohort, "sectors")
    with pytest.raises(DataDoubleError, match="no column 'structure_file_name'"):
        check_structure(cohort, "file")
    cohort.replace_table(cohort.table.assign(structure_file_name="s.png"))
    with pytest.raises(DataDoubleError, match="1 of 1 images have no structure file.*one"):
        check_structure(cohort, "file")
    from PIL import Image

    Image.fromarray(np.ones((4, 4), np.uint8)).save(tmp_path / "c" / "s.png")
    with pytest.raises(DataDoubleError, match="structure is 4x4, the image 8x8"):
        structure_of(Cohort.open(tmp_path / "c"), 0, "file", 8)
