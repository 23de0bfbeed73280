"""DICOM files made on the spot: CT series whose every voxel is known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, UltrasoundImageStorage, generate_uid

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"

SECRETS = {
    "PatientName": "ROSSI^ANNA",
    "PatientBirthDate": "19610203",
    "StudyDate": "20200914",
    "AccessionNumber": "ACC77123",
    "InstitutionName": "Ospedale San Marco",
    "ReferringPhysicianName": "BIANCHI^UGO",
    "StudyDescription": "follow-up of ROSSI",
    "DeviceSerialNumber": "SN991234",
}


def dataset(kind: str = CTImageStorage, modality: str = "CT", **values: Any) -> FileDataset:
    """Return a data set with all the names and dates that must not come through."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = kind, generate_uid()
    made.Modality = modality
    made.Manufacturer, made.ManufacturerModelName = "ACME", "Tomo 3"
    made.PatientID, made.SeriesInstanceUID = "PAT-0815", generate_uid()
    for key, value in {**SECRETS, **values}.items():
        setattr(made, key, value)
    meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def set_pixels(made: Dataset, pixels: np.ndarray, photometric: str = "MONOCHROME2") -> None:
    """Put pixels (h, w), (h, w, 3) or, as frames, (n, h, w) into a data set."""
    colours = pixels.ndim == 3 and pixels.shape[-1] == 3
    if pixels.ndim == 3 and not colours:
        made.NumberOfFrames = len(pixels)
    made.Rows, made.Columns = pixels.shape[:2] if colours else pixels.shape[-2:]
    made.SamplesPerPixel = 3 if colours else 1
    if colours:
        made.PlanarConfiguration = 0
    made.PhotometricInterpretation = photometric
    made.BitsAllocated = made.BitsStored = 8 * pixels.dtype.itemsize
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = np.ascontiguousarray(pixels).tobytes()


def save(made: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


Series = Callable[..., list[FileDataset]]


@pytest.fixture
def series() -> Series:
    """Writes a CT series: slice k (HU, (h, w)) lies at z = 10 + 5 k mm; files and numbers run from head to feet."""

    def write(
        folder: Path,
        volume: np.ndarray,
        *,
        leave_out: tuple[int, ...] = (),
        orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
        rescale: tuple[float, float] | None = (1, -1024),
        step: float = 5.0,
        first_file: int = 0,
        **values: Any,
    ) -> list[FileDataset]:
        shared = {"SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid(), **values}
        normal = np.cross(orientation[:3], orientation[3:])
        made = []
        for k, hu in enumerate(volume):
            if k in leave_out:
                continue
            one = dataset(**shared)
            one.ImagePositionPatient = list((10 + step * k) * normal + np.array([-20.0, -30.0, 0.0]))
            one.ImageOrientationPatient = list(orientation)
            one.PixelSpacing, one.SliceThickness = [2.0, 1.5], 5.0
            one.InstanceNumber = len(volume) - k
            if rescale:
                one.RescaleSlope, one.RescaleIntercept = rescale
            slope, intercept = rescale or (1, -1024)
            set_pixels(one, np.round((hu - intercept) / slope).astype(np.int16))
            save(one, folder / f"im{first_file + len(volume) - k:03d}.dcm")
            made.append(one)
        return made

    return write


@pytest.fixture
def ramp() -> np.ndarray:
    """HU (4, 6, 8), every voxel another: 20 z + 100 y + x - 300."""
    z, y, x = np.mgrid[:4, :6, :8]
    return (20 * z + 60 * y + x - 190).astype(np.float32)


@pytest.fixture
def ultrasound() -> Callable[..., FileDataset]:
    def make(pixels: np.ndarray, photometric: str = "MONOCHROME2", **values: Any) -> FileDataset:
        made = dataset(UltrasoundImageStorage, "US", **values)
        set_pixels(made, pixels, photometric)
        return made

    return make
