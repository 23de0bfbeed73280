"""Series to volumes: order, orientation, and every way in which a series can fail to be one."""

from pathlib import Path

import numpy as np
import pytest

from datadouble.cohort.importers import VolumeOptions, import_cohort
from datadouble.cohort.volumes import volumes
from datadouble.errors import DataDoubleError

from .conftest import Series


def grey(hu: np.ndarray) -> np.ndarray:
    return np.round(255 * np.clip((hu + 200) / 400, 0, 1)).astype(np.uint8)


def test_slices_are_sorted_by_place_not_by_number(series: Series, ramp: np.ndarray, tmp_path: Path) -> None:
    series(tmp_path / "s" / "deep" / "deeper", ramp)  # instance 1 is the topmost slice
    cohort = import_cohort("dicom", tmp_path / "s", tmp_path / "c")
    (volume,) = volumes(cohort)
    np.testing.assert_array_equal(volume.image, grey(ramp))
    assert volume.spacing == (5.0, 2.0, 1.5)
    assert cohort.info.intensity == {"unit": "HU", "low": -200.0, "high": 200.0}
    assert set(cohort.table["thickness_mm"]) == {"5"}
    assert set(cohort.table["plane"]) == {"axial"}
    assert cohort.table["duplicate_group"].eq("").all()


def test_slope_and_intercept_and_another_window(series: Series, ramp: np.ndarray, tmp_path: Path) -> None:
    series(tmp_path / "s", ramp * 2, rescale=(2, -1000))
    options = VolumeOptions(window=(-600, 1500))
    cohort = import_cohort("dicom", tmp_path / "s", tmp_path / "c", volumes=options)
    (volume,) = volumes(cohort)
    expected = np.round(255 * np.clip((ramp * 2 + 1350) / 1500, 0, 1))
    assert cohort.info.intensity == {"unit": "HU", "low": -1350.0, "high": 150.0}
    np.testing.assert_array_equal(volume.image, expected)


def test_sixteen_bits_give_the_hu_back(series: Series, tmp_path: Path) -> None:
    from datadouble.cohort.hounsfield import to_hounsfield

    hu = np.linspace(-1024, 3071, 2 * 24 * 32).round().reshape(2, 24, 32)
    series(tmp_path / "s", hu)
    cohort = import_cohort("dicom", tmp_path / "s", tmp_path / "c", volumes=VolumeOptions(depth=16))
    (volume,) = volumes(cohort)
    assert volume.image.dtype == np.uint16
    np.testing.assert_array_equal(np.round(to_hounsfield(volume.image, cohort.info.intensity)), hu)


def test_a_patient_who_lies_on_the_belly_is_turned(series: Series, ramp: np.ndarray, tmp_path: Path) -> None:
    """Rows to the patient's right and front (x and y negative): turned, the picture shows front above, right left."""
    series(tmp_path / "s", ramp, orientation=(-1, 0, 0, 0, -1, 0))
    (volume,) = volumes(import_cohort("dicom", tmp_path / "s", tmp_path / "c"))
    np.testing.assert_array_equal(volume.image, grey(ramp)[:, ::-1, ::-1])


def test_coronal_series_stay_as_they_are(series: Series, ramp: np.ndarray, tmp_path: Path) -> None:
    series(tmp_path / "s", ramp, orientation=(1, 0, 0, 0, 0, -1))
    cohort = import_cohort("dicom", tmp_path / "s", tmp_path / "c")
    assert set(cohort.table["plane"]) == {"coronal"}
    np.testing.assert_array_equal(next(volumes(cohort)).image, grey(ramp))


