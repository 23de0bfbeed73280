"""From the headers and annotations of a folder to the list of its pictures."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from datadouble.cohort.importers.dicom.annotations import Marks, read_annotations
from datadouble.cohort.importers.dicom.headers import VOLUMETRIC, Picture, read_folder
from datadouble.cohort.importers.dicom.pixels import Box, DicomPicture, Mark
from datadouble.cohort.importers.dicom.series import Stack, check_decoders, stack
from datadouble.cohort.importers.findings import Findings, some
from datadouble.cohort.importers.lungs import lung_box, subsample
from datadouble.cohort.importers.slice_labels import UNMARKED, table_labels
from datadouble.cohort.importers.source import Item, Request, Source, natural_key
from datadouble.errors import DataDoubleError
from datadouble.progress import track

MODALITIES = {"US": "ultrasound", "IVUS": "ultrasound"}
"""What a cohort calls a DICOM modality; the others keep their name."""


def read(request: Request) -> Source:
    """List the pictures of a folder of DICOM files.

    Raises
    ------
    DataDoubleError
        When no picture is there, several modalities are, or (unless broken ones are to be skipped) with all that is
        wrong with files, series and annotations.
    """
    findings = Findings()
    folder = read_folder(request.path, findings)
    folder.pictures = check_decoders(_one_modality(folder.pictures, request, findings), findings)
    marks = read_annotations(folder, findings)
    modality = folder.pictures[0].modality if folder.pictures else request.modality
    request.volumes.check_crop(MODALITIES.get(modality, modality))
    names = _mask_names(marks, request, findings)
    stacks: list[Stack] = []
    singles: list[Picture] = []
    if modality in VOLUMETRIC:
        stacks = _stacks(folder.pictures, request, findings)
    else:
        singles = folder.pictures
    make = _Maker(request, modality, marks, names, findings)
    items: list[Item] = []
    for one in track(stacks, "find the lungs") if request.volumes.crop == "lungs" else stacks:
        items += make.slices(one)
    items += [item for picture in singles if (item := make.single(picture)) is not None]
    _remark_on_words(folder.pictures, modality, request, findings)
    remarks = findings.remarks(request.path.name, skip_broken=request.skip_broken)
    if not items:
        raise DataDoubleError(
            "no picture is there",
            where=request.path.name,
            found="; ".join(remarks) or "an empty folder",
            remedy="give the folder that holds the DICOM files",
        )
    labels = {item.label for item in items}
    is_ct = modality == "CT"
    low, high = request.volumes.limits
    return Source(
        name="dicom",  # the folder's name may be a patient's
        modality=MODALITIES.get(modality, modality),
        classes=request.classes or _ordered(labels),
        mask_classes=("background", *names) if names else (),
        items=tuple(items),
        description=_description(request, modality),
        intensity={"unit": "HU", "low": low, "high": high} if is_ct else {"unit": "grey level"},
        remarks=remarks,
    )


def _one_modality(pictures: list[Picture], request: Request, findings: Findings) -> list[Picture]:
    """Return the pictures of the modality asked for; a cohort has one."""
    counts = Counter(picture.modality for picture in pictures)
    wanted = {"ultrasound": "US"}.get(request.modality.lower(), request.modality.upper())
    if wanted and pictures:
        for other in sorted(set(counts) - {wanted}):
            findings.skipped[f"pictures of modality {other or 'unknown'}"] += counts[other]
        return [picture for picture in pictures if picture.modality == wanted]
    if len(counts) > 1:
        raise DataDoubleError(
            "the folder holds several modalities, a cohort has one",
            where=request.path.name,
            found=", ".join(f"{count} {name or 'unknown'}" for name, count in counts.most_common()),
            remedy=f"choose one with --modality {counts.most_common(1)[0][0]}",
        )
    return pictures


def _stacks(pictures: Sequence[Picture], request: Request, findings: Findings) -> list[Stack]:
    """Return the volumes; pictures whose values are no HU are refused."""
    by_series: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        by_series[picture.series].append(picture)
    found = []
    for members in by_series.values():
        unscaled = [picture for picture in members if picture.rescale is None and picture.modality == "CT"]
        if unscaled and request.volumes.rescale is None:
            findings.problem(
                "stored values cannot be turned into HU",
                f"series of {members[0].where} ({len(members)} slices)",
                f"{len(unscaled)} slices without Rescale Slope and Intercept (0028,1053 and 1052)",
                "pass --rescale 1/-1024, or whatever the scanner's values mean",
            )
        one = stack(members, incomplete=request.volumes.incomplete, findings=findings)
        if one is not None and not (unscaled and request.volumes.rescale is None):
            found.append(one)
    return found


def _mask_names(marks: Marks, request: Request, findings: Findings) -> tuple[str, ...]:
    """Return the names of the mask's classes from 1 on, after giving the marks these names."""
    drawn = marks.names(boxes=request.volumes.box_masks)
    if request.mask_classes is None:
        return tuple(sorted(drawn, key=natural_key))
    wanted = request.mask_classes[1:]
    renamed: dict[str, str] = {}
    for name in marks.names():
        match = next((w for w in wanted if fnmatchcase(name.lower(), w.lower())), None)
        renamed[name] = match.replace("*", "").strip() if match else ""
    for key, found in marks.of.items():
        kept = [Mark(renamed[m.name], m.contours, m.box, m.frame) for m in found if renamed[m.name]]
        marks.of[key] = kept
    left_out = sorted(name for name, new in renamed.items() if not new)
    if left_out:
        findings.notes.append(f"{len(left_out)} structures were not asked for and are left out")
    missing = [name for name in wanted if name.replace("*", "").strip() not in renamed.values()]
    if missing:
        findings.notes.append(f"no picture shows {some(missing)}")
    return tuple(name.replace("*", "").strip() for name in wanted)


