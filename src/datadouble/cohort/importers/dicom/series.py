"""Series to volumes: slices sorted by where they lie, and every way in which they can fail to be a volume."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datadouble.cohort.importers.dicom.headers import Picture
from datadouble.cohort.importers.findings import Findings, some

_SAME_DIRECTION = 1e-3
_SAME_PLACE_MM = 0.01
_UNEVEN = 0.1  # parts of a step

DECODERS = {  # what to install, by transfer syntax
    "1.2.840.10008.1.2.4.50": "pillow",
    "1.2.840.10008.1.2.4.51": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.57": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.70": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.91": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.201": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg pylibjpeg-openjpeg",
}


@dataclass(frozen=True)
class Stack:
    """Slices of one volume, from the feet to the head where they are axial.

    Attributes
    ----------
    numbers : tuple of int
        The number of each slice; a gap leaves numbers out.
    spacing : tuple of float
        Millimetres from slice to slice, row to row, column to column.
    flips : tuple of bool
        Whether rows, and columns, must be turned round so that an axial picture shows the patient's front above and
        right side on the left.
    """

    series: str
    pictures: tuple[Picture, ...]
    numbers: tuple[int, ...]
    spacing: tuple[float, float, float]
    plane: str
    flips: tuple[bool, bool]


def check_decoders(pictures: Sequence[Picture], findings: Findings) -> list[Picture]:
    """Return the pictures that can be decoded, after one problem for each transfer syntax that cannot."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    usable: dict[str, bool] = {}
    for syntax in sorted({picture.syntax for picture in pictures}):
        try:
            usable[syntax] = get_decoder(UID(syntax)).is_available
        except NotImplementedError:
            usable[syntax] = False
        if not usable[syntax]:
            these = [picture.where for picture in pictures if picture.syntax == syntax]
            package = DECODERS.get(syntax)
            findings.problem(
                f"no handler for the transfer syntax {UID(syntax).name}",
                some(these, 1),
                f"{len(these)} pictures, {syntax}",
                f"pip install {package}" if package else "have the archive send them uncompressed",
            )
    return [picture for picture in pictures if usable[picture.syntax]]


def stack(pictures: Sequence[Picture], *, incomplete: bool, findings: Findings) -> Stack | None:
    """Sort the slices of one series, or return None after noting everything that keeps them from being a volume.

    Parameters
    ----------
    incomplete
        Accept gaps and a single slice.
    """
    where = f"series of {pictures[0].where} ({len(pictures)} slices)"
    before = len(findings.problems)
    shapes = sorted({picture.shape for picture in pictures})
    if len(shapes) > 1:
        found = some([f"{w}x{h}" for h, w in shapes])
        findings.problem("slices differ in size", where, found, "leave the odd ones out: a scout, a capture?")
    spacings = {tuple(np.round(picture.spacing, 4)) for picture in pictures if picture.spacing}
    if len(spacings) > 1:
        found = some([f"{row:g}x{column:g} mm" for row, column in sorted(spacings)])
        findings.problem(
            "slices differ in their pixel spacing", where, found, "put each kind into a folder of its own"
        )
    for key, tag in (
        ("position", "Image Position (0020,0032)"),
        ("orientation", "Image Orientation (0020,0037)"),
        ("spacing", "Pixel Spacing (0028,0030)"),
    ):
        without = [picture.where for picture in pictures if getattr(picture, key) is None]
        if without:
            found = f"{len(without)} of {len(pictures)} slices"
            findings.problem(
                f"slices have no {tag}",
                where,
                found,
                "export them with it: without it nobody knows their place",
            )
    groups = _orientations(pictures)
    if len(groups) > 1:
        found = ", ".join(f"{len(group)} {plane_of(group[0].orientation or ())}" for group in groups)
        findings.problem(
            "the series has two orientations",
            where,
            found,
            "put each orientation into a folder and series of its own",
        )
    if len(findings.problems) > before:
        return None
    return _sorted(pictures, where, incomplete, findings)


