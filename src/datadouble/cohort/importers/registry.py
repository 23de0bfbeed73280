"""The kinds of source that can be imported; each lives in one small module with a function `read`."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from datadouble.cohort.importers.source import Request, Source
from datadouble.errors import DataDoubleError, suggest


@dataclass(frozen=True)
class Kind:
    """One kind of source.

    Attributes
    ----------
    name : str
        What the user types.
    module : str
        The module in this package whose ``read(request) -> Source`` lists the pictures.
    title : str
        One line for help texts.
    annotated : bool
        Whether its ultrasound pictures may carry burned-in words and markers, so that they are cleaned unless
        told otherwise.
    public : bool
        Whether it is a public data set, whose file names may stand in the cohort.
    clinical : bool
        Whether it is read as a scanner or an archive wrote it, so that a hospital's name becomes a pseudonym too.
    """

    name: str
    module: str
    title: str
    annotated: bool = False
    public: bool = False
    clinical: bool = False

    @property
    def read(self) -> Callable[[Request], Source]:
        """The function that lists the pictures of a source."""
        return import_module(f"datadouble.cohort.importers.{self.module}").read


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "busi",
            "busi",
            "BUSI: breast ultrasound, normal / benign / malignant",
            annotated=True,
            public=True,
        ),
        Kind("busbra", "busbra", "BUS-BRA: breast ultrasound by BI-RADS 2 to 5", annotated=True, public=True),
        Kind(
            "breast-usg",
            "breast_usg",
            "BrEaST-Lesions-USG: breast ultrasound by BI-RADS 1 to 5",
            annotated=True,
            public=True,
        ),
        Kind(
            "folder", "folder", "your own pictures: class folders, or a CSV that names them", annotated=True
        ),
        Kind("medmnist", "medmnist", "a MedMNIST .npz file", public=True),
        Kind(
            "dicom", "dicom", "a folder of DICOM files: CT volumes, ultrasound", annotated=True, clinical=True
        ),
        Kind("nifti", "nifti", "NIfTI volumes with label volumes"),
    )
}


def kind_named(name: str) -> Kind:
    """Return the kind `name`.

    Raises
    ------
    DataDoubleError
        When there is none; the nearest is suggested.
    """
    if name not in KINDS:
        raise DataDoubleError(
            "there is no such kind of source", found=repr(name), remedy=suggest(name, list(KINDS))
        )
    return KINDS[name]
