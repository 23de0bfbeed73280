"""BUSI: Al-Dhabyani et al., Dataset of breast ultrasound images, Data in Brief 28:104863, 2020.

Layout: a folder a class, ``benign (1).png`` with ``benign (1)_mask.png`` and ``_mask_1.png`` ... where there
are several lesions. No patients; many pictures are there twice, some under two labels.
"""

import re

from datadouble.cohort.importers.source import Item, Request, Source, pictures_in, require_folder
from datadouble.errors import DataDoubleError

CLASSES = ("normal", "benign", "malignant")
_PICTURE = re.compile(r"(?P<label>\w+) \((?P<number>\d+)\)(?P<mask>_mask(_\d+)?)?")


def read(request: Request) -> Source:
    """List the pictures of BUSI; `request.path` is the data set's folder or the one above it."""
    request.labelled_by("pathology")
    root = request.path
    if not (root / "benign").is_dir() and (root / "Dataset_BUSI_with_GT").is_dir():
        root = root / "Dataset_BUSI_with_GT"
    items = []
    for label in CLASSES:
        folder = require_folder(root / label, f"BUSI's {', '.join(CLASSES)}")
        masks: dict[str, list] = {}
        pictures = []
        for path in pictures_in(folder):
            match = _PICTURE.fullmatch(path.stem)
            if match is None:
                raise DataDoubleError(
                    "this is no file of BUSI",
                    where=f"{label}/{path.name}",
                    remedy="take it away; your own pictures are of kind folder",
                )
            if match["mask"]:
                masks.setdefault(path.stem.split("_mask")[0], []).append(path)
            else:
                pictures.append((path, int(match["number"])))
        for path, number in pictures:
            files = masks.get(path.stem, [])
            items.append(
                Item(
                    key=f"{label}-{number:04d}",
                    where=f"{label}/{path.name}",
                    label=label,
                    image=path,
                    masks=tuple((mask, 1) for mask in files),
                    blank_mask=label == "normal",
                    extra={"source_file": f"{label}/{path.name}", "mask_count": str(len(files))},
                )
            )
    return Source(
        name="busi",
        modality="ultrasound",
        classes=CLASSES,
        mask_classes=("background", "lesion"),
        items=tuple(items),
        description="BUSI: Al-Dhabyani et al., Data in Brief 28:104863, 2020",
        licence="none stated with the data; described in a CC BY 4.0 article",
        groups_are_patients=True,
    )
