"""From pairs of volumes to the list of their slices, after looking at every one of them."""

import json
import re
from collections.abc import Sequence

import numpy as np

from datadouble.cohort.importers.findings import Findings
from datadouble.cohort.importers.lungs import lung_box
from datadouble.cohort.importers.nifti.pairs import Layout, Pair, find_pairs, stem_of
from datadouble.cohort.importers.nifti.slices import Header, NiftiSlice, open_volume, values_of
from datadouble.cohort.importers.slice_labels import UNMARKED
from datadouble.cohort.importers.source import Item, Request, Source, natural_key
from datadouble.errors import DataDoubleError
from datadouble.progress import track

_PERCENTILES = (0.5, 99.5)
_TURNED = 10.0  # degrees from the patient's axes at which the user should know


def read(request: Request) -> Source:
    """List the slices of NIfTI volumes.

    Raises
    ------
    DataDoubleError
        When there are no volumes, or nobody says whether they are CT; and (unless broken ones are to be skipped) with
        all that is wrong with the volumes.
    """
    findings = Findings()
    layout = find_pairs(request, findings)
    modality = request.modality or layout.modality
    if not modality:
        raise DataDoubleError(
            "nobody says whether the values are HU",
            where="--modality",
            remedy="pass --modality CT; or MR or another, which is scaled by its percentiles",
        )
    is_ct = "CT" in modality.upper().split()
    request.volumes.check_crop("CT" if is_ct else modality)
    volumes = _look_at_all(layout, request, is_ct, findings)
    names = _mask_classes(layout, request, volumes, findings)
    items = [item for volume in volumes for item in volume.items(request, names, is_ct, findings)]
    if any(not volume.pair.patient and not request.patient_pattern for volume in volumes):
        findings.notes.append(
            "patients are not known for some volumes: each of these counts as a patient; name them in a CSV or with "
            "--patient-pattern where a patient has several"
        )
    turned = sum(volume.header.turned > _TURNED for volume in volumes)
    if turned:
        findings.notes.append(
            f"{turned} volumes are tilted by more than {_TURNED:g} degrees: slices follow their axes"
        )
    remarks = findings.remarks(request.path.name, skip_broken=request.skip_broken)
    if not items:
        raise DataDoubleError("no slice can be imported", where=request.path.name, found="; ".join(remarks))
    options = request.volumes
    low, high = options.limits
    scaled = f"{_PERCENTILES[0]} to {_PERCENTILES[1]} percentile of each volume"
    labels = sorted({item.label for item in items}, key=lambda label: (label != UNMARKED, natural_key(label)))
    done = [layout.description, f"NIfTI {modality}"]
    if options.crop == "lungs":
        done.append(f"cropped to the lungs and {options.margin_mm:g} mm")
    if options.rescale:
        done.append(f"values times {options.rescale[0]:g} plus {options.rescale[1]:g} taken as HU")
    return Source(
        name=layout.name or "nifti",
        modality=modality,
        classes=request.classes or tuple(labels),
        mask_classes=names,
        items=tuple(items),
        description=", ".join(part for part in done if part),
        licence=layout.licence,
        intensity={"unit": "HU", "low": low, "high": high}
        if is_ct
        else {"unit": "grey level", "scaling": scaled},
        remarks=remarks,
    )


