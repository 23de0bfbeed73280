"""Reading the headers of a folder of DICOM files: which pictures and annotations are there, and what is not for us.

Names, dates and descriptions are not even read. Of ids, those that group files (patient, series, picture) stay in
memory and become pseudonyms.
"""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datadouble.cohort.importers.findings import Findings
from datadouble.progress import track

if TYPE_CHECKING:
    from pydicom import Dataset

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
_DOSE_AND_MAPS = ("1.2.840.10008.5.1.4.1.1.481.2", "1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.66")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
VOLUMETRIC = ("CT", "MR", "PT")
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "FrameOfReferenceUID",
    "Modality", "ImageType", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "BurnedInAnnotation", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "SliceThickness", "RescaleSlope", "RescaleIntercept", "Manufacturer", "ManufacturerModelName",
    "InstitutionName", "SequenceOfUltrasoundRegions", "PerFrameFunctionalGroupsSequence",
    "SharedFunctionalGroupsSequence",
]  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """One picture: a file, or a frame of one (`frame`, from 0; -1 where the file holds one picture).

    `position` (mm), `orientation` (row and column direction) and `spacing` (mm between rows, between columns) are
    as in DICOM, None where the file does not say; `regions` is the box (x0, y0, x1, y1) around the regions that an
    ultrasound scanner declares.
    """

    path: Path
    where: str
    frame: int
    sop: str
    series: str
    patient: str
    frame_of_reference: str
    modality: str
    shape: tuple[int, int]
    syntax: str
    photometric: str
    bits: int
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    spacing: tuple[float, ...] | None = None
    thickness: float | None = None
    rescale: tuple[float, float] | None = None
    regions: tuple[int, int, int, int] | None = None
    burned_in: bool = False
    site: str = ""
    device: str = ""


@dataclass
class Folder:
    """What a folder holds: pictures, and the files of annotations with their names in messages."""

    pictures: list[Picture] = field(default_factory=list)
    segmentations: list[tuple[Path, str]] = field(default_factory=list)
    structure_sets: list[tuple[Path, str]] = field(default_factory=list)
    boxes: list[tuple[Path, str]] = field(default_factory=list)


def read_folder(root: Path, findings: Findings) -> Folder:
    """Read the headers of all files below `root`, of any nesting and with any names; hidden ones are left out."""
    found = Folder()
    seen: set[str] = set()
    paths = [p for p in sorted(root.rglob("*")) if p.is_file()] if root.is_dir() else [root]
    for path in track(paths, "headers"):
        where = path.relative_to(root).as_posix() if root.is_dir() else path.name
        if any(part.startswith(".") for part in Path(where).parts) or path.name == "DICOMDIR":
            continue
        if path.suffix.lower() == ".xml":
            found.boxes.append((path, where))
            continue
        read = read_header(path, where, findings)
        if read is None:
            continue
        header, end = read
        sop = str(header.get("SOPInstanceUID", ""))
        if sop and sop in seen:
            findings.skipped["copies of a picture that is there already (same SOP instance)"] += 1
            continue
        seen.add(sop)
        _sort_in(header, end, path, where, found, findings)
    return found


