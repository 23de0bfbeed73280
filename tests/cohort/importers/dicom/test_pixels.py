"""Pictures of other kinds than CT: colours, inverted grey, frames, compressed; the scan cut out of the screen."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from datadouble.cohort import Cohort
from datadouble.cohort.importers import VolumeOptions, import_cohort
from datadouble.errors import DataDoubleError

from .conftest import BUNDLED, save


def only(source: Path, path: Path, **named: object) -> Cohort:
    return import_cohort("dicom", source, path, keep_annotations=True, **named)  # type: ignore[arg-type]


def test_inverted_grey_is_turned(ultrasound: Callable, tmp_path: Path) -> None:
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30).astype(np.uint8)
    save(ultrasound(pixels, "MONOCHROME1"), tmp_path / "s" / "a.dcm")
    np.testing.assert_array_equal(only(tmp_path / "s", tmp_path / "c").image(0), 255 - pixels)


def test_rgb_becomes_grey(ultrasound: Callable, tmp_path: Path) -> None:
    red = np.zeros((20, 30, 3), np.uint8)
    red[..., 0] = 255
    save(ultrasound(red, "RGB"), tmp_path / "s" / "a.dcm")
    cohort = only(tmp_path / "s", tmp_path / "c")
    assert set(np.unique(cohort.image(0))) == {76}  # 0.299 * 255
    assert cohort.info.modality == "ultrasound"
    assert cohort.table["converted"][0] == "rgb"


def test_full_range_ybr_becomes_its_luma(ultrasound: Callable, tmp_path: Path) -> None:
    """YBR (100, 128, 128) is grey 100 (DICOM PS3.3 C.7.6.3.1.2); taken for RGB it would be 120."""
    ybr = np.full((20, 30, 3), 128, np.uint8)
    ybr[..., 0] = 100
    save(ultrasound(ybr, "YBR_FULL"), tmp_path / "s" / "a.dcm")
    assert set(np.unique(only(tmp_path / "s", tmp_path / "c").image(0))) == {100}


@pytest.mark.parametrize(
    "name", ["examples_palette", "examples_jpeg2k", "MR_small_jpeg_ls_lossless", "MR_small_RLE", "image_dfl"]
)
def test_colour_tables_and_compressed_syntaxes(name: str, tmp_path: Path) -> None:
    """JPEG-LS and run-length coded, the MR picture is the one that pydicom also ships uncompressed."""
    for source in [name, "MR_small"] if name.startswith("MR") else [name]:
        (tmp_path / source).mkdir()
        shutil.copy(BUNDLED / f"{source}.dcm", tmp_path / source / "a.dcm")
    options = VolumeOptions(incomplete=True)
    cohort = only(tmp_path / name, tmp_path / "c", volumes=options)
    assert cohort.image(0).dtype == np.uint8
    assert cohort.image(0).ndim == 2
    assert cohort.image(0).std() > 10
    if name.startswith("MR"):
        plain = only(tmp_path / "MR_small", tmp_path / "d", volumes=options)
        np.testing.assert_array_equal(cohort.image(0), plain.image(0))


def test_each_frame_of_a_cine_loop_is_a_picture() -> None:
    """A colour JPEG loop of 30 frames (YBR_FULL_422)."""
    from datadouble.cohort.importers.dicom import read
    from datadouble.cohort.importers.source import Request

    source = read(Request("dicom", BUNDLED / "examples_ybr_color.dcm", volumes=VolumeOptions(crop="none")))
    assert [item.extra["frame"] for item in source.items] == [str(frame) for frame in range(1, 31)]
    assert len({item.patient for item in source.items}) == 1
    assert not any(item.volume for item in source.items)
    first, last = (source.items[place].read()[0] for place in (0, -1))
    assert first.shape == last.shape == (240, 320, 3)
    assert (first != last).any()


def region(x0: int, y0: int, x1: int, y1: int, data: int = 1) -> Dataset:
    one = Dataset()
    one.RegionLocationMinX0, one.RegionLocationMinY0 = x0, y0
    one.RegionLocationMaxX1, one.RegionLocationMaxY1 = x1, y1
    one.RegionDataType = data
    return one


def test_the_banner_with_the_name_is_cut_off(ultrasound: Callable, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (60, 80), dtype=np.uint8)
    pixels[:10] = 255  # the banner
    made = ultrasound(pixels)
    made.SequenceOfUltrasoundRegions = [
        region(5, 12, 44, 49),
        region(45, 14, 74, 49),
        region(0, 0, 79, 8, data=13),
    ]
    save(made, tmp_path / "s" / "a.dcm")
    cohort = only(tmp_path / "s", tmp_path / "c")
    np.testing.assert_array_equal(cohort.image(0), pixels[12:50, 5:75])
    whole = only(tmp_path / "s", tmp_path / "d", volumes=VolumeOptions(crop="none"))
    np.testing.assert_array_equal(whole.image(0), pixels)


def test_a_picture_without_regions_is_whole_and_said_to_be(ultrasound: Callable, tmp_path: Path) -> None:
    save(ultrasound(np.full((20, 30), 7, np.uint8)), tmp_path / "s" / "a.dcm")
    remarks: list[str] = []
    only(tmp_path / "s", tmp_path / "c", remark=remarks.append)
    assert any("no ultrasound region" in remark for remark in remarks)
    with pytest.raises(DataDoubleError, match="declares no ultrasound regions"):
        only(tmp_path / "s", tmp_path / "d", volumes=VolumeOptions(crop="regions"))


def test_a_crop_that_does_not_apply_is_refused(ultrasound: Callable, tmp_path: Path) -> None:
    save(ultrasound(np.full((20, 30), 7, np.uint8)), tmp_path / "s" / "a.dcm")
    with pytest.raises(
        DataDoubleError, match=r"--crop: only CT can be cropped so \(found lungs of ultrasound\)"
    ):
        only(tmp_path / "s", tmp_path / "c", volumes=VolumeOptions(crop="lungs"))
    remarks: list[str] = []
    only(tmp_path / "s", tmp_path / "c", volumes=VolumeOptions(crop="none"), remark=remarks.append)
    assert any("may name the patient" in remark for remark in remarks)


def test_the_real_ultrasound_files(shared_data: Path, tmp_path: Path) -> None:
    """Grey, RGB, JPEG 2000 and a 16-bit colour table; the test names in the headers do not come through."""
    cohort = only(shared_data / "dicom_us", tmp_path / "c")
    shapes = sorted(cohort.image(index).shape for index in range(len(cohort)))
    assert len(shapes) == 4
    assert (392, 608) in shapes  # the two regions of the Aloka picture: rows 24 to 415, columns 32 to 639
    text = (tmp_path / "c" / "metadata.csv").read_text()
    for name in ("PATIENT", "ZZZ", "CLEVELAND", "BAPTIST", "2020202020202", "1.2.840"):
        assert name not in text