class _Looked:
    """A pair that was looked at: what its values and labels are, slice by slice."""

    def __init__(self, pair: Pair, header: Header, image: np.ndarray, mask: np.ndarray | None) -> None:
        self.pair, self.header = pair, header
        self.low, self.high = (float(value) for value in np.percentile(image[::2, ::4, ::4], _PERCENTILES))
        self.lungs: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None = None
        self.counts: list[dict[int, int]] = []
        self.ids: set[int] = set()
        if mask is not None:
            for one in mask:
                ids, pixels = np.unique(one, return_counts=True)
                self.counts.append({int(i): int(n) for i, n in zip(ids, pixels, strict=True)})
                self.ids |= set(self.counts[-1])

    def items(self, request: Request, names: Sequence[str], is_ct: bool, findings: Findings) -> list[Item]:
        """Return an item for each slice."""
        options, pair, header = request.volumes, self.pair, self.header
        depth, height, width = header.shape
        first, last, crop = 0, depth, (0, 0, height, width)
        if self.lungs is not None:
            (first, last), (top, bottom), (left, right) = self.lungs
            crop = (top, left, bottom, right)
            if last - first < depth:
                findings.skipped["slices above and below the lungs"] += depth - (last - first)
        items = []
        for number in range(first, last):
            reader = NiftiSlice(
                image=pair.image,
                where=pair.image.name,
                number=number,
                limits=options.limits if is_ct else (self.low, max(self.high, self.low + 1e-6)),
                depth=options.depth,
                rescale=options.rescale or (1.0, 0.0),
                crop=crop,
                mask=pair.mask,
            )
            item = Item(
                key=f"{pair.case} {number}",
                where=f"{pair.image.name}, slice {number}",
                label=pair.label or self._label(number, names, request.label),
                patient=pair.patient or _patient_in(request, pair, findings) or pair.case,
                reader=reader,
                volume=pair.case,
                split=pair.split,
                site=pair.site,
                device=pair.device,
                extra={
                    "slice": str(number),
                    "spacing_mm": json.dumps([round(value, 6) for value in header.spacing]),
                    "plane": "axial",
                    "thickness_mm": "",
                    **pair.extra,
                },
            )
            items.append(item)
        return items

    def _label(self, number: int, names: Sequence[str], label: str | None) -> str:
        """Return the name of the class with most pixels on the slice, the background aside."""
        if label not in (None, "annotation", "none"):
            raise DataDoubleError(
                "there is no such label",
                where="--label",
                found=repr(label),
                remedy="choose annotation or none, or give a .csv with a column of labels as the source",
            )
        counts = {i: n for i, n in self.counts[number].items() if i > 0} if self.counts else {}
        if label == "none" or not counts or len(names) <= max(counts):
            return UNMARKED
        return names[max(counts, key=lambda i: (counts[i], -i))]


def _look_at_all(layout: Layout, request: Request, is_ct: bool, findings: Findings) -> list[_Looked]:
    looked = []
    for pair in track(layout.pairs, "volumes"):
        try:
            one = _look_at(pair, request, is_ct, findings)
        except DataDoubleError as error:
            findings.problem(error.what, error.where, error.found, error.remedy)
            continue
        if one is not None:
            looked.append(one)
    return looked


def _look_at(pair: Pair, request: Request, is_ct: bool, findings: Findings) -> _Looked | None:
    """Return the pair after reading it, or None after noting everything that is wrong with it."""
    where, before, options = pair.image.name, len(findings.problems), request.volumes
    volume, header = open_volume(pair.image, where)
    if header.shape[0] == 1 and not options.incomplete:
        remedy = "it is no volume: leave it out, or pass --incomplete-volumes to keep it"
        findings.problem("the volume has one slice", where, " x ".join(map(str, header.shape)), remedy)
    image = values_of(volume, where)
    bad = int(np.count_nonzero(~np.isfinite(image))) if image.dtype.kind == "f" else 0
    if bad:
        findings.problem(
            "values are NaN or infinite", where, f"{bad} of {image.size}", "mend or drop the volume"
        )
    elif is_ct and options.rescale is None and image.min() >= 0:
        findings.problem(
            "values are no HU",
            where,
            f"{image.min():g} to {image.max():g}, nothing below 0, where air is -1000",
            "pass --rescale 1/-1024, or whatever the values mean, or another --modality",
        )
    mask = None
    if pair.mask is not None:
        mask = _labels(pair, header, findings)
    if len(findings.problems) > before:
        return None
    looked = _Looked(pair, header, image, mask)
    if options.crop == "lungs":
        slope, intercept = options.rescale or (1.0, 0.0)
        looked.lungs = _lungs(image, slope, intercept, header, options.margin_mm)
        if looked.lungs is None:
            remedy = "leave the volume or --crop lungs out"
            findings.problem("no lungs are found", where, "no air inside the body", remedy)
            return None
    return looked


