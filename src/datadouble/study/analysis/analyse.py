"""`study analyse`: from a study's answers to evidence, tables, plots and a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datadouble import files
from datadouble.errors import DataDoubleError
from datadouble.study.analysis.evidence import KIND, SCHEMA_VERSION, make_evidence
from datadouble.study.analysis.readings import Task, make_tasks, reader_codes
from datadouble.study.protocol import Protocol

if TYPE_CHECKING:
    import pandas as pd

    from datadouble.study.study import Study

EVIDENCE = "study-evidence.json"


def analyse_study(study_path: Path | str, out: Path | str, *, seed: int = 0) -> dict[str, Any]:
    """Analyse a study as far as it is answered, and write the folder `out`.

    ``study-evidence.json``, ``analysis.html`` (self-contained; it shows real scans and stays inside), ``tables.md``,
    ``answers-long.csv``, ``readers.csv``, ``imrmc-*.csv`` and ``.imrmc``, ``plots/*.svg``, ``pictures/*.png``.

    Parameters
    ----------
    study_path : Path
        The study's folder; nothing in it is changed.
    seed : int
        Of bootstraps.

    Returns
    -------
    dict
        The evidence.

    Raises
    ------
    DataDoubleError
        When there is no study, or nothing was answered yet.
    """
    from datadouble.study.analysis.csv import write_tables
    from datadouble.study.analysis.markdown import markdown
    from datadouble.study.analysis.page import write_page
    from datadouble.study.analysis.pictures import write_pictures
    from datadouble.study.analysis.plots import draw_plots, write_plots
    from datadouble.study.simulate import simulated_readers
    from datadouble.study.store import Store

    out = Path(out)
    with Store.open(study_path) as store:
        study = store.study
        table, people = store.answers_table(), store.readers()
    counted = [one for one in people if one.revoked_at is None]
    codes = reader_codes([one.id for one in people])
    excluded = [codes[one.id] for one in people if one.revoked_at is not None]
    notes = [f"Excluded from the study, and from all numbers: {', '.join(excluded)}."] if excluded else []
    scripts = simulated_readers(study.path)
    simulated = [codes[one.id] for one in counted if one.id in scripts]
    if simulated:
        notes.insert(
            0,
            f"{', '.join(simulated)} are simulated: scripts of known ability, not people. What they answered says "
            "nothing about how real the images look.",
        )
    tasks = make_tasks(
        table, study.protocol, study.truth_table(), {one.id: (codes[one.id], one.group) for one in counted}
    )
    if not tasks:
        raise DataDoubleError(
            "nothing was answered yet", where=study.path.name, remedy="invite readers, or wait for them"
        )
    evidence = make_evidence(tasks, study.protocol, _facts(study, len(counted), simulated), notes, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    (out / "plots").mkdir(exist_ok=True)
    (out / "pictures").mkdir(exist_ok=True)
    write_pictures(study, evidence, out / "pictures")
    plots = draw_plots(evidence)
    write_plots(plots, out / "plots")
    write_tables(out, tasks, evidence)
    files.write_text(out / "tables.md", markdown(evidence))
    files.write_json(out / EVIDENCE, evidence)
    write_page(out / "analysis.html", evidence, out, plots)
    return evidence


def analyse_answers(
    table: pd.DataFrame,
    protocol: Protocol,
    truth: pd.DataFrame,
    readers: dict[int, tuple[str, str]] | None = None,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Analyse a table of answers without a study's folder, such as one rebuilt from published counts.

    Parameters
    ----------
    table : DataFrame
        ``reader, part, question, value, confidence, seconds, position, pair, repeat_of``, as
        :func:`datadouble.study.tables.answers_table` gives them.
    truth : DataFrame
        ``image, part, origin, label, practice, repeat_of, pair, patient``, as
        :meth:`datadouble.study.study.Study.truth_table` gives them.
    readers : dict, optional
        Code and group by id; by default R1, R2, ... and the table's ``group``.

    Raises
    ------
    DataDoubleError
        When no answer belongs to a part of the protocol.
    """
    if readers is None:
        codes = reader_codes([int(one) for one in table["reader"].unique()])
        groups = dict(zip(table["reader"], table["group"], strict=True)) if "group" in table else {}
        readers = {one: (code, str(groups.get(one, ""))) for one, code in codes.items()}
    tasks: list[Task] = make_tasks(table, protocol, truth, readers)
    if not tasks:
        raise DataDoubleError("no answer belongs to a part of the protocol", where=protocol.name)
    return make_evidence(tasks, protocol, {"readers": len(readers)}, [], seed=seed)


def read_analysis(path: Path | str) -> dict[str, Any]:
    """Read the evidence in a folder that `analyse_study` wrote.

    Raises
    ------
    DataDoubleError
        When there is none, or it is of another version.
    """
    path = Path(path)
    try:
        found: dict[str, Any] = json.loads((path / EVIDENCE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataDoubleError(
            "this is no analysis of a reader study",
            where=path.name,
            found=f"no {EVIDENCE}",
            remedy="make one with `datadouble study analyse STUDY --out OUT`",
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataDoubleError("this is no JSON", where=EVIDENCE, found=str(error)) from error
    if (
        not isinstance(found, dict)
        or found.get("kind") != KIND
        or found.get("schema_version") != SCHEMA_VERSION
    ):
        raise DataDoubleError(
            f"a {KIND} of schema version {SCHEMA_VERSION} is expected",
            where=EVIDENCE,
            remedy="analyse the study again",
        )
    return found


def _facts(study: Study, readers: int, simulated: list[str]) -> dict[str, Any]:
    from datadouble import __version__

    return {
        "readers": readers,
        "simulated_readers": simulated,
        "images": study.images,
        "size": study.size,
        "classes": list(study.classes),
        "created": study.created,
        "seed_fingerprint": study.seed_fingerprint,
        "truth_fingerprint": study.truth_fingerprint,
        "warnings": list(study.warnings),
        "software": {"datadouble": __version__},
    }