def test_all_that_is_wrong_is_told_at_once(series: Series, ramp: np.ndarray, tmp_path: Path) -> None:
    root = tmp_path / "s"
    series(root / "gap", np.repeat(ramp, 2, 0), leave_out=(3, 4))
    uid = "1.2.3.4.5"
    series(root / "two", ramp, SeriesInstanceUID=uid)
    series(root / "two", ramp[:2], SeriesInstanceUID=uid, orientation=(1, 0, 0, 0, 0, -1), first_file=50)
    series(root / "one", ramp[:1])
    series(root / "raw", ramp, rescale=None)
    series(root / "sizes", ramp, SeriesInstanceUID="1.2.9")
    series(root / "sizes", ramp[:, :4], SeriesInstanceUID="1.2.9", step=7, first_file=50)
    series(root / "twice", ramp, SeriesInstanceUID="1.2.7")
    series(root / "twice", ramp, SeriesInstanceUID="1.2.7", first_file=50)
    series(root / "good", ramp)
    with pytest.raises(DataDoubleError) as caught:
        import_cohort("dicom", root, tmp_path / "c")
    text = str(caught.value)
    assert "stops at 6 problems" in text
    for where, what, found, remedy in (
        (
            "series of gap/",
            "has gaps",
            "15 mm between gap/im006.dcm and gap/im003.dcm; elsewhere 5 mm",
            "--incomplete-volumes",
        ),
        ("series of two/", "two orientations", "4 axial, 2 coronal", "folder and series of its own"),
        ("series of one/", "has one slice", "one/im001.dcm", "--incomplete-volumes"),
        ("series of raw/", "cannot be turned into HU", "4 slices without Rescale", "--rescale 1/-1024"),
        ("series of sizes/", "differ in size", "8x4, 8x6", "leave the odd ones out"),
        ("series of twice/", "same place", "4 of 8", "series of its own"),
    ):
        line = next(line for line in text.splitlines() if line.strip().startswith(where))
        assert what in line and found in line and remedy in line, line
    assert not (tmp_path / "c").exists()
    # with --skip-broken the good one is left, and each of the others is named
    remarks: list[str] = []
    cohort = import_cohort("dicom", root, tmp_path / "c", skip_broken=True, remark=remarks.append)
    assert cohort.table["volume_id"].nunique() == 1
    assert sum(remark.startswith("left out: series of") for remark in remarks) == 6


def test_incomplete_volumes_are_kept_if_asked_and_their_gaps_named(
    series: Series, ramp: np.ndarray, tmp_path: Path
) -> None:
    series(tmp_path / "s" / "gap", np.repeat(ramp, 2, 0), leave_out=(3, 4))
    series(tmp_path / "s" / "one", ramp[:1])
    cohort = import_cohort("dicom", tmp_path / "s", tmp_path / "c", volumes=VolumeOptions(incomplete=True))
    found = {len(volume.rows): volume for volume in volumes(cohort, gaps="keep")}
    assert found[8].gaps == (3, 4)
    assert not found[8].image[3:5].any()
    np.testing.assert_array_equal(found[8].image[[0, 7]], grey(ramp)[[0, 3]])
    assert found[1].spacing == (5.0, 2.0, 1.5)  # from the thickness
    with pytest.raises(DataDoubleError, match="no slice 3, 4 of 0 to 7"):
        list(volumes(cohort))


def test_values_without_rescale_tags_can_be_declared(
    series: Series, ramp: np.ndarray, tmp_path: Path
) -> None:
    series(tmp_path / "s", ramp, rescale=None)
    cohort = import_cohort("dicom", tmp_path / "s", tmp_path / "c", volumes=VolumeOptions(rescale=(1, -1024)))
    np.testing.assert_array_equal(next(volumes(cohort)).image, grey(ramp))
    assert "taken as HU" in cohort.info.source


def test_a_syntax_without_a_handler_names_the_package(
    series: Series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pydicom
    from pydicom.pixels.decoders import base
    from pydicom.uid import JPEG2000Lossless

    hu = np.random.default_rng(0).integers(-250, 250, (4, 64, 64)).astype(np.float32)
    series(tmp_path / "s", hu)
    for path in sorted((tmp_path / "s").glob("*.dcm"))[:3]:
        one = pydicom.dcmread(path)
        one.compress(JPEG2000Lossless)
        one.save_as(path)
    cohort = import_cohort("dicom", tmp_path / "s", tmp_path / "whole")
    np.testing.assert_array_equal(next(volumes(cohort)).image, grey(hu))

    class Missing:
        is_available = False

    real = base.get_decoder
    monkeypatch.setattr(base, "get_decoder", lambda uid: Missing() if uid == JPEG2000Lossless else real(uid))
    with pytest.raises(DataDoubleError, match=r"3 pictures.*pip install pylibjpeg pylibjpeg-openjpeg"):
        import_cohort("dicom", tmp_path / "s", tmp_path / "c")