def _labels(pair: Pair, header: Header, findings: Findings) -> np.ndarray | None:
    """Return the label volume, or None after noting what is wrong with it."""
    assert pair.mask is not None
    where = pair.mask.name
    volume, other = open_volume(pair.mask, where)
    if other.shape != header.shape:
        sizes = [" x ".join(map(str, shape)) for shape in (other.shape, header.shape)]
        what = f"label volume is {sizes[0]}, volume is {sizes[1]}"
        findings.problem(
            what, where, "slices x rows x columns", f"resample it to {pair.image.name}, or pair others"
        )
        return None
    if np.abs(other.affine - header.affine).max() > 0.1 * min(header.spacing):
        found = f"origins {np.round(other.affine[:3, 3], 2).tolist()} and {np.round(header.affine[:3, 3], 2).tolist()}"
        remedy = f"one of the headers is wrong, or it belongs to another volume than {pair.image.name}"
        findings.problem("label volume and volume lie at different places", where, found, remedy)
        return None
    mask = values_of(volume, where)
    if mask.dtype.kind == "f":
        if not np.array_equal(mask, np.round(mask)):
            remedy = "save class ids as integers, resampled by nearest neighbour"
            findings.problem(
                "labels are no whole numbers", where, f"{mask.min():g} to {mask.max():g}", remedy
            )
            return None
        mask = mask.astype(np.int64)
    if mask.min() < 0 or mask.max() > 255:
        findings.problem(
            "labels are no class ids", where, f"{mask.min()} to {mask.max()}", "use ids 0, 1, 2 ..."
        )
        return None
    return mask


def _mask_classes(
    layout: Layout, request: Request, volumes: Sequence[_Looked], findings: Findings
) -> tuple[str, ...]:
    """Return the names of the class ids, after checking that the volumes use these and no others."""
    with_masks = [volume for volume in volumes if volume.pair.mask is not None]
    if not with_masks:
        return ()
    ids = sorted(set().union(*(volume.ids for volume in with_masks)))
    names = request.mask_classes or layout.mask_classes
    if not names:
        if ids[-1] >= max(len(ids), 2) or (0 not in ids and ids[-1] >= len(ids) + 1):
            findings.problem(
                "class ids skip numbers",
                f"{len(with_masks)} label volumes",
                ", ".join(map(str, ids)),
                "number the classes 0, 1, 2 ..., or name every number with --mask-classes background,...",
            )
            return ()
        return (
            ("background", "lesion")
            if ids[-1] <= 1
            else ("background", *(f"class {i}" for i in range(1, ids[-1] + 1)))
        )
    for volume in with_masks:
        unknown = sorted(i for i in volume.ids if i >= len(names))
        if unknown and volume.pair.mask is not None:
            known = ", ".join(f"{i} {name}" for i, name in enumerate(names))
            findings.problem(
                "the label volume holds class ids without a name",
                volume.pair.mask.name,
                ", ".join(map(str, unknown)),
                f"known are {known}; name the others with --mask-classes, or renumber them",
            )
    unused = [f"{i} {name}" for i, name in enumerate(names) if i and i not in ids]
    if unused:
        findings.notes.append(f"no label volume holds class {', '.join(unused)}")
    return tuple(names)


def _lungs(
    image: np.ndarray, slope: float, intercept: float, header: Header, margin_mm: float
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None:
    step = max(1, -(-max(header.shape[1:]) // 128))
    small = image[:, ::step, ::step].astype(np.float32) * slope + intercept
    z, y, x = header.spacing
    found = lung_box(small, (z, y * step, x * step), margin_mm)
    if found is None:
        return None
    rows, columns = (
        (first * step, min(last * step, length))
        for (first, last), length in zip(found[1:], header.shape[1:], strict=True)
    )
    return found[0], rows, columns


def _patient_in(request: Request, pair: Pair, findings: Findings) -> str:
    """Return the patient in the volume's file name, ``""`` without a pattern."""
    if not request.patient_pattern:
        return ""
    match = re.match(request.patient_pattern, stem_of(pair.image))
    if match is None:
        raise DataDoubleError(
            "the patient pattern does not match the file name",
            where=pair.image.name,
            found=request.patient_pattern,
            remedy="correct the pattern; its first group, or all it matches, is the patient",
        )
    return match[1] if match.groups() else match[0]
