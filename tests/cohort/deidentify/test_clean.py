"""Words are found and removed; everything outside the mask stays; nothing read is written down."""

import sys
from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort.deidentify import Cleaned, clean_image, find_annotations, map_clean
from datadouble.cohort.deidentify.sheets import write_sheets
from datadouble.cohort.deidentify.text import ocr_engine
from datadouble.cohort.deidentify.types import KINDS
from datadouble.errors import DataDoubleError

from .speckle import cross, speckle, with_layers, write


@pytest.fixture(scope="module")
def annotated() -> tuple[np.ndarray, list[np.ndarray], Cleaned]:
    pytest.importorskip("rapidocr_onnxruntime")
    image = with_layers(speckle(21))
    words = [
        write(image, "MAMA ESQUERDA", (70, 240)),
        write(image, "49 ANOS", (100, 262), grey=190),
        write(image, "QSE", (20, 40), grey=200),
        write(image, "DIREITA", (240, 160)),  # cut off by the border
    ]
    for x, y in ((88, 110), (192, 110)):
        cross(image, x, y)
    return image, words, clean_image(image)


def test_words_are_found_and_their_strokes_covered(
    annotated: tuple[np.ndarray, list[np.ndarray], Cleaned],
) -> None:
    _, words, cleaned = annotated
    annotations = cleaned.annotations
    for burnt in words:
        assert (annotations.mask & burnt).sum() >= 0.95 * burnt.sum()
    assert annotations.count("text") >= 4
    assert annotations.count("caliper") >= 2
    assert annotations.mask.mean() < 0.12
    assert all(item.kind in KINDS and 0 <= item.score <= 1 for item in annotations.items)


def test_cleaning_changes_only_the_mask_and_leaves_no_words(
    annotated: tuple[np.ndarray, list[np.ndarray], Cleaned],
) -> None:
    image, words, cleaned = annotated
    mask = cleaned.annotations.mask
    assert (cleaned.image[~mask] == image[~mask]).all()
    assert (clean_image(image.copy()).image == cleaned.image).all()
    burnt = np.any(words, axis=0)
    assert cleaned.image[burnt].mean() < image[burnt].mean() - 60
    assert find_annotations(cleaned.image).count("text") == 0


def test_columns_hold_counts_and_no_words(annotated: tuple[np.ndarray, list[np.ndarray], Cleaned]) -> None:
    cleaned = annotated[2]
    columns = cleaned.columns()
    assert set(columns) == {"cleaned_text", "cleaned_calipers", "cleaned_rulers", "cleaned_fraction"}
    assert all(float(value) >= 0 for value in columns.values())
    assert float(columns["cleaned_fraction"]) == pytest.approx(cleaned.annotations.mask.mean(), abs=1e-5)


def test_a_scan_without_annotations_is_hardly_touched() -> None:
    pytest.importorskip("rapidocr_onnxruntime")
    image = with_layers(speckle(31))
    cleaned = clean_image(image)
    assert cleaned.annotations.count("text", "logo") == 0
    assert cleaned.annotations.mask.mean() < 0.004


def test_many_pictures_keep_their_order_and_result() -> None:
    pytest.importorskip("rapidocr_onnxruntime")
    images = [speckle(seed, (120, 130)) for seed in (1, 2, 3)]
    write(images[1], "MAMA", (30, 80))
    alone = [clean_image(image).image for image in images]
    together = [one.image for one in map_clean(iter(images), processes=2)]
    assert all((a == b).all() for a, b in zip(alone, together, strict=True))


def test_sheets(tmp_path: Path, annotated: tuple[np.ndarray, list[np.ndarray], Cleaned]) -> None:
    cleaned = annotated[2]
    pages = write_sheets(
        (("scan", annotated[0], cleaned) for _ in range(3)), tmp_path / "sheets", columns=2, rows=1
    )
    assert [page.name for page in pages] == ["cleaning-001.png", "cleaning-002.png"]
    assert all(page.stat().st_size > 1000 for page in pages)


def test_without_the_reader_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime", None)
    ocr_engine.cache_clear()
    with pytest.raises(DataDoubleError, match=r"datadouble\[ocr\].*--keep-annotations"):
        clean_image(np.zeros((64, 64), np.uint8))
    ocr_engine.cache_clear()


@pytest.mark.parametrize("bad", [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint16)])
def test_other_pictures_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(DataDoubleError, match="8 bits"):
        find_annotations(bad)
