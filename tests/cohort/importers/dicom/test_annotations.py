"""Outlines, segmentations and boxes on the pictures that they belong to."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from datadouble.cohort import Cohort
from datadouble.cohort.importers import VolumeOptions, import_cohort
from datadouble.cohort.volumes import volumes
from datadouble.errors import DataDoubleError

from .conftest import Series, dataset, save


@pytest.fixture
def scan(series: Series, tmp_path: Path) -> list[Any]:
    """A series of four slices (20, 24) of soft tissue, from the feet to the head, in ``scan/``."""
    return series(tmp_path / "scan", np.full((4, 20, 24), 40.0) + np.arange(24), PatientID="P1")


def rectangle(one: Dataset, y0: float, x0: float, y1: float, x1: float) -> list[float]:
    """The outline of pixels y0..y1, x0..x1 in mm; pixel spacing is 2 mm by row, 1.5 mm by column."""
    px, py, pz = one.ImagePositionPatient
    corners = [(y0, x0), (y0, x1), (y1, x1), (y1, x0)]
    return [value for y, x in corners for value in (px + 1.5 * x, py + 2 * y, pz)]


def structure_set(
    slices: list[Any], contours: list[tuple[str, int, list[float]]], *, by_uid: bool = True
) -> Dataset:
    made = dataset("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT")
    names = list(dict.fromkeys(name for name, _, _ in contours))
    made.StructureSetROISequence, made.ROIContourSequence = [], []
    for number, name in enumerate(names, start=1):
        roi, outline = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = slices[0].FrameOfReferenceUID
        outline.ReferencedROINumber, outline.ContourSequence = number, []
        for other, k, points in contours:
            if other != name:
                continue
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints, contour.ContourData = len(points) // 3, points
            if by_uid:
                image = Dataset()
                image.ReferencedSOPClassUID = slices[k].SOPClassUID
                image.ReferencedSOPInstanceUID = slices[k].SOPInstanceUID
                contour.ContourImageSequence = [image]
            outline.ContourSequence.append(contour)
        made.StructureSetROISequence.append(roi)
        made.ROIContourSequence.append(outline)
    return made


def stacked(cohort: Cohort) -> np.ndarray:
    (volume,) = volumes(cohort)
    assert volume.mask is not None
    return volume.mask


@pytest.mark.parametrize("by_uid", [True, False], ids=["by SOP instance", "by place"])
def test_outlines_become_masks_with_their_holes(scan: list[Any], tmp_path: Path, by_uid: bool) -> None:
    contours = [
        ("GTV", 1, rectangle(scan[1], 3, 4, 10, 15)),
        ("GTV", 1, rectangle(scan[1], 5, 7, 7, 9)),  # a hole
        ("Heart", 2, rectangle(scan[2], 1, 1, 4, 4)),
    ]
    save(structure_set(scan, contours, by_uid=by_uid), tmp_path / "scan" / "rt" / "rs.dcm")
    cohort = import_cohort("dicom", tmp_path / "scan", tmp_path / "c")
    expected = np.zeros((4, 20, 24), np.uint8)
    expected[1, 3:11, 4:16] = 1
    expected[1, 5:8, 7:10] = 0
    expected[2, 1:5, 1:5] = 2
    np.testing.assert_array_equal(stacked(cohort), expected)
    assert cohort.info.mask_classes == ("background", "GTV", "Heart")
    labels = dict(zip(cohort.table["slice"], cohort.table["label"], strict=True))
    assert labels == {"0": "unmarked", "1": "GTV", "2": "Heart", "3": "unmarked"}
    assert cohort.info.classes == ("unmarked", "GTV", "Heart")


def test_structures_can_be_chosen_and_joined(scan: list[Any], tmp_path: Path) -> None:
    contours = [
        ("gtv_1", 0, rectangle(scan[0], 2, 2, 4, 4)),
        ("GTV node", 1, rectangle(scan[1], 2, 2, 4, 4)),
        ("Dr Rossi", 2, rectangle(scan[2], 2, 2, 4, 4)),
    ]
    save(structure_set(scan, contours), tmp_path / "scan" / "rs.dcm")
    cohort = import_cohort("dicom", tmp_path / "scan", tmp_path / "c", mask_classes=["background", "GTV*"])
    assert cohort.info.mask_classes == ("background", "GTV")
    assert [int(one.sum()) for one in stacked(cohort)] == [9, 9, 0, 0]
    assert "Rossi" not in (tmp_path / "c" / "metadata.csv").read_text()


def segmentation(slices: list[Any], masks: list[tuple[int, np.ndarray]], rows: int = 20) -> Dataset:
    """A binary DICOM segmentation: one frame for each (slice, mask), segment 1 `nodule`."""
    from pydicom.pixels.utils import pack_bits

    made = dataset("1.2.840.10008.5.1.4.1.1.66.4", "SEG")
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, "nodule"
    made.SegmentSequence, made.SegmentationType = [segment], "BINARY"
    made.Rows, made.Columns, made.NumberOfFrames = rows, 24, len(masks)
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 1, 1, 0
    frames = []
    for k, _ in masks:
        frame, identity, derivation, source = Dataset(), Dataset(), Dataset(), Dataset()
        identity.ReferencedSegmentNumber = 1
        source.ReferencedSOPClassUID = slices[k].SOPClassUID
        source.ReferencedSOPInstanceUID = slices[k].SOPInstanceUID
        derivation.SourceImageSequence = [source]
        frame.SegmentIdentificationSequence = [identity]
        frame.DerivationImageSequence = [derivation]
        frames.append(frame)
    made.PerFrameFunctionalGroupsSequence = frames
    made.PixelData = pack_bits(np.stack([mask for _, mask in masks]).astype(np.uint8).ravel())
    return made


def test_a_dicom_segmentation(scan: list[Any], tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    first, second = (generator.random((20, 24)) < 0.3 for _ in range(2))
    save(segmentation(scan, [(2, first), (0, second)]), tmp_path / "scan" / "seg.dcm")
    cohort = import_cohort("dicom", tmp_path / "scan", tmp_path / "c")
    empty = np.zeros((20, 24), bool)
    np.testing.assert_array_equal(stacked(cohort), np.stack([second, empty, first, empty]))
    assert cohort.info.mask_classes == ("background", "nodule")


def test_a_segmentation_of_another_size_is_refused(scan: list[Any], tmp_path: Path) -> None:
    save(segmentation(scan, [(1, np.ones((10, 24)))], rows=10), tmp_path / "scan" / "seg.dcm")
    with pytest.raises(DataDoubleError, match="seg.dcm: segmentation is 24x10, image is 24x20"):
        import_cohort("dicom", tmp_path / "scan", tmp_path / "c")


def boxes(
    path: Path, sop: str, *objects: tuple[str, int, int, int, int], size: tuple[int, int] = (24, 20)
) -> None:
    items = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>"
        "</bndbox></object>"
        for name, a, b, c, d in objects
    )
    path.mkdir(parents=True, exist_ok=True)
    text = f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{items}</annotation>"
    (path / f"{sop}.xml").write_text(text)


def test_a_box_is_a_label_and_a_column_and_a_mask_only_if_asked(scan: list[Any], tmp_path: Path) -> None:
    boxes(tmp_path / "scan" / "xml", scan[1].SOPInstanceUID, ("A", 4, 3, 10, 8))
    boxes(tmp_path / "scan" / "xml", generate_uid(), ("A", 4, 3, 10, 8))  # of a series that is not here
    remarks: list[str] = []
    cohort = import_cohort("dicom", tmp_path / "scan", tmp_path / "c", remark=remarks.append)
    row = cohort.table.set_index("slice").loc["1"]
    assert (row["label"], json.loads(row["boxes"]), json.loads(row["box_labels"])) == (
        "A",
        [[4, 3, 6, 5]],
        ["A"],
    )
    assert cohort.info.mask_classes == ()
    assert "1 annotations belong to pictures that are not here" in remarks
    drawn = import_cohort("dicom", tmp_path / "scan", tmp_path / "d", volumes=VolumeOptions(box_masks=True))
    expected = np.zeros((4, 20, 24))
    expected[1, 3:8, 4:10] = 1
    np.testing.assert_array_equal(stacked(drawn), expected)


def test_boxes_turn_with_the_picture(series: Series, tmp_path: Path) -> None:
    made = series(tmp_path / "scan", np.full((2, 20, 24), 40.0), orientation=(-1, 0, 0, 0, -1, 0))
    boxes(tmp_path / "scan", made[0].SOPInstanceUID, ("A", 4, 3, 10, 8))
    options = VolumeOptions(box_masks=True)
    cohort = import_cohort("dicom", tmp_path / "scan", tmp_path / "c", volumes=options)
    index = int(np.flatnonzero(cohort.table["label"] == "A")[0])
    (box,) = json.loads(cohort.table["boxes"][index])
    mask = cohort.mask(index)
    assert mask is not None
    x, y, width, height = box
    assert box == [14, 12, 6, 5]
    assert mask[y : y + height, x : x + width].all() and mask.sum() == width * height


def test_faulty_annotations_are_all_named(scan: list[Any], tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    boxes(folder, scan[0].SOPInstanceUID, ("A", 4, 3, 40, 8))
    boxes(folder, scan[1].SOPInstanceUID, ("A", 4, 3, 10, 8), size=(512, 512))
    (folder / "broken.xml").write_text("<annotation><object>")
    with pytest.raises(DataDoubleError) as caught:
        import_cohort("dicom", folder, tmp_path / "c")
    text = str(caught.value)
    assert "stops at 3 problems" in text
    for expected in (
        "do not lie in the picture",
        "drawn on 512x512, image is 24x20",
        "broken.xml: these are no boxes",
    ):
        assert expected in text


def test_labels_from_a_table_of_patients(series: Series, tmp_path: Path) -> None:
    for patient in ("P1", "P2"):
        series(tmp_path / "s" / patient, np.full((2, 6, 8), 40.0), PatientID=patient)
    table = tmp_path / "labels.csv"
    table.write_text("patient,label\nP1,benign\n")
    with pytest.raises(DataDoubleError, match="no label.*add its patient to the table"):
        import_cohort("dicom", tmp_path / "s", tmp_path / "c", label=str(table))
    table.write_text("patient,label\nP1,benign\nP2,malignant\n")
    cohort = import_cohort("dicom", tmp_path / "s", tmp_path / "c", label=str(table))
    assert cohort.table.groupby("volume_id")["label"].nunique().tolist() == [1, 1]
    by_folder = import_cohort("dicom", tmp_path / "s", tmp_path / "d", label="folder")
    assert by_folder.info.classes == ("P1", "P2")


def test_the_real_series_and_its_boxes(shared_data: Path, tmp_path: Path) -> None:
    """Lung-PET-CT-Dx: 30 slices of 8 mm; 10 of the 18 XML files belong to them."""
    cohort = import_cohort("dicom", shared_data / "ct_lung_dx", tmp_path / "c")
    (volume,) = volumes(cohort)
    assert volume.image.shape == (30, 512, 512)
    assert volume.spacing == (8.0, 0.646484, 0.646484)
    marked = sorted(int(n) for n in cohort.table["slice"][cohort.table["label"] == "A"])
    assert marked == list(range(12, 22))
    text = (tmp_path / "c" / "metadata.csv").read_text() + (tmp_path / "c" / "cohort.json").read_text()
    assert not any(secret in text for secret in ("A0002", "1.3.6.1", "20070425"))
    # the liver, below, is at the picture's left: the patient's right side
    below = volume.image[5].astype(float)
    assert below[200:300, 120:200].mean() > below[200:300, 330:410].mean()