def read_header(path: Path, where: str, findings: Findings) -> "tuple[Dataset, int] | None":
    """Return the tags that are needed and where in the file they end, or None after noting why there are none."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    named = path.suffix.lower() in (".dcm", ".dicom", ".ima")
    with path.open("rb") as opened:
        marked = opened.read(132)[128:] == b"DICM"
    if not marked and not named:
        findings.skipped["files that are no DICOM"] += 1
        return None
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # values longer than the standard allows, and the like
            header = dcmread(file, stop_before_pixels=True, force=not marked, specific_tags=_TAGS)
            end = file.tell()
        if "SOPClassUID" in header:
            return header, end
        reason = "no SOP class"
    except (InvalidDicomError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        reason = str(error).replace(str(path), path.name)[:120] or type(error).__name__
    remedy = "it is truncated or no DICOM file: export it again or take it away"
    findings.problem("the DICOM header cannot be read", where, reason, remedy)
    return None


def _sort_in(header: "Dataset", end: int, path: Path, where: str, found: Folder, findings: Findings) -> None:
    kind = str(header.SOPClassUID)
    if kind == SEGMENTATION:
        found.segmentations.append((path, where))
        return
    if kind == STRUCTURE_SET:
        found.structure_sets.append((path, where))
        return
    name = header.SOPClassUID.name
    modality = str(header.get("Modality", ""))
    no_picture = "Image Storage" not in name or kind in _DOSE_AND_MAPS
    if no_picture:
        findings.skipped[f"files without a picture ({name.removesuffix(' Storage')})"] += 1
        return
    if "Rows" not in header or "Columns" not in header:
        remedy = "the file is truncated: export it again"
        findings.problem("the picture has no size", where, "no Rows or Columns", remedy)
        return
    types = [str(value).upper() for value in _several(header.get("ImageType"))]
    if modality in VOLUMETRIC and "LOCALIZER" in types:
        findings.skipped["localizers"] += 1
    elif modality in VOLUMETRIC and kind.startswith(_SECONDARY_CAPTURE):
        findings.skipped["secondary captures (dose reports, screenshots: they may name the patient)"] += 1
    elif _is_whole(header, end, path, where, findings):
        found.pictures += _pictures(header, path, where, modality)


def _is_whole(header: "Dataset", end: int, path: Path, where: str, findings: Findings) -> bool:
    """Check that an uncompressed file is as long as its pixels need; the header tells how long."""
    from pydicom.uid import UID

    syntax = UID(str(header.file_meta.get("TransferSyntaxUID", "1.2.840.10008.1.2")))
    if syntax.is_compressed or syntax.is_deflated:
        return True
    bits = int(header.Rows) * int(header.Columns) * int(header.get("NumberOfFrames", 1) or 1)
    bits *= int(header.get("SamplesPerPixel", 1)) * int(header.get("BitsAllocated", 16))
    if header.get("PhotometricInterpretation", "") == "YBR_FULL_422":
        bits = bits * 2 // 3
    left = max(path.stat().st_size - end, 0)
    if left >= bits // 8:
        return True
    found = f"{left:,} bytes of pixels, {bits // 8:,} are needed"
    findings.problem("the file is truncated", where, found, "copy or export it again")
    return False


def _pictures(header: "Dataset", path: Path, where: str, modality: str) -> list[Picture]:
    frames = int(header.get("NumberOfFrames", 1) or 1)
    grouped = "PerFrameFunctionalGroupsSequence" in header
    numbers = range(frames) if frames > 1 or grouped else [-1]
    maker = [str(header.get(key, "")).strip() for key in ("Manufacturer", "ManufacturerModelName")]
    sop = str(header.get("SOPInstanceUID", where))
    pictures = []
    for frame in numbers:
        position = _numbers(_look(header, frame, "PlanePositionSequence", "ImagePositionPatient"), 3)
        orientation = _numbers(_look(header, frame, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
        thickness = _numbers(_look(header, frame, "PixelMeasuresSequence", "SliceThickness"), 1)
        rescale = [
            _numbers(_look(header, frame, "PixelValueTransformationSequence", key), 1)
            for key in ("RescaleSlope", "RescaleIntercept")
        ]
        pictures.append(
            Picture(
                path=path,
                where=where if frame < 0 else f"{where}, frame {frame + 1}",
                frame=frame,
                sop=sop,
                series=str(header.get("SeriesInstanceUID", "")) or sop,
                patient=str(header.get("PatientID", "") or "").strip(),
                frame_of_reference=str(header.get("FrameOfReferenceUID", "")),
                modality=modality,
                shape=(int(header.Rows), int(header.Columns)),
                syntax=str(header.file_meta.get("TransferSyntaxUID", "1.2.840.10008.1.2")),
                photometric=str(header.get("PhotometricInterpretation", "MONOCHROME2")),
                bits=int(header.get("BitsStored", header.get("BitsAllocated", 16))),
                position=position,
                orientation=orientation,
                spacing=_numbers(_look(header, frame, "PixelMeasuresSequence", "PixelSpacing"), 2),
                thickness=thickness[0] if thickness else None,
                rescale=(rescale[0][0], rescale[1][0]) if rescale[0] and rescale[1] else None,
                regions=_regions(header),
                burned_in=str(header.get("BurnedInAnnotation", "")).upper() == "YES",
                site=str(header.get("InstitutionName", "") or "").strip(),
                device=" ".join(part for part in maker if part),
            )
        )
    return pictures


def _look(header: "Dataset", frame: int, group: str, key: str) -> Any:
    """Return a value from a frame's functional groups, from those that all frames share, or from the top."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence", [])
    places = [per_frame[frame]] if 0 <= frame < len(per_frame) else []
    for place in [*places, *header.get("SharedFunctionalGroupsSequence", [])]:
        for item in place.get(group, []):
            if item.get(key) is not None:
                return item.get(key)
    return header.get(key)


def _regions(header: "Dataset") -> tuple[int, int, int, int] | None:
    """Return the box around the declared regions that show tissue or flow, not waveforms or scales."""
    boxes = [
        tuple(
            int(item.get(key, 0))
            for key in (
                "RegionLocationMinX0",
                "RegionLocationMinY0",
                "RegionLocationMaxX1",
                "RegionLocationMaxY1",
            )
        )
        for item in header.get("SequenceOfUltrasoundRegions", [])
        if int(item.get("RegionDataType", 0)) in (1, 2)  # tissue, colour flow
    ]
    if not boxes:
        return None
    box = (
        max(0, min(box[0] for box in boxes)),
        max(0, min(box[1] for box in boxes)),
        min(int(header.Columns), max(box[2] for box in boxes) + 1),
        min(int(header.Rows), max(box[3] for box in boxes) + 1),
    )
    return box if box[2] - box[0] >= 16 and box[3] - box[1] >= 16 else None


def _several(value: Any) -> list:
    if value is None:
        return []
    return [value] if isinstance(value, str | float | int) else list(value)


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    values = _several(value)
    try:
        return tuple(float(one) for one in values) if len(values) == count else None
    except (TypeError, ValueError):
        return None
