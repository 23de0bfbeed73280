"""Annotations of DICOM pictures: RT structure sets, DICOM segmentations, and XML boxes, by SOP instance."""

import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble.cohort.importers.dicom.headers import Folder, Picture
from datadouble.cohort.importers.dicom.pixels import Box, Mark
from datadouble.cohort.importers.findings import Findings, some

if TYPE_CHECKING:
    from pydicom import Dataset

Key = tuple[str, int]  # SOP instance, frame from 0 or -1


class Marks:
    """The annotations found, by picture; what belongs to no picture here is counted."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.of: dict[Key, list[Mark]] = defaultdict(list)
        self.elsewhere = 0
        self._by_sop: dict[str, list[Picture]] = defaultdict(list)
        self._by_frame: dict[str, list[Picture]] = defaultdict(list)
        for picture in pictures:
            self._by_sop[picture.sop].append(picture)
            if picture.position is not None and picture.orientation is not None:
                self._by_frame[picture.frame_of_reference].append(picture)

    def referenced(self, sop: str, frame: int = 0) -> Picture | None:
        """Return the picture of that SOP instance (and frame, from 0), or None."""
        found = self._by_sop.get(sop, [])
        if len(found) == 1:
            return found[0]
        return next((picture for picture in found if picture.frame == frame), None)

    def at(self, point: Sequence[float], frame_of_reference: str) -> Picture | None:
        """Return the picture in whose plane `point` (mm) lies, to a millimetre, or None."""
        best, least = None, 1.0
        for picture in self._by_frame.get(frame_of_reference, []):
            normal = np.cross(picture.orientation[:3], picture.orientation[3:])  # type: ignore[index]
            distance = abs(float(np.dot(np.subtract(point, picture.position), normal)))  # type: ignore[arg-type]
            if distance < least:
                best, least = picture, distance
        return best

    def add(self, picture: Picture | None, mark: Mark) -> None:
        """Note an annotation."""
        if picture is None:
            self.elsewhere += 1
        else:
            self.of[picture.sop, picture.frame].append(mark)

    def names(self, *, boxes: bool = True) -> list[str]:
        """Return the names in use; without `boxes`, of outlines and segmentations only."""
        return sorted({m.name for marks in self.of.values() for m in marks if boxes or m.box is None})


def read_annotations(folder: Folder, findings: Findings) -> Marks:
    """Read all annotations of a folder's pictures."""
    marks = Marks(folder.pictures)
    for path, where in folder.structure_sets:
        if (header := _open(path, where, findings)) is not None:
            _structures(header, where, marks, findings)
    for path, where in folder.segmentations:
        if (header := _open(path, where, findings)) is not None:
            _segments(header, path, where, marks, findings)
    for path, where in folder.boxes:
        _boxes(path, where, marks, findings)
    if marks.elsewhere:
        findings.notes.append(f"{marks.elsewhere} annotations belong to pictures that are not here")
    return marks


def _open(path: Path, where: str, findings: Findings) -> "Dataset | None":
    from pydicom import dcmread

    try:
        return dcmread(path, stop_before_pixels=True)
    except Exception as error:  # pydicom raises many kinds on damaged sequences
        found = f"{type(error).__name__}: {error}".replace(str(path), path.name)[:120]
        findings.problem("the annotation cannot be read", where, found, "it is truncated: export it again")
        return None


def _structures(header: "Dataset", where: str, marks: Marks, findings: Findings) -> None:
    """Read an RT structure set; contours of one structure on one picture make holes in each other."""
    names = {
        int(roi.ROINumber): str(roi.get("ROIName", "")) for roi in header.get("StructureSetROISequence", [])
    }
    frames = {
        int(roi.ROINumber): str(roi.get("ReferencedFrameOfReferenceUID", ""))
        for roi in header.get("StructureSetROISequence", [])
    }
    open_contours = 0
    for roi in header.get("ROIContourSequence", []):
        number = int(roi.ReferencedROINumber)
        name = names.get(number, "").strip() or f"structure {number}"
        outlines: dict[Key, list[Any]] = defaultdict(list)
        pictures: dict[Key, Picture] = {}
        for contour in roi.get("ContourSequence", []):
            if not str(contour.get("ContourGeometricType", "")).startswith("CLOSED_PLANAR"):
                open_contours += 1
                continue
            points = np.asarray(contour.get("ContourData", []), float).reshape(-1, 3)
            if len(points) < 3:
                continue
            referenced = [item for item in contour.get("ContourImageSequence", [])]
            if referenced:
                frame = int(referenced[0].get("ReferencedFrameNumber", 1) or 1) - 1
                picture = marks.referenced(str(referenced[0].get("ReferencedSOPInstanceUID", "")), frame)
            else:
                picture = marks.at(points.mean(0).tolist(), frames.get(number, ""))
            if picture is None or picture.position is None or picture.spacing is None:
                marks.elsewhere += 1
                continue
            key = picture.sop, picture.frame
            pictures[key] = picture
            outlines[key].append(_to_pixels(points, picture))
        for key, contours in outlines.items():
            marks.add(pictures[key], Mark(name, contours=tuple(contours)))
    if open_contours:
        findings.notes.append(
            f"{where}: {open_contours} points and open contours are no outlines and were left out"
        )


