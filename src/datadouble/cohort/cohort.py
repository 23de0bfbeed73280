"""The cohort on disk and in memory.

A cohort is a folder: `metadata.csv` (one row an image, every value a string), `images/`, `masks/` (8-bit PNG of
class ids) and `cohort.json`. Hugging Face ``datasets`` opens it as an ImageFolder.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble import files
from datadouble.cohort.pixels import fit_square, read_image, to_unit
from datadouble.errors import DataDoubleError

if TYPE_CHECKING:
    import pandas as pd
    from torch.utils.data import Dataset

SCHEMA_VERSION = 1
COLUMNS = (
    "file_name",
    "mask_file_name",
    "image_id",
    "patient_id",
    "label",
    "split",
    "duplicate_group",
    "site",
    "device",
)
"""The columns that every cohort has, in their order; what the source knows besides follows them."""

SPLITS = ("train", "holdout", "test")


@dataclass(frozen=True)
class CohortInfo:
    """What `cohort.json` holds.

    Parameters
    ----------
    origin
        ``"real"`` or ``"synthetic"``.
    classes
        Ordered names of the image classes.
    mask_classes
        Names of the mask's class ids; the first is the background. Empty where there are no masks.
    intensity
        What a pixel value means, for example ``{"unit": "HU", "low": -200, "high": 200}``.
    generator
        For a double: the fingerprint and settings of what drew it.
    """

    name: str
    origin: str
    modality: str
    classes: tuple[str, ...]
    mask_classes: tuple[str, ...] = ()
    intensity: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    licence: str = ""
    contains_real_pixels: bool = True
    generator: dict[str, Any] | None = None
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str = "cohort.json") -> "CohortInfo":
        """Build from what `to_json` gave.

        Raises
        ------
        DataDoubleError
            On a key that is missing or unknown, or a later schema version.
        """
        found = value.get("schema_version")
        if found != SCHEMA_VERSION:
            raise DataDoubleError(
                f"schema version {SCHEMA_VERSION} is expected",
                where=where,
                found=str(found),
                remedy="use the version of DataDouble that wrote it",
            )
        known = set(cls.__dataclass_fields__)
        required = {"name", "origin", "modality", "classes"}
        wrong = sorted((set(value) - known) | (required - set(value)))
        if wrong:
            raise DataDoubleError("keys are missing or unknown", where=where, found=", ".join(wrong))
        tuples = {key: tuple(value.get(key, ())) for key in ("classes", "mask_classes")}
        return cls(**{**value, **tuples})


@dataclass
class Sample:
    """One image (H, W) or (H, W, 3), its mask (H, W) uint8 or None, and its row of `metadata.csv`."""

    image: np.ndarray
    mask: np.ndarray | None
    row: dict[str, str]


class Cohort:
    """A cohort, or a view of some of its rows.

    Attributes
    ----------
    path : Path
        The folder.
    info : CohortInfo
    table : pandas.DataFrame
        The rows, every value a string; ``""`` is missing.
    """

    def __init__(self, path: Path, info: CohortInfo, table: "pd.DataFrame", *, whole: bool = True) -> None:
        self.path, self.info, self._whole = Path(path), info, whole
        self.table = table.reset_index(drop=True)

    @classmethod
    def open(cls, path: Path | str) -> "Cohort":
        """Open the cohort in the folder `path`.

        Raises
        ------
        DataDoubleError
            When the folder is no cohort, or a column that every cohort has is missing.
        """
        path = Path(path)
        if not (path / "cohort.json").is_file() or not (path / "metadata.csv").is_file():
            unfinished = (path / CohortJournal.NAME).is_file()
            raise DataDoubleError(
                "the cohort is not finished"
                if unfinished
                else "this is no cohort: cohort.json or metadata.csv is missing",
                where=path.name,
                remedy="run the command that was writing it again"
                if unfinished
                else "make one with `datadouble import`",
            )
        try:
            info = CohortInfo.from_json(json.loads((path / "cohort.json").read_text()))
        except json.JSONDecodeError as error:
            raise DataDoubleError("this is no JSON", where="cohort.json", found=str(error)) from error
        return cls(path, info, read_table(path / "metadata.csv"))

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Sample:
        row = {str(key): str(value) for key, value in self.table.iloc[index].items()}
        return Sample(self.image(index), self.mask(index), row)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def image(self, index: int) -> np.ndarray:
        """Return image `index` as stored: uint8 (H, W), uint8 (H, W, 3) or uint16 (H, W)."""
        name = str(self.table["file_name"].iloc[index])
        return read_image(self.path / name, name=name)

    def mask(self, index: int) -> np.ndarray | None:
        """Return the mask of image `index`, uint8 (H, W) of class ids, or None where it has none."""
        name = str(self.table["mask_file_name"].iloc[index])
        return read_image(self.path / name, name=name) if name else None

    def where(self, keep: np.ndarray | Sequence[bool]) -> "Cohort":
        """Return a view of the rows for which the boolean array `keep` is true."""
        keep = np.asarray(keep, dtype=bool)
        return Cohort(self.path, self.info, self.table[keep], whole=self._whole and bool(keep.all()))

    def filter(
        self,
        *,
        split: str | Sequence[str] | None = None,
        label: str | Sequence[str] | None = None,
        patient_id: str | Sequence[str] | None = None,
        image_id: str | Sequence[str] | None = None,
    ) -> "Cohort":
        """Return a view of the rows whose columns hold one of the values given."""
        keep = np.ones(len(self), dtype=bool)
        wanted = {"split": split, "label": label, "patient_id": patient_id, "image_id": image_id}
        for column, values in wanted.items():
            if values is not None:
                names = [values] if isinstance(values, str) else list(values)
                keep &= self.table[column].isin(names).to_numpy()
        return self.where(keep)

    @property
    def has_splits(self) -> bool:
        """Whether any row belongs to train, holdout or test."""
        return bool(self.table["split"].isin(SPLITS).any())

    @property
    def label_indices(self) -> np.ndarray:
        """Each row's class as an index into ``info.classes``, int64 (n,).

        Raises
        ------
        DataDoubleError
            When a label is none of the classes.
        """
        index = {name: i for i, name in enumerate(self.info.classes)}
        labels = [str(label) for label in self.table["label"]]
        unknown = sorted(set(labels) - set(index))
        if unknown:
            raise DataDoubleError(
                "labels are none of the cohort's classes",
                where="metadata.csv",
                found=", ".join(map(repr, unknown)),
                remedy="correct them, or add the classes to cohort.json",
            )
        return np.array([index[label] for label in labels], dtype=np.int64)

    def replace_table(self, table: "pd.DataFrame") -> None:
        """Write `table` as the new `metadata.csv`, in one atomic step.

        Raises
        ------
        ValueError
            On a view: its missing rows would be lost.
        """
        if not self._whole:
            raise ValueError("replace_table needs the whole cohort, not a view of it")
        write_table(self.path / "metadata.csv", table)
        self.table = table.reset_index(drop=True)

    def torch_dataset(self, size: int) -> "Dataset":
        """Return a PyTorch dataset of (image, label, index).

        The image is a float tensor (1, size, size) in [-1, 1], the label an index into ``info.classes`` and the
        index that of the row.
        """
        import torch
        from torch.utils.data import Dataset

        cohort, labels = self, self.label_indices

        class CohortDataset(Dataset):
            def __len__(self) -> int:
                return len(cohort)

            def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
                unit = to_unit(fit_square(cohort.image(index), size))
                return torch.from_numpy(unit)[None] * 2 - 1, int(labels[index]), index

        return CohortDataset()


class CohortJournal:
    """The rows written so far while a cohort is being made: one JSON object a line."""

    NAME = "writing.jsonl"


def read_table(path: Path) -> "pd.DataFrame":
    """Read a `metadata.csv` with every value as a string.

    Raises
    ------
    DataDoubleError
        When columns that every cohort has are missing.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataDoubleError("this is no CSV table", where=path.name, found=str(error)[:120]) from error
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise DataDoubleError(
            "columns are missing",
            where=path.name,
            found=", ".join(missing) + " absent",
            remedy="add them (empty where nothing is known), or import the pictures again",
        )
    return table


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write the rows as CSV with the common columns first."""
    rest = [str(column) for column in table.columns if column not in COLUMNS]
    files.write_text(path, table[[*COLUMNS, *rest]].to_csv(index=False, lineterminator="\n"))
