"""Every problem of a cohort at once, each with its place and its remedy.

Works on broken cohorts too: it reads the files itself and goes as far as each of them allows.
"""

import json
from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from datadouble.cohort.cohort import COLUMNS, SPLITS, CohortInfo, CohortJournal
from datadouble.cohort.pixels import read_image
from datadouble.cohort.split import EXCLUDED
from datadouble.errors import DataDoubleError, Problem
from datadouble.progress import track

if TYPE_CHECKING:
    import pandas as pd

FEWEST_PATIENTS = 3
"""A class with fewer patients (or look-alike groups) cannot be in train, holdout and test: an error."""

FEW_IMAGES = 20
"""A class with fewer images is hardly learnt: a warning."""

_NAMED = 5  # files named in a problem that concerns many


def check(path: Path | str) -> list[Problem]:
    """Return all problems of the cohort in the folder `path`, errors first; an empty list is a sound cohort.

    Only files and the table are looked at. A problem of severity ``"error"`` makes some verb fail or an audit
    meaningless; a ``"warning"`` wants a look.
    """
    return _Check(Path(path)).run()


class _Check:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []

    def error(self, what: str, where: str, found: str = "", remedy: str = "") -> None:
        self.problems.append(Problem(what, where, found, remedy, "error"))

    def warn(self, what: str, where: str, found: str = "", remedy: str = "") -> None:
        self.problems.append(Problem(what, where, found, remedy, "warning"))

    def run(self) -> list[Problem]:
        name = self.path.name
        if not self.path.is_dir():
            self.error("the folder is missing", str(self.path), remedy="check the path")
        elif not any(self.path.iterdir()):
            self.error("the folder is empty", name, remedy="make a cohort with `datadouble import`")
        else:
            if (self.path / CohortJournal.NAME).exists():
                remedy = "run the command that was writing it again"
                self.error("the cohort is not finished", name, remedy=remedy)
            info = self.read_info()
            table = self.read_table()
            if table is not None:
                self.check_table(table, info)
                self.check_files(table)
                self.check_pixels(table, info)
        return sorted(self.problems, key=lambda problem: problem.severity != "error")

    def read_info(self) -> CohortInfo | None:
        """Return what `cohort.json` holds, or None after noting what is wrong with it."""
        file = self.path / "cohort.json"
        try:
            value: Any = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(value, dict):
                raise ValueError("not an object")
            return CohortInfo.from_json(value)
        except FileNotFoundError:
            self.error("the file is missing", file.name, remedy="make the cohort with `datadouble import`")
        except DataDoubleError as error:
            self.error(error.what, error.where or file.name, error.found, error.remedy)
        except (ValueError, OSError) as error:
            self.error("this is no JSON of a cohort", file.name, str(error)[:120], "restore it")
        return None

    def read_table(self) -> "pd.DataFrame | None":
        """Return `metadata.csv` with missing columns empty, or None after noting what is wrong with it."""
        import pandas as pd

        file = self.path / "metadata.csv"
        try:
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
        except FileNotFoundError:
            self.error("the file is missing", file.name, remedy="make the cohort with `datadouble import`")
            return None
        except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
            self.error("this is no CSV table", file.name, str(error)[:120], "restore it")
            return None
        for column in COLUMNS:
            if column not in table.columns:
                remedy = "add each picture's class" if column == "label" else "add it, empty where unknown"
                self.error(f"the column {column} is missing", file.name, remedy=remedy)
                table[column] = ""
        if table.empty:
            self.error("the table has no rows", file.name, remedy="import some pictures")
        return table

    def check_table(self, table: "pd.DataFrame", info: CohortInfo | None) -> None:
        for column in ("image_id", "file_name"):
            counts = Counter(value for value in table[column] if value)
            for value, count in counts.items():
                if count > 1:
                    self.error(f"the {column} stands in {count} rows", value, remedy="make it unique")
            self._empty(table, column)
        self._empty(table, "label")
        self._patients(table)
        self._splits(table)
        self._conflicts(table)
        labels = Counter(label for label in table["label"] if label)
        classes = info.classes if info else tuple(sorted(labels))
        for label in sorted(set(labels) - set(classes)):
            rows = table["image_id"][table["label"] == label]
            remedy = "correct it, or add the class to cohort.json"
            self.error(f"the label {label!r} is none of the classes", _some(rows), ", ".join(classes), remedy)
        for name in classes:
            self._class_size(table, name, labels[name])

    def _empty(self, table: "pd.DataFrame", column: str) -> None:
        rows = [number for number, value in enumerate(table[column], start=2) if not value]
        if rows and len(rows) < len(table):
            where = f"metadata.csv, rows {_some(rows)}"
            self.error(f"{column} is empty", where, remedy="fill it in or drop the rows")
        elif rows and not any(problem.what.startswith(f"the column {column} ") for problem in self.problems):
            self.error(f"{column} is empty in every row", "metadata.csv", remedy="fill it in")

    def _class_size(self, table: "pd.DataFrame", name: str, images: int) -> None:
        rows = table[table["label"] == name]
        columns = (rows["patient_id"], rows["duplicate_group"], rows["image_id"])
        patients = len({patient or group or image for patient, group, image in zip(*columns, strict=True)})
        where, found = f"class {name!r}", f"{images} images of {patients} patients or groups"
        if images == 0:
            self.warn("the class has no images", where, remedy="take it out of cohort.json, or import some")
        elif patients < FEWEST_PATIENTS:
            remedy = "merge it with another class, or leave it out: it cannot be in train, holdout and test"
            self.error("the class is too small", where, found, remedy)
        elif images < FEW_IMAGES:
            self.warn("the class is small", where, found, "add pictures or merge it with another class")

    def _patients(self, table: "pd.DataFrame") -> None:
        missing = table["image_id"][table["patient_id"] == ""]
        if len(missing):
            found = f"{len(missing)} of {len(table)} rows"
            remedy = "add patient ids: without them each picture counts as a patient, and splits may leak"
            self.warn("patients are missing", _some(missing), found, remedy)

    def _splits(self, table: "pd.DataFrame") -> None:
        unknown = sorted(set(table["split"]) - {"", *SPLITS, EXCLUDED})
        for name in unknown:
            rows = table["image_id"][table["split"] == name]
            self.error(f"the split {name!r} is unknown", _some(rows), remedy="use " + ", ".join(SPLITS))
        unsplit = int((table["split"] == "").sum())
        if 0 < unsplit < len(table):
            self.warn("some rows have no split", "metadata.csv", f"{unsplit} of {len(table)}", "split again")
        for column, thing in (("patient_id", "a patient"), ("duplicate_group", "a look-alike group")):
            known = table[(table[column] != "") & ~table["split"].isin(["", EXCLUDED])]
            for _, rows in known.groupby(column, sort=True):
                splits = sorted(set(rows["split"]))
                if len(splits) > 1:
                    remedy = "run `datadouble split` again with --overwrite, or with --mend after a training"
                    self.error(
                        f"{thing} is in two splits", _some(rows["image_id"]), ", ".join(splits), remedy
                    )

    def _conflicts(self, table: "pd.DataFrame") -> None:
        for name, rows in table[table["duplicate_group"] != ""].groupby("duplicate_group", sort=True):
            labels = sorted(set(rows["label"]))
            if len(labels) > 1:
                remedy = "look at them and correct or drop the wrong ones"
                where = f"look-alike group {name}: {_some(rows['image_id'])}"
                self.warn("look-alikes carry different labels", where, ", ".join(labels), remedy)

    def check_files(self, table: "pd.DataFrame") -> None:
        """Find files that no row names."""
        for folder, column in (("images", "file_name"), ("masks", "mask_file_name")):
            named = set(table[column])
            there = (self.path / folder).iterdir() if (self.path / folder).is_dir() else iter(())
            extra = sorted(f"{folder}/{p.name}" for p in there if f"{folder}/{p.name}" not in named)
            if extra:
                remedy = "add rows for them or delete them: a release would carry them along"
                self.error("files are not in the table", _some(extra), f"{len(extra)} files", remedy)

    def check_pixels(self, table: "pd.DataFrame", info: CohortInfo | None) -> None:
        kinds: dict[str, list[str]] = defaultdict(list)
        empty: dict[str, list[str]] = defaultdict(list)
        full: Counter[str] = Counter()
        for row in track(table.to_dict("records"), "check"):
            name, mask_name = str(row["file_name"]), str(row["mask_file_name"])
            image = self._read(name) if name else None
            mask = self._read(mask_name) if mask_name else None
            if image is not None:
                kinds["RGB" if image.ndim == 3 else f"{8 * image.dtype.itemsize}-bit"].append(name)
                if image.min() == image.max():
                    self.error("the picture is constant", name, f"value {image.min()}", "drop its row")
            if mask is not None:
                if image is not None and mask.shape[:2] != image.shape[:2]:
                    sizes = [f"{each.shape[1]}x{each.shape[0]}" for each in (mask, image)]
                    what = f"mask is {sizes[0]}, image is {sizes[1]}"
                    self.error(what, mask_name, remedy="resize the mask or drop the row")
                self._mask_values(mask, mask_name, info)
                if mask.any():
                    full[str(row["label"])] += 1
                else:
                    empty[str(row["label"])].append(mask_name)
        self._depths(kinds)
        for label, names in empty.items():
            if len(names) < full[label]:  # most masks of the class show something: it is a lesion class
                for name in names:
                    remedy = f"draw it, or drop the row: other pictures of class {label!r} have one"
                    self.error("the mask is empty", name, remedy=remedy)
        without = table["image_id"][table["mask_file_name"] == ""]
        if 0 < len(without) < len(table):
            found = f"{len(without)} of {len(table)} rows"
            self.warn("masks are missing", _some(without), found, "add them if there are any")

    def _read(self, name: str) -> np.ndarray | None:
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts:
            self.error("the file lies outside the cohort", name, remedy="copy it into the cohort's folder")
            return None
        try:
            return read_image(self.path / name, name=name)
        except DataDoubleError as error:
            self.error(error.what, error.where, error.found, error.remedy)
            return None

    def _mask_values(self, mask: np.ndarray, name: str, info: CohortInfo | None) -> None:
        if mask.ndim == 3 or mask.dtype != np.uint8:
            shape = "RGB" if mask.ndim == 3 else str(mask.dtype)
            remedy = "save its class ids as 8-bit grey PNG"
            self.error("the mask is no 8-bit grey picture", name, shape, remedy)
            return
        values = np.unique(mask)
        classes = len(info.mask_classes) if info else 256
        if values[-1] < classes:
            return
        if set(values.tolist()) <= {0, 255}:
            self.error("the mask has values 0 and 255", name, remedy="write class ids: replace 255 by 1")
            return
        wrong = [int(value) for value in values if value >= classes]
        known = ", ".join(f"{i} {n}" for i, n in enumerate(info.mask_classes)) if info else ""
        remedy = f"use the ids of cohort.json ({known or 'none'}), or add classes there"
        self.error("mask values are no class ids", name, _some(wrong), remedy)

    def _depths(self, kinds: dict[str, list[str]]) -> None:
        if kinds["RGB"]:
            remedy = "they are turned grey when used; import them again to store them so"
            self.warn("pictures are RGB", _some(kinds["RGB"]), f"{len(kinds['RGB'])} pictures", remedy)
        grey = {kind: names for kind, names in kinds.items() if kind != "RGB" and names}
        if len(grey) > 1:
            least = min(grey, key=lambda kind: len(grey[kind]))
            found = ", ".join(f"{len(names)} of {kind}" for kind, names in sorted(grey.items()))
            remedy = "bring all to one depth: they differ in scale"
            self.error("bit depths are mixed", _some(grey[least]), found, remedy)


def _some(names: Any) -> str:
    """Return the first few of `names`, and how many more there are."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more
