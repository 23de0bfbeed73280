"""Making a cohort, image by image, so that a cut-off run goes on where it stopped."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from datadouble import files
from datadouble.cohort.cohort import COLUMNS, Cohort, CohortInfo, CohortJournal, read_table, write_table
from datadouble.errors import DataDoubleError


class CohortWriter:
    """Write a cohort.

    Each image is saved under its final name and then noted in a journal; `finish` turns the journal into
    `metadata.csv` and writes `cohort.json` last. Opened again on the same folder with the same `info`, it knows
    what is there (`has`), finished or not.

    Parameters
    ----------
    path
        The folder to make.
    info
        What `cohort.json` will hold.
    overwrite
        Delete the cohort that stands at `path`. Anything else there is refused all the same.

    Raises
    ------
    DataDoubleError
        When `path` holds another cohort, or files that are no cohort, or two classes differ only in case.
    """

    def __init__(self, path: Path | str, info: CohortInfo, *, overwrite: bool = False) -> None:
        self.path, self.info = Path(path), info
        _check_case(info.classes)
        self._journal_path = self.path / CohortJournal.NAME
        self._rows: dict[str, dict[str, str]] = {}
        if self.path.exists() and any(self.path.iterdir()):
            self._take_over(overwrite)
        (self.path / "images").mkdir(parents=True, exist_ok=True)
        if info.mask_classes:
            (self.path / "masks").mkdir(exist_ok=True)
        if not self._journal_path.exists():
            header = json.dumps({"info": info.to_json()}, ensure_ascii=False)
            lines = [json.dumps(row, ensure_ascii=False) for row in self._rows.values()]
            files.write_text(self._journal_path, "\n".join([header, *lines]) + "\n")
        self._journal = open(self._journal_path, "a", encoding="utf-8")  # noqa: SIM115 (closed in close)

    def _take_over(self, overwrite: bool) -> None:
        """Read what an earlier writer left at `path`, or clear it away."""
        finished = (self.path / "cohort.json").is_file()
        if not finished and not self._journal_path.is_file():
            if (self.path / "images").is_dir() and sum(1 for _ in self.path.iterdir()) <= 2:
                return  # killed before its journal was made
            raise DataDoubleError(
                "the folder is not empty and is no cohort",
                where=self.path.name,
                remedy="choose another folder",
            )
        if overwrite:
            shutil.rmtree(self.path)
            return
        rows: list[dict[str, str]] = []
        if self._journal_path.is_file():
            header, rows = _read_journal(self._journal_path)
        else:
            header = json.loads((self.path / "cohort.json").read_text())
            records = read_table(self.path / "metadata.csv").to_dict("records")
            rows = [{str(key): str(value) for key, value in row.items()} for row in records]
        if header != self.info.to_json():
            changed = [key for key, value in self.info.to_json().items() if header.get(key) != value]
            raise DataDoubleError(
                "another cohort stands here",
                where=self.path.name,
                found="a different " + ", ".join(changed),
                remedy="choose another folder, or pass --overwrite",
            )
        self._rows = {row["image_id"]: row for row in rows}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def image_ids(self) -> set[str]:
        """The images written so far."""
        return set(self._rows)

    def has(self, image_id: str) -> bool:
        """Whether the image was written, by this writer or an earlier one."""
        return image_id in self._rows

    def add(
        self,
        image: np.ndarray,
        *,
        image_id: str,
        patient_id: str,
        label: str,
        mask: np.ndarray | None = None,
        split: str = "",
        duplicate_group: str = "",
        site: str = "",
        device: str = "",
        extra: dict[str, str] | None = None,
    ) -> None:
        """Write one image and note its row.

        Parameters
        ----------
        image
            uint8 (H, W) or (H, W, 3), or uint16 (H, W).
        mask
            uint8 (H, W), class ids below ``len(info.mask_classes)``.
        extra
            Further columns, by name.

        Raises
        ------
        DataDoubleError
            When the image id is taken, the label unknown, or the mask of another size or with other values.
        """
        if self.has(image_id):
            raise DataDoubleError("the image id is taken", where=image_id, remedy="make image ids unique")
        if label not in self.info.classes:
            known = ", ".join(self.info.classes)
            raise DataDoubleError(
                "the label is unknown", where=image_id, found=repr(label), remedy=f"use one of {known}"
            )
        row = dict.fromkeys(COLUMNS, "") | {
            "file_name": f"images/{image_id}.png",
            "image_id": image_id,
            "patient_id": patient_id,
            "label": label,
            "split": split,
            "duplicate_group": duplicate_group,
            "site": site,
            "device": device,
            **{key: str(value) for key, value in (extra or {}).items()},
        }
        if mask is not None:
            self._check_mask(image, mask, image_id)
            row["mask_file_name"] = f"masks/{image_id}.png"
            files.save_png(self.path / row["mask_file_name"], mask)
        files.save_png(self.path / row["file_name"], image)
        self._journal.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._journal.flush()
        self._rows[image_id] = row

    def _check_mask(self, image: np.ndarray, mask: np.ndarray, image_id: str) -> None:
        if mask.shape != image.shape[:2]:
            raise DataDoubleError(
                f"mask is {mask.shape[1]}x{mask.shape[0]}, image is {image.shape[1]}x{image.shape[0]}",
                where=image_id,
                remedy="resize the mask or drop the row",
            )
        if mask.dtype != np.uint8 or mask.max(initial=0) >= len(self.info.mask_classes):
            raise DataDoubleError(
                "mask values are no class ids",
                where=image_id,
                found=f"{mask.dtype}, greatest value {mask.max(initial=0)}",
                remedy=f"use 8-bit ids 0 to {len(self.info.mask_classes) - 1}, not 0/255",
            )

    def finish(self) -> Cohort:
        """Write `metadata.csv` (rows in the order of their image ids) and `cohort.json`, and open the cohort.

        Raises
        ------
        DataDoubleError
            When no image was written.
        """
        import pandas as pd

        if not self._rows:
            raise DataDoubleError(
                "no image was written", where=self.path.name, remedy="look at the source folder"
            )
        rows = [self._rows[image_id] for image_id in sorted(self._rows)]
        write_table(self.path / "metadata.csv", pd.DataFrame(rows).fillna(""))
        files.write_json(self.path / "cohort.json", self.info.to_json())
        self.close()
        self._journal_path.unlink(missing_ok=True)
        return Cohort.open(self.path)

    def close(self) -> None:
        """Close the journal, so that another writer can go on."""
        self._journal.close()

    def __enter__(self) -> "CohortWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_case(classes: Sequence[str]) -> None:
    """Refuse classes whose names are one on file systems that do not tell cases apart: names of files hold them."""
    spellings: dict[str, set[str]] = {}
    for name in classes:
        spellings.setdefault(name.casefold(), set()).add(name)
    alike = [sorted(names) for names in spellings.values() if len(names) > 1]
    if alike:
        raise DataDoubleError(
            "class names differ only in upper and lower case",
            where="classes",
            found="; ".join(", ".join(map(repr, names)) for names in alike),
            remedy="write a class the same way everywhere",
        )


def _read_journal(path: Path) -> tuple[dict, list[dict[str, str]]]:
    """Return the header and the rows; a last line cut off by a kill is dropped, from the file too."""
    lines = path.read_text(encoding="utf-8").split("\n")
    if lines[-1]:
        files.write_text(path, "\n".join(lines[:-1]) + "\n")
    values = [json.loads(line) for line in lines[:-1] if line]
    return values[0]["info"], values[1:]
