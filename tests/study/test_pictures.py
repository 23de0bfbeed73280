"""Nothing but the pixels tells real from synthetic."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datadouble.cohort.hounsfield import to_grey_levels
from datadouble.errors import DataDoubleError
from datadouble.study.pictures import (
    common_window,
    encode_png,
    lesion_box,
    lesion_square,
    picture_of,
    to_eight_bits,
)

from .conftest import make_cohort


def chunks(content: bytes) -> list[tuple[bytes, int]]:
    """Names and lengths of a PNG's chunks."""
    found, at = [], 8
    while at < len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        found.append((name, length))
        at += 12 + length
    return found


def test_a_png_is_what_pillow_reads_and_its_length_says_nothing() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (33, 21)).astype(np.uint8)
    flat = np.full((33, 21), 7, dtype=np.uint8)
    for image in (noise, flat):
        with Image.open(io.BytesIO(encode_png(image))) as opened:
            assert opened.mode == "L"
            assert not opened.info
            assert np.array_equal(np.asarray(opened), image)
    assert len(encode_png(noise)) == len(encode_png(flat))
    assert chunks(encode_png(noise)) == chunks(encode_png(flat))
    assert [name for name, _ in chunks(encode_png(noise))] == [b"IHDR", b"IDAT", b"IEND"]
    # Up to the first pixel, the bytes are the same.
    assert encode_png(noise)[:48] == encode_png(flat)[:48]


def test_sixteen_bits_and_colour_become_eight_bits_of_grey() -> None:
    deep = np.array([[0, 257, 65535]], dtype=np.uint16)
    assert to_eight_bits(deep, {}, ()).tolist() == [[0, 1, 255]]
    colour = np.array([[[255, 0, 0]]], dtype=np.uint8)
    assert to_eight_bits(colour, {}, ()).tolist() == [[76]]  # 0.299 * 255


def test_cohorts_in_other_windows_are_shown_in_one(tmp_path: Path) -> None:
    wide = {"unit": "HU", "low": -1000, "high": 1000}
    narrow = {"unit": "HU", "low": -200, "high": 200}
    real = make_cohort(tmp_path / "r", "real", images=3, dtype=np.uint16, intensity=wide)
    double = make_cohort(tmp_path / "d", "synthetic", images=3, intensity=narrow)
    assert common_window(real, double, ()) == (-200, 200)
    assert common_window(real, double, (-100, 100)) == (-100, 100)
    tissue = np.array([[-300.0, -200.0, 0.0, 100.0, 200.0, 900.0]])
    seen = [
        to_eight_bits(to_grey_levels(tissue, i["low"], i["high"], depth), i, (-200, 200)).astype(int)
        for i, depth in ((wide, 16), (narrow, 8))
    ]
    assert np.abs(seen[0] - seen[1]).max() <= 1
    assert seen[0].tolist() == [[0, 0, 128, 191, 255, 255]]
    grey = make_cohort(tmp_path / "g", "synthetic", images=3)
    with pytest.raises(DataDoubleError, match="HU"):
        common_window(real, grey, ())


def test_the_lesion_is_found_by_its_mask_or_its_box(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "c", "real", images=6, size=(24, 24))
    assert lesion_box(cohort, 2, 24) == (4, 6, 10, 10)  # rows 4..9, columns 6..9
    assert lesion_box(cohort, 2, 48) == (8, 12, 20, 20)
    boxed = make_cohort(tmp_path / "b", "real", images=3, size=(24, 48), masks=False)
    boxed.table["bbox"] = ["[12, 4, 8, 6]", "", "[1, 2]"]
    assert lesion_box(boxed, 0, 24) == (4, 6, 10, 10)
    assert lesion_box(boxed, 1, 24) is None
    with pytest.raises(DataDoubleError, match="no box"):
        lesion_box(boxed, 2, 24)


def test_the_crop_has_its_margin_and_stays_in_the_picture(tmp_path: Path) -> None:
    assert lesion_square((40, 40, 60, 50), 0.25, 100) == (35, 30, 30)  # side 20 * 1.5 around (50, 45)
    assert lesion_square((0, 90, 20, 100), 0.25, 100) == (0, 70, 30)
    cohort = make_cohort(tmp_path / "c", "real", images=3, size=(24, 24))
    seen = picture_of(cohort, 0, view="lesion", size=24, window=(), margin=0.0)
    assert seen.shape == (24, 24)
    # Rows 4..9, columns 6..7: the longer side is 6, but 8 at least; centre (7, 7).
    cut = cohort.image(0)[3:11, 3:11]
    assert abs(float(seen.mean()) - float(cut.mean())) < 12


@given(
    st.integers(16, 200),
    st.floats(0, 4),
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1), st.floats(0.01, 1)),
)
def test_the_square_holds_the_box(size: int, margin: float, box: tuple[float, float, float, float]) -> None:
    top, left = int(box[0] * (size - 1)), int(box[1] * (size - 1))
    bottom, right = top + max(1, int(box[2] * (size - top))), left + max(1, int(box[3] * (size - left)))
    y, x, side = lesion_square((top, left, bottom, right), margin, size)
    assert 0 <= y <= top and 0 <= x <= left
    assert bottom <= y + side <= size and right <= x + side <= size
