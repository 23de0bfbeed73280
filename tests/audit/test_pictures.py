"""The audit's pixels: sizes, masks, broken pictures, and the cache."""

from pathlib import Path

import numpy as np
import pytest

from datadouble.audit.pictures import read_pictures
from datadouble.cohort import Cohort
from datadouble.cohort.cohort import CohortInfo
from datadouble.cohort.writer import CohortWriter
from datadouble.errors import DataDoubleError


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Four pictures of 40x20: grey 10, 20, 30 and 40; the second and third of one patient; the first has a mask."""
    info = CohortInfo(
        name="four",
        origin="real",
        modality="ultrasound",
        classes=("a", "b"),
        mask_classes=("background", "lesion"),
        intensity={},
        source="test",
        licence="none",
    )
    writer = CohortWriter(tmp_path / "cohort", info)
    half = np.zeros((20, 40), np.uint8)
    half[:, :20] = 1
    for index, patient in enumerate(["p", "q", "q", ""]):
        image = np.full((20, 40), 10 * (index + 1), np.uint8)
        mask = half if index == 0 else None
        writer.add(image, image_id=f"i{index}", patient_id=patient, label="ab"[index % 2], mask=mask)
    return writer.finish()


def test_pictures_are_squashed_to_the_size_and_masks_with_them(cohort: Cohort) -> None:
    pictures = read_pictures(cohort, 8)
    assert pictures.array.shape == (4, 8, 8)
    assert [int(picture.mean()) for picture in pictures.array] == [10, 20, 30, 40]
    assert pictures.masks is not None
    assert pictures.masks[0, :, :4].all() and not pictures.masks[0, :, 4:].any()
    assert pictures.has_mask.tolist() == [True, False, False, False]
    assert pictures.groups.tolist() == ["p", "q", "q", "image:i3"]


def test_broken_pictures_are_named_and_left_out(cohort: Cohort, tmp_path: Path) -> None:
    broken = cohort.path / "images" / "i1.png"
    broken.write_bytes(broken.read_bytes()[:40])
    for _ in range(2):  # read, then from the cache
        pictures = read_pictures(cohort, 8, cache_dir=tmp_path / "cache")
        assert [name for name, _ in pictures.broken] == ["i1"]
        assert pictures.rows.tolist() == [0, 2, 3]
        assert [int(picture.mean()) for picture in pictures.array] == [10, 30, 40]


def test_the_cache_follows_the_files(cohort: Cohort, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    before = read_pictures(cohort, 8, cache_dir=cache).array.copy()
    assert np.array_equal(before, read_pictures(cohort, 8, cache_dir=cache).array)
    (cohort.path / "images" / "i0.png").write_bytes((cohort.path / "images" / "i3.png").read_bytes())
    assert read_pictures(cohort, 8, cache_dir=cache).array[0].mean() == 40


def test_a_process_that_makes_the_cache_leaves_what_another_has_mapped(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both found no cache and began; the second is cut off half-way."""
    cache = tmp_path / "cache"
    first = read_pictures(cohort, 8, cache_dir=cache)
    mapped = read_pictures(cohort, 8, cache_dir=cache)
    next(cache.glob("*.json")).unlink()
    whole = Cohort.image

    def cut_off(self: Cohort, row: int) -> np.ndarray:
        if row == 2:
            raise KeyboardInterrupt
        return whole(self, row)

    monkeypatch.setattr(Cohort, "image", cut_off)
    with pytest.raises(KeyboardInterrupt):
        read_pictures(cohort, 8, cache_dir=cache)
    for pictures in (first, mapped):
        assert [int(picture.mean()) for picture in pictures.array] == [10, 20, 30, 40]
    assert not list(cache.glob(".*")), "what was begun is cleared away"


def test_nothing_readable_is_an_error(cohort: Cohort) -> None:
    for path in (cohort.path / "images").iterdir():
        path.unlink()
    with pytest.raises(DataDoubleError, match="no readable picture"):
        read_pictures(cohort, 8)