def _to_pixels(points: np.ndarray, picture: Picture) -> tuple[tuple[float, float], ...]:
    """Return patient coordinates in mm (n, 3) as (row, column) in pixels; the inverse of DICOM PS3.3 C.7.6.2.1.1."""
    assert picture.position is not None and picture.orientation is not None and picture.spacing is not None
    offset = points - np.array(picture.position)
    rows = offset @ np.array(picture.orientation[3:]) / picture.spacing[0]
    columns = offset @ np.array(picture.orientation[:3]) / picture.spacing[1]
    return tuple(zip(rows.tolist(), columns.tolist(), strict=True))


def _segments(header: "Dataset", path: Path, where: str, marks: Marks, findings: Findings) -> None:
    """Read a DICOM segmentation: each frame is one segment on one picture."""
    names = {
        int(item.SegmentNumber): str(item.get("SegmentLabel", "")).strip() or f"segment {item.SegmentNumber}"
        for item in header.get("SegmentSequence", [])
    }
    fractional = str(header.get("SegmentationType", "BINARY")).upper() == "FRACTIONAL"
    least = 0.5 * float(header.get("MaximumFractionalValue", 1) or 1) if fractional else 1.0
    shape = int(header.get("Rows", 0)), int(header.get("Columns", 0))
    shared = list(header.get("SharedFunctionalGroupsSequence", []))
    sizes = set()
    for frame, own in enumerate(header.get("PerFrameFunctionalGroupsSequence", [])):
        places = [own, *shared]
        number = _first(places, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
        picture = None
        for place in places:
            for derivation in place.get("DerivationImageSequence", []):
                for source in derivation.get("SourceImageSequence", []):
                    index = int(source.get("ReferencedFrameNumber", 1) or 1) - 1
                    picture = picture or marks.referenced(
                        str(source.get("ReferencedSOPInstanceUID", "")), index
                    )
        if picture is None and (position := _first(places, "PlanePositionSequence", "ImagePositionPatient")):
            picture = marks.at([float(v) for v in position], str(header.get("FrameOfReferenceUID", "")))
        if picture is not None and picture.shape != shape:
            sizes.add(picture.shape)
            continue
        name = names.get(int(number or 1), f"segment {number}")
        marks.add(picture, Mark(name, frame=(path, frame, least)))
    for height, width in sorted(sizes):
        what = f"segmentation is {shape[1]}x{shape[0]}, image is {width}x{height}"
        findings.problem(what, where, remedy="have it resampled to the pictures, or take it away")


def _first(places: Sequence["Dataset"], group: str, key: str) -> Any:
    for place in places:
        for item in place.get(group, []):
            if item.get(key) is not None:
                return item.get(key)
    return None


def _boxes(path: Path, where: str, marks: Marks, findings: Findings) -> None:
    """Read the boxes of one picture (PASCAL VOC); the file is named after the picture's SOP instance.

    Edges count from the picture's corner, so that a box covers pixels ``xmin`` to ``xmax - 1``.
    """
    try:
        root = ElementTree.parse(path).getroot()
        found: list[tuple[str, Box]] = []
        for item in root.iter("object"):
            box = item.find("bndbox")
            if box is None:
                raise ValueError("an object has no bndbox")
            edges = [round(float(box.findtext(key, ""))) for key in ("xmin", "ymin", "xmax", "ymax")]
            found.append(
                (item.findtext("name", "").strip() or "box", (edges[0], edges[1], edges[2], edges[3]))
            )
        size = tuple(int(root.findtext(f"size/{key}", "0") or 0) for key in ("height", "width"))
    except (ElementTree.ParseError, ValueError, OSError) as error:
        findings.problem("these are no boxes", where, str(error)[:120], "correct or take away the XML file")
        return
    picture = marks.referenced(path.stem)
    if picture is not None:
        height, width = picture.shape
        outside = [b for _, b in found if not (0 <= b[0] < b[2] <= width and 0 <= b[1] < b[3] <= height)]
        if any(size) and size != picture.shape:
            what = f"boxes are drawn on {size[1]}x{size[0]}, image is {width}x{height}"
            findings.problem(what, where, remedy="draw them on the picture itself, or take the file away")
            return
        if outside:
            findings.problem("boxes do not lie in the picture", where, some(outside, 3), "correct them")
            return
    for name, one in found:
        marks.add(picture, Mark(name, box=one))