class _Maker:
    """Makes the items of volumes and of single pictures."""

    def __init__(
        self, request: Request, modality: str, marks: Marks, names: tuple[str, ...], findings: Findings
    ) -> None:
        self.request, self.modality, self.marks = request, modality, marks
        self.names, self.findings = names, findings
        self.limits = request.volumes.limits if modality == "CT" else None
        self.label_of = self._labelling()

    def _labelling(self) -> Callable[[Picture, Sequence[Mark]], str]:
        label = self.request.label or "annotation"
        if label == "none":
            return lambda picture, marks: UNMARKED
        if label == "annotation":
            order = [*(self.request.classes or ()), *self.names]
            return lambda picture, marks: _first_in([mark.name for mark in marks], order)
        if label == "folder":
            return lambda picture, marks: picture.where.split("/")[0] if "/" in picture.where else ""
        if label.lower().endswith(".csv"):
            table = table_labels(Path(label), self.request.columns)
            return lambda picture, marks: table.get(picture.patient, "")
        raise DataDoubleError(
            "there is no such label",
            where="--label",
            found=repr(label),
            remedy="choose annotation, folder, none, or a .csv of patients and labels",
        )

    def slices(self, one: Stack) -> list[Item]:
        """Return the items of a volume, cropped to the lungs if asked."""
        kept = list(zip(one.pictures, one.numbers, strict=True))
        crop: Box | None = None
        if self.request.volumes.crop == "lungs":
            found = self._lungs(one)
            if found is None:
                return []
            (first, last), crop = found
            inside = [
                (p, n)
                for i, (p, n) in enumerate(kept)
                if first <= i < last or self.marks.of.get((p.sop, p.frame))
            ]
            if len(inside) < len(kept):
                self.findings.skipped["slices above and below the lungs"] += len(kept) - len(inside)
            kept = inside
        has_mask = any(self._drawn(picture) for picture in one.pictures)
        columns = {"spacing_mm": json.dumps(one.spacing), "plane": one.plane}
        items = []
        for picture, number in kept:
            thickness = f"{picture.thickness:g}" if picture.thickness else ""
            extra = {"slice": str(number), **columns, "thickness_mm": thickness}
            item = self._item(picture, crop, one.flips, has_mask, extra, volume=one.series)
            if item is not None:
                items.append(item)
        return items

    def single(self, picture: Picture) -> Item | None:
        """Return the item of a picture that is no slice, cropped to the declared regions if asked."""
        crop = picture.regions if self.request.volumes.crop in ("auto", "regions") else None
        if self.request.volumes.crop == "regions" and crop is None:
            self.findings.problem(
                "the picture declares no ultrasound regions",
                picture.where,
                remedy="crop it another way, or pass --crop auto, which leaves it whole",
            )
            return None
        frame = {"frame": str(picture.frame + 1) if picture.frame >= 0 else ""}
        return self._item(picture, crop, (False, False), bool(self._drawn(picture)), frame, volume="")

    def _item(
        self,
        picture: Picture,
        crop: Box | None,
        flips: tuple[bool, bool],
        has_mask: bool,
        extra: dict[str, str],
        *,
        volume: str,
    ) -> Item | None:
        marks = self.marks.of.get((picture.sop, picture.frame), [])
        label = self.label_of(picture, marks)
        if not label:
            found = self.request.label or ""
            self.findings.problem(
                "the picture has no label", picture.where, found, "add its patient to the table"
            )
            return None
        reader = DicomPicture(
            picture=picture,
            limits=self.limits,
            depth=self.request.volumes.depth,
            rescale=picture.rescale or self.request.volumes.rescale,
            marks=tuple(self._drawn(picture)),
            mask_names=self.names if has_mask and self.names else None,
            crop=crop,
            flips=flips,
        )
        if self.marks.names():
            boxes = [(m.name, reader.place_box(m.box)) for m in marks if m.box is not None]
            extra = extra | {
                "boxes": json.dumps([box for _, box in boxes if box]) if boxes else "",
                "box_labels": json.dumps([name for name, box in boxes if box]) if boxes else "",
            }
        return Item(
            key=f"{picture.sop} {picture.frame}",
            where=picture.where,
            label=label,
            # Without a patient id a volume, or a file with its frames, still stays together.
            patient=picture.patient or picture.series,
            reader=reader,
            volume=volume,
            site=picture.site,
            device=picture.device,
            extra=extra,
        )

    def _drawn(self, picture: Picture) -> list[Mark]:
        """Return the marks of which masks are made."""
        boxes = self.request.volumes.box_masks
        found = self.marks.of.get((picture.sop, picture.frame), [])
        return [mark for mark in found if boxes or mark.box is None]

    def _lungs(self, one: Stack) -> tuple[tuple[int, int], Box] | None:
        """Return the slices and the box of the lungs, or None after noting why not."""
        rescale = self.request.volumes.rescale
        slices, step = [], 1
        try:
            for picture in one.pictures:
                reader = DicomPicture(picture, self.limits, 8, picture.rescale or rescale)
                small, step = subsample(reader.hounsfield())
                slices.append(small)
        except DataDoubleError as error:
            self.findings.problem(error.what, error.where, error.found, error.remedy)
            return None
        spacing = (one.spacing[0], one.spacing[1] * step, one.spacing[2] * step)
        box = lung_box(np.stack(slices), spacing, self.request.volumes.margin_mm)
        if box is None:
            self.findings.problem(
                "no lungs are found",
                f"series of {one.pictures[0].where}",
                "no air inside the body",
                "leave the series or --crop lungs out; where values are no HU, see --rescale",
            )
            return None
        (first, last), (top, bottom), (left, right) = box
        height, width = one.pictures[0].shape
        crop = (left * step, top * step, min(right * step, width), min(bottom * step, height))
        return (first, last), crop


