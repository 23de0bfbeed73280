"""A study on disk: what may be served, and what may not.

``study.json`` (the protocol and what everybody may know), ``images/`` (random names), ``private/`` (the truth, the
secret, the seed: never served) and ``answers.sqlite``.
"""

import csv
import hashlib
import hmac
import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datadouble import files
from datadouble.errors import DataDoubleError
from datadouble.study.links import ensure_secret, read_secret
from datadouble.study.protocol import Protocol, protocol_from

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
TRUTH_COLUMNS = (
    "image",
    "part",
    "origin",
    "label",
    "practice",
    "repeat_of",
    "pair",
    "cohort",
    "source_image_id",
    "patient",
    "split",
)
"""Columns of `private/truth.csv`. `image` is the file's random name without ending, `repeat_of` that of the image
which it repeats, `pair` is shared by the images of all parts that show one picture of a cohort, `patient` by the
pictures of one patient."""

_IMAGE_NAME = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Truth:
    """What stands behind one image: a row of `private/truth.csv`."""

    image: str
    part: str
    origin: str
    label: str
    practice: bool
    repeat_of: str
    pair: str
    cohort: str
    source_image_id: str
    patient: str
    split: str


@dataclass(frozen=True)
class Study:
    """A study, opened.

    Attributes
    ----------
    size
        Side of every image in pixels.
    warnings
        What could not be hidden or had to be done otherwise than wished, said when the study was made.
    seed_fingerprint, truth_fingerprint
        Say later that neither the order nor the truth was changed; from neither can anything be read off.
    """

    path: Path
    protocol: Protocol
    size: int
    images: int
    seed_fingerprint: str
    truth_fingerprint: str
    created: str
    warnings: tuple[str, ...]
    classes: tuple[str, ...] = ()
    _cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, path: Path | str) -> "Study":
        """Open the study in the folder `path`.

        Raises
        ------
        DataDoubleError
            When it is none, is unfinished, or was changed by hand.
        """
        path = Path(path)
        try:
            value = json.loads((path / "study.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            unfinished = (path / "private" / "plan.json").is_file()
            raise DataDoubleError(
                "the study is not finished" if unfinished else "this is no study: study.json is missing",
                where=path.name,
                remedy="run the command that was making it again"
                if unfinished
                else "make one with `datadouble study create`",
            ) from error
        except json.JSONDecodeError as error:
            raise DataDoubleError("this is no JSON", where="study.json", found=str(error)) from error
        if not isinstance(value, dict) or value.get("schema_version") != SCHEMA_VERSION:
            found = str(value.get("schema_version")) if isinstance(value, dict) else "no table"
            raise DataDoubleError(
                f"schema version {SCHEMA_VERSION} is expected",
                where="study.json",
                found=found,
                remedy="use the version of DataDouble that wrote it",
            )
        try:
            study = cls(
                path,
                protocol_from(value["protocol"], where="study.json"),
                int(value["size"]),
                int(value["images"]),
                str(value["seed_fingerprint"]),
                str(value["truth_fingerprint"]),
                str(value["created"]),
                tuple(value["warnings"]),
                tuple(value["classes"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataDoubleError(
                "keys are missing or wrong", where="study.json", found=str(error)
            ) from error
        return study

    @property
    def answers_path(self) -> Path:
        """The database of answers."""
        return self.path / "answers.sqlite"

    def image_path(self, image: str) -> Path:
        """Return the file of an image.

        Raises
        ------
        DataDoubleError
            When `image` is no name that a study gives: anything but 16 hexadecimal digits, so no path leads out.
        """
        if not _IMAGE_NAME.fullmatch(image):
            raise DataDoubleError("there is no such image", where="image")
        return self.path / "images" / f"{image}.png"

    def truth(self) -> dict[str, Truth]:
        """Return what stands behind each image, by its name. Never to be served.

        Raises
        ------
        DataDoubleError
            When `private/truth.csv` is missing or is not the one with which the study was made.
        """
        if "truth" not in self._cache:
            self._cache["truth"] = read_truth(self.path, self.truth_fingerprint)
        return self._cache["truth"]

    def truth_table(self) -> "pd.DataFrame":
        """Return `truth` as a table: every column a string but `practice`, which is boolean."""
        import pandas as pd

        return pd.DataFrame([vars(row) for row in self.truth().values()], columns=list(TRUTH_COLUMNS))

    def secret(self) -> bytes:
        """Return the key that signs links."""
        if "secret" not in self._cache:
            self._cache["secret"] = read_secret(self.path / "private" / "secret.key")
        return self._cache["secret"]

    @property
    def seed(self) -> int:
        """The seed of the sample and of every reader's order. Never to be served."""
        if "seed" not in self._cache:
            self._cache["seed"] = int(read_plan(self.path)["seed"])
        return self._cache["seed"]


def truth_text(rows: list[Truth]) -> str:
    """Return the rows as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(TRUTH_COLUMNS)
    for row in rows:
        values = [getattr(row, column) for column in TRUTH_COLUMNS]
        writer.writerow([int(value) if isinstance(value, bool) else value for value in values])
    return out.getvalue()


def read_truth(path: Path, fingerprint: str) -> dict[str, Truth]:
    """Read `private/truth.csv`; `fingerprint` is what it must have."""
    file = path / "private" / "truth.csv"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataDoubleError(
            "the truth of the study is missing",
            where="private/truth.csv",
            remedy="put it back from a copy: without it nothing can be analysed",
        ) from error
    if files.fingerprint(text) != fingerprint:
        raise DataDoubleError(
            "the truth of the study was changed after the study was made",
            where="private/truth.csv",
            remedy="put back the file as it was",
        )
    rows = list(csv.DictReader(io.StringIO(text)))
    return {row["image"]: Truth(**{**row, "practice": row["practice"] == "1"}) for row in rows}  # type: ignore[arg-type]


def read_plan(path: Path) -> dict[str, Any]:
    """Read `private/plan.json`: the seed and what the study was made from."""
    try:
        return json.loads((path / "private" / "plan.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise DataDoubleError(
            "the plan of the study is missing or damaged",
            where="private/plan.json",
            remedy="put it back from a copy, or make the study again in another folder",
        ) from error


def seed_fingerprint(path: Path, seed: int) -> str:
    """Return 16 digits that stand for the seed; keyed, so that it cannot be found by trying."""
    secret = ensure_secret(path / "private" / "secret.key")
    return hmac.new(secret, f"seed {seed}".encode(), hashlib.sha256).hexdigest()[:16]
