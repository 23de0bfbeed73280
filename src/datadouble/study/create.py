"""Making a study from a real cohort and a double.

The plan (which images, under which random names) is written first, then the images, then ``study.json``. A creation
that was cut off goes on from the plan when it is asked for again; nothing that stands is overwritten.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from datadouble import files
from datadouble.cohort import Cohort
from datadouble.errors import DataDoubleError
from datadouble.progress import track
from datadouble.study.database import create_database
from datadouble.study.links import ensure_secret
from datadouble.study.pictures import encode_png, picture_of, write_picture
from datadouble.study.plan import make_plan
from datadouble.study.protocol import Protocol
from datadouble.study.study import (
    SCHEMA_VERSION,
    Study,
    Truth,
    read_plan,
    read_truth,
    seed_fingerprint,
    truth_text,
)


def create_study(
    protocol: Protocol,
    real: Cohort,
    double: Cohort,
    out: Path | str,
    *,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Study:
    """Make the study folder `out`, or go on with one that was cut off.

    Parameters
    ----------
    real, double
        Cohorts of origin ``real`` and ``synthetic``, with classes of the same names.
    seed
        Decides the sample and every reader's order. The images' names are random and do not follow from it.
    say
        Told each warning; they also stand in ``study.json``.

    Returns
    -------
    Study
        The new one; where the same study stands finished already, that one, untouched.

    Raises
    ------
    DataDoubleError
        When something else stands at `out`, the cohorts do not suit the protocol or each other, there are too few
        images, or the disk is full.
    """
    out = Path(out)
    _check_origins(real, double)
    cohorts = {"real": real, "synthetic": double}
    asked = {
        "seed": seed,
        "protocol": protocol.to_json(),
        "real": _fingerprint(real),
        "double": _fingerprint(double),
    }
    plan = _plan_there(out, asked)
    if plan is not None and (out / "study.json").is_file():
        return Study.open(out)
    if plan is None:
        facts, truth = make_plan(protocol, cohorts, seed)
        private = out / "private"
        private.mkdir(parents=True, exist_ok=True)
        private.chmod(0o700)
        ensure_secret(private / "secret.key")
        files.write_text(private / "truth.csv", truth_text(truth))
        fingerprint = files.fingerprint(truth_text(truth))
        plan = {"schema_version": SCHEMA_VERSION, **asked, **facts, "truth_fingerprint": fingerprint}
        files.write_json(private / "plan.json", plan)
    for warning in plan["warnings"]:
        say(f"warning: {warning}")
    rows = read_truth(out, plan["truth_fingerprint"])
    _write_images(out, protocol, cohorts, list(rows.values()), plan)
    create_database(out / "answers.sqlite")
    value = {
        "schema_version": SCHEMA_VERSION,
        "protocol": plan["protocol"],
        "size": plan["size"],
        "images": len(rows),
        "classes": list(real.info.classes),
        "seed_fingerprint": seed_fingerprint(out, seed),
        "truth_fingerprint": plan["truth_fingerprint"],
        "created": plan["created"],
        "warnings": plan["warnings"],
    }
    files.write_json(out / "study.json", value)
    return Study.open(out)


def _check_origins(real: Cohort, double: Cohort) -> None:
    for cohort, origin, name in ((real, "real", "real"), (double, "synthetic", "double")):
        if cohort.info.origin != origin:
            raise DataDoubleError(
                f"the {name} cohort must be of origin {origin}",
                where=f"{cohort.path.name}/cohort.json",
                found=f"origin {cohort.info.origin}",
                remedy="give the double first and the real cohort by --real",
            )
    if not len(real) or not len(double):
        raise DataDoubleError("a cohort has no images", where=(double if len(real) else real).path.name)


def _fingerprint(cohort: Cohort) -> str:
    return files.fingerprint(json.dumps(cohort.info.to_json()), cohort.table.to_csv(index=False))


def _plan_there(out: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """Return the plan of an earlier call that asked for the same; None where the folder is free."""
    if not out.exists() or not any(out.iterdir()):
        return None
    if (out / "private" / "plan.json").is_file():
        plan = read_plan(out)
        changed = [key for key, value in asked.items() if plan.get(key) != value]
        if changed:
            finished = (out / "study.json").is_file()
            raise DataDoubleError(
                "another study stands here" if finished else "another study was begun here",
                where=out.name,
                found="another " + ", ".join(changed),
                remedy="choose another folder" if finished else "choose another folder, or delete this one",
            )
        return plan
    if {entry.name for entry in out.iterdir()} == {"private"}:
        return None  # killed before its plan was made
    raise DataDoubleError(
        "the folder is not empty and is no study", where=out.name, remedy="choose another folder"
    )


def _write_images(
    out: Path, protocol: Protocol, cohorts: dict[str, Cohort], rows: list[Truth], plan: dict[str, Any]
) -> None:
    """Write the images that are not there, in the order of their random names."""
    folder = out / "images"
    folder.mkdir(exist_ok=True)
    for leftover in folder.glob(".*.part"):
        leftover.unlink()
    size, window = int(plan["size"]), tuple(plan["window"])
    length = len(encode_png(np.zeros((size, size), dtype=np.uint8)))
    index = {
        origin: {str(name): number for number, name in enumerate(cohort.table["image_id"])}
        for origin, cohort in cohorts.items()
    }
    for row in track(sorted(rows, key=lambda row: row.image), "images", len(rows)):
        path = folder / f"{row.image}.png"
        if path.is_file() and path.stat().st_size == length:
            continue
        image = picture_of(
            cohorts[row.origin],
            index[row.origin][row.source_image_id],
            view=protocol.part(row.part).view,
            size=size,
            window=window,
            margin=protocol.margin,
        )
        write_picture(path, image)