def _first_in(names: Sequence[str], order: Sequence[str]) -> str:
    """Return the name that stands first in `order`, else the first by the alphabet; UNMARKED where there is none."""
    if not names:
        return UNMARKED
    return min(names, key=lambda name: (order.index(name) if name in order else len(order), name))


def _ordered(labels: set[str]) -> tuple[str, ...]:
    return tuple(sorted(labels, key=lambda label: (label != UNMARKED, natural_key(label))))


def _remark_on_words(
    pictures: Sequence[Picture], modality: str, request: Request, findings: Findings
) -> None:
    """Say where words may be burned in that nobody takes out."""
    burned = sum(picture.burned_in for picture in pictures)
    ultrasound = MODALITIES.get(modality) == "ultrasound"
    if burned and not ultrasound:
        findings.notes.append(
            f"{burned} pictures say that words are burned into them; words are removed from ultrasound only: "
            "look at the pictures"
        )
    if ultrasound and request.volumes.crop in ("auto", "regions"):
        whole = sum(picture.regions is None for picture in pictures)
        if whole:
            findings.notes.append(
                f"{whole} pictures declare no ultrasound region and are not cropped: look for names in their banners"
            )
    if ultrasound and request.volumes.crop == "none":
        findings.notes.append(
            "pictures keep the banners that may name the patient: look at every one of them"
        )
    nameless = sum(not picture.patient for picture in pictures)
    if nameless:
        findings.notes.append(f"{nameless} pictures have no patient id: each series counts as a patient")


def _description(request: Request, modality: str) -> str:
    """Return what was done, so that an import with other options is not mixed in."""
    options = request.volumes
    done = [f"DICOM {modality}"]
    if options.crop in ("lungs", "regions") or (options.crop == "auto" and modality in MODALITIES):
        margin = f" and {options.margin_mm:g} mm" if options.crop == "lungs" else ""
        done.append(f"cropped to the {'lungs' if options.crop == 'lungs' else 'declared regions'}{margin}")
    if options.rescale:
        done.append(f"values times {options.rescale[0]:g} plus {options.rescale[1]:g} taken as HU")
    if options.box_masks:
        done.append("masks drawn from boxes")
    return ", ".join(done)
