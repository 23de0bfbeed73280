"""The kinds of simulated scans, behind one interface."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from datadouble.cohort.phantom import chest_ct, ultrasound
from datadouble.cohort.phantom.annotations import annotate
from datadouble.cohort.phantom.scan import PhantomScan, check_request
from datadouble.errors import DataDoubleError, suggest
from datadouble.randomness import generator_for


@dataclass(frozen=True)
class Phantom:
    """A kind of simulated scan.

    Attributes
    ----------
    classes
        Image classes.
    mask_classes
        Names of the mask's class ids.
    descriptors
        Keys of ``PhantomScan.descriptors``.
    intensity
        What a pixel value means, as in ``CohortInfo.intensity``.
    draw
        Called as ``draw(patient, picture, label, size=..., seed=...)``.
    """

    modality: str
    classes: tuple[str, ...]
    mask_classes: tuple[str, ...]
    descriptors: tuple[str, ...]
    intensity: dict[str, Any]
    draw: Callable[..., PhantomScan]


BENIGN, MALIGNANT = ("2", "3"), ("4", "5")  # BI-RADS categories behind the two words


def _draw_by_nature(patient: int, picture: int, label: str, *, size: int = 128, seed: int = 0) -> PhantomScan:
    """Draw an ultrasound scan whose class is BUSI's: benign lesions are BI-RADS 2 and 3, malignant ones 4 and 5."""
    check_request(label, ("normal", "benign", "malignant"), size)
    categories = {"benign": BENIGN, "malignant": MALIGNANT}.get(label)
    category = label
    if categories:
        category = categories[int(generator_for(seed, "breast-lesions", "category", patient).integers(2))]
    return ultrasound.draw(patient, picture, category, size=size, seed=seed)


KINDS: dict[str, Phantom] = {
    "breast-lesions": Phantom(
        modality="breast ultrasound",
        classes=("normal", "benign", "malignant"),
        mask_classes=ultrasound.MASK_CLASSES,
        descriptors=ultrasound.DESCRIPTORS,
        intensity={"unit": "grey"},
        draw=_draw_by_nature,
    ),
    "breast-ultrasound": Phantom(
        modality="breast ultrasound",
        classes=ultrasound.CLASSES,
        mask_classes=ultrasound.MASK_CLASSES,
        descriptors=ultrasound.DESCRIPTORS,
        intensity={"unit": "grey"},
        draw=ultrasound.draw,
    ),
    "chest-ct": Phantom(
        modality="chest CT",
        classes=chest_ct.CLASSES,
        mask_classes=chest_ct.MASK_CLASSES,
        descriptors=chest_ct.DESCRIPTORS,
        intensity={"unit": "HU", "low": chest_ct.WINDOW[0], "high": chest_ct.WINDOW[1]},
        draw=chest_ct.draw,
    ),
}


def phantom(kind: str) -> Phantom:
    """Return the kind of that name.

    Raises
    ------
    DataDoubleError
        When there is none.
    """
    if kind not in KINDS:
        raise DataDoubleError(
            "there is no such kind of phantom",
            where="kind",
            found=repr(kind),
            remedy=suggest(kind, list(KINDS)),
        )
    return KINDS[kind]


def draw(
    kind: str,
    patient: int,
    picture: int,
    label: str,
    *,
    size: int = 128,
    seed: int = 0,
    annotations: bool = False,
) -> PhantomScan:
    """Draw one simulated scan; the result depends on the arguments alone.

    Parameters
    ----------
    kind
        ``"breast-ultrasound"``, ``"breast-lesions"`` (the same with BUSI's classes) or ``"chest-ct"``.
    patient, picture
        Numbers of any size from 0. Pictures of one patient share anatomy, lesion, scanner and settings.
    label
        One of ``KINDS[kind].classes``.
    size
        Side of the square picture, 16 to 2048 pixels.
    annotations
        Burn in words, calipers and rulers; ``PhantomScan.annotations`` says where.

    Raises
    ------
    DataDoubleError
        On an unknown kind or label, or an impossible size.
    """
    scan = phantom(kind).draw(patient, picture, label, size=size, seed=seed)
    if not annotations:
        return scan
    image, found = annotate(
        scan.image, scan.mask, generator_for(seed, kind, "annotations", patient, label, picture)
    )
    return replace(scan, image=image, annotations=found)
