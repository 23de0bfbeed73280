"""Cohorts of simulated scans."""

from pathlib import Path

from datadouble.cohort.cohort import Cohort, CohortInfo
from datadouble.cohort.phantom.kinds import draw, phantom
from datadouble.cohort.writer import CohortWriter
from datadouble.errors import DataDoubleError, suggest
from datadouble.progress import track
from datadouble.randomness import generator_for


def make_phantom_cohort(
    path: Path | str,
    *,
    kind: str = "breast-ultrasound",
    patients: int = 200,
    pictures_per_patient: tuple[int, int] = (1, 3),
    size: int = 128,
    seed: int = 0,
    classes: tuple[str, ...] | None = None,
    annotations: bool = False,
    overwrite: bool = False,
) -> Cohort:
    """Make a cohort of simulated scans, or go on with one that was cut off.

    Its origin is ``"real"``: it stands for a hospital's cohort, although no pixel of it is.

    Parameters
    ----------
    kind
        ``"breast-ultrasound"``, ``"breast-lesions"`` (the same with BUSI's classes) or ``"chest-ct"``.
    patients
        Number of patients; the classes take turns.
    pictures_per_patient
        Least and greatest number of pictures of a patient.
    size
        Side of the square pictures in pixels.
    classes
        Which classes of the kind to draw; all by default.
    annotations
        Burn in words, calipers and rulers. Column `burned_in_text` then holds the words.

    Raises
    ------
    DataDoubleError
        On an unknown kind or class, numbers out of range, or another cohort at `path`.
    """
    phantom_kind = phantom(kind)
    chosen = tuple(classes) if classes is not None else phantom_kind.classes
    for name in chosen:
        if name not in phantom_kind.classes:
            raise DataDoubleError(
                "the phantom has no such class",
                where="classes",
                found=repr(name),
                remedy=suggest(name, list(phantom_kind.classes)),
            )
    least, most = pictures_per_patient
    if patients < 1 or not 1 <= least <= most or not chosen:
        raise DataDoubleError(
            "a cohort needs a class, a patient and a picture of each",
            found=f"{len(chosen)} classes, {patients} patients, {least} to {most} pictures",
            remedy="use numbers from 1",
        )
    wanted = f"{patients} patients, {least} to {most} pictures each, {size} pixels, seed {seed}"
    info = CohortInfo(
        name=f"phantom-{kind}",
        origin="real",
        modality=phantom_kind.modality,
        classes=chosen,
        mask_classes=phantom_kind.mask_classes,
        intensity=phantom_kind.intensity,
        source=f"simulated by datadouble.cohort.phantom ({wanted}{', annotated' if annotations else ''})",
        licence="CC0-1.0",
        contains_real_pixels=False,
    )
    counts = [
        int(generator_for(seed, kind, "pictures", patient).integers(least, most + 1))
        for patient in range(patients)
    ]
    pictures = [(patient, picture) for patient, count in enumerate(counts) for picture in range(count)]
    with CohortWriter(path, info, overwrite=overwrite) as writer:
        jobs = [(number, *job) for number, job in enumerate(pictures) if not writer.has(f"scan-{number:06d}")]
        for number, patient, picture in track(
            jobs, "simulating scans", len(pictures), len(pictures) - len(jobs)
        ):
            label = chosen[patient % len(chosen)]
            scan = draw(kind, patient, picture, label, size=size, seed=seed, annotations=annotations)
            extra = dict(scan.descriptors)
            if annotations:
                extra["burned_in_text"] = " / ".join(note.text for note in scan.annotations if note.text)
            writer.add(
                scan.image,
                image_id=f"scan-{number:06d}",
                patient_id=f"phantom-{patient:05d}",
                label=label,
                mask=scan.mask,
                site=scan.site,
                device=scan.device,
                extra=extra,
            )
        return writer.finish()
