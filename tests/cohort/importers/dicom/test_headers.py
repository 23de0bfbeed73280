"""What a folder holds, and what must not come out of it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import generate_uid

from datadouble.cohort.importers import import_cohort
from datadouble.errors import DataDoubleError

from .conftest import BUNDLED, SECRETS, Series, dataset, save, set_pixels


def everything_in(folder: Path) -> str:
    texts = [p.read_text() for p in folder.rglob("*") if p.suffix in (".csv", ".json")]
    return " ".join([*texts, *(str(p.relative_to(folder)) for p in folder.rglob("*"))])


def test_no_name_id_date_or_uid_enters_the_cohort(series: Series, ramp: np.ndarray, tmp_path: Path) -> None:
    made = series(tmp_path / "PAT-0815 ROSSI", ramp)
    cohort = import_cohort("dicom", tmp_path / "PAT-0815 ROSSI", tmp_path / "c")
    text = everything_in(tmp_path / "c")
    for secret in [*SECRETS.values(), "ROSSI", "PAT-0815", "BIANCHI", "San Marco"]:
        assert secret not in text, secret
    for one in made:
        for uid in (one.SOPInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID):
            assert uid not in text
    hidden = cohort.table[["image_id", "patient_id", "volume_id", "site"]]
    assert all(hidden[column].str.fullmatch("[0-9a-f]{16}").all() for column in hidden)
    assert set(cohort.table["device"]) == {"ACME Tomo 3"}


def test_one_patient_has_one_pseudonym_with_one_key(series: Series, ramp: np.ndarray, tmp_path: Path) -> None:
    series(tmp_path / "a", ramp)
    series(tmp_path / "b", ramp)
    series(tmp_path / "b" / "other", ramp, PatientID="PAT-2", InstitutionName="Elsewhere")
    one = import_cohort("dicom", tmp_path / "a", tmp_path / "c")
    two = import_cohort("dicom", tmp_path / "b", tmp_path / "d", key=tmp_path / "c.key")
    assert set(one.table["patient_id"]) < set(two.table["patient_id"])
    assert two.table["site"].nunique() == two.table["volume_id"].nunique() == 2


def test_what_is_no_picture_is_skipped_with_a_count(series: Series, ramp: np.ndarray, tmp_path: Path) -> None:
    root = tmp_path / "s"
    made = series(root, ramp)
    save(made[0], root / "copy.dcm")
    for name in ("reportsi.dcm", "test-SR.dcm", "rtdose_1frame.dcm", "waveform_ecg.dcm"):
        shutil.copy(BUNDLED / name, root / name)
    (root / "notes.txt").write_text("read me")
    scout = dataset(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    set_pixels(scout, np.zeros((6, 8), np.int16))
    save(scout, root / "scout.dcm")
    sheet = dataset("1.2.840.10008.5.1.4.1.1.7")
    set_pixels(sheet, np.zeros((6, 8), np.uint8))
    save(sheet, root / "dose-report.dcm")
    remarks: list[str] = []
    cohort = import_cohort("dicom", root, tmp_path / "c", remark=remarks.append)
    assert len(cohort) == 4
    text = "\n".join(remarks)
    for expected in (
        "skipped 1: files without a picture (Basic Text SR)",
        "skipped 1: files without a picture (Comprehensive SR)",
        "skipped 1: files without a picture (RT Dose)",
        "skipped 1: files that are no DICOM",
        "skipped 1: localizers",
        "skipped 1: secondary captures",
        "skipped 1: copies of a picture",
    ):
        assert expected in text, expected


def test_truncated_files_are_all_named(series: Series, ramp: np.ndarray, tmp_path: Path) -> None:
    root = tmp_path / "s"
    series(root, ramp)
    pixels, header = root / "im001.dcm", root / "im004.dcm"
    pixels.write_bytes(pixels.read_bytes()[:-40])
    header.write_bytes(header.read_bytes()[:300])
    (root / "empty.dcm").write_bytes(b"")
    with pytest.raises(DataDoubleError) as caught:
        import_cohort("dicom", root, tmp_path / "c")
    for name, what in (
        ("im001.dcm: ", "the file is truncated"),
        ("im004.dcm: ", "truncated"),
        ("empty.dcm: ", "header cannot be read"),
    ):
        line = next(line for line in str(caught.value).splitlines() if line.strip().startswith(name))
        assert what in line


def test_a_compressed_file_cut_off_is_named_when_it_is_read(series: Series, tmp_path: Path) -> None:
    import pydicom
    from pydicom.uid import JPEG2000Lossless

    noise = np.random.default_rng(0).integers(-200, 200, (3, 64, 64))
    series(tmp_path / "s", noise)
    path = tmp_path / "s" / "im002.dcm"
    one = pydicom.dcmread(path)
    one.compress(JPEG2000Lossless)
    one.save_as(path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataDoubleError, match=r"1 picture cannot be imported") as caught:
        import_cohort("dicom", tmp_path / "s", tmp_path / "c")
    assert "im002.dcm: the pixels cannot be decoded" in str(caught.value)


def test_two_modalities_need_a_choice(
    series: Series, ramp: np.ndarray, ultrasound: Callable, tmp_path: Path
) -> None:
    series(tmp_path / "s", ramp)
    save(ultrasound(np.full((20, 30), 9, np.uint8)), tmp_path / "s" / "us.dcm")
    with pytest.raises(DataDoubleError, match=r"several modalities.*4 CT, 1 US.*--modality CT"):
        import_cohort("dicom", tmp_path / "s", tmp_path / "c")
    cohort = import_cohort("dicom", tmp_path / "s", tmp_path / "c", modality="CT")
    assert len(cohort) == 4


def test_without_a_patient_id_a_series_is_a_patient(series: Series, ramp: np.ndarray, tmp_path: Path) -> None:
    for name in ("a", "b"):
        series(tmp_path / "s" / name, ramp, PatientID="")
    remarks: list[str] = []
    cohort = import_cohort("dicom", tmp_path / "s", tmp_path / "c", remark=remarks.append)
    assert cohort.table.groupby("volume_id")["patient_id"].nunique().tolist() == [1, 1]
    assert cohort.table["patient_id"].nunique() == 2
    assert any("no patient id" in remark for remark in remarks)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    with pytest.raises(DataDoubleError, match="no picture is there"):
        import_cohort("dicom", tmp_path / "s", tmp_path / "c")


def test_an_enhanced_multi_frame_ct_is_a_volume(ramp: np.ndarray, tmp_path: Path) -> None:
    """Frames in any order; slope and spacing shared, positions of their own (DICOM PS3.3 A.38)."""
    from pydicom.dataset import Dataset

    from datadouble.cohort.volumes import volumes

    order = [2, 0, 3, 1]
    made = dataset("1.2.840.10008.5.1.4.1.1.2.1", FrameOfReferenceUID=generate_uid())
    set_pixels(made, (ramp[order] + 1024).astype(np.int16))
    shared, measures, transform, plane = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [2.0, 1.5], 5.0
    transform.RescaleSlope, transform.RescaleIntercept = 1, -1024
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PixelValueTransformationSequence = [measures], [transform]
    shared.PlaneOrientationSequence = [plane]
    made.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for k in order:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, 5 * k]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = frames
    save(made, tmp_path / "s" / "all.dcm")
    (volume,) = volumes(import_cohort("dicom", tmp_path / "s", tmp_path / "c"))
    np.testing.assert_array_equal(volume.image, np.round(255 * np.clip((ramp + 200) / 400, 0, 1)))
    assert volume.spacing == (5.0, 2.0, 1.5)