def _sorted(pictures: Sequence[Picture], where: str, incomplete: bool, findings: Findings) -> Stack | None:
    orientation = pictures[0].orientation or ()
    normal = _normal(orientation)
    places = np.array([np.dot(picture.position or (0, 0, 0), normal) for picture in pictures])
    order = np.argsort(places, kind="stable")
    places, ordered = places[order], [pictures[int(index)] for index in order]
    before = len(findings.problems)
    steps = np.diff(places)
    if (steps < _SAME_PLACE_MM).any():
        twice = int((steps < _SAME_PLACE_MM).sum())
        findings.problem(
            "slices lie at the same place",
            where,
            f"{twice} of {len(places)}",
            "several phases or reconstructions share one series: put each into a series of its own",
        )
        return None
    thickness = pictures[0].thickness
    if len(places) == 1:
        step = thickness or 0.0
        numbers = np.zeros(1, int)
        if not incomplete:
            remedy = "add the others, or pass --incomplete-volumes to keep it"
            findings.problem("the volume has one slice", where, pictures[0].where, remedy)
        elif not step:
            remedy = "the distance of slices is unknown: leave it out"
            findings.problem("a lone slice has no thickness", where, "no Slice Thickness (0018,0050)", remedy)
    else:
        step = float(np.median(steps))
        exact = (places - places[0]) / step
        numbers = np.round(exact).astype(int)
        gaps = [int(i) for i in np.flatnonzero(steps > (1 + _UNEVEN) * step)]
        uneven = float(np.abs(exact - numbers).max())
        if gaps and not incomplete:
            found = some(
                [f"{steps[i]:g} mm between {ordered[i].where} and {ordered[i + 1].where}" for i in gaps]
            )
            remedy = "export the series again, or pass --incomplete-volumes to leave the numbers of lost slices out"
            findings.problem("the series has gaps", where, f"{found}; elsewhere {step:g} mm", remedy)
        elif uneven > _UNEVEN or len(set(numbers.tolist())) < len(numbers):
            found = f"steps of {steps.min():g} to {steps.max():g} mm"
            findings.problem(
                "slices lie at uneven distances", where, found, "resample the series to even ones"
            )
    if len(findings.problems) > before:
        return None
    row, column = ordered[0].spacing or (0.0, 0.0)
    plane = plane_of(orientation)
    return Stack(
        series=pictures[0].series,
        pictures=tuple(ordered),
        numbers=tuple(int(number) for number in numbers),
        spacing=(round(step, 4), round(row, 6), round(column, 6)),
        plane=plane,
        flips=(orientation[4] < -0.7, orientation[0] < -0.7) if plane == "axial" else (False, False),
    )


def _normal(orientation: Sequence[float]) -> np.ndarray:
    """Return the unit normal of a plane, turned to where its greatest part is positive: to the head for axial ones."""
    normal = np.cross(orientation[:3], orientation[3:])
    normal = normal / max(float(np.linalg.norm(normal)), 1e-9)
    return normal if normal[np.argmax(np.abs(normal))] > 0 else -normal


def plane_of(orientation: Sequence[float]) -> str:
    """Return ``"axial"``, ``"coronal"``, ``"sagittal"`` or, by more than 25 degrees from all, ``"oblique"``."""
    if len(orientation) != 6:
        return "unknown"
    normal = np.abs(_normal(orientation))
    axis = int(np.argmax(normal))
    return ("sagittal", "coronal", "axial")[axis] if normal[axis] > 0.9 else "oblique"


def _orientations(pictures: Sequence[Picture]) -> list[list[Picture]]:
    """Return the pictures in groups of one orientation, the largest first."""
    groups: list[list[Picture]] = []
    for picture in pictures:
        if picture.orientation is None:
            continue
        for group in groups:
            if np.allclose(group[0].orientation, picture.orientation, atol=_SAME_DIRECTION):  # type: ignore[arg-type]
                group.append(picture)
                break
        else:
            groups.append([picture])
    return sorted(groups, key=len, reverse=True)
