"""MedMNIST: Yang et al., MedMNIST v2, Scientific Data 10:41, 2023. One .npz with six arrays.

``train_images`` (n, H, W) or (n, H, W, 3), ``train_labels`` (n, 1), and the same for ``val`` and ``test``.
Patients are not published: each picture counts as its own, unless the file has an array ``train_patients``
(n,) and so on. The source's split is kept in the column `source_split`, for `split` makes another.
"""

import zipfile
from pathlib import Path

import numpy as np

from datadouble.cohort.importers.source import Item, Request, Source, natural_key
from datadouble.errors import DataDoubleError

_SPLITS = ("train", "val", "test")


def read(request: Request) -> Source:
    """List the pictures of a MedMNIST file; `request.label` chooses one of several labels."""
    path = request.path
    arrays = _load(path)
    splits = [split for split in _SPLITS if f"{split}_images" in arrays]
    if not splits:
        raise DataDoubleError(
            "this is no MedMNIST file",
            where=path.name,
            found="arrays " + (", ".join(sorted(arrays)) or "none"),
            remedy="it needs train_images and train_labels",
        )
    items: list[Item] = []
    for split in splits:
        items += _split_items(arrays, split, request)
    labels = sorted({item.label for item in items}, key=natural_key)
    return Source(
        name=path.stem,
        modality=request.modality or "unknown",
        classes=request.classes or tuple(labels),
        items=tuple(items),
        description=f"MedMNIST {path.stem}: Yang et al., Scientific Data 10:41, 2023",
        licence="see the data set's page on medmnist.com",
    )


def _split_items(arrays: dict[str, np.ndarray], split: str, request: Request) -> list[Item]:
    images = arrays[f"{split}_images"]
    labels = _labels(arrays, split, len(images), request)
    patients = arrays.get(f"{split}_patients")
    found = []
    for index, image in enumerate(images):
        key = f"{split}-{index:06d}"
        found.append(
            Item(
                key=key,
                where=f"{request.path.name}, {split}_images[{index}]",
                label=str(labels[index]),
                patient=str(patients[index]) if patients is not None else key,
                array=image,
                extra={"source_split": split},
            )
        )
    return found


def _labels(arrays: dict[str, np.ndarray], split: str, count: int, request: Request) -> np.ndarray:
    name, where = f"{split}_labels", request.path.name
    if name not in arrays:
        raise DataDoubleError("labels are missing", where=where, found=f"no array {name}", remedy="add it")
    labels = arrays[name].reshape(len(arrays[name]), -1)
    if len(labels) != count:
        raise DataDoubleError(
            "there are not as many labels as images",
            where=f"{where}, {name}",
            found=f"{len(labels)} and {count}",
            remedy="download the file again",
        )
    column = 0
    if labels.shape[1] > 1:
        if request.label is None or not request.label.isdigit() or int(request.label) >= labels.shape[1]:
            raise DataDoubleError(
                f"each picture has {labels.shape[1]} labels",
                where=f"{where}, {name}",
                found=f"label {request.label!r}",
                remedy=f"choose one with a label of 0 to {labels.shape[1] - 1}",
            )
        column = int(request.label)
    chosen = labels[:, column]
    return chosen if chosen.dtype.kind in "US" else chosen.astype(np.int64)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise DataDoubleError("the file is missing", where=str(path), remedy="give the .npz file") from error
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DataDoubleError(
            "the file cannot be read as .npz",
            where=path.name,
            found=str(error)[:120],
            remedy="download it again; arrays of Python objects are refused",
        ) from error
